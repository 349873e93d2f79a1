"""Images, measured by hand: `python -m bench.dicom`, beside Orthanc where it is installed with its DICOMweb
plugin.

The same files, alternating runs, medians; this server as it is run (`serve`, open mode, one worker;
`dimse`). Compare with figures of the same hour only: machines are shared.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pydicom
from pydicom.uid import generate_uid

from dicomweb.peers.peer import DIMSE, EXTENSION
from tests.dicomweb import making

ROOT = Path(__file__).parents[1]
COUNT = 300
RUNS = 3
ORTHANC, PLUGINS = "/usr/sbin/Orthanc", "/usr/share/orthanc/plugins"
FRAME = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
BATCH = 25  # instances in one STOW-RS request


@dataclass(frozen=True)
class Server:
    """One of the two. `pids` are its processes."""

    name: str
    web: str
    dicom: int
    title: str
    pids: tuple[int, ...]
    folder: Path

    def memory(self) -> int:
        """Bytes of resident memory, at the highest, of the largest process."""
        found = []
        for pid in self.pids:
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            found.append(int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024)
        return max(found)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        servers = [stack.enter_context(ours(folder / "ours"))]
        if Path(ORTHANC).exists() and Path(PLUGINS).exists():
            servers.append(stack.enter_context(orthanc(folder / "orthanc")))
        for what, act in (
            ("C-STORE, CT of 0.5 MB, one association", store_by_dicom),
            ("STOW-RS, the same", store_by_web),
        ):
            rates: dict[str, list[float]] = {server.name: [] for server in servers}
            for run in range(RUNS):
                for server in servers:
                    paths = exam(folder / f"{act.__name__}-{run}-{server.name}")
                    began = time.perf_counter()
                    act(server, paths)
                    rates[server.name].append(COUNT / (time.perf_counter() - began))
            show(what, {name: f"{statistics.median(found):.0f}/s" for name, found in rates.items()})
        show("peak memory after that", {one.name: f"{one.memory() / 1e6:.0f} MB" for one in servers})
        study = str(pydicom.dcmread(paths[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
        reading(servers, paths, study)


def reading(servers: list[Server], paths: list[Path], study: str) -> None:
    """The last exam is stored in both under the same UIDs."""
    for server in servers:
        store_by_web(server, paths)
    head = pydicom.dcmread(paths[0], stop_before_pixels=True)
    instance = f"/studies/{study}/series/{head.SeriesInstanceUID}/instances/{head.SOPInstanceUID}"
    dicom = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    json_type = {"Accept": "application/dicom+json"}
    for what, path, headers, runs in (
        ("QIDO-RS, exact key", f"/studies?PatientID={head.PatientID}", json_type, 30),
        ("QIDO-RS, wildcard", "/studies?PatientName=LAB*&limit=50", json_type, 30),
        ("series metadata, 300 instances", f"/studies/{study}/metadata", json_type, 7),
        ("frame rendered as JPEG", f"{instance}/frames/1/rendered", {"Accept": "image/jpeg"}, 30),
        ("one instance", instance, dicom, 30),
    ):
        show(what, {one.name: f"{median(one, path, headers, runs) * 1000:.1f} ms" for one in servers})
    frame = f"{instance}/frames/1"
    cold = {"metadata": (f"/studies/{study}/metadata", json_type), "a frame": (frame, FRAME)}
    for what, (path, headers) in cold.items():
        times: dict[str, list[float]] = {one.name: [] for one in servers}
        for _run in range(RUNS):
            for one in servers:
                forgotten(one.folder)
                times[one.name].append(median(one, path, headers, 1))
        show(f"cold, {what}", {name: f"{statistics.median(f) * 1000:.1f} ms" for name, f in times.items()})
    size = sum(path.stat().st_size for path in paths)
    rates = {one.name: size / 1e6 / median(one, f"/studies/{study}", dicom, 5) for one in servers}
    show(
        f"WADO-RS, whole study, {size / 1e6:.0f} MB",
        {name: f"{rate:.0f} MB/s" for name, rate in rates.items()},
    )
    times = {one.name: moved(one, study) for one in servers}
    show("C-GET, 300 CT", {name: f"{COUNT / seconds:.0f}/s" for name, seconds in times.items()})
    found = {one.name: asked(one, str(head.PatientID)) for one in servers}
    show("C-FIND by identifier", {name: f"{seconds * 1000:.1f} ms" for name, seconds in found.items()})
    show("peak memory after all", {one.name: f"{one.memory() / 1e6:.0f} MB" for one in servers})


def show(what: str, figures: dict[str, str]) -> None:
    print(f"{what}: " + "; ".join(f"{name} {figure}" for name, figure in figures.items()), flush=True)


def exam(folder: Path) -> list[Path]:
    """300 instances under UIDs of their own, the pixels noise."""
    noise = np.random.default_rng(1).integers(0, 2000, (512, 512), "<u2").tobytes()
    study, series = str(generate_uid()), str(generate_uid())
    folder.mkdir()
    return [
        making.write(folder / f"{n}.dcm", making.dataset(
            StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=str(generate_uid()),
            InstanceNumber=n, Rows=512, Columns=512, PixelData=noise,
        ))
        for n in range(1, COUNT + 1)
    ]  # fmt: skip


def store_by_dicom(server: Server, paths: list[Path]) -> None:
    call = ["/usr/bin/storescu", "-aet", "BENCH", "-aec", server.title, "127.0.0.1", str(server.dicom)]
    subprocess.run([*call, *map(str, paths)], check=True, env={**os.environ, "TCP_NODELAY": "1"})


def store_by_web(server: Server, paths: list[Path]) -> None:
    boundary = uuid4().hex.encode()  # as clients make them
    kind = f'multipart/related; type="application/dicom"; boundary={boundary.decode()}'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    with httpx.Client(timeout=120) as client:
        for start in range(0, len(paths), BATCH):
            body = b"".join(
                b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (boundary, path.read_bytes())
                for path in paths[start : start + BATCH]
            )
            client.post(
                f"{server.web}/studies", content=body + b"--%b--" % boundary, headers=headers
            ).raise_for_status()


def median(server: Server, path: str, headers: dict[str, str], runs: int) -> float:
    """Seconds."""
    times = []
    with httpx.Client(timeout=120) as client:
        for _run in range(runs):
            began = time.perf_counter()
            with client.stream("GET", server.web + path, headers=headers) as answer:
                answer.raise_for_status()
                for _chunk in answer.iter_raw():
                    pass
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def forgotten(folder: Path) -> None:
    """The system's cache no longer has what is in these files."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def moved(server: Server, study: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
        call = ["-aet", "BENCH", "-aec", server.title, "127.0.0.1", str(server.dicom)]
        began = time.perf_counter()
        subprocess.run(["/usr/bin/getscu", "-S", "+B", "-od", name, *keys, *call], check=True)
        return time.perf_counter() - began


