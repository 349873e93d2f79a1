"""`teledossier package install|list|remove`: FHIR packages (profiles, extensions, terminology)."""

from __future__ import annotations

from pathlib import Path

import click

from fhir_server import packages, settings


@click.group("package")
def command() -> None:
    """FHIR packages: profiles, extensions, code systems and value sets."""


@command.command("install")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def install(file: Path) -> None:
    """Install a FHIR R4 package file (.tgz). Of a package, the version installed last counts."""
    found = packages.install(settings.load().packages_path, file)
    click.echo(f"{found.name} {found.version} installed: {_counts(found)}")
    if found.missing:
        click.echo("It depends on packages that are not installed; what they define is not judged:", err=True)
    for name in found.missing:
        click.echo(f"  {name}", err=True)
    click.echo("A server that runs takes it up when it is started again.")


@command.command("list")
def list_packages() -> None:
    """Every package, what it holds, and what it lacks."""
    for one in packages.own():
        click.echo(f"{one.name}\t{one.version}\tbuilt in\t{_counts(one)}")
    for one in packages.listed(settings.load().packages_path):
        lacking = f"\tlacks {', '.join(one.missing)}" if one.missing else ""
        click.echo(f"{one.name}\t{one.version}\tinstalled\t{_counts(one)}{lacking}")


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove an installed package."""
    packages.remove(settings.load().packages_path, name)
    click.echo(f"{name} removed")


def _counts(found: packages.Installed) -> str:
    return ", ".join(f"{count} {type}" for type, count in found.counts.items()) or "no definitions"
