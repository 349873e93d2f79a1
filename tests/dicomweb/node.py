"""A DICOM node as its own process, as in operation."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from dicomweb.dimse.spool import HELD
from dicomweb.files import DicomFiles
from dicomweb.index.sqlite import SqliteIndex, open_index
from dicomweb.peers.peer import DIMSE, EXTENSION
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Put

ROOT = Path(__file__).parents[2]


def caller(title: str, at: str, organisation: str = "", **parts: Any) -> dict[str, Any]:
    """The Endpoint of an AE that calls us and may ask for everything; without an organisation it sees all.
    `parts` of the extension by name, a list for several; `use` replaces what it may."""
    uses = ["store", "query", "worklist", "steps", "commitment", *([] if organisation else ["all"])]
    named = {"use": [f"accept-{one}" for one in uses], **parts}
    made: dict[str, Any] = {
        "resourceType": "Endpoint", "id": title.lower().replace("_", "-"), "status": "active",
        "connectionType": {"system": DIMSE[0], "code": DIMSE[1]}, "address": f"dicom://{at}/{title}",
        "extension": [{"url": EXTENSION, "extension": [
            {"url": name.replace("_", "-"), "value": value}
            for name, values in named.items() for value in (values if isinstance(values, list) else [values])
        ]}],
    }  # fmt: skip
    if organisation:
        made["managingOrganization"] = {"reference": f"Organization/{organisation}"}
    return made


class Node:
    """Start, kill and restart; `index` reads what it keeps."""

    def __init__(self, folder: Path, port: int, *endpoints: Mapping[str, Any], **more: Any) -> None:
        self.port, self.endpoints = port, endpoints
        self.settings = Settings(
            store=f"sqlite:///{folder / 'store.db'}",
            files=str(folder / "files"),
            dimse_port=port,
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
        if self.endpoints:
            asyncio.run(self.know(*self.endpoints))
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

    async def know(self, *endpoints: Mapping[str, Any]) -> None:
        """Write them into the directory."""
        store = open_store(self.settings)
        await store.open()
        for one in endpoints:
            known = (await store.read_many([("Endpoint", one["id"])])).get(("Endpoint", one["id"]))
            expect, body = known.version if known else 0, orjson.dumps(one)
            await store.commit(
                [Put("Endpoint", one["id"], expect, 1, "update" if expect else "create", body)]
            )
        await store.close()

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