def asked(server: Server, patient: str) -> float:
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"PatientID={patient}", "-k", "StudyInstanceUID"]
    call = ["-aet", "BENCH", "-aec", server.title, "127.0.0.1", str(server.dicom)]
    many = 20
    began = time.perf_counter()
    subprocess.run(
        ["/usr/bin/findscu", "-S", "--repeat", str(many), *keys, *call], check=True, capture_output=True
    )
    return (time.perf_counter() - began) / many


def free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def caller() -> dict[str, Any]:
    """What the directory says of the one who asks."""
    uses = [{"url": "use", "valueCode": code} for code in ("accept-store", "accept-query", "accept-all")]
    return {
        "resourceType": "Endpoint", "id": "bench", "status": "active", "name": "bench",
        "connectionType": {"system": DIMSE[0], "code": DIMSE[1]}, "address": "dicom://127.0.0.1:1/BENCH",
        "payloadType": [{"text": "DICOM"}], "extension": [{"url": EXTENSION, "extension": uses}],
    }  # fmt: skip


@contextlib.contextmanager
def ours(folder: Path) -> Iterator[Server]:
    """`serve` and `dimse`, in open mode."""
    folder.mkdir()
    web, dicom = free(), free()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "TELEDOSSIER_AUTH": "open", "TELEDOSSIER_LOG_LEVEL": "warning",
        "TELEDOSSIER_STORE": f"sqlite:///{folder / 'store.db'}", "TELEDOSSIER_FILES": str(folder / "files"),
        "TELEDOSSIER_PORT": str(web), "TELEDOSSIER_DIMSE_PORT": str(dicom),
    }  # fmt: skip
    commands = [[sys.executable, "-m", "fhir_server", "serve"], [sys.executable, "-m", "dicomweb.dimse"]]
    processes = [
        subprocess.Popen(one, cwd=folder, env=environment, stdout=subprocess.DEVNULL) for one in commands
    ]
    try:
        base = f"http://127.0.0.1:{web}/dicom-web"
        until(lambda: httpx.get(f"{base}/studies").status_code == 204)
        httpx.put(f"http://127.0.0.1:{web}/fhir/Endpoint/bench", json=caller()).raise_for_status()
        until(lambda: listens(dicom))
        yield Server("here", base, dicom, "TELEDOSSIER", tuple(one.pid for one in processes), folder)
    finally:
        stop(processes)


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    """Debian's Orthanc with its DICOMweb plugin."""
    folder.mkdir()
    web, dicom = free(), free()
    settings = {
        "Name": "bench", "DicomAet": "ORTHANC",
        "StorageDirectory": str(folder), "IndexDirectory": str(folder),
        "DicomPort": dicom, "HttpPort": web, "AuthenticationEnabled": False, "Plugins": [PLUGINS],
        "RemoteAccessAllowed": False, "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomAlwaysAllowMove": True,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [ORTHANC, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        base = f"http://127.0.0.1:{web}/dicom-web"
        until(lambda: httpx.get(f"{base}/studies").status_code == 200)
        yield Server("Orthanc", base, dicom, "ORTHANC", (process.pid,), folder)
    finally:
        stop([process])


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, httpx.TransportError):
            if condition():
                return
        time.sleep(0.1)
    raise SystemExit("a server does not start")


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(30)


if __name__ == "__main__":
    main()
