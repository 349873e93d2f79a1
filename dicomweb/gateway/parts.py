"""What the gateway's loops work with, opened once at the start; one gateway at a time on one folder."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dicomweb.files import DicomFiles
from dicomweb.gateway.bell import Bell
from dicomweb.gateway.intake import Room, sweep
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.pace import Line
from dicomweb.gateway.platform import Platform
from dicomweb.gateway.report import Reachable
from dicomweb.gateway.settings import GatewaySettings
from profiles.outcomes import Conflict


@dataclass(slots=True)
class State:
    """What only the running process knows. `problems`: loop → slug of what went wrong last, "" when it went
    well; `peers`: the site's systems as they were last found."""

    problems: dict[str, str] = field(default_factory=dict)
    peers: dict[str, bool] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, loop: str, problem: str) -> None:
        with self._lock:
            self.problems[loop] = problem

    def found(self, peer: str, *, reachable: bool) -> None:
        """A system of the site answered, or did not; `peer` is its Endpoint's id."""
        with self._lock:
            self.peers[peer] = reachable

    def reachable(self) -> tuple[Reachable, ...]:
        with self._lock:
            return tuple(Reachable(*one) for one in sorted(self.peers.items()))

    def said(self) -> dict[str, str]:
        with self._lock:
            return {loop: slug for loop, slug in self.problems.items() if slug}


@dataclass(frozen=True, slots=True)
class Parts:
    """`bell` rings when something came or is settled."""

    settings: GatewaySettings
    outbox: Outbox
    files: DicomFiles
    room: Room
    platform: Platform
    line: Line
    bell: Bell = field(default_factory=Bell)
    state: State = field(default_factory=State)


@contextmanager
def opened(settings: GatewaySettings) -> Iterator[Parts]:
    """Raises Conflict when another gateway runs on this folder, RowsMismatch."""
    settings.root.mkdir(parents=True, exist_ok=True)
    settings.root.chmod(0o700)
    with _alone(settings.root):
        files, outbox = DicomFiles(files_path(settings)), Outbox(outbox_path(settings))
        files.open()
        outbox.open()
        platform = Platform(settings)
        try:
            outbox.begin()
            sweep(files, outbox, settings.rules)
            room = Room(outbox, files, settings.quota, settings.reserve, outbox.summary().kept_bytes)
            yield Parts(settings, outbox, files, room, platform, Line(settings.rate * 1000))
        finally:
            platform.close()
            outbox.close()


def files_path(settings: GatewaySettings) -> Path:
    return settings.root / "files"


def outbox_path(settings: GatewaySettings) -> Path:
    return settings.root / "outbox.db"


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """A lock that the kernel gives back whatever ends the process."""
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("gateway-runs", f"a gateway runs on {root} already") from error
        yield
    finally:
        os.close(descriptor)


def is_running(settings: GatewaySettings) -> bool:
    """Whether a gateway holds the folder."""
    try:
        with _alone(settings.root):
            return False
    except (Conflict, FileNotFoundError) as error:
        return isinstance(error, Conflict)
