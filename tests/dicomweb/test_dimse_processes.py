"""The node in several processes on one port: shared, supervised, stopped with grace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined,unused-ignore]

from dicomweb.dimse.spool import drop_abandoned, own
from simulators.modality.send import NotSent, send
from tests.dicomweb import making
from tests.dicomweb.node import Node
from tests.processes import eventually


@pytest.fixture
def node(tmp_path: Path, free_port: int) -> Iterator[Node]:
    started = Node(tmp_path / "node", free_port, dimse_processes=2)
    started.start()
    yield started
    started.stop(signal.SIGTERM)


def associate(port: int, sop_class: str = "1.2.840.10008.1.1") -> Any:
    peer = AE("CT1")
    peer.add_requested_context(sop_class, making.SYNTAX)
    return peer.associate("127.0.0.1", port, ae_title="TELEDOSSIER")


def connections(pid: int, port: int) -> int:
    """Established connections to our port that a process holds."""
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.add(os.readlink(descriptor))
        except OSError:
            continue
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if int(row[1].split(":")[1], 16) == port and row[3] == "01"]
    return sum(f"socket:[{row[9]}]" in held for row in ours)


def test_associations_are_shared_out(node: Node) -> None:
    """Each process takes the next only after one that has fewer."""
    open_now = [associate(node.port) for _ in range(6)]
    assert all(one.is_established for one in open_now)
    shares = sorted(connections(pid, node.port) for pid in node.children())
    assert sum(shares) == 6
    assert shares[0] >= 2, shares
    for one in open_now:
        assert one.send_c_echo().Status == 0
        one.release()


def test_several_at_once_each_instance_once(node: Node, tmp_path: Path) -> None:
    paths = making.files(tmp_path / "exam", 40)
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        for path in paths[number::4]:
            path.rename(tmp_path / str(number) / path.name)
    senders = [
        threading.Thread(target=send, args=(tmp_path / str(number), "127.0.0.1", node.port))
        for number in range(4)
    ]
    for one in senders:
        one.start()
    for one in senders:
        one.join(60)
    index = node.index()
    assert len(list(index.files(making.STUDY))) == 40
    index.close()
    assert node.spooled() == []


def test_one_that_dies_is_started_again_and_nothing_acknowledged_is_lost(node: Node, tmp_path: Path) -> None:
    folder, manifest = tmp_path / "exam", tmp_path / "sent.txt"
    making.files(folder, 60)
    before = node.children()
    reached = threading.Event()

    def progress(done: int, _total: int) -> None:
        if done == 20:
            reached.set()

    def deliver() -> None:
        try:
            send(folder, "127.0.0.1", node.port, manifest=manifest, progress=progress)
        except NotSent:
            return

    sender = threading.Thread(target=deliver)
    sender.start()
    assert reached.wait(30)
    busy = max(before, key=lambda pid: connections(pid, node.port))
    os.kill(busy, signal.SIGKILL)
    sender.join(90)
    send(folder, "127.0.0.1", node.port, manifest=manifest)  # the other takes it at once
    assert eventually(lambda: len(node.children()) == 2)
    assert set(node.children()) != set(before)
    assert busy not in node.children()
    index = node.index()
    assert len(list(index.files(making.STUDY))) == 60
    index.close()
    assert eventually(lambda: node.spooled() == [])  # also what the dead one left


def test_stopped_with_grace(tmp_path: Path, free_port: int) -> None:
    """Idle associations end, all processes are gone, nobody listens."""
    node = Node(tmp_path / "node", free_port, dimse_processes=2)
    node.start()
    idle = associate(free_port)
    children = node.children()
    assert node.stop() == 0
    for pid in children:
        assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port))
    idle.abort()


def test_children_end_with_a_supervisor_that_is_killed(tmp_path: Path, free_port: int) -> None:
    node = Node(tmp_path / "node", free_port, dimse_processes=2)
    node.start()
    children = node.children()
    node.stop(signal.SIGKILL)
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_the_command_says_how_many() -> None:
    for count, code in (("0", 2), ("65", 2)):
        call = [sys.executable, "-m", "fhir_server", "dimse", "--processes", count]
        assert subprocess.run(call, capture_output=True, timeout=60).returncode == code


def test_the_limit_is_told(tmp_path: Path) -> None:
    """PS3.8 Table 9-21: transient, presentation related, local limit exceeded."""
    from dicomweb.dimse.lines import listening_on
    from dicomweb.dimse.server import Listening, listen

    line = listening_on("127.0.0.1", 0)
    server = listen(Listening(line, "TELEDOSSIER", maximum=1), [], [])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    first, second = associate(server.at.port), associate(server.at.port)
    assert first.is_established
    assert second.is_rejected
    refusal = second.acceptor.primitive
    assert (refusal.result, refusal.result_source, refusal.diagnostic) == (2, 3, 2)
    first.release()
    server.stop()
    thread.join(5)


class TestSpool:
    def test_a_folder_each_swept_by_whoever_takes_it_next(self, tmp_path: Path) -> None:
        with own(tmp_path) as first:
            (first / "a.dcm").write_bytes(b"x")
            with own(tmp_path) as second:
                assert second != first
                (second / "left.dcm").write_bytes(b"x")
            assert (first / "a.dcm").exists()  # in use: nobody else sweeps it
        with own(tmp_path) as again:
            assert again == first
            assert [path.name for path in tmp_path.rglob("*.dcm")] == []

    def test_the_common_spool_by_age(self, tmp_path: Path) -> None:
        for name, age in (("peer-new", 10), ("peer-old", 1000), ("stow-old", 1000), ("stow-oldest", 30000)):
            (tmp_path / name).write_bytes(b"x")
            os.utime(tmp_path / name, (time.time() - age,) * 2)
        assert drop_abandoned(tmp_path) == 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["peer-new", "stow-old"]


def test_an_instance_on_its_way_when_told_to_stop_is_taken(tmp_path: Path, free_port: int) -> None:
    """The process stops accepting, and answers what it is receiving."""
    node = Node(tmp_path / "node", free_port)
    node.start()
    association = associate(free_port, CTImageStorage)
    made = making.dataset(Rows=2048, Columns=2048, PixelData=bytes(2 * 2048 * 2048))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = making.SYNTAX
    statuses: list[int] = []
    from pynetdicom import evt

    sent = threading.Event()
    association.bind(evt.EVT_PDU_SENT, lambda _event: sent.set())
    sender = threading.Thread(target=lambda: statuses.append(association.send_c_store(made).Status))
    sender.start()
    assert sent.wait(10)
    code = node.stop()
    sender.join(20)
    assert (code, statuses) == (0, [0])
    index = node.index()
    assert index.file("2.25.1") is not None
    index.close()
    association.abort()
