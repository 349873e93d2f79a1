"""`teledossier check`: integrity of store and files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable

import click

from dicomweb import integrity as images
from dicomweb.files import DicomFiles
from dicomweb.gateway.region.board import open_board
from dicomweb.index.contract import Index
from dicomweb.index.sqlite import open_index
from dicomweb.rows import Rows
from dicomweb.storage import quotas
from dicomweb.transfers.queue import open_queue
from fhir_server import integrity, opening, settings
from fhir_server.clock import utc_microseconds
from fhir_server.settings import Settings


@click.command("check")
@click.option(
    "--adopt", is_flag=True, help="First take image files in that no instance has, as if they came now."
)
def command(adopt: bool) -> None:
    """Read everything that is stored and say what is not whole; exit 1 when something is not."""
    config = settings.load()
    found, notes = asyncio.run(_check(config, _adopted if adopt else _as_it_is))
    for line in (*notes, *found):
        click.echo(line)
    if found:
        raise click.ClickException(f"{len(found)} findings")
    click.echo("all is whole")


async def _check(
    config: Settings, first: Callable[[Index, DicomFiles], list[str]]
) -> tuple[list[str], list[str]]:
    """What is not whole, and what a person has to judge."""
    async with opening.opened(config) as platform:
        found = await _store(integrity.findings(platform.engine.store, platform.engine.files))
    found += await asyncio.to_thread(_beside, config)
    index, files = open_index(config), DicomFiles(config.files_path)
    files.open()
    index.open()
    try:
        if broken := await asyncio.to_thread(index.integrity):
            return found + [f"index of images: {line}" for line in broken], []
        notes = await asyncio.to_thread(first, index, files)
        found += await asyncio.to_thread(lambda: list(images.findings(index, files)))
        notes += await asyncio.to_thread(lambda: list(images.notes(index, files)))
        return found, notes + quotas.told(index, config.quota_bytes)
    finally:
        index.close()


async def _store(lines: AsyncIterator[str]) -> list[str]:
    """As far as the store can be read."""
    found = []
    try:
        async for line in lines:
            found.append(line)
    except sqlite3.DatabaseError as error:
        found.append(f"store: cannot be read any further: {error}")
    return found


def _beside(config: Settings) -> list[str]:
    """The small databases beside the index, where they are."""
    return [
        f"{rows.WHAT}: {line}"
        for rows in (open_queue(config), open_board(config))
        if rows.path.exists()
        for line in _faults(rows)
    ]


def _faults(rows: Rows) -> list[str]:
    rows.open()
    try:
        return rows.integrity()
    finally:
        rows.close()


def _adopted(index: Index, files: DicomFiles) -> list[str]:
    now = utc_microseconds()
    return [images.adopt(index, files, path, now) for path in list(images.orphans(index, files))]


def _as_it_is(_index: Index, _files: DicomFiles) -> list[str]:
    return []
