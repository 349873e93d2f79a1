"""Fixtures for every room: peers, free ports, a running process that is always stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from tests.mongodb import FERRETDB, GIVEN, NotBuilt, Server, built, given, running
from tests.processes import unused_port

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
        missing(f"the peer program {name} ({PEERS[name]}) is not installed")


def missing(message: str) -> NoReturn:
    """Skip for want of a peer program; fail where none may be missing."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    return unused_port()


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """The server behind an engine name of `tests.mongodb.ENGINES`; FerretDB is built and started once."""
    with ExitStack() as stack:
        started: dict[str, Server] = {}
        failed: list[str] = []

        def start(engine: str) -> Server:
            if engine == GIVEN:
                return given()
            if FERRETDB not in started:
                if not failed:
                    folder = tmp_path_factory.mktemp("ferretdb")
                    try:
                        program = built(folder)
                    except NotBuilt as error:
                        failed.append(str(error))
                if failed:
                    missing(failed[0])
                started[FERRETDB] = stack.enter_context(running(program, folder))
            return started[FERRETDB]

        yield start


@pytest.fixture
def store_url(mongodb_server: Callable[[str], Server], tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """The TELEDOSSIER_STORE of a fresh, empty store of an engine; databases are dropped afterwards."""
    with ExitStack() as stack:

        def url(engine: str) -> str:
            if engine == "sqlite":
                return f"sqlite:///{tmp_path / 'store.db'}"
            return stack.enter_context(mongodb_server(engine).database())

        yield url
