"""Real PACS on the loopback interface: Orthanc, and DCMTK's dcmqrscp."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dicomweb.peers.peer import Peer

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@dataclass
class Pacs:
    """`peer` by DIMSE, `web` by DICOMweb (Orthanc alone); `http` is Orthanc's own interface."""

    peer: Peer
    web: Peer
    http: str
    process: subprocess.Popen[bytes]

    def instances(self) -> list[str]:
        """The SOP Instance UIDs it has, sorted; one that it has twice would stand here twice."""
        found = httpx.get(f"{self.http}/instances?expand", timeout=20).json()
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in found)

    def give(self, to: str) -> None:
        """C-STORE of all it has to one of its modalities."""
        found = httpx.get(f"{self.http}/instances", timeout=20).json()
        httpx.post(f"{self.http}/modalities/{to}/store", json=found, timeout=60).raise_for_status()

    def load(self, paths: list[Path]) -> None:
        with httpx.Client(base_url=self.http, timeout=20) as client:
            for path in paths:
                client.post("/instances", content=path.read_bytes()).raise_for_status()


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def answering(host: str, port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert process.poll() is None, "the PACS ended"
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the PACS does not answer")


@contextmanager
def orthanc(folder: Path, port: int, http: int, *, move_to: int = 1, **more: Any) -> Iterator[Pacs]:
    """Orthanc with its DICOMweb plugin; `move_to`: the port of our node."""
    folder.mkdir(parents=True)
    configuration = {
        "Name": "PACS", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "HttpPort": http, "DicomPort": port, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "Plugins": [PLUGIN], "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False,
        "DicomModalities": {"us": ["TELEDOSSIER", "127.0.0.1", move_to]}, "ConcurrentJobs": 2,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False}, **more,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/sbin/Orthanc", str(folder / "orthanc.json")],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    try:
        answering("127.0.0.1", port, process)
        uses, verify = frozenset({"query", "relay"}), "presence"
        peer = Peer(
            "pacs",
            "PACS",
            "Organization/ch-auch",
            "dimse",
            "127.0.0.1",
            port,
            "ORTHANC",
            uses=uses,
            verify=verify,
        )
        url = f"http://127.0.0.1:{http}/dicom-web"
        web = Peer("pacs-web", "PACS", "Organization/ch-auch", "web", url=url, uses=uses)
        yield Pacs(peer, web, f"http://127.0.0.1:{http}", process)
    finally:
        _ended(process)


@contextmanager
def dcmqrscp(folder: Path, port: int, move_to: int) -> Iterator[Peer]:
    """DCMTK's query/retrieve application."""
    with qrscp(folder, port, move_to):
        yield Peer("qrscp", "PACS", "Organization/ch-auch", "dimse", "127.0.0.1", port, "DCMQRSCP")


@contextmanager
def qrscp(folder: Path, port: int, move_to: int) -> Iterator[subprocess.Popen[bytes]]:
    """Its process."""
    (folder / "files").mkdir(parents=True)
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 65536\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nus = (TELEDOSSIER, 127.0.0.1, {move_to})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nDCMQRSCP {folder}/files RW (200, 1024mb) ANY\nAETable END\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/bin/dcmqrscp", "-c", str(folder / "dcmqrscp.cfg")],
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    try:
        answering("127.0.0.1", port, process)
        yield process
    finally:
        _ended(process)
