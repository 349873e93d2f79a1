"""`teledossier load PATH…`: bulk load with a progress bar, resumable, exact counts at the end."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import click

from fhir_server import opening, settings
from fhir_server.bulk import sources
from fhir_server.bulk.load import Counts, load
from fhir_server.bulk.preparing import Preparer
from fhir_server.bulk.workers import Workers, here
from fhir_server.interactions.engine import Judging

SHOWN = 20
MOST = 8


SMALL = 4_000_000  # bytes: below, starting processes takes longer than they save


@click.command("load")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--processes", type=click.IntRange(1, 64), help="How many prepare what is written; default: the cores."
)
@click.option(
    "--strict", "judging", flag_value="all", help="Judge as every other write is judged: by profiles too."
)
@click.option(
    "--trusted", "judging", flag_value="nothing", help="Judge nothing: the files come from a FHIR server."
)
def command(paths: tuple[Path, ...], processes: int | None, judging: Judging | None) -> None:
    """Load NDJSON files or Bundles (also .gz, .bz2, and folders of them) into the store.

    Every resource keeps its id. Started again after an interruption, it goes on where it stopped. What is
    loaded is judged by its structure; what is under a profile of ours, by that too.
    """
    files = sources.find(paths)
    if not files:
        raise click.ClickException("nothing to load: no .ndjson, .jsonl or .json file there")
    if processes is None:
        small = sum(path.stat().st_size for path in files) < SMALL
        processes = 1 if small else min(os.cpu_count() or 1, MOST)
    counts = asyncio.run(_load(files, processes, judging or "structure"))
    click.echo(
        f"{counts.total} resources: {counts.created} created, {counts.updated} updated, "
        f"{counts.unchanged} unchanged, {counts.refused} refused"
    )
    for name, place, reason in counts.reasons[:SHOWN]:
        click.echo(f"  {name}:{place}: {reason}", err=True)
    if counts.refused > SHOWN:
        click.echo(f"  … and {counts.refused - SHOWN} more", err=True)
    if counts.refused:
        raise click.exceptions.Exit(1)


async def _load(files: list[Path], processes: int, judging: Judging) -> Counts:
    counts = Counts()
    opened = partial(opening.opened_engine, settings.load(), judging)
    async with opened() as engine:
        workers = Workers(processes, opened) if processes > 1 else None
        prepare = workers.prepared if workers else partial(here, Preparer(engine))
        if workers:
            workers.start()
        try:
            for number, path in enumerate(files, 1):
                label = f"{path.name} ({number}/{len(files)})"
                with click.progressbar(
                    length=0, label=label, show_eta=False, show_percent=False, show_pos=True
                ) as bar:
                    await load(engine, path, prepare, counts, bar.update)
        finally:
            if workers:
                workers.stop()
    return counts
