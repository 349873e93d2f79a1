"""A DICOM node as its own process, as in operation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicomweb.dimse.spool import HELD
from dicomweb.files import DicomFiles
from dicomweb.index.sqlite import SqliteIndex, open_index
from fhir_server.settings import Settings

ROOT = Path(__file__).parents[2]


class Node:
    """Start, kill and restart; `index` reads what it keeps."""

    def __init__(self, folder: Path, port: int, peers: str = "", **more: Any) -> None:
        self.port = port
        self.settings = Settings(
            store=f"sqlite:///{folder / 'store.db'}",
            files=str(folder / "files"),
            dimse_port=port,
            dimse_peers=peers,
            **more,
        )
        self.files = DicomFiles(self.settings.files_path)
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT),
            **{f"TELEDOSSIER_{name.upper()}": str(value) for name, value in asdict(self.settings).items()
               if value != getattr(Settings(), name)},
        }  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "node.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicomweb.dimse"],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"listening {self.port}\n"

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code

    def index(self) -> SqliteIndex:
        """Opened; the caller closes it."""
        opened = open_index(self.settings)
        opened.open()
        return opened

    def spooled(self) -> list[str]:
        """What is left of datasets on their way in, whichever process received them."""
        return sorted(
            path.name for path in self.files.spool.rglob("*") if path.is_file() and path.name != HELD
        )

    def children(self) -> list[int]:
        """The processes that a supervisor keeps."""
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(one) for one in found.split()]

    def peak_memory(self) -> int:
        """Bytes of resident memory at its highest."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
