"""`teledossier dpi add|list|remove`: the hospital records (DPI) that may launch the portal."""

from __future__ import annotations

import asyncio

import click

from fhir_server import opening, settings
from profiles.outcomes import NotFound
from smart_launch.app.dpi import issuers
from smart_launch.app.dpi.issuers import Issuer


@click.group("dpi")
def command() -> None:
    """Hospital records (DPI) that may launch the portal by SMART App Launch. Any other issuer is refused."""


@command.command("add")
@click.argument("iss")
@click.option("--organization", required=True, help="Its establishment, such as Organization/ch-auch.")
@click.option("--client-id", default="teledossier", show_default=True, help="What the DPI calls this app.")
@click.option("--client-secret", help="Without it this server proves itself by its own key.")
@click.option("--name", default="", help="Its name for people.")
@click.option(
    "--origin", "origins", multiple=True, help="Another origin of its endpoints, if not that of ISS."
)
def add(
    iss: str,
    organization: str,
    client_id: str,
    client_secret: str | None,
    name: str,
    origins: tuple[str, ...],
) -> None:
    """Register the DPI whose FHIR base is ISS, or replace what is known of it."""
    id = organization.removeprefix("Organization/")

    async def run() -> None:
        async with opening.opened(settings.load()) as platform:
            version = await platform.engine.store.read("Organization", id)
            if version is None or version.body is None:
                raise NotFound("organization-unknown", f"Organization/{id} is not in the directory")
            issuer = Issuer(iss, id, name or iss, client_id, client_secret, origins)
            await issuers.register(platform.engine.store, issuer)

    asyncio.run(run())
    click.echo(f"{iss} may launch; its redirect address is {settings.load().url}/launch/callback")


@command.command("list")
def list_issuers() -> None:
    """Every registered DPI."""

    async def run() -> list[Issuer]:
        async with opening.opened(settings.load()) as platform:
            return await issuers.list_all(platform.engine.store)

    for one in asyncio.run(run()):
        click.echo(f"{one.iss}\tOrganization/{one.organization}\t{one.client_id}\t{one.display}")


@command.command("remove")
@click.argument("iss")
def remove(iss: str) -> None:
    """Refuse launches from this DPI from now on."""

    async def run() -> None:
        async with opening.opened(settings.load()) as platform:
            await issuers.remove(platform.engine.store, iss)

    asyncio.run(run())
    click.echo(f"{iss} may not launch any more")
