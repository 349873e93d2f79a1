"""No answer is lost between pynetdicom's two readers of one association.

An association's own thread looks for requests of the peer; whoever sends one of ours stops that thread first
and reads the answer. pynetdicom stops it by an event and a flag, set one after the other: the thread can be
past the event with the flag not yet taken back, and then takes our answer for a request and drops it. With
three busy threads in the process that befell one message in fifty; the sender then waits until the peer
gives up the idle association (30 s with most PACS).
"""

from __future__ import annotations

import threading
from typing import Any

from pynetdicom.association import Association

LOOK = 0.05  # seconds between two looks at whether the thread still lives


class Checkpoint:
    """Takes the place of the event: `clear` returns only once the thread is held in `wait`, or is over."""

    def __init__(self, association: Association) -> None:
        self._association = association
        self._changed = threading.Condition()
        self._is_open, self._is_held = True, False

    def is_set(self) -> bool:
        return self._is_open

    def set(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            self._is_held = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_open, timeout)
            self._is_held = False
            return self._is_open

    def clear(self) -> None:
        with self._changed:
            self._is_open = False
            while not self._is_held and self._runs_elsewhere():
                self._changed.wait(LOOK)

    def _runs_elsewhere(self) -> bool:
        """Not when its own thread asks: that one cannot be in the way of itself."""
        association = self._association
        alive = association.is_alive() and not association._kill
        return alive and threading.current_thread() is not association


def steady(event: Any) -> None:
    """To be bound to EVT_CONN_OPEN of associations that we request: before their thread starts."""
    association = event.assoc
    if not association.is_alive():
        association._reactor_checkpoint = Checkpoint(association)
