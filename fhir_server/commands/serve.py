"""`teledossier serve`: the web tier."""

from __future__ import annotations

import os

import click
import uvicorn

from fhir_server import settings as config


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
    uvicorn.run(
        "fhir_server.main:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        # The access log is ours (rest/middleware): a query string may carry what identifies a patient.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
