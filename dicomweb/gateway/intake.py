"""The gateway's sink: a received instance is checked, kept in the outbox, acknowledged.

    spool file → read the header (as the platform will) → hashes → room → file into place (fsync, rename,
    fsync) → row (commit) → 0x0000

What comes again while it waits or after it was delivered is acknowledged and dropped, unless its file here
was lost or damaged meanwhile: then it takes that one's place. A changed duplicate is one more instance to
deliver: the platform decides. PS3.4 §B.2.3 (A700: out of resources)
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dicomweb import reasons
from dicomweb.attributes import first
from dicomweb.dataset import digests, read_header
from dicomweb.files import DicomFiles, sha256_of
from dicomweb.gateway.bell import Bell
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.outgoing import Received, Standing
from dicomweb.index.contract import Outcome
from dicomweb.ingest import Arrival
from dicomweb.reasons import Refused

log = logging.getLogger(__name__)

PRIORITY, REQUESTS = "00401003", "00400275"  # Requested Procedure Priority; Request Attributes Sequence


@dataclass(slots=True)
class Room:
    """How much may be kept: `quota` bytes (0: no own limit) and `reserve` bytes left free on the disk. What
    was delivered makes room for what comes, oldest first."""

    outbox: Outbox
    files: DicomFiles
    quota: int
    reserve: int
    kept: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, size: int) -> None:
        """Raises Refused."""
        with self._lock:
            while not self._fits(size):
                if not self._make():
                    raise Refused(reasons.OUT_OF_RESOURCES)
            self.kept += size

    def give(self, size: int) -> None:
        with self._lock:
            self.kept -= size

    def _fits(self, size: int) -> bool:
        # The file is on this disk already, in the spool.
        if shutil.disk_usage(self.files.spool).free < self.reserve:
            return False
        return not self.quota or self.kept + size <= self.quota

    def _make(self) -> bool:
        """Drop some delivered files; False when there is none. The caller holds the lock."""
        freed = drop(self.outbox, self.files, 1 << 62, limit=20)
        self.kept -= freed
        return freed > 0

    def clean(self, before: int) -> int:
        """Drop what was delivered before an instant; returns bytes."""
        total = 0
        while freed := drop(self.outbox, self.files, before, limit=200):
            self.give(freed)
            total += freed
        return total


def drop(outbox: Outbox, files: DicomFiles, before: int, *, limit: int) -> int:
    """Remove delivered files; returns their bytes. The file goes first: a row without its file is known as
    delivered, a file without its row would never go."""
    found = outbox.removable(before, limit)
    for _n, path, _size in found:
        files.path(path).unlink(missing_ok=True)
    if found:
        outbox.removed([n for n, _path, _size in found])
    return sum(size for _n, _path, size in found)


@dataclass(slots=True)
class Intake:
    """`rules`: (what, value) that make an instance urgent."""

    outbox: Outbox
    files: DicomFiles
    room: Room
    bell: Bell
    rules: Set[tuple[str, str]]
    _busy: set[tuple[str, str]] = field(default_factory=set)
    _free: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, spooled: Path, arrival: Arrival) -> Outcome:
        """`Sink`. Raises Refused."""
        try:
            return self._take(spooled, arrival)
        finally:
            spooled.unlink(missing_ok=True)

    def _take(self, spooled: Path, arrival: Arrival) -> Outcome:
        header = read_header(spooled)
        if (arrival.sop_instance and arrival.sop_instance != header.instance) or (
            arrival.sop_class and arrival.sop_class != header.sop_class
        ):
            raise Refused(reasons.WRONG_INSTANCE)
        whole, dataset = digests(spooled)
        made = Received(
            header.instance, header.study, header.series, header.sop_class, whole, dataset,
            spooled.stat().st_size, "", arrival.calling_ae, arrival.received,
            is_urgent(self.rules, arrival.calling_ae, header.attributes),
        )  # fmt: skip
        with self._alone((header.instance, dataset)):
            before = self.outbox.known(header.instance, dataset)
            is_here = before is not None and self._has(before)
            if before is not None and is_here:
                self.outbox.again(before.n)
            else:
                self._keep(spooled, made, before)
        self.bell.ring()
        return "duplicate" if is_here else "stored"

    def _has(self, before: Standing) -> bool:
        """Whether the platform has it, or its file here is the one that was acknowledged: else what comes now
        is needed."""
        if before.state == "delivered":
            return True
        path = self.files.path(before.path)
        try:
            return path.stat().st_size == before.size and sha256_of(path) == before.sha256
        except OSError:
            return False

    def _keep(self, spooled: Path, made: Received, before: Standing | None) -> None:
        """File and row. Raises Refused."""
        self.room.take(made.size)
        try:
            made = replace(made, path=self.files.place(spooled, made.sha256))
            self._note(made, before)
        except BaseException:
            self.room.give(made.size)
            raise

    def _note(self, made: Received, before: Standing | None) -> None:
        """Write its row. Raises Refused when the disk is too full even for that; its file is gone then."""
        try:
            if before is None:
                self.outbox.add(made)
            else:
                self.outbox.replace(before.n, made)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            if before is None or before.path != made.path:
                self.files.path(made.path).unlink(missing_ok=True)
            raise Refused(reasons.OUT_OF_RESOURCES) from error
        if before is not None:
            self.room.give(before.size)
            if before.path != made.path:
                self.files.path(before.path).unlink(missing_ok=True)

    @contextmanager
    def _alone(self, key: tuple[str, str]) -> Iterator[None]:
        """The same content on two associations at once is taken once."""
        with self._free:
            self._free.wait_for(lambda: key not in self._busy)
            self._busy.add(key)
        try:
            yield
        finally:
            with self._free:
                self._busy.discard(key)
                self._free.notify_all()


def is_urgent(rules: Set[tuple[str, str]], calling_ae: str, attributes: Mapping[str, Any]) -> bool:
    """By who sends it, its modality, or the priority that its request has."""
    priorities = [first(attributes, PRIORITY)]
    priorities += [first(item, PRIORITY) for item in attributes.get(REQUESTS, {}).get("Value", ())]
    found = {("ae", calling_ae.upper()), ("modality", first(attributes, "00080060").upper())}
    return not rules.isdisjoint(found | {("priority", one.upper()) for one in priorities})


def sweep(files: DicomFiles, outbox: Outbox, rules: Set[tuple[str, str]]) -> int:
    """At the start: what a killed gateway left in the spool goes, it was never acknowledged. A file without a
    row was not either, unless the outbox was lost or is an older copy: so it gets a row and is delivered when
    it is whole, and only goes when it is not. Returns how many went."""
    removed, needed, adopted = files.sweep(), outbox.paths(), 0
    for path in (files.root / "dicom").glob("*/*"):
        relative = path.relative_to(files.root).as_posix()
        if relative in needed or path.is_symlink() or not path.is_file():
            continue
        try:
            is_adopted = outbox.add(found) if (found := _found(path, relative, rules)) else False
        except OSError as error:
            log.error("a file that no row has cannot be read and is left: %s", error.strerror)
            continue
        adopted += is_adopted
        if not is_adopted:
            path.unlink(missing_ok=True)
            removed += 1
    if adopted:
        log.warning("%d files that no row had are delivered", adopted)
    return removed


def _found(path: Path, relative: str, rules: Set[tuple[str, str]]) -> Received | None:
    """The row of a file whose row is missing; None when it is not whole. Who sent it is not known any more.
    Raises OSError."""
    try:
        header = read_header(path)
    except Refused:
        return None
    (whole, dataset), known = digests(path), path.stat()
    if whole != path.name:
        return None
    return Received(
        header.instance, header.study, header.series, header.sop_class, whole, dataset, known.st_size,
        relative, "", known.st_mtime_ns // 1000, is_urgent(rules, "", header.attributes),
    )  # fmt: skip
