"""`teledossier dimse`: the DICOM node, in a process of its own."""

from __future__ import annotations

import asyncio

import click

from dicomweb.dimse import scp
from fhir_server import settings as config
from fhir_server.commands.lasting import run_until_stopped
from fhir_server.logs import log_to_stderr


@click.command("dimse")
def command() -> None:
    """Receive exams by DICOM (C-ECHO, C-STORE) at TELEDOSSIER_DIMSE_PORT; answer TELEDOSSIER_DIMSE_PEERS."""
    settings = config.load()
    log_to_stderr(settings)

    async def run(stop: asyncio.Event) -> None:
        await scp.serve(settings, stop)

    run_until_stopped(run)
