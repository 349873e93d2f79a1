"""The DICOM node beside Orthanc, by hand: `python -m bench.dimse`. The same files, alternating runs, medians.

Compare within a row only: machines are shared. Orthanc and DCMTK run with TCP_NODELAY, which is not their
default: with Nagle they store and send some 20 instances a second, and the comparison says nothing.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from tests.dicomweb import making, pacs
from tests.dicomweb.node import Node, caller
from tests.processes import unused_port

RUNS = 3
CT, SMALL = 300, 300
NODE_PROCESSES = 2


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    title: str
    pids: Callable[[], list[int]]

    def memory(self) -> float:
        """MB at the highest, of the largest process."""
        found = []
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            found.append(int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1000)
        return max(found)


def main() -> None:
    os.environ["TCP_NODELAY"] = "1"  # read by DCMTK, which Orthanc is made of
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, there = Path(name), unused_port()
        stack.enter_context(destination(folder, there))
        servers = [stack.enter_context(ours(folder, there)), stack.enter_context(orthanc(folder, there))]
        for what, count, side, associations in (
            ("C-STORE, CT of 0.5 MB, one association", CT, 512, 1),
            ("C-STORE, the same over four associations", CT, 512, 4),
            ("C-STORE, small instances", SMALL, 16, 1),
        ):
            found: dict[str, list[float]] = {one.name: [] for one in servers}
            for run in range(RUNS):
                for server in servers:
                    made = exam(folder / f"{side}-{associations}-{run}-{server.name}", count, side)
                    began = time.perf_counter()
                    store(server, made, associations)
                    found[server.name].append(count / (time.perf_counter() - began))
            show(what, found)
        print("peak memory: " + "; ".join(f"{one.name} {one.memory():.0f} MB" for one in servers), flush=True)
        study, made = str(generate_uid()), []
        made = exam(folder / "last", CT, 512, study)
        for server in servers:
            store(server, made, 1)
        for what, act in (
            ("C-GET, 300 CT", get),
            ("C-MOVE, 300 CT, one association", lambda server, uid: move(server, uid, "DEST")),
            ("C-MOVE, 300 CT, here over four", lambda server, uid: move(server, uid, "WIDE")),
        ):
            found = {one.name: [] for one in servers}
            for _run in range(RUNS):
                for server in servers:
                    began = time.perf_counter()
                    act(server, study)
                    found[server.name].append(CT / (time.perf_counter() - began))
            show(what, found)
        print("peak memory: " + "; ".join(f"{one.name} {one.memory():.0f} MB" for one in servers), flush=True)


def show(what: str, found: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    here, there = medians["here"], medians["Orthanc"]
    print(f"{what}: here {here:.0f}/s, Orthanc {there:.0f}/s: {here / there:.2f} ×", flush=True)


def exam(folder: Path, count: int, side: int, study: str = "") -> list[Path]:
    noise = np.random.default_rng(1).integers(0, 2000, (side, side), "<u2").tobytes()
    study, series = study or str(generate_uid()), str(generate_uid())
    folder.mkdir()
    return [
        making.write(folder / f"{n}.dcm", making.dataset(
            StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=str(generate_uid()),
            InstanceNumber=n, Rows=side, Columns=side, PixelData=noise,
        ))
        for n in range(1, count + 1)
    ]  # fmt: skip


def store(server: Server, paths: list[Path], associations: int) -> None:
    call = ["/usr/bin/storescu", "-aet", "BENCH", "-aec", server.title, "127.0.0.1", str(server.port)]
    senders = [subprocess.Popen([*call, *map(str, paths[n::associations])]) for n in range(associations)]
    for one in senders:
        if one.wait(300):
            raise SystemExit("storescu failed")


def get(server: Server, study: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        query = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
        call = ["-aet", "BENCH", "-aec", server.title, "127.0.0.1", str(server.port)]
        subprocess.run(["/usr/bin/getscu", "-S", "+B", "-od", name, *query, *call], check=True)


def move(server: Server, study: str, to: str) -> None:
    query = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    call = ["-aet", "BENCH", "-aec", server.title, "-aem", to, "127.0.0.1", str(server.port)]
    subprocess.run(["/usr/bin/movescu", "-S", *query, *call], check=True)


@contextlib.contextmanager
def destination(folder: Path, port: int) -> Iterator[None]:
    process = subprocess.Popen(["/usr/bin/storescp", "--fork", "--ignore", str(port)], cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def ours(folder: Path, there: int) -> Iterator[Server]:
    """Two processes, as many as this machine has cores."""
    at = f"127.0.0.1:{there}"
    node = Node(
        folder / "node", unused_port(), caller("BENCH", at), caller("DEST", at),
        caller("WIDE", at, connections=4), dimse_processes=NODE_PROCESSES,
    )  # fmt: skip
    node.start()
    try:
        yield Server("here", node.port, "TELEDOSSIER", node.children)
    finally:
        node.stop()


@contextlib.contextmanager
def orthanc(folder: Path, there: int) -> Iterator[Server]:
    modalities = {name: [name, "127.0.0.1", there] for name in ("DEST", "WIDE")}
    with pacs.orthanc(folder / "orthanc", unused_port(), unused_port(), DicomModalities=modalities) as found:
        yield Server("Orthanc", found.peer.port, "ORTHANC", lambda: [found.process.pid])


if __name__ == "__main__":
    main()
