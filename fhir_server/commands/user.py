"""`teledossier user add|list|disable`: accounts of people."""

from __future__ import annotations

import asyncio

import click

from fhir_server import opening, settings
from profiles.outcomes import NotFound
from smart_launch.signin import local


@click.group("user")
def command() -> None:
    """Accounts of people. A person's rights come from their PractitionerRoles, not from the account."""


@command.command("add")
@click.argument("username")
@click.option("--practitioner", required=True, help="Their FHIR record, such as Practitioner/p08.")
@click.password_option(help="Asked for when not given.")
def add(username: str, practitioner: str, password: str) -> None:
    """Create an account for a Practitioner that is in the directory."""
    id = practitioner.removeprefix("Practitioner/")

    async def run() -> None:
        async with opening.opened(settings.load()) as platform:
            version = await platform.engine.store.read("Practitioner", id)
            if version is None or version.body is None:
                raise NotFound("practitioner-unknown", f"Practitioner/{id} is not in the directory")
            await local.create_account(platform.engine.store, username, id, password)

    asyncio.run(run())
    click.echo(f"account {username} for Practitioner/{id}")


@command.command("list")
def list_accounts() -> None:
    """Every account, its practitioner and state."""

    async def run() -> list[local.Account]:
        async with opening.opened(settings.load()) as platform:
            return await local.list_accounts(platform.engine.store)

    for account in asyncio.run(run()):
        state = "disabled" if account.disabled else "active"
        click.echo(f"{account.username}\tPractitioner/{account.practitioner}\t{state}")


@command.command("disable")
@click.argument("username")
@click.option("--undo", is_flag=True, help="Enable it again.")
def disable(username: str, undo: bool) -> None:
    """Disable an account; its open sessions end with their next request."""

    async def run() -> None:
        async with opening.opened(settings.load()) as platform:
            await local.set_disabled(platform.engine.store, username, not undo)

    asyncio.run(run())
    click.echo(f"account {username} {'enabled' if undo else 'disabled'}")
