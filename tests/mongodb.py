"""Servers that speak the MongoDB protocol, for the tests of the engine and of the platform on it.

FerretDB is built from `tests/peers/ferretdb` (Go fetches what it needs, once) and serves from a folder of the
run. TELEDOSSIER_TEST_MONGODB_URI names one more server, whose account may create and drop databases.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from pymongo import MongoClient

from tests.processes import unused_port

FERRETDB, GIVEN = "ferretdb", "mongodb"
URI = os.environ.get("TELEDOSSIER_TEST_MONGODB_URI", "")
ENGINES = ("sqlite", FERRETDB, *([GIVEN] if URI else []))
SLOWLY = ("sqlite", *(pytest.param(engine, marks=pytest.mark.slow) for engine in ENGINES[1:]))
TRANSACTIONAL = tuple(engine for engine in ENGINES if engine != FERRETDB)
SOURCE = Path(__file__).parent / "peers" / "ferretdb"


@dataclass(frozen=True)
class Server:
    """`uri` is the address of the server, whatever database it names."""

    uri: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a new, empty database; dropped at the end."""
        name = f"teledossier_test_{uuid4().hex[:12]}"
        parts = urlsplit(self.uri)
        try:
            yield urlunsplit(parts._replace(path="/" + name))
        finally:
            client: MongoClient[dict[str, object]] = MongoClient(self.uri)
            client.drop_database(name)
            client.close()


def given() -> Server:
    """The server of TELEDOSSIER_TEST_MONGODB_URI."""
    return Server(URI)


class NotBuilt(Exception):
    """FerretDB is not to be had on this machine; the text says why."""


def built(folder: Path) -> Path:
    """The FerretDB program, built into that folder. Raises NotBuilt."""
    if shutil.which("go") is None:
        raise NotBuilt("Go is not installed: FerretDB, the MongoDB-protocol peer, cannot be built")
    program = folder / "ferretdb"
    command = ["go", "build", "-o", str(program), "."]
    try:
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=280)
    except subprocess.TimeoutExpired:
        raise NotBuilt("FerretDB was not built in 280 s") from None
    if done.returncode != 0:
        raise NotBuilt(f"FerretDB cannot be built here: {done.stderr.strip()[-500:]}")
    return program


@contextmanager
def running(program: Path, folder: Path) -> Iterator[Server]:
    """FerretDB on a free port of the loopback interface, its data in that folder."""
    address = f"127.0.0.1:{unused_port()}"
    data = folder / "data"
    data.mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(program), address, str(data)], stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready, (folder / "log").read_text()
        assert process.stdout.readline(), (folder / "log").read_text()
        yield Server(f"mongodb://{address}/")
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
