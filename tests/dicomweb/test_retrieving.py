"""C-MOVE and C-GET: counts, what fails in the middle, cancellation, memory. PS3.4 §C.4.2, §C.4.3"""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, build_role, evt

from dicomweb.dataset import is_even
from dicomweb.dimse.suboperations import BadAnswer, Instance, Originator, command, pieces, status_of
from dicomweb.ingest import Arrival, ingest
from tests.dicomweb import making
from tests.dicomweb.certificates import Authority
from tests.dicomweb.node import Node, caller
from tests.processes import unused_port

STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
COUNT = 12


class TestBytes:
    @given(
        data=st.binary(max_size=5000).map(lambda one: one + b"\0" * (len(one) % 2)),
        largest=st.integers(128, 3000) | st.just(0), meta=st.booleans(),
    )  # fmt: skip
    def test_a_message_is_its_command_and_the_dataset_of_the_file(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, largest: int, meta: bool
    ) -> None:
        path = tmp_path_factory.mktemp("one") / "1.dcm"
        value = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
        head = b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x04\x00" + len(value).to_bytes(4, "little") + value
        path.write_bytes((head if meta else b"") + data)
        if not meta and data[132:136] == b"\x02\x00\x00\x00":
            return
        asked = command(Instance("1.2.3", "2.25.7", path), 513, Originator("ASKER", 7))
        sent = b"".join(
            bytes(piece)
            for some in pieces(Instance("1.2.3", "2.25.7", path), asked, 5, largest)
            for piece in some
        )
        found: dict[int, bytes] = {0: b"", 1: b""}
        last = 0
        while sent:
            assert sent[:2] == b"\x04\x00"
            size = int.from_bytes(sent[2:6], "big")
            assert not largest or size <= largest
            body, sent = sent[6 : 6 + size], sent[6 + size :]
            assert int.from_bytes(body[:4], "big") == size - 4
            assert body[4] == 5
            last = body[5]
            found[last & 1] += body[6:]
        assert found[1] == asked
        assert found[0] == data
        assert last == (2 if data else 3)

    def test_a_command_is_what_pynetdicom_reads(self, tmp_path: Path) -> None:
        from pynetdicom.dsutils import decode

        made = decode(
            BytesIO(command(Instance("1.2.3", "2.25.77", tmp_path), 513, Originator("ASKER", 7))), True, True
        )
        assert (made.CommandField, made.MessageID, made.Priority, made.CommandDataSetType) == (1, 513, 0, 1)
        assert (made.AffectedSOPClassUID, made.AffectedSOPInstanceUID) == ("1.2.3", "2.25.77")
        assert (made.MoveOriginatorApplicationEntityTitle, made.MoveOriginatorMessageID) == ("ASKER", 7)

    @given(st.binary(max_size=80))
    def test_an_answer_is_read_or_refused(self, answer: bytes) -> None:
        with suppress(BadAnswer):
            assert 0 <= status_of(answer, 1) <= 0xFFFF

    def test_the_answer_must_be_to_this_message(self) -> None:
        def answer(**changes: int) -> bytes:
            values = {"0100": 0x8001, "0120": 7, "0800": 0x0101, "0900": 0xB000, **changes}
            return b"".join(
                b"\0\0" + int(tag, 16).to_bytes(2, "little") + b"\x02\0\0\0" + value.to_bytes(2, "little")
                for tag, value in values.items()
            )

        assert status_of(answer(), 7) == 0xB000
        for wrong in (answer(**{"0120": 8}), answer(**{"0100": 0x8020}), answer()[:-3], b""):
            with pytest.raises(BadAnswer):
                status_of(wrong, 7)


@pytest.fixture
def destination() -> int:
    return unused_port()


