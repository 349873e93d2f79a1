"""Ids of new resources: random UUIDs, so that nobody can guess what was not shown to them.

The system is asked for random bytes 256 ids at a time: a question for each costs more than the rest of an id,
a hundred times more on a busy virtual machine. RFC 9562 §5.4
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import UUID

_AT_ONCE = 256
_SIZE = 16


@dataclass(slots=True)
class NewIds:
    """One per process; the event loop alone calls it."""

    _bytes: bytes = b""
    _at: int = 0

    def __call__(self) -> str:
        """The next one."""
        if self._at >= len(self._bytes):
            self._bytes, self._at = os.urandom(_AT_ONCE * _SIZE), 0
        self._at += _SIZE
        return str(UUID(bytes=self._bytes[self._at - _SIZE : self._at], version=4))
