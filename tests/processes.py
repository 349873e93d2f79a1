"""What tests of several processes need: ports that nobody has, and waiting for what another process does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def unused_ports(count: int) -> list[int]:
    """TCP ports of the loopback interface that were free a moment ago, each another."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return found


def unused_port() -> int:
    """One of them."""
    return unused_ports(1)[0]


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Poll until true: what another process does has no event to wait on."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.03)
    return True
