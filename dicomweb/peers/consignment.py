"""Instances on their way to a peer behind a gateway, several an errand, several errands under way.

    ready ──▶ gathered ── fewer than UNDER_WAY errands on the board ──▶ errand ──▶ settled

The first goes alone and at once; while it is on its way those that get ready gather and go together in the
next. So nothing waits for a batch to fill, and what an errand costs by itself (a poll, a download, an answer:
some 30 ms) is shared by as many as came meanwhile. The gateway has the next errand's files while it sends
those of the one before. What is under way is bounded in bytes: a disk at the site holds it, what breaks goes
again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicomweb.files import sha256_of
from dicomweb.peers.awaiting import Awaited, Desk
from dicomweb.peers.session import PeerError, Sendable, Sent

UNDER_WAY = 2  # errands while more gathers
WORTH = 4  # instances for which a second errand is posted, while there are more to come
MOST_TOGETHER, MOST_BYTES = 16, 8_000_000  # of one errand


@dataclass(slots=True)
class _Errand:
    awaited: Awaited
    instances: Sequence[Sendable]
    bytes: int
    settled: int = 0

    def is_whole(self) -> bool:
        return self.settled == len(self.instances)

    def sent(self, answer: Mapping[str, Any]) -> Sent:
        """Raises PeerError for an answer about another instance."""
        if self.is_whole() or answer["instance"] != self.instances[self.settled].instance:
            raise PeerError("bad-answer", "the gateway answered about another instance")
        self.settled += 1
        return Sent(answer["instance"], answer.get("fault", ""))


@dataclass(slots=True)
class Consignment:
    """`window`: bytes under way at most; one instance always goes."""

    desk: Desk
    line: str
    ready: Iterator[Sendable]
    window: int
    _gathered: list[Sendable] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)
    _under_way: deque[_Errand] = field(default_factory=deque)

    def settled(self) -> Generator[Sent, None, None]:
        """Raises PeerError."""
        self.desk.is_there()
        try:
            while True:
                gathered = self._gather()
                if not gathered or not self._under_way or len(self._gathered) >= WORTH:
                    self._post()
                if not self._under_way:
                    return
                settled = self._look()
                yield from settled
                if not settled and not gathered and self._under_way:
                    self._under_way[0].awaited.pause()
        finally:
            for one in self._under_way:
                one.awaited.drop()

    def _gather(self) -> bool:
        """One more; False when there is none or no room."""
        if not self._has_room() or (one := next(self.ready, None)) is None:
            return False
        self._gathered.append(one)
        self._sizes.append(one.path.stat().st_size)
        return True

    def _has_room(self) -> bool:
        held = sum(self._sizes) + sum(one.bytes for one in self._under_way)
        return not held or (held < self.window and not self._is_full())

    def _is_full(self) -> bool:
        return len(self._gathered) >= MOST_TOGETHER or sum(self._sizes) >= MOST_BYTES

    def _post(self) -> None:
        """Raises Unreachable."""
        if not self._gathered or len(self._under_way) >= UNDER_WAY:
            return
        rows = [
            [one.instance, one.sop_class, one.transfer_syntax, size, one.sha256 or sha256_of(one.path)]
            for one, size in zip(self._gathered, self._sizes, strict=True)
        ]
        files = [one.path for one in self._gathered]
        awaited = self.desk.ask("send", self.line, {"instances": rows}, files)
        self._under_way.append(_Errand(awaited, tuple(self._gathered), sum(self._sizes)))
        self._gathered.clear()
        self._sizes.clear()

    def _look(self) -> list[Sent]:
        """What the first errand under way has settled; the next is looked at after it. Raises PeerError."""
        first = self._under_way[0]
        found = first.awaited.look()
        settled = [first.sent(one) for one in found.answers]
        if not found.answers and found.outcome is not None:
            if not first.is_whole():
                raise PeerError("bad-answer", "the gateway did not say what became of an instance")
            first.awaited.drop()
            self._under_way.popleft()
        return settled
