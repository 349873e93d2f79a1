"""`teledossier token --client ID --scope S`: an access token for scripts."""

from __future__ import annotations

import asyncio

import click

from fhir_server import opening, settings
from smart_launch.authorization import mint


@click.command("token")
@click.option("--client", "id", required=True, help="A registered client.")
@click.option(
    "--scope", default="", help="Narrower than the client's own scopes; all of them when not given."
)
@click.option(
    "--minutes", type=click.IntRange(1, 1440), default=60, show_default=True, help="How long it lives."
)
def command(id: str, scope: str, minutes: int) -> None:
    """Print an access token of a registered client, and nothing else."""

    async def run() -> str:
        config = settings.load()
        async with opening.opened(config) as platform:
            return await mint(platform.engine.store, config, id, scope, lifetime=minutes * 60)

    click.echo(asyncio.run(run()))
