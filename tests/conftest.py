"""Fixtures for every room: peers, free ports, a running process that is always stopped."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

# What a peer is called in `@pytest.mark.peer(name)`, and where Debian puts it: in a virtual environment
# pynetdicom's own storescu would shadow DCMTK's, so the full path counts.
PEERS = {
    "dcmtk": "/usr/bin/storescu",
    "orthanc": "/usr/sbin/Orthanc",
    "chromium": "/usr/bin/chromium",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that needs a peer runs where it is installed; with REQUIRE_PEERS=1 its absence is a failure."""
    for marker in item.iter_markers("peer"):
        name = marker.args[0]
        if Path(PEERS[name]).exists() or shutil.which(Path(PEERS[name]).name):
            continue
        message = f"the peer program {name} ({PEERS[name]}) is not installed"
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
