"""The worker killed (SIGKILL) at any point: nothing acknowledged is missing, nothing is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from dicomweb.dimse.spool import spooling
from dicomweb.images import Images, open_images
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import EXTENSION, Credentials, Peer
from dicomweb.peers.session import Sendable
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import Order, Transfer
from fhir_server import opening
from fhir_server.settings import Settings
from tests.dicomweb import making
from tests.dicomweb.node import Node
from tests.dicomweb.pacs import answering, orthanc, qrscp
from tests.dicomweb.test_peers import endpoint
from tests.processes import unused_ports

ROOT = Path(__file__).parents[2]
PAYLOAD = [
    {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}
]
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.peer("orthanc"),
]


class WorkerProcess:
    """`teledossier worker` on these settings."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")},
            "PYTHONPATH": str(ROOT),
            "TELEDOSSIER_STORE": settings.store,
            "TELEDOSSIER_FILES": settings.files,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fhir_server", "worker"],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(40)
            self.process = None


@contextmanager
def opened(settings: Settings) -> Iterator[Images]:
    images = open_images(settings, None)  # type: ignore[arg-type]
    try:
        yield images
    finally:
        images.close()


def progress(queue: Queue, id: str) -> Transfer:
    found = queue.get(id)
    assert found is not None
    return found


