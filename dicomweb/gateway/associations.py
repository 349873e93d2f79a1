"""Sessions with the site's systems, kept for a moment between the errands of one line; and which systems may
be called at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dicomweb.gateway.errand import MOVING, Errand
from dicomweb.gateway.parts import Parts
from dicomweb.peers.dimse import Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import Denied, PeerError, Session

IDLE = 5.0  # seconds that an association is kept for the next instances of its line


@dataclass(slots=True)
class Turns:
    """A lock that is given in the order in which it was asked for."""

    _asked: int = 0
    _given: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> None:
        with self._changed:
            mine, self._asked = self._asked, self._asked + 1
            self._changed.wait_for(lambda: self._given == mine)

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._given += 1
            self._changed.notify_all()


@dataclass(slots=True)
class Line:
    """Errands that follow one another over one association: `busy` while one uses it, `loading` while one has
    the files for it."""

    opened: Session
    busy: Turns = field(default_factory=Turns)
    loading: Turns = field(default_factory=Turns)
    users: int = 0
    closing: threading.Timer | None = None

    @contextmanager
    def session(self) -> Iterator[Session]:
        """When it is this errand's turn."""
        with self.busy:
            try:
                yield self.opened
            except PeerError:
                self.opened.close()
                raise


@dataclass(slots=True)
class Associations:
    """One for each line; any thread."""

    parts: Parts
    _kept: dict[tuple[str, str], Line] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def line(self, errand: Errand) -> Iterator[Line]:
        """Raises Denied for a peer that this site's settings do not list."""
        if not self._is_allowed(errand.peer):
            raise Denied("peer-not-allowed", "the gateway's settings do not list this peer")
        key = (errand.line, errand.peer.id)
        kept = self._entered(key, errand.peer)
        try:
            yield kept
        finally:
            self._left(key, kept, IDLE if errand.kind in MOVING else 0.0)

    def _entered(self, key: tuple[str, str], peer: Peer) -> Line:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = Line(self._open(peer))
            if kept.closing:
                kept.closing.cancel()
            kept.users += 1
            return kept

    def _left(self, key: tuple[str, str], kept: Line, idle: float) -> None:
        """A PACS serves few associations at once (Orthanc: four): after a question it is let go at once."""
        with self._lock:
            kept.users -= 1
            if idle:
                kept.closing = threading.Timer(idle, self._idle, args=(key, kept))
                kept.closing.daemon = True
                kept.closing.start()
        if not idle:
            self._idle(key, kept)

    def close(self) -> None:
        with self._lock:
            all_kept, self._kept = list(self._kept.values()), {}
        for one in all_kept:
            if one.closing:
                one.closing.cancel()
            one.opened.close()

    def _idle(self, key: tuple[str, str], kept: Line) -> None:
        with self._lock:
            if kept.users or self._kept.get(key) is not kept:
                return
            del self._kept[key]
        kept.opened.close()

    def _open(self, peer: Peer) -> Session:
        settings = self.parts.settings
        ours = Ours(settings.ae_title, Credentials(Path(settings.peer_keys)), self._is_stored)
        return open_session(peer, ours, self.parts.files.spool)

    def _is_stored(self, uid: str) -> bool:
        """By C-MOVE an instance comes to this gateway's own node, and is in its outbox then."""
        return uid in self.parts.outbox.fates([uid])

    def _is_allowed(self, peer: Peer) -> bool:
        return called(peer) in self.parts.settings.called


def called(peer: Peer) -> str:
    """A peer as the settings list it: `AETITLE=host:port`, or the address of its DICOMweb service."""
    return peer.url if peer.kind == "web" else f"{peer.ae_title}={peer.host}:{peer.port}"
