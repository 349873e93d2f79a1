"""The one clock: UTC microseconds since 1970, as the store counts them; JOSE and OAuth count whole
seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
SECOND = 1_000_000


def now() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000


def seconds(at: int) -> int:
    """Whole seconds of a moment in microseconds: a JOSE NumericDate. RFC 7519 §2"""
    return at // SECOND
