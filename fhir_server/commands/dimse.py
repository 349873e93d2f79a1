"""`teledossier dimse`: the DICOM node, in processes of its own."""

from __future__ import annotations

import asyncio
import sys

import click

from dicomweb.dimse import processes
from fhir_server import settings as config
from fhir_server.commands.lasting import run_until_stopped
from fhir_server.logs import log_to_stderr


@click.command("dimse")
@click.option("--processes", "count", type=click.IntRange(1, 64), help="on one port; else as set, else one")
@click.option("--inherit", type=int, multiple=True, hidden=True)
def command(count: int | None, inherit: tuple[int, ...]) -> None:
    """Receive exams by DICOM (C-STORE) at TELEDOSSIER_DIMSE_PORT, and answer the peers of the directory."""
    settings = config.load()
    log_to_stderr(settings)
    start = (sys.executable, "-m", "fhir_server", "dimse")
    plan = processes.Plan(start, count or settings.dimse_processes, inherit)

    async def run(stop: asyncio.Event) -> None:
        await processes.run(settings, plan, stop, lambda _lines: None)

    run_until_stopped(run)
