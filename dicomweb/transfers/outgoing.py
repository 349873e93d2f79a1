"""One of our files as a peer is to get it: under its site's identity, and with other UIDs where the first
were rejected there. Blocking; what is made lies in the spool for as long as it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from dicomweb.coercion.identity import Identity
from dicomweb.coercion.raw import Unreadable
from dicomweb.coercion.renewing import new_uid, renewer
from dicomweb.coercion.rewriting import Coercion, coerce
from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index
from dicomweb.peers.session import Incapable
from dicomweb.transfers.delivered import Delivered

SYSTEM = "TELEDOSSIER"
WITHDRAWN = "exam-withdrawn"


class Withdrawn(Exception):
    """The exam belongs no longer to the télédossier under which it goes there."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How the instances of one study go to one peer at this moment."""

    files: DicomFiles
    index: Index
    study: str
    identity: Identity
    rows: dict[str, Delivered]
    uids: frozenset[str] = frozenset()  # of the study and what is in it, where any is to be renewed

    @contextmanager
    def made(self, instance: str, path: Path) -> Iterator[Path]:
        """The file to send; `path` itself where nothing is to be changed. Raises Incapable."""
        row = self.rows[instance]
        target = self.files.spool / f"peer-{uuid4().hex}"
        try:
            try:
                changed = coerce(path, target, self._coercion(row))
            except Unreadable as error:
                raise Incapable("cannot-coerce", str(error)) from error
            yield target if changed else path
        finally:
            target.unlink(missing_ok=True)

    def uid(self, uid: str, row: Delivered) -> str:
        """What the peer knows a study, series or instance as."""
        return new_uid(uid, row.salt)

    def _coercion(self, row: Delivered) -> Coercion:
        renew = renewer(self.uids, row.salt) if row.salt else None
        at = datetime.fromtimestamp(row.at / 1e6, UTC).strftime("%Y%m%d%H%M%S+0000")
        return Coercion(
            self.identity, at, SYSTEM, self._source(), "CORRECT" if row.corrected else "COERCE", renew
        )

    def _source(self) -> str:
        """Where the previous values came from: the site that sent the exam."""
        found = self.index.study(self.study)
        return (found.source or found.calling_ae) if found else ""


def uids_of(index: Index, study: str) -> frozenset[str]:
    """Every UID that another object may name an object of this study by."""
    return frozenset({study, *(uid for one in index.briefs(study) for uid in (one.series, one.uid))})
