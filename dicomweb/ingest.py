"""One received file → checked, filed, indexed: the same way for C-STORE and for STOW-RS.

When `ingest` returns, the instance is durable and may be acknowledged; when it raises, nothing of it is kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomweb import reasons
from dicomweb.dataset import Header, data_part, identify, read_header
from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import File, Index, Instance, Origin, Outcome
from dicomweb.origin import NOTHING, Said
from dicomweb.reasons import Reason, Refused
from dicomweb.storage import quotas
from dicomweb.wholeness import state

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a file came: UTC microseconds, the calling AE title, the organisation id it stands for; what the
    command or the address said it is, when it said so; its SHA-256 when it was taken on the way; what its
    sender said of it, and which client that sender is when it is a gateway."""

    received: int
    calling_ae: str = ""
    source: str = ""
    sop_class: str = ""
    sop_instance: str = ""
    study: str = ""
    sha256: str = ""
    said: Said = NOTHING
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one file, for whoever sent it. UIDs are "" where they could not be read; `reason` says
    why it is not stored, `warning` is a Warning Reason or 0."""

    sop_class: str = ""
    sop_instance: str = ""
    study: str = ""
    series: str = ""
    reason: Reason | None = None
    warning: int = 0


@dataclass(frozen=True, slots=True)
class Filed:
    """A file in place, durable, of which the index does not know yet; `instance` None: it knew its content
    before."""

    header: Header
    instance: Instance | None

    def receipt(self, outcome: Outcome) -> Receipt:
        """A changed duplicate is kept, and told as a failure: what is stored under that UID is not what was
        sent."""
        header = self.header
        return Receipt(
            header.sop_class,
            header.instance,
            header.study,
            header.series,
            reasons.DUPLICATE if outcome == "conflict" else None,
            reasons.WARN_CLASS_DIFFERS if header.named not in ("", header.sop_class) else 0,
        )


def ingest(spooled: Path, arrival: Arrival, files: DicomFiles, index: Index) -> Outcome:
    """Raises Refused; the spooled file is gone in every case."""
    try:
        filed = _file(spooled, arrival, files, index)
    finally:
        spooled.unlink(missing_ok=True)
    return index.add([filed.instance])[0] if filed.instance else "duplicate"


def receive(spooled: Path, arrival: Arrival, files: DicomFiles, index: Index) -> Receipt:
    """The same, with a receipt instead of an exception."""
    filed = accept(spooled, arrival, files, index)
    return filed if isinstance(filed, Receipt) else settle([filed], index)[0]


def accept(spooled: Path, arrival: Arrival, files: DicomFiles, index: Index) -> Receipt | Filed:
    """The first half of it, for those who commit several at once (`settle`)."""
    try:
        return _file(spooled, arrival, files, index)
    except Refused as refused:
        return Receipt(*identify(spooled), reason=refused.reason)
    finally:
        spooled.unlink(missing_ok=True)


def settle(group: Sequence[Filed], index: Index) -> list[Receipt]:
    """The second half: one commit for all, in their order. When it returns they may be acknowledged."""
    outcomes = iter(index.add([filed.instance for filed in group if filed.instance]))
    return [filed.receipt(next(outcomes) if filed.instance else "duplicate") for filed in group]


def _file(spooled: Path, arrival: Arrival, files: DicomFiles, index: Index) -> Filed:
    files.room()
    digest = arrival.sha256 or sha256_of(spooled)
    if arrival.said.sha256 not in ("", digest):
        raise Refused(reasons.ALTERED)
    header = read_header(spooled)
    if (arrival.sop_instance and arrival.sop_instance != header.instance) or (
        arrival.sop_class and arrival.sop_class != header.sop_class
    ):
        raise Refused(reasons.WRONG_INSTANCE)
    if arrival.study and arrival.study != header.study:
        raise Refused(reasons.WRONG_STUDY)
    size, origin = spooled.stat().st_size, _origin(header, arrival)
    if (known := index.file(header.instance)) and (
        known.sha256 == digest or _same_data(files.path(known.path), spooled)
    ):
        if origin:
            index.note_origin(origin)
        if known.sha256 == digest and state(files, known):
            _mend(spooled, known, files, index)
        return Filed(header, None)
    if files.quotas:
        quotas.check(index, files.quotas, arrival.source, header.attributes, arrival.received)
    path = files.place(spooled, digest)
    instance = Instance(
        header.study,
        header.series,
        header.instance,
        header.sop_class,
        header.transfer_syntax,
        header.attributes,
        header.layout.dump(),
        digest,
        path,
        size,
        arrival.received,
        arrival.calling_ae,
        arrival.source,
        origin,
    )
    return Filed(header, instance)


def _mend(spooled: Path, known: File, files: DicomFiles, index: Index) -> None:
    """What came again takes the place of the same content, which was lost or damaged here. Raises Refused."""
    log.warning("a file that was lost or damaged came again and is whole: %s", known.path)
    files.place(spooled, known.sha256)
    files.packed(known.path).unlink(missing_ok=True)
    index.clear_damage(known.path)


def _origin(header: Header, arrival: Arrival) -> Origin | None:
    said = arrival.said
    if not arrival.gateway or not said.sha256:
        return None
    return Origin(
        header.study, header.instance, arrival.gateway, said.sha256, said.dataset, said.ae, said.received
    )


def _same_data(a: Path, b: Path) -> bool:
    """Whether two files carry the same dataset, whoever wrote their file meta information."""
    if not a.exists():
        return False
    digests = []
    for path in (a, b):
        digest = hashlib.sha256()
        for chunk in data_part(path):
            digest.update(chunk)
        digests.append(digest.digest())
    return digests[0] == digests[1]
