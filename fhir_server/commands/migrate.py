"""`teledossier migrate`: the store's schema."""

from __future__ import annotations

import asyncio

import click

from fhir_server import settings
from fhir_server.store import migrate


@click.command("migrate")
def command() -> None:
    """Bring the store to this program's schema: create what is missing, say what was done. Run it after an
    update, before the servers start; it may be run again."""
    for line in asyncio.run(migrate(settings.load())):
        click.echo(line)