@pytest.fixture
def node(tmp_path: Path, free_port: int, destination: int) -> Iterator[Node]:
    """Twelve instances; DEST takes two associations at once."""
    started = Node(
        tmp_path / "node", free_port, caller("DEST", f"127.0.0.1:{destination}"),
        caller("WIDE", f"127.0.0.1:{destination}", connections=2),
    )  # fmt: skip
    stored(started, making.files(tmp_path / "in", COUNT))
    started.start()
    yield started
    started.stop(signal.SIGKILL)


def stored(node: Node, paths: list[Path]) -> None:
    index = node.index()
    node.files.open()
    for path in paths:
        ingest(path, Arrival(1), node.files, index)
    index.close()


@contextmanager
def receiving(port: int, answer: Callable[[Any], int]) -> Iterator[None]:
    """A storage SCP that answers each instance as it is told."""
    peer = AE("DEST")
    peer.add_supported_context(CTImageStorage, [making.SYNTAX])
    server = peer.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        yield
    finally:
        server.shutdown()


def asked(study: str = making.STUDY) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel, made.StudyInstanceUID = "STUDY", study
    return made


def move(node: Node, title: str, to: str, study: str = making.STUDY) -> tuple[Any, Any]:
    """The last answer."""
    peer = AE(title)
    peer.add_requested_context(STUDY_MOVE)
    association = peer.associate("127.0.0.1", node.port)
    assert association.is_established
    *_pending, last = association.send_c_move(asked(study), to, STUDY_MOVE)
    association.release()
    return last


def counts(status: Any) -> tuple[int, int, int, int]:
    """Status; completed, failed, warning."""
    return (
        status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations,
        status.NumberOfWarningSuboperations,
    )  # fmt: skip


def listed(identifier: Any) -> list[str]:
    """What the answer says has failed."""
    found = [] if identifier is None else identifier.FailedSOPInstanceUIDList
    return sorted(str(one) for one in ([found] if isinstance(found, str) else found or ()) if one)


UID = "2.25.1.{}".format
CASES: list[tuple[str, Mapping[str, int], tuple[int, int, int, int], list[str]]] = [
    ("all", {}, (0x0000, 12, 0, 0), []),
    ("some fail", {UID(3): 0xA700, UID(7): 0xC001}, (0xB000, 10, 2, 0), [UID(3), UID(7)]),
    ("some warn", {UID(3): 0xB000, UID(4): 0xB007}, (0xB000, 10, 0, 2), []),
    ("both", {UID(1): 0xB006, UID(2): 0x0122}, (0xB000, 10, 1, 1), [UID(2)]),
    ("none", {UID(n): 0xA900 for n in range(1, 13)}, (0xA702, 0, 12, 0), [UID(n) for n in range(1, 13)]),
]


@pytest.mark.parametrize(("name", "answers", "expected", "failed"), CASES, ids=[one[0] for one in CASES])
def test_the_counts_and_the_list_of_a_move(
    node: Node, destination: int, name: str, answers: Mapping[str, int],
    expected: tuple[int, int, int, int], failed: list[str],
) -> None:  # fmt: skip
    with receiving(destination, lambda event: answers.get(str(event.request.AffectedSOPInstanceUID), 0)):
        status, identifier = move(node, "DEST", "DEST")
    assert counts(status) == expected, name
    assert listed(identifier) == sorted(failed)


@pytest.mark.parametrize("title", ["DEST", "WIDE"])
def test_a_destination_that_hangs_up_in_the_middle_is_called_again(
    node: Node, destination: int, title: str
) -> None:
    seen: list[str] = []
    once = threading.Event()

    def answer(event: Any) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        if len(seen) > 4 and not once.is_set():
            once.set()
            event.assoc.abort()
        return 0x0000

    with receiving(destination, answer):
        status, _identifier = move(node, title, title)
    assert counts(status) == (0x0000, 12, 0, 0)
    assert set(seen) == {UID(n) for n in range(1, 13)}