def wait_until(queue: Queue, id: str, enough: Any, seconds: float) -> Transfer:
    until = time.monotonic() + seconds
    while not enough(found := progress(queue, id)):
        assert time.monotonic() < until, (found.state, found.reason, found.attempts, found)
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("kind", "count", "kills"),
    [("relay", 120, 2), pytest.param("relay", 900, 6, marks=pytest.mark.slow),
     ("import", 120, 2), pytest.param("import", 900, 6, marks=pytest.mark.slow)],
)  # fmt: skip
async def test_killed_at_any_point(kind: Any, count: int, kills: int, tmp_path: Path) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path / 'store.db'}", files=str(tmp_path / "files"))
    dimse, http = unused_ports(2)
    address = f"dicom://127.0.0.1:{dimse}/ORTHANC"
    async with opening.opened(settings) as platform:
        parts = [{"url": "use", "valueCode": "query"}, {"url": "verify", "valueCode": "presence"}]
        made = endpoint(
            address=address, payloadType=PAYLOAD, extension=[{"url": EXTENSION, "extension": parts}]
        )
        del made["managingOrganization"]
        await platform.fhir.update(made)
    paths = making.files(tmp_path / "given", count)
    expected = sorted(f"2.25.1.{n}" for n in range(1, count + 1))
    chance = random.Random(f"{kind}{count}")
    worker = WorkerProcess(settings, tmp_path)
    with orthanc(tmp_path / "orthanc", dimse, http) as pacs, opened(settings) as images:
        queue = images.queue
        if kind == "import":
            pacs.load(paths)
        else:
            for path in paths:
                ingest(path, Arrival(1), images.files, images.index)
        transfer = queue.submit(Order(kind, "pacs-auch", making.STUDY, 0), time.time_ns() // 1000)
        try:
            done = 0
            for _ in range(kills):
                worker.start()
                goal = done + chance.randint(1, max(1, (count - done) // 3))
                done = wait_until(queue, transfer.id, lambda t, goal=goal: t.done >= goal, 40).done
                worker.end(signal.SIGKILL)
                acknowledged = {one.instance for one in queue.items(transfer.id) if one.state == "done"}
                there = set(pacs.instances()) if kind == "relay" else {
                    file.uid for file in images.index.files(making.STUDY)
                }  # fmt: skip
                assert acknowledged <= there  # what is acknowledged is there, at every moment
            worker.start()
            after = wait_until(queue, transfer.id, lambda t: t.state != "waiting", 90)
        finally:
            worker.end(signal.SIGTERM)
        assert (after.state, after.done, after.failed) == ("done", count, 0)
        assert pacs.instances() == expected
        assert sorted(file.uid for file in images.index.files(making.STUDY)) == expected
        assert all(images.files.path(file.path).exists() for file in images.index.files(making.STUDY))
        assert all(images.index.conflicts(uid) == [] for uid in expected)
        assert queue.receipt(transfer.id).count(".") == 2  # a compact JWS
    assert "Traceback" not in (tmp_path / "worker.log").read_text()


def killed(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def again(process: subprocess.Popen[bytes], port: int) -> subprocess.Popen[bytes]:
    """The PACS killed with its children, which would keep its port, and started once more on its folder."""
    killed(process)
    started = subprocess.Popen(
        process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    answering("127.0.0.1", port, started)
    return started


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("what", ["orthanc", "dcmqrscp"])
@pytest.mark.parametrize(
    ("count", "victims"),
    [(90, ("worker", "node", "pacs")),
     pytest.param(600, ("worker", "node", "pacs") * 3, marks=pytest.mark.slow)],
)  # fmt: skip
async def test_an_import_by_c_move_survives_every_process(
    what: str, count: int, victims: tuple[str, ...], tmp_path: Path
) -> None:
    """The PACS sends to our node, a process of its own; each of the three is killed while images come."""
    dimse, http, port = unused_ports(3)
    node, title = Node(tmp_path, port), what.upper()
    parts = [{"url": "use", "valueCode": "query"}, {"url": "retrieve", "valueCode": "move"}]
    made = endpoint(
        address=f"dicom://127.0.0.1:{dimse}/{title}", payloadType=PAYLOAD,
        extension=[{"url": EXTENSION, "extension": parts}],
    )  # fmt: skip
    del made["managingOrganization"]
    async with opening.opened(node.settings) as platform:
        await platform.fhir.update(made)
    paths = making.files(tmp_path / "given", count)
    expected = sorted(f"2.25.1.{n}" for n in range(1, count + 1))
    worker, chance = WorkerProcess(node.settings, tmp_path), random.Random(f"{what}{count}")
    with (
        pacs_of(what, tmp_path / "pacs", (dimse, http, port), paths) as process,
        opened(node.settings) as images,
    ):
        transfer = images.queue.submit(Order("import", "pacs-auch", making.STUDY, 0), time.time_ns() // 1000)
        running, done = process, 0
        node.start()
        worker.start()
        try:
            for number, victim in enumerate(victims, 1):
                goal = count * number // (len(victims) + 1) + chance.randint(-5, 5)
                goal = min(count - 1, max(done + 1, goal))
                done = wait_until(images.queue, transfer.id, lambda t, goal=goal: t.done >= goal, 90).done
                if victim == "worker":
                    worker.end(signal.SIGKILL)
                    worker.start()
                elif victim == "node":
                    node.stop(signal.SIGKILL)
                    node.start()
                else:
                    running = again(running, dimse)
                acknowledged = {
                    one.instance for one in images.queue.items(transfer.id) if one.state == "done"
                }
                assert acknowledged <= {file.uid for file in images.index.files(making.STUDY)}
            after = wait_until(images.queue, transfer.id, lambda t: t.state != "waiting", 120)
        finally:
            worker.end(signal.SIGTERM)
            node.stop()
            killed(running)
        assert (after.state, after.done, after.failed, after.reason) == ("done", count, 0, "")
        assert sorted(file.uid for file in images.index.files(making.STUDY)) == expected
        assert images.index.conflicted() == []
    assert "Traceback" not in (tmp_path / "worker.log").read_text()


@contextmanager
def pacs_of(what: str, folder: Path, at: tuple[int, int, int], paths: list[Path]) -> Iterator[Any]:
    """Its process, with these files in it."""
    dimse, http, port = at
    if what == "orthanc":
        with orthanc(folder, dimse, http, move_to=port) as running:
            running.load(paths)
            yield running.process
        return
    with qrscp(folder, dimse, port) as process, spooling(folder):
        peer = Peer("qrscp", "PACS", "", "dimse", "127.0.0.1", dimse, "DCMQRSCP")
        session = DimseSession(peer, Ours("TELEDOSSIER", Credentials(folder)))
        for path in paths:
            uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
            session.send(Sendable(uid, str(CTImageStorage), making.SYNTAX, path))
        session.close()
        yield process
