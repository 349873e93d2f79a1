"""`teledossier check`: integrity of store and files."""

from __future__ import annotations

import asyncio

import click

from dicomweb import integrity as images
from dicomweb.files import DicomFiles
from dicomweb.index.sqlite import open_index
from fhir_server import integrity, main, settings
from fhir_server.settings import Settings


@click.command("check")
def command() -> None:
    """Read everything that is stored and say what is not whole; exit 1 when something is not."""
    config = settings.load()
    found, notes = asyncio.run(_check(config))
    for line in (*notes, *found):
        click.echo(line)
    if found:
        raise click.ClickException(f"{len(found)} findings")
    click.echo("all is whole")


async def _check(config: Settings) -> tuple[list[str], list[str]]:
    """What is not whole, and what a person has to judge."""
    async with main.opened(config) as platform:
        found = [line async for line in integrity.findings(platform.engine.store, platform.engine.files)]
    index, files = open_index(config), DicomFiles(config.files_path)
    index.open()
    try:
        found += await asyncio.to_thread(lambda: list(images.findings(index, files)))
        return found, await asyncio.to_thread(lambda: list(images.notes(index, files)))
    finally:
        index.close()