def test_a_destination_that_is_lost_for_good(node: Node, destination: int) -> None:
    """What was not sent has failed, by name."""
    seen: list[str] = []

    def answer(event: Any) -> int:
        if len(seen) >= 5:
            event.assoc.abort()
        seen.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    with receiving(destination, answer):
        status, identifier = move(node, "DEST", "DEST")
    assert counts(status) == (0xB000, 5, 7, 0)
    assert len(identifier.FailedSOPInstanceUIDList) == 7
    assert set(identifier.FailedSOPInstanceUIDList).isdisjoint(seen[:5])


def test_a_destination_that_is_not_there(node: Node) -> None:
    status, identifier = move(node, "DEST", "DEST")
    assert counts(status) == (0xA702, 0, 12, 0)
    assert len(identifier.FailedSOPInstanceUIDList) == 12
    status, _identifier = move(node, "DEST", "NOBODY")
    assert status.Status == 0xA801
    status, _identifier = move(node, "DEST", "DEST", "2.25.404")
    assert counts(status) == (0x0000, 0, 0, 0)


def getting(node: Node, answer: Callable[[Any], int]) -> Any:
    peer = AE("DEST")
    peer.add_requested_context(STUDY_GET)
    peer.add_requested_context(CTImageStorage, making.SYNTAX)
    association = peer.associate(
        "127.0.0.1", node.port, ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, answer)],
    )  # fmt: skip
    assert association.is_established
    return association


def test_the_counts_and_the_list_of_a_get(node: Node) -> None:
    for name, answers, expected, failed in CASES:
        association = getting(
            node, lambda event, answers=answers: answers.get(str(event.request.AffectedSOPInstanceUID), 0)
        )
        *_pending, (status, identifier) = association.send_c_get(asked(), STUDY_GET)
        association.release()
        assert counts(status) == expected, name
        assert listed(identifier) == sorted(failed), name


@pytest.mark.parametrize("service", ["get", "move"])
def test_a_retrieve_is_cancelled_between_two_instances(node: Node, destination: int, service: str) -> None:
    """PS3.4 §C.4.3.3: 0xFE00 with what remains."""
    seen: list[str] = []
    holding, cancelled = threading.Event(), threading.Event()

    def answer(event: Any) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        if len(seen) == 4:
            holding.set()
            assert cancelled.wait(10)
        return 0x0000

    with receiving(destination, answer):
        if service == "get":
            association, model = getting(node, answer), STUDY_GET
            answers = association.send_c_get(asked(), STUDY_GET, 9)
        else:
            peer = AE("DEST")
            peer.add_requested_context(STUDY_MOVE)
            association, model = peer.associate("127.0.0.1", node.port), STUDY_MOVE
            answers = association.send_c_move(asked(), "DEST", STUDY_MOVE, 9)
        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.extend(answers))
        reader.start()
        assert holding.wait(10)
        association.send_c_cancel(9, query_model=model)
        cancelled.set()
        reader.join(20)
        association.release()
    status, _identifier = found[-1]
    assert status.Status == 0xFE00
    done = status.NumberOfCompletedSuboperations
    assert 4 <= done == len(seen) < COUNT
    assert status.NumberOfRemainingSuboperations == COUNT - done


