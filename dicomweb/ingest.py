"""One received file → checked, filed, indexed: the same way for C-STORE and for STOW-RS.

When `ingest` returns, the instance is durable and may be acknowledged; when it raises, nothing of it is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dicomweb import reasons
from dicomweb.dataset import data_part, read_header
from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import Index, Instance, Outcome
from dicomweb.reasons import Refused


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a file came: UTC microseconds, the calling AE title, the organisation id it stands for; what the
    command said it is, when it said so."""

    received: int
    calling_ae: str = ""
    source: str = ""
    sop_class: str = ""
    sop_instance: str = ""


def ingest(spooled: Path, arrival: Arrival, files: DicomFiles, index: Index) -> Outcome:
    """Raises Refused; the spooled file is gone in every case."""
    try:
        files.room()
        header = read_header(spooled)
        if (arrival.sop_instance and arrival.sop_instance != header.instance) or (
            arrival.sop_class and arrival.sop_class != header.sop_class
        ):
            raise Refused(reasons.WRONG_INSTANCE)
        size, digest = spooled.stat().st_size, sha256_of(spooled)
        if (known := index.file(header.instance)) and (
            known.sha256 == digest or _same_data(files.path(known.path), spooled)
        ):
            return "duplicate"
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
        )
        return index.add([instance])[0]
    finally:
        spooled.unlink(missing_ok=True)


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
