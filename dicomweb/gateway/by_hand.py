"""When the platform is away for long: what a person on the site sees of the exams kept here, and how one goes
straight to another site's gateway or PACS by C-STORE.

What was sent by hand still waits for the platform, and the other gateway delivers it too: the platform knows
by its hash what it has already. Names are read from the files, for whoever stands before this machine; the
outbox itself has none. R168 (palliative measures)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dicomweb.attributes import first
from dicomweb.dataset import read_header
from dicomweb.files import DicomFiles
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.outgoing import Kept
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import Incapable, Sendable
from dicomweb.reasons import Refused
from profiles.outcomes import Invalid

_TARGET = re.compile(r"([^\s=@,\\/]{1,16})=([A-Za-z0-9._-]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Described:
    """Who and what an exam is, as its first file says; all "" when it cannot be read."""

    patient: str = ""
    patient_id: str = ""
    birth_date: str = ""
    date: str = ""
    modality: str = ""
    description: str = ""


def described(path: Path) -> Described:
    try:
        attributes = read_header(path).attributes
    except (Refused, OSError):
        return Described()
    tags = ("00100010", "00100020", "00100030", "00080020", "00080060", "00081030")
    return Described(*(printable(first(attributes, tag)) for tag in tags))


def printable(text: str) -> str:
    """What a terminal may be shown of a value that came from outside."""
    return "".join(one if one.isprintable() else "?" for one in text)[:64]


def target(text: str) -> Peer:
    """`AETITLE=host:port`. Raises Invalid."""
    found = _TARGET.fullmatch(text)
    if not found or not 0 < int(found[3]) < 65536:
        raise Invalid("bad-target", f"{text}: where to send is AETITLE=host:port")
    title, host, port = found.groups()
    return Peer("", title, "", "dimse", host=host, port=int(port), ae_title=title)


@dataclass(frozen=True, slots=True)
class Sent:
    """How one instance went; `problem` is a slug, "" when it is there."""

    uid: str
    problem: str = ""


def send(
    settings: GatewaySettings, outbox: Outbox, files: DicomFiles, study: str, peer: Peer
) -> Iterator[Sent]:
    """Each kept instance of a study, as soon as it is settled. Raises PeerError when the other side cannot be
    reached any more."""
    session = DimseSession(peer, Ours(settings.ae_title, Credentials(Path(settings.peer_keys))))
    try:
        for one in outbox.kept(study):
            yield _sent(session, one, files.path(one.path))
    finally:
        session.close()


def _sent(session: DimseSession, one: Kept, path: Path) -> Sent:
    try:
        header = read_header(path)
    except (Refused, OSError):
        return Sent(one.uid, "unreadable")
    try:
        session.send(Sendable(one.uid, header.sop_class, header.transfer_syntax, path))
    except Incapable as error:
        return Sent(one.uid, error.slug)
    return Sent(one.uid)
