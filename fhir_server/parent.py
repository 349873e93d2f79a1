"""A child of `multiprocessing` that does not outlive its parent, however that ends.

What a child reads from keeps itself open, so the end of the parent alone is no end of its work: a killed web
tier would leave children that hold its port, or wait for frames to decode for ever.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing import connection


def leave_with_parent(leave: Callable[[], object]) -> None:
    """`leave` is called, in a thread of its own, once the parent is gone; without one nothing is done."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        leave()

    threading.Thread(target=watch, name="parent", daemon=True).start()
