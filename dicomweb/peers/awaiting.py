"""One errand on the board, as who asked it looks at it: answers as they come, and whether to wait on.

Whoever waits looks every few milliseconds (about 20 µs), says that he still waits, and gives up when the
gateway was not seen for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dicomweb.gateway.errand import MOVING, Kind, raised
from dicomweb.gateway.region.board import Asked, Board, Standing
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Unreachable

SILENT = 40.0  # seconds without a sign of life: a poll waits 25 s at most
UNTAKEN = 10.0  # seconds within which a gateway that is there takes an errand
LONGEST: Mapping[Kind, float] = {"find": 120.0, "echo": 30.0, "step": 120.0, "commit": 120.0}
TOUCH = 5.0
QUICK, CALM = 0.004, 0.02  # seconds between two looks: at first, and after a second without an answer


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the errands of one session are posted. `now`: UTC microseconds. `idle` is called while nothing
    comes; what it raises ends the waiting."""

    peer: Peer
    board: Board
    now: Callable[[], int]
    idle: Callable[[], None] = lambda: None

    def ask(self, kind: Kind, line: str, asked: Mapping[str, Any], files: Sequence[Path] = ()) -> Awaited:
        """Post an errand. Raises Unreachable for a gateway that was not seen for a while."""
        self.is_there()
        body = Asked(self.peer.via, kind, self.peer, line, asked, kind in MOVING, files)
        return Awaited(self, kind, self.board.ask(body, self.now()))

    def is_there(self) -> None:
        """Raises Unreachable."""
        if self.now() - self.board.seen(self.peer.via) > SILENT * 1e6:
            raise Unreachable("gateway-silent", "the gateway of the site does not answer")


@dataclass(slots=True)
class Awaited:
    """`drop` it in the end, whatever came of it."""

    desk: Desk
    kind: Kind
    id: str
    began: float = field(default_factory=time.monotonic)
    _touched: float = field(default_factory=time.monotonic)
    _news: float = field(default_factory=time.monotonic)
    _read: int = 0

    def look(self) -> Standing:
        """How it stands, with the answers that are new: those of a search all at its end, as a gateway that
        begins anew has its first ones forgotten. Raises Unreachable, and whatever went wrong at the site when
        nothing is left to read."""
        found = self.desk.board.standing(self.id, self._read)
        if found is None:
            raise Unreachable("errand-lost", "the errand is gone from the board")
        if self.kind == "find" and found.outcome is None:
            found = replace(found, answers=())
        if found.answers:
            self._read += len(found.answers)
            self._news = time.monotonic()
        elif found.outcome is not None:
            if error := raised(found.outcome):
                raise error
        else:
            self._wait_on(found)
        return found

    def _wait_on(self, found: Standing) -> None:
        at = time.monotonic()
        if at - self._touched > TOUCH:
            self._touched = at
            self.desk.board.touch(self.id, self.desk.now())
            self.desk.is_there()
        if found.state == "waiting" and found.attempt == 0 and at - self.began > UNTAKEN:
            raise Unreachable("gateway-silent", "the gateway of the site does not answer")
        if at - self.began > LONGEST.get(self.kind, float("inf")):
            raise Unreachable("no-answer", "the peer behind the gateway did not answer in time")

    def pause(self) -> None:
        """Until the next look. Raises whatever `idle` raises."""
        self.desk.idle()
        time.sleep(QUICK if time.monotonic() - self._news < 1 else CALM)

    def drop(self) -> None:
        """Its gateway is told so at its next answer."""
        self.desk.board.drop(self.id)
