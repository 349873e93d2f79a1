"""The DICOM node with real peers: what it accepts, what it refuses, and what is left when somebody dies."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, _config

from simulators.modality import send
from simulators.modality.send import NotSent
from tests.dicomweb import making
from tests.dicomweb.node import Node
from tests.processes import eventually

SYNTAX_FILES = [
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG-lossy.dcm", "SC_rgb_jpeg_dcmtk.dcm",
    "image_dfl.dcm", "rtplan.dcm", "reportsi.dcm", "waveform_ecg.dcm", "rtdose.dcm",
]  # fmt: skip


@pytest.fixture
def node(tmp_path: Path, free_port: int) -> Iterator[Node]:
    started = Node(tmp_path / "node", free_port)
    started.start()
    yield started
    started.stop(signal.SIGKILL)


def associate(node: Node, sop_class: str, syntax: str) -> Any:
    _config.STORE_SEND_CHUNKED_DATASET = False
    peer = AE("CH-AUCH")
    peer.add_requested_context(sop_class, syntax)
    association = peer.associate("127.0.0.1", node.port, ae_title="TELEDOSSIER")
    assert association.is_established
    return association


@pytest.mark.peer("dcmtk")
def test_dcmtk_echo_and_store(node: Node, tmp_path: Path) -> None:
    subprocess.run(["/usr/bin/echoscu", "127.0.0.1", str(node.port)], check=True, timeout=30)
    paths = making.files(tmp_path / "sent", 5)
    for _twice in range(2):
        subprocess.run(
            ["/usr/bin/storescu", "-R", "-aet", "CH-AUCH", "127.0.0.1", str(node.port), *map(str, paths)],
            check=True, timeout=30,
        )  # fmt: skip
    index = node.index()
    study = index.study(making.STUDY)
    assert study is not None
    assert (study.instance_count, study.series_count) == (5, 1)
    assert (study.calling_ae, study.source) == ("CH-AUCH", "ch-auch")
    for file in index.files(making.STUDY):
        stored = node.files.path(file.path).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == file.sha256
    index.close()


@pytest.mark.parametrize("name", SYNTAX_FILES)
def test_every_transfer_syntax_as_it_came(node: Node, name: str) -> None:
    original = pydicom.dcmread(str(get_testdata_file(name)))
    syntax = str(original.file_meta.TransferSyntaxUID)
    association = associate(node, original.SOPClassUID, syntax)
    assert association.send_c_store(original).Status == 0
    association.release()
    index = node.index()
    file = index.file(original.SOPInstanceUID)
    assert file is not None
    assert file.transfer_syntax == syntax
    assert pydicom.dcmread(node.files.path(file.path)) == original
    index.close()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"StudyInstanceUID": None}, 0xC001), ({"SeriesInstanceUID": None}, 0xC001),
        ({"StudyInstanceUID": ""}, 0xC001),
        ({"StudyInstanceUID": "abc"}, 0xC002), ({"SeriesInstanceUID": "1..2"}, 0xC002), ({}, 0x0000),
    ],
)  # fmt: skip
def test_without_identifiers_refused_with_a_reason(node: Node, changes: dict[str, Any], status: int) -> None:
    association = associate(node, CTImageStorage, making.SYNTAX)
    made = making.dataset(**changes)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = making.SYNTAX
    answer = association.send_c_store(made)
    association.release()
    assert answer.Status == status
    index = node.index()
    assert (index.file("2.25.1") is not None) == (status == 0)
    index.close()
    assert bool(answer.get("ErrorComment")) == (status != 0)
    assert node.spooled() == []


def test_a_changed_duplicate_is_taken_with_a_warning_and_kept_aside(node: Node) -> None:
    """PS3.4 Table B.2-1: 0xB000; the first stays what is served."""
    answers = []
    for name in ("FIRST", "FIRST", "SECOND"):
        association = associate(node, CTImageStorage, making.SYNTAX)
        made = making.dataset(PatientName=name)
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = making.SYNTAX
        answers.append(association.send_c_store(made))
        association.release()
    assert [one.Status for one in answers] == [0x0000, 0x0000, 0xB000]
    assert answers[2].ErrorComment == "Other content has this UID already; kept aside for a person"
    index = node.index()
    kept, served = index.conflicts("2.25.1"), index.file("2.25.1")
    assert served is not None
    assert [one.sha256 != served.sha256 for one in kept] == [True]
    index.close()
    assert node.spooled() == []


def test_the_dataset_must_be_what_the_command_says(node: Node) -> None:
    association = associate(node, CTImageStorage, making.SYNTAX)
    made = making.dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = making.SYNTAX

    def lie(event: Any) -> None:
        event.message.command_set.AffectedSOPInstanceUID = "2.25.77"

    from pynetdicom import evt

    association.bind(evt.EVT_DIMSE_SENT, lie)
    status = association.send_c_store(made).Status
    association.release()
    assert status == 0xA900


class Cut:
    """A line to the node that breaks after so many bytes."""

    def __init__(self, port: int, after: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.after, self.target = self.listener.getsockname()[1], after, port
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        near, _address = self.listener.accept()
        far = socket.create_connection(("127.0.0.1", self.target))
        threading.Thread(target=self._back, args=(far, near), daemon=True).start()
        left = self.after
        while left > 0 and (data := near.recv(min(left, 65536))):
            far.sendall(data)
            left -= len(data)
        for one in (far, near):
            one.shutdown(socket.SHUT_RDWR)  # the other thread still reads them
            one.close()
        self.listener.close()

    @staticmethod
    def _back(far: socket.socket, near: socket.socket) -> None:
        try:
            while data := far.recv(65536):
                near.sendall(data)
        except OSError:
            return


def test_a_dataset_cut_off_leaves_nothing(node: Node, tmp_path: Path) -> None:
    big = making.dataset(Rows=1024, Columns=1024, PixelData=bytes(2 * 1024 * 1024))
    (tmp_path / "one").mkdir()
    making.write(tmp_path / "one" / "1.dcm", big)
    cut = Cut(node.port, 1_000_000)
    with pytest.raises(NotSent):
        send(tmp_path / "one", "127.0.0.1", cut.port)
    assert eventually(lambda: node.spooled() == [])
    index = node.index()
    assert index.study(making.STUDY) is None
    assert not any((node.files.root / "dicom").rglob("*"))
    # the same file goes through afterwards
    assert send(tmp_path / "one", "127.0.0.1", node.port) == 1
    assert index.study(making.STUDY) is not None
    index.close()


def test_killed_in_the_middle_nothing_acknowledged_is_missing(node: Node, tmp_path: Path) -> None:
    folder, manifest = tmp_path / "exam", tmp_path / "sent.txt"
    paths = making.files(folder, 60)
    reached = threading.Event()

    def progress(done: int, _total: int) -> None:
        if done == 20:
            reached.set()

    failed: list[BaseException] = []

    def deliver() -> None:
        try:
            send(folder, "127.0.0.1", node.port, manifest=manifest, progress=progress)
        except NotSent as error:
            failed.append(error)

    sender = threading.Thread(target=deliver)
    sender.start()
    assert reached.wait(30)
    node.stop(signal.SIGKILL)
    sender.join(90)
    assert failed
    acknowledged = manifest.read_text().split()
    assert 20 <= len(acknowledged) < 60
    node.start()
    assert node.spooled() == []
    index = node.index()
    for name in acknowledged:
        uid = pydicom.dcmread(folder / name, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
        file = index.file(uid)
        assert file is not None, name
        assert hashlib.sha256(node.files.path(file.path).read_bytes()).hexdigest() == file.sha256
    send(folder, "127.0.0.1", node.port, manifest=manifest)
    study = index.study(making.STUDY)
    assert study is not None
    assert study.instance_count == len(paths) == len(list(index.files(making.STUDY)))
    index.close()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\xff\xff\xff\xff" + b"x" * 100,
        b"\x04\x00\x00\x00\x00\x04abcd", b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00", bytes(1000),
        b"\x01\x00\x00\x00\x00\x44" + bytes(68),
    ],
)  # fmt: skip
def test_rubbish_on_the_line_disturbs_nobody(node: Node, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while connection.recv(1000):
            pass
    association = associate(node, "1.2.840.10008.1.1", making.SYNTAX)
    assert association.send_c_echo().Status == 0
    association.release()


def test_stops_when_told(tmp_path: Path, free_port: int) -> None:
    node = Node(tmp_path, free_port)
    node.start()
    association = associate(node, "1.2.840.10008.1.1", making.SYNTAX)
    assert node.stop() == 0
    association.abort()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_stays_flat(node: Node, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    making.files(folder, 2000)
    send(folder, "127.0.0.1", node.port)
    rows = 1024
    multiframe = making.dataset(
        SOPInstanceUID="2.25.9",
        Rows=rows,
        Columns=rows,
        NumberOfFrames=150,
        PixelData=bytes(2 * rows * rows * 150),
    )
    (tmp_path / "big").mkdir()
    making.write(tmp_path / "big" / "1.dcm", multiframe)
    send(tmp_path / "big", "127.0.0.1", node.port)
    index = node.index()
    study = index.study(making.STUDY)
    assert study is not None
    assert study.instance_count == 2001
    index.close()
    assert node.peak_memory() < 300_000_000


def test_a_dataset_of_nothing(node: Node) -> None:
    association = associate(node, CTImageStorage, making.SYNTAX)
    empty = Dataset()
    empty.SOPClassUID, empty.SOPInstanceUID = CTImageStorage, "2.25.5"
    empty.file_meta = pydicom.dataset.FileMetaDataset()
    empty.file_meta.TransferSyntaxUID = making.SYNTAX
    assert association.send_c_store(empty).Status == 0xC001
    association.release()
