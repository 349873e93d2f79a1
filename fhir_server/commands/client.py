"""`teledossier client add|list|remove`: accounts of machines."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from fhir_server import opening, settings
from profiles.outcomes import Invalid
from smart_launch.authorization import clients


@click.group("client")
def command() -> None:
    """Accounts of machines, for the client-credentials grant."""


@command.command("add")
@click.argument("id")
@click.option("--scope", required=True, help="What it may ask for, such as 'system/*.rs'.")
@click.option("--name", default="", help="A name for people.")
@click.option("--jwks", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its public keys.")
@click.option("--jwks-uri", help="Where its public keys are.")
@click.option(
    "--origin", "origins", multiple=True, help="A web origin its pages call from, such as a viewer's."
)
def add(
    id: str, scope: str, name: str, jwks: Path | None, jwks_uri: str | None, origins: tuple[str, ...]
) -> None:
    """Register a client. Without a key it gets a secret, which is shown this once."""
    try:
        keys = json.loads(jwks.read_text("utf-8")) if jwks else None
    except (ValueError, RecursionError) as error:
        raise Invalid("client-jwks", f"{jwks} is not JSON: {error}") from error
    if jwks and not isinstance(keys, dict):
        raise Invalid("client-jwks", f"{jwks} cannot be read as a JWK set")

    async def run() -> str | None:
        async with opening.opened(settings.load()) as platform:
            _, secret = await clients.add(
                platform.engine.store,
                id,
                scope=scope,
                name=name,
                jwks=keys,
                jwks_uri=jwks_uri,
                origins=origins,
            )
            return secret

    secret = asyncio.run(run())
    click.echo(f"client {id} registered" + (f"\nsecret {secret}" if secret else ""))


@command.command("list")
def list_clients() -> None:
    """Every client, how it authenticates, and its scopes."""

    async def run() -> list[clients.Client]:
        async with opening.opened(settings.load()) as platform:
            return await clients.list_all(platform.engine.store)

    for one in asyncio.run(run()):
        click.echo(f"{one.id}\t{one.auth_methods[0]}\t{one.scope}\t{one.name}")


@command.command("remove")
@click.argument("id")
def remove(id: str) -> None:
    """Remove a client; its tokens are refused from then on."""

    async def run() -> None:
        async with opening.opened(settings.load()) as platform:
            await clients.remove(platform.engine.store, id)

    asyncio.run(run())
    click.echo(f"client {id} removed")
