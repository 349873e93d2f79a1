"""`teledossier retention`: which exams the sites' rules would put out of sight now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import click

from dicomweb.images import open_images
from dicomweb.storage.retention import Due, Retention
from fhir_server import opening, settings
from fhir_server.settings import Settings


@click.command("retention")
def command() -> None:
    """List what the worker would mask now by TELEDOSSIER_RETENTION: study, site, instances, since when its
    time runs. Nothing is changed."""
    config = settings.load()
    if not config.retention:
        click.echo("no rule: TELEDOSSIER_RETENTION is empty, everything is kept")
        return
    found = asyncio.run(_due(config))
    for due in found:
        since = datetime.fromtimestamp(due.since / 1e6, UTC)
        click.echo(f"{due.study} {due.site or '(unknown)'} {due.instances} {since:%Y-%m-%d}")
    click.echo(f"{len(found)} exams are due")


async def _due(config: Settings) -> list[Due]:
    async with opening.opened(config) as platform:
        images = open_images(config, platform.engine.store)
        try:
            rule = Retention(images.index, platform.fhir, images.queue.is_wanted, config.retention_seconds)
            return [due async for due in rule.due()]
        finally:
            images.close()
