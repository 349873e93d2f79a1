"""What the platform sends to the site's PACS: had as one download, while what is whole of it goes on one
association.

    download ──▶ spool files, hashed ──▶ queue ──▶ C-STORE ──▶ answers, told some together

A file is had whole, and is the file that the platform means, before the PACS sees any of it. Where the line
or this process breaks, what was answered is not had again. What the platform takes back stops after the
instance that is just being sent. RFC 9110 §14.2
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from dicomweb.gateway.associations import Associations, Turns
from dicomweb.gateway.errand import Errand
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.telling import Gone, Telling, persist
from dicomweb.peers.session import Incapable, PeerError, Sendable, Session, Unreachable

TOGETHER = 0.25  # seconds of answers that are told in one request
LEAVE = 5.0  # seconds until a download that is not wanted any more is left to end by itself


def send(parts: Parts, errand: Errand, associations: Associations, telling: Telling) -> None:
    """Raises PeerError, Gone, Untold."""
    with associations.line(errand) as line, Load(parts, errand, telling).running(line.loading) as files:
        first = next(files, None)
        if first is None:
            return
        with line.session() as session, Progress(telling).running() as progress:
            for one in chain((first,), files):
                if telling.gone.is_set():
                    raise Gone
                progress.add(_sent(session, one))


def _sent(session: Session, one: Sendable) -> dict[str, str]:
    try:
        return {"instance": one.instance, "syntax": session.send(one)}
    except Incapable as error:
        return {"instance": one.instance, "fault": error.slug}
    finally:
        one.path.unlink(missing_ok=True)


class _Useless(Exception):
    """What came cannot be used, which asking again does not change."""

    def __init__(self, error: PeerError) -> None:
        super().__init__(error.slug)
        self.error = error


@dataclass(slots=True)
class Load:
    """The files of one errand that are not answered for yet. `at`: how many bytes of the download are had."""

    parts: Parts
    errand: Errand
    telling: Telling
    at: int = 0
    _missing: deque[tuple[Sendable, int]] = field(default_factory=deque)  # with the bytes still to come
    _paths: list[Path] = field(default_factory=list)
    _whole: queue.Queue[Sendable | Exception | None] = field(default_factory=queue.Queue)
    _file: BinaryIO | None = None
    _hash: Any = None
    _is_left: bool = False

    def __post_init__(self) -> None:
        rows: Sequence[tuple[str, str, str, int, str]] = self.errand.asked["instances"]
        self.at = sum(int(row[3]) for row in rows[: self.errand.start])
        for uid, sop_class, syntax, size, sha256 in rows[self.errand.start :]:
            path = self.parts.files.spool / f"errand-{uuid4().hex}"
            self._paths.append(path)
            self._missing.append((Sendable(uid, sop_class, syntax, path, sha256), int(size)))

    @contextmanager
    def running(self, turns: Turns) -> Iterator[Iterator[Sendable]]:
        """Gives each file as soon as it is whole; those of one line are had one errand after another. Raises
        PeerError, Gone, Untold."""
        thread = threading.Thread(target=self._run, args=(turns,), name="load", daemon=True)
        thread.start()
        try:
            yield self._files()
        finally:
            self._is_left = True
            thread.join(LEAVE)
            self._clear()

    def _files(self) -> Iterator[Sendable]:
        while (found := self._whole.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found

    def _run(self, turns: Turns) -> None:
        try:
            with turns:
                self._had()
            self._whole.put(None)
        except _Useless as useless:
            self._whole.put(useless.error)
        except Exception as error:
            self._whole.put(error)
        finally:
            if self._file is not None:
                self._file.close()
            if self._is_left:
                self._clear()

    def _had(self) -> None:
        """Raises Gone, Untold, _Useless."""
        answer = persist(
            lambda: self.parts.platform.download(f"{self.telling.path}/instances", self.at, self._take),
            self.telling.gone,
        )
        if answer.status == 404:
            raise Gone
        if answer.status not in (200, 206) or self._missing:
            raise _Useless(PeerError("download-refused", f"the platform answered {answer.status}"))

    def _take(self, chunk: bytes) -> None:
        """The next bytes, into as many files as they reach."""
        view = memoryview(chunk)
        while view and self._missing:
            if self.telling.gone.is_set() or self._is_left:
                raise Gone
            one, size = self._missing[0]
            piece = view[:size]
            self._write(one, piece)
            view, self.at = view[len(piece) :], self.at + len(piece)
            self._missing[0] = (one, size - len(piece))
            if size == len(piece):
                self._end(one)

    def _write(self, one: Sendable, piece: memoryview) -> None:
        try:
            if self._file is None:
                self._file, self._hash = one.path.open("wb"), hashlib.sha256()
            self._file.write(piece)
        except OSError as error:
            raise _Useless(Unreachable("out-of-resources", "the gateway has no room")) from error
        self._hash.update(piece)

    def _end(self, one: Sendable) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._hash.hexdigest() != one.sha256:
            raise _Useless(PeerError("download-damaged", "what came is not the file that the platform means"))
        self._missing.popleft()
        self._whole.put(one)

    def _clear(self) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class Progress:
    """Answers told some together by a thread of its own, so that the line's latency holds up no instance;
    those left at the end are told with the end."""

    telling: Telling
    _held: list[Mapping[str, Any]] = field(default_factory=list)
    _broke: list[Exception] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Raises what the telling of earlier ones raised: Gone, Untold, PeerError."""
        with self._lock:
            self._held.append(answer)
        if self._broke:
            raise self._broke[0]

    @contextmanager
    def running(self) -> Iterator[Progress]:
        thread = threading.Thread(target=self._run, name="progress", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
            self.telling.hold(self._held)
        if self._broke:
            raise self._broke[0]

    def _run(self) -> None:
        while not self._over.wait(TOGETHER) and not self._broke:
            with self._lock:
                held, self._held = self._held, []
            try:
                if held:
                    self.telling.tell(held)
            except Exception as error:
                self._broke.append(error)
