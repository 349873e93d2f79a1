"""How fast, and how soon again: waits that grow, and the line as the urgent and the routine lane share it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

POLITE = 2.0  # seconds that a routine request stands still at most, so that no proxy gives it up


@dataclass(slots=True)
class Waits:
    """Growing waits with jitter: `first`, doubled each time, at most `longest` seconds."""

    first: float
    longest: float
    spread: Callable[[float, float], float] = random.uniform
    failures: int = 0

    def next(self) -> float:
        whole = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return self.spread(whole / 2, whole)


@dataclass(slots=True)
class Line:
    """The line to the platform as the two lanes share it: how many urgent requests are under way, and the
    rate of the others in bytes per second (0: no limit)."""

    rate: int
    _urgent: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def urgent(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        with self._changed:
            self._urgent += 1
        try:
            yield from chunks
        finally:
            with self._changed:
                self._urgent -= 1
                self._changed.notify_all()

    def routine(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Paced, and standing back from what is urgent."""
        due = time.monotonic()
        for chunk in chunks:
            with self._changed:
                self._changed.wait_for(lambda: not self._urgent, POLITE)
            yield chunk
            if self.rate:
                due = max(due + len(chunk) / self.rate, time.monotonic() - 1)
                if (wait := due - time.monotonic()) > 0:
                    time.sleep(wait)
