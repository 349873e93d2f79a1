"""The way of a rejection note to a peer. It has one item: the note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from dicomweb.attributes import first
from dicomweb.coercion.raw import Unreadable
from dicomweb.coercion.renewing import new_uid, renewer
from dicomweb.coercion.rewriting import Coercion, coerce
from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Incapable, PeerError, Sendable, Session
from dicomweb.syntaxes import EXPLICIT_LITTLE
from dicomweb.transfers.delivered import Deliveries, Rejection
from dicomweb.transfers.moving import Moving
from dicomweb.transfers.notes import KEY_OBJECTS, series_of, write_note
from dicomweb.transfers.outgoing import SYSTEM
from dicomweb.transfers.receipt import Verified, dataset_sha256
from dicomweb.transfers.record import Item, Transfer


@dataclass(frozen=True, slots=True)
class Rejecting:
    """From here to the peer that is to withdraw instances."""

    peer: Peer
    files: DicomFiles
    index: Index
    deliveries: Deliveries

    def listed(self, _session: Session, transfer: Transfer) -> list[Item]:
        return [Item(series_of(note), note, KEY_OBJECTS) for note in transfer.order.series]

    def grown(self, _session: Session, _transfer: Transfer, _known: Sequence[Item]) -> list[Item]:
        return []

    def moved(self, session: Session, _transfer: Transfer, batch: Sequence[Item]) -> Moving:
        """Raises PeerError when it breaks."""
        for item in batch:
            yield self._sent(session, item)

    def _sent(self, session: Session, item: Item) -> Item:
        note = self.deliveries.rejection(item.instance)
        like = self._file(note) if note else None
        if note is None or like is None:
            return replace(item, state="failed", reason="damaged-here", attempts=99)
        plain, made = (self.files.spool / f"peer-{uuid4().hex}" for _ in range(2))
        try:
            write_note(note, like, plain)
            path = made if coerce(plain, made, _coercion(note)) else plain
            session.send(Sendable(note.note, KEY_OBJECTS, EXPLICIT_LITTLE, path))
            sent = dataset_sha256(path)
            return replace(item, state="done", reason="", size=path.stat().st_size, source=sent, sent=sent)
        except (Incapable, Unreadable) as error:
            slug = error.slug if isinstance(error, Incapable) else "cannot-coerce"
            return replace(item, state="failed", reason=slug)
        finally:
            plain.unlink(missing_ok=True)
            made.unlink(missing_ok=True)

    def _file(self, note: Rejection) -> Path | None:
        """The file of one of the instances, in sight or not."""
        masked = {one.uid: one.path for one in self.index.masked(note.study)}
        for _series, uid, _class in note.instances:
            file = self.index.file(uid)
            relative = file.path if file else masked.get(uid)
            if relative and (path := self.files.path(relative)).exists():
                return path
        return None

    def verified(
        self, session: Session, _transfer: Transfer, done: Sequence[Item]
    ) -> tuple[Verified, list[Item]]:
        """A PACS that acts on the note may hide it too: that it does not list it is no fault."""
        found = []
        for one in done:
            note = self.deliveries.rejection(one.instance)
            study = new_uid(note.study, note.salt) if note else ""
            keys = {"StudyInstanceUID": study, "SeriesInstanceUID": one.series}
            try:
                rows = session.find("instance", keys, 10)
            except PeerError:
                return Verified(), []
            if one.instance in {first(row, "00080018") for row in rows}:
                found.append(replace(one, proof="presence"))
        return Verified("presence" if found else "none"), found


def _coercion(note: Rejection) -> Coercion:
    """As what it withdraws is known there."""
    names = {uid for series, instance, _class in note.instances for uid in (series, instance)}
    renew = renewer({note.study, *names}, note.salt) if note.salt else None
    at = datetime.fromtimestamp(note.at / 1e6, UTC).strftime("%Y%m%d%H%M%S+0000")
    return Coercion(note.identity, at, SYSTEM, "", "COERCE", renew)
