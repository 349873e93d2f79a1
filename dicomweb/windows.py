"""The look-up tables made so far, the last used kept. Apart from `rendered`, so that opening the images at
start-up needs no pixel library."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

TABLES = 128


class Windows:
    """One per process, for all threads."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[object, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def table(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """The table of this key; `make` is called when there is none, and may run twice at once."""
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        made = make()
        with self._lock:
            self._tables[key] = made
            while len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return made
