"""The web tier as its own process with no authentication, as a viewer on this machine meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.processes import unused_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Served:
    """`base` is the DICOMweb address, `files` the folder of the images, `pid` the web tier's process."""

    base: str
    files: Path
    pid: int
    log: Path

    def spooled(self) -> list[str]:
        return sorted(path.name for path in (self.files / "spool").glob("*"))

    def resident(self) -> int:
        """Bytes of memory that the web tier and its children hold now."""
        return sum(_resident(pid) for pid in (self.pid, *self.children()))

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for path in found for pid in path.read_text().split()]


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Served]:
    """`teledossier serve` in an empty folder; its end without a signal, or a traceback, fails the test."""
    port = unused_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")},
        "PYTHONPATH": str(ROOT), "TELEDOSSIER_AUTH": "open", "TELEDOSSIER_PORT": str(port),
        **{f"TELEDOSSIER_{name}": value for name, value in settings.items()},
    }  # fmt: skip
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_server", "serve"],
            cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _ready(url, process, log)
        yield Served(f"{url}/dicom-web", folder / "var" / "files", process.pid, log)
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
    _before, broken, after = log.read_text().partition("Traceback")
    assert not broken, after[:4000]


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the web tier is not ready:\n{log.read_text()}")