@pytest.mark.peer("dcmtk")
def test_a_move_over_tls(tmp_path: Path, free_port: int) -> None:
    """To DCMTK's storescp, which asks for our certificate; and with none of ours nothing goes."""
    authority, there = Authority(tmp_path / "tls"), unused_port()
    pair, ours = authority.signs("destination"), authority.signs("node")
    keys = tmp_path / "keys" / "dest"
    keys.mkdir(parents=True)
    (keys / "ca.pem").write_bytes(authority.certificate.read_bytes())
    endpoint = caller("DEST", f"127.0.0.1:{there}")
    endpoint["address"] = f"dicoms://127.0.0.1:{there}/DEST"
    node = Node(tmp_path / "node", free_port, endpoint, peer_keys=str(tmp_path / "keys"))
    stored(node, making.files(tmp_path / "in", 3))
    node.start()
    got = tmp_path / "got"
    got.mkdir()
    process = subprocess.Popen(
        ["/usr/bin/storescp", "+tls", str(pair.key), str(pair.certificate), "+cf", str(authority.certificate),
         "-od", str(got), str(there)], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until_listening(there)
        assert counts(move(node, "DEST", "DEST")[0]) == (0xA702, 0, 3, 0)
        (keys / "client.pem").write_bytes(ours.certificate.read_bytes() + ours.key.read_bytes())
        assert counts(move(node, "DEST", "DEST")[0]) == (0x0000, 3, 0, 0)
        assert len(list(got.iterdir())) == 3
    finally:
        process.terminate()
        process.wait(10)
        node.stop(signal.SIGKILL)


def until_listening(port: int) -> None:
    for _try in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.05)
    raise AssertionError("the peer does not listen")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.peer("dcmtk")
def test_a_very_large_multiframe_leaves_memory_flat(tmp_path: Path, free_port: int) -> None:
    there, rows = unused_port(), 1024
    node = Node(tmp_path / "node", free_port, caller("DEST", f"127.0.0.1:{there}"))
    (tmp_path / "in").mkdir()
    big = making.dataset(Rows=rows, Columns=rows, NumberOfFrames=150, PixelData=bytes(2 * rows * rows * 150))
    stored(node, [making.write(tmp_path / "in" / "1.dcm", big)])
    del big
    node.start()
    process = subprocess.Popen(
        ["/usr/bin/storescp", "--ignore", str(there)], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    try:
        until_listening(there)
        assert counts(move(node, "DEST", "DEST")[0]) == (0x0000, 1, 0, 0)
        got = tmp_path / "got"
        got.mkdir()
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={making.STUDY}"]
        call = [
            "/usr/bin/getscu",
            "-S",
            "+B",
            "-od",
            str(got),
            *keys,
            "-aet",
            "DEST",
            "127.0.0.1",
            str(node.port),
        ]
        subprocess.run(call, check=True, timeout=120)
        assert sum(path.stat().st_size for path in got.iterdir()) > 314_000_000
        assert node.peak_memory() < 150_000_000
    finally:
        process.terminate()
        process.wait(10)
        node.stop(signal.SIGKILL)


@pytest.mark.peer("dcmtk")
def test_a_value_of_odd_length_is_padded_and_costs_the_others_nothing(tmp_path: Path, free_port: int) -> None:
    """PS3.5 §7.1.1. DCMTK ends the association at a dataset of odd length, with all that is still to come."""
    node = Node(tmp_path / "node", free_port, caller("DEST", "127.0.0.1:1"))
    paths = making.files(tmp_path / "in", 3)
    odd = making.dataset(SOPInstanceUID="2.25.1.1", InstanceNumber=1)
    odd.add_new(0x00090010, "LO", "SOMEBODY")
    odd.add_new(0x00091001, "UN", b"odd")
    making.write(paths[0], odd)
    assert not is_even(paths[0])
    stored(node, paths)
    node.start()
    try:
        asked = ["-S", "-aet", "DEST", "-aec", "TELEDOSSIER", "-k", "QueryRetrieveLevel=STUDY"]
        asked += ["-k", f"StudyInstanceUID={making.STUDY}", "-od", str(tmp_path), "127.0.0.1", str(free_port)]
        done = subprocess.run(["/usr/bin/getscu", *asked], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    finally:
        node.stop(signal.SIGKILL)
    got = {made.SOPInstanceUID: made for made in (dcmread(one) for one in tmp_path.glob("CT.*"))}
    assert sorted(got) == ["2.25.1.1", "2.25.1.2", "2.25.1.3"]
    assert bytes(got["2.25.1.1"][0x00091001].value) == b"odd\0"
    assert got["2.25.1.1"].PixelData == odd.PixelData
