"""The clock of the store and of the images: UTC microseconds since 1970."""

from __future__ import annotations

import time


def utc_microseconds() -> int:
    """Now."""
    return time.time_ns() // 1000
