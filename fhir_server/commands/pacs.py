"""`teledossier pacs echo|orders|steps`: whether a site's system answers, what its worklist has, and what it
was not told of performed procedure steps."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import click

from dicomweb.attributes import first, values
from dicomweb.images import Images, open_images
from dicomweb.index.sqlite import open_index
from dicomweb.peers.dimse import Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import Credentials, Peer, of_endpoint
from dicomweb.peers.session import PeerError, Session
from fhir_server import opening, settings
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


@command.command("steps")
@click.argument("id")
@click.option("--retry", is_flag=True, help="Tell again what was refused, and what waits at once.")
def steps(id: str, retry: bool) -> None:
    """What the system of Endpoint ID was not told of performed procedure steps, one message a line: when it
    was said, the step's UID, create or set, waiting or refused, why. Exit 1 when something was refused."""
    index = open_index(settings.load())
    index.open()
    try:
        if retry:
            click.echo(f"{index.tellings.retry(id)} messages wait again")
        found, refused = index.tellings.open(id, MOST), index.tellings.backlogs().get(id)
    finally:
        index.close()
    for one in found:
        at = datetime.fromtimestamp(one.said.at / 1e6, UTC).isoformat(timespec="seconds")
        click.echo("\t".join((at, one.said.step, one.said.kind, one.state, one.reason)).rstrip())
    if refused is not None and refused.refused:
        raise click.exceptions.Exit(1)


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
    async with opening.opened(found) as platform:
        try:
            peer = of_endpoint(await platform.fhir.read("Endpoint", id))
        except (NotFound, Gone):
            peer = None
    if peer is None:
        raise click.ClickException(f"the directory has no system of that id: {id}")
    return peer
