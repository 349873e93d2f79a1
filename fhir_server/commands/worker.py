"""`teledossier worker`: background jobs."""

from __future__ import annotations

import asyncio

import click

from dicomweb.index.sqlite import open_index
from dicomweb.worker import Worker
from fhir_server import main
from fhir_server import settings as config
from fhir_server.commands.lasting import run_until_stopped
from fhir_server.logs import log_to_stderr


@click.command("worker")
def command() -> None:
    """Turn received exams into ImagingStudy records and attach them to their télédossiers."""
    settings = config.load()
    log_to_stderr(settings)

    async def run(stop: asyncio.Event) -> None:
        index = open_index(settings)
        index.open()
        try:
            async with main.opened(settings) as platform:
                await Worker(index, platform.engine.store, platform.fhir, settings).run(stop)
        finally:
            index.close()

    run_until_stopped(run)
