"""`teledossier load PATH…`: bulk load with a progress bar, resumable, exact counts at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from fhir_server import main, settings
from fhir_server.bulk import sources
from fhir_server.bulk.load import Counts, load

SHOWN = 20


@click.command("load")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(paths: tuple[Path, ...]) -> None:
    """Load NDJSON files or Bundles (also .gz, .bz2, and folders of them) into the store.

    Every resource keeps its id. Started again after an interruption, it goes on where it stopped.
    """
    files = sources.find(paths)
    if not files:
        raise click.ClickException("nothing to load: no .ndjson, .jsonl or .json file there")
    counts = asyncio.run(_load(files))
    click.echo(
        f"{counts.total} resources: {counts.created} created, {counts.updated} updated, "
        f"{counts.unchanged} unchanged, {len(counts.refused)} refused"
    )
    for name, place, reason in counts.refused[:SHOWN]:
        click.echo(f"  {name}:{place}: {reason}", err=True)
    if len(counts.refused) > SHOWN:
        click.echo(f"  … and {len(counts.refused) - SHOWN} more", err=True)
    if counts.refused:
        raise click.exceptions.Exit(1)


async def _load(files: list[Path]) -> Counts:
    counts = Counts()
    async with main.opened(settings.load()) as platform:
        for number, path in enumerate(files, 1):
            label = f"{path.name} ({number}/{len(files)})"
            with click.progressbar(
                length=0, label=label, show_eta=False, show_percent=False, show_pos=True
            ) as bar:
                await load(platform.engine, path, counts, bar.update)
    return counts
