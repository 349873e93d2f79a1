"""`teledossier pacs echo|orders`: whether a site's system answers, and what its worklist has."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click

from dicomweb.attributes import first, values
from dicomweb.images import Images, open_images
from dicomweb.peers.dimse import Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import Credentials, Peer, of_endpoint
from dicomweb.peers.session import PeerError, Session
from fhir_server import main, settings
from fhir_server.settings import Settings
from fhir_server.store import open_store
from profiles.outcomes import Gone, NotFound

MOST = 200


@click.group("pacs")
def command() -> None:
    """The sites' systems, as their Endpoints have them."""


@command.command("echo")
@click.argument("id")
def echo(id: str) -> None:
    """Ask the system of Endpoint ID whether it answers (C-ECHO, or a search by DICOMweb)."""
    began = time.monotonic()
    _asked(id, lambda session: session.echo())
    click.echo(f"{id} answers, in {time.monotonic() - began:.2f} s")


@command.command("orders")
@click.argument("id")
@click.option("--patient-id", default="", help="The patient's number at the site.")
@click.option("--accession", default="", help="The order's accession number.")
def orders(id: str, patient_id: str, accession: str) -> None:
    """The exams that the worklist of Endpoint ID has for a patient or an accession number, one a line."""
    if not patient_id.strip("*? ") and not accession.strip("*? "):
        raise click.UsageError("give --patient-id or --accession")
    keys = {"PatientID": patient_id, "AccessionNumber": accession}
    for one in _asked(id, lambda session: session.find("order", keys, MOST)):
        step: Any = next(iter(values(one, "00400100")), {})
        shown = (
            first(one, "00080050"), first(step, "00400002"), first(step, "00080060"),
            first(step, "00400007") or first(one, "00321060"), first(one, "0020000D"),
        )  # fmt: skip
        click.echo("\t".join(shown))


def _asked(id: str, ask: Any) -> Any:
    """What the system answers. Raises ClickException."""
    found = settings.load()
    peer = asyncio.run(_peer(found, id))
    images = open_images(found, open_store(found))
    session = _session(found, images, peer)
    try:
        return ask(session)
    except PeerError as error:
        raise click.ClickException(f"{id}: {error.slug}: {error}") from error
    finally:
        session.close()
        images.close()


def _session(found: Settings, images: Images, peer: Peer) -> Session:
    ours = Ours(found.ae_title, Credentials(found.peer_keys_path), board=images.board)
    return open_session(peer, ours, images.files.spool)


async def _peer(found: Settings, id: str) -> Peer:
    """Raises ClickException, Invalid."""
    async with main.opened(found) as platform:
        try:
            peer = of_endpoint(await platform.fhir.read("Endpoint", id))
        except (NotFound, Gone):
            peer = None
    if peer is None:
        raise click.ClickException(f"the directory has no system of that id: {id}")
    return peer
