"""`teledossier serve`: the web tier."""

from __future__ import annotations

import asyncio
import os

import click
import uvicorn

from dicomweb.images import open_images
from fhir_server import opening
from fhir_server import settings as config
from fhir_server.settings import Settings
from fhir_server.teledossier.definitions import install

MOST_SAID = 4096  # bytes of a WebSocket message: subscribers of the worklist listen only


@click.command("serve")
@click.option("--host", help="Address to listen on (TELEDOSSIER_HOST).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (TELEDOSSIER_PORT).")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
def command(host: str | None, port: int | None, workers: int) -> None:
    """Serve FHIR, DICOMweb, OAuth and the portal."""
    if host:
        os.environ["TELEDOSSIER_HOST"] = host
    if port:
        os.environ["TELEDOSSIER_PORT"] = str(port)
    settings = config.load()
    asyncio.run(prepare(settings))
    uvicorn.run(
        "fhir_server.main:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        # The access log is ours (rest/middleware): a query string may carry what identifies a patient.
        access_log=False,
        log_level="warning",
        log_config=None,  # its lines go where ours go, in the same form
        server_header=False,
        timeout_graceful_shutdown=5,
        ws_max_size=MOST_SAID,
    )


async def prepare(settings: Settings) -> None:
    """Our definitions are in the store before the first process serves: the portal's forms are among them.
    What cannot be opened stops the start here, in one line."""
    async with opening.opened(settings) as platform:
        open_images(settings, platform.engine.store).close()
        await install(platform.engine)
