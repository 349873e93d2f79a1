"""What wakes the gateway's loops: something came, or something is settled."""

from __future__ import annotations

import threading


class Bell:
    """Each listener keeps the number it has heard; what rang before it listens is not missed."""

    def __init__(self) -> None:
        self._rung = 0
        self._changed = threading.Condition()

    @property
    def rung(self) -> int:
        return self._rung

    def ring(self) -> None:
        with self._changed:
            self._rung += 1
            self._changed.notify_all()

    def wait(self, heard: int, seconds: float | None) -> int:
        """Until it rings after `heard`, or for so long; returns what is heard now."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung != heard, seconds)
            return self._rung
