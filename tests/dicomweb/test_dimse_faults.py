"""Hostile peers: fuzzed PDUs and datasets, lying lengths, slow ones, idle ones. The node answers or aborts,
serves the others meanwhile, and no process dies or grows. PS3.8 §9.2 (state machine)"""

from __future__ import annotations

import random
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from dicomweb.dimse.messages import Messages, StoreRequest
from dicomweb.dimse.suboperations import Instance, command, pieces
from dicomweb.syntaxes import DEFLATED
from tests.dicomweb import making
from tests.dicomweb.node import Node, caller
from tests.processes import eventually, unused_port

ECHO = "1.2.840.10008.1.1"
GROWTH = 40_000_000  # bytes that a process may have more after all than after a first round


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One process for all of these: what one leaves behind, the next meets."""
    started = Node(tmp_path_factory.mktemp("faults"), unused_port(), caller("WELL", "127.0.0.1:104"))
    started.start()
    yield started
    assert started.process is not None
    assert started.process.poll() is None, "the node died"
    assert not list(started.files.spool.rglob("*.dcm"))
    started.stop(signal.SIGKILL)


def resident(node: Node) -> int:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) * 1024


def serves(node: Node) -> bool:
    peer = AE("WELL")
    peer.add_requested_context(ECHO)
    association = peer.associate("127.0.0.1", node.port)
    if not association.is_established:
        return False
    answered = bool(association.send_c_echo().Status == 0)
    association.release()
    return answered


def request(
    contexts: tuple[str, ...] = (CTImageStorage, ECHO),
    syntaxes: tuple[str, ...] = (making.SYNTAX,),
    titles: tuple[str, str] = ("TELEDOSSIER", "FUZZ"),
) -> bytes:
    """A-ASSOCIATE-RQ, by hand: context numbers 1, 3, …; `titles`: called and calling."""

    def item(kind: int, body: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(body)) + body

    syntax = b"".join(item(0x40, one.encode()) for one in syntaxes)
    asked = b"".join(
        item(0x20, bytes([(2 * n + 1) % 256, 0, 0, 0]) + item(0x30, one.encode()) + syntax)
        for n, one in enumerate(contexts)
    )
    user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))
    called, calling = (one.ljust(16).encode() for one in titles)
    body = struct.pack(">HH16s16s32x", 1, 0, called, calling)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + asked + user
    return struct.pack(">BBL", 1, 0, len(body)) + body


def message(folder: Path, **changes: Any) -> bytes:
    """A C-STORE as P-DATA-TF PDUs."""
    path = making.write(folder / "1.dcm", making.dataset(**changes))
    one = Instance(CTImageStorage, "2.25.1", path)
    return b"".join(bytes(piece) for some in pieces(one, command(one, 1, None), 1, 4096) for piece in some)


def answer_to(node: Node, sent: bytes, then: bytes = b"", *, closing: bool = True) -> bytes:
    """All that comes back until the node closes; `then` is sent once something has come."""
    back = b""
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.settimeout(20)
        with suppress(OSError):
            connection.sendall(sent)
            if then:
                back += connection.recv(65536)
                connection.sendall(then)
            if closing:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                back += data
    return back


def kinds(answer: bytes) -> list[int]:
    """The PDU types of an answer."""
    found = []
    while len(answer) >= 6:
        found.append(answer[0])
        answer = answer[6 + int.from_bytes(answer[2:6], "big") :]
    return found


RELEASE = struct.pack(">BBLL", 5, 0, 4, 0)
ACCEPT, REJECT, DATA, RELEASED, ABORT = 2, 3, 4, 6, 7


def test_the_captured_conversation_is_a_good_one(node: Node, tmp_path: Path) -> None:
    """What the mutations start from."""
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.settimeout(20)
        for sent, expected in ((request(), ACCEPT), (message(tmp_path), DATA), (RELEASE, RELEASED)):
            connection.sendall(sent)
            assert received(connection)[0] == expected


def pdv(data: bytes, context: int = 1, control: int = 0, *, length: int | None = None) -> bytes:
    body = struct.pack(">LBB", len(data) + 2 if length is None else length, context, control) + data
    return struct.pack(">BBL", 4, 0, len(body)) + body


STORE = command(Instance(CTImageStorage, "2.25.1", Path("none")), 1, None)
FAULTS = {
    "a fragment longer than its PDU": pdv(STORE, control=3, length=5000),
    "a fragment of no length": pdv(b"", control=3, length=0),
    "a fragment without control header": pdv(b"", control=3, length=1),
    "a head cut off": struct.pack(">BBLL", 4, 0, 4, 10),
    "a command that lies about its lengths": pdv(STORE[:16] + b"\xff\xff" + STORE[18:], control=3),
    "a command without end": b"".join(pdv(bytes(16000), control=1) for _ in range(6)),
    "a context that was not accepted": pdv(STORE, context=77, control=3),
    "a dataset in another context": pdv(STORE, control=3) + pdv(b"x" * 10, context=3),
    "a command within a dataset": pdv(STORE, control=3) + pdv(b"x" * 10) + pdv(STORE, control=3),
    "a dataset without a command": pdv(b"x" * 10),
    "an identifier of many megabytes": pdv(
        command(Instance(ECHO, "2.25.1", Path("none")), 1, None).replace(
            b"\0\0\0\1\2\0\0\0\1\0", b"\0\0\0\1\2\0\0\0\x20\0", 1
        ), context=3, control=3,
    ) + pdv(bytes(200_000), context=3) * 90,
    "a UID of 200 characters": pdv(
        command(Instance("1." * 100, "2.25.1", Path("none")), 1, None), control=3
    ),
    "a PDU beyond the maximum": struct.pack(">BBL", 4, 0, 0x7FFFFFFF),
    "a second association request": request(),
    "an acceptance": struct.pack(">BBL", 2, 0, 68) + bytes(68),
    "a PDU of no known type": struct.pack(">BBL", 9, 0, 4) + b"abcd",
}  # fmt: skip


REQUESTS = {
    "a context without a transfer syntax": (request(syntaxes=()), ABORT),
    "another application context": (
        request().replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9"), REJECT
    ),
    "a protocol version that is none": (request()[:6] + b"\0\0" + request()[8:], REJECT),
    "no AE title that calls": (request().replace(b"FUZZ            ", b" " * 16), ABORT),
    "the same context 128 times": (request((CTImageStorage,) * 128), ACCEPT),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_that_cannot_be_negotiated_are_answered(node: Node, name: str) -> None:
    asked, expected = REQUESTS[name]
    logged = len((node.folder / "node.log").read_text())
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.settimeout(20)
        connection.sendall(asked)
        assert received(connection)[0] == expected
    assert serves(node)
    assert "Traceback" not in (node.folder / "node.log").read_text()[logged:]


@pytest.mark.parametrize("name", FAULTS)
def test_faults_within_an_association_end_it(node: Node, name: str) -> None:
    """A-ABORT, or the connection is closed; and the next is served."""
    found = kinds(answer_to(node, request(), FAULTS[name], closing=False))
    assert found[:1] == [ACCEPT]
    assert found[1:] in ([ABORT], []), name
    assert serves(node)


def test_mutated_conversations(node: Node, tmp_path: Path) -> None:
    """Bytes changed, cut out, doubled anywhere, some hundred times."""
    first, then = request(), message(tmp_path) + RELEASE
    chance = random.Random(20240808)
    before = 0
    for turn in range(300):
        sent = bytearray(first + then if turn % 4 == 0 else then)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(sent))
            match chance.randrange(4):
                case 0:
                    sent[at] = chance.randrange(256)
                case 1:
                    del sent[at : at + chance.randint(1, 40)]
                case 2:
                    sent[at:at] = sent[at : at + chance.randint(1, 40)]
                case _:
                    sent[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        answer = answer_to(node, bytes(sent)) if turn % 4 == 0 else answer_to(node, first, bytes(sent))
        assert set(kinds(answer)) <= {2, 3, 4, 5, 6, 7}
        if turn == 60:
            before = resident(node)
        if turn % 50 == 0:
            assert serves(node)
    assert serves(node)
    assert resident(node) - before < GROWTH


@pytest.mark.parametrize("name", ["1.dcm"])
def test_mutated_datasets_get_a_status(node: Node, tmp_path: Path, name: str) -> None:
    """The conversation is good, the dataset is not: every one gets its answer."""
    path = making.write(tmp_path / name, making.dataset())
    good, chance = path.read_bytes(), random.Random(7)
    start = 132 + 12 + int.from_bytes(good[140:144], "little")
    seen = set()
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.settimeout(20)
        connection.sendall(request())
        assert received(connection)[0] == ACCEPT
        for _turn in range(150):
            data = bytearray(good)
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(start, min(len(data), start + 700))] = chance.randrange(256)
            if chance.random() < 0.2:
                del data[chance.randrange(start, len(data)) :]
            path.write_bytes(data)
            one = Instance(CTImageStorage, "2.25.1", path)
            for some in pieces(one, command(one, 7, None), 1, 16384):
                connection.sendall(b"".join(some))
            kind, body = received(connection)
            assert kind == DATA
            at = body.index(b"\0\0\0\x09\x02\0\0\0")
            seen.add(int.from_bytes(body[at + 8 : at + 10], "little"))
    allowed = {0x0000, 0xB000, 0x0122, 0xA900, 0xC001, 0xC002, 0xC210, 0xC213}
    assert seen <= allowed, [hex(one) for one in seen - allowed]
    assert len(seen) >= 3  # the mutations reach further than one check
    assert serves(node)


def received(connection: socket.socket) -> tuple[int, bytes]:
    head = connection.recv(6, socket.MSG_WAITALL)
    return head[0], connection.recv(int.from_bytes(head[2:6], "big"), socket.MSG_WAITALL)


@pytest.mark.parametrize("over", [1, 1_000_000])
def test_no_room_is_answered_and_what_fits_is_stored_after_it(tmp_path: Path, over: int) -> None:
    """A disk that takes no byte more, or only a part of the last: A700, nothing left, the association goes
    on."""
    node = Node(tmp_path / "node", unused_port())
    node.start()
    assert node.process is not None
    limit = 3_000_000
    small = making.dataset(SOPInstanceUID="2.25.2")
    large = making.dataset(SOPInstanceUID="2.25.3", Rows=1024, Columns=1024, PixelData=bytes(2 << 20))
    size = making.write(tmp_path / "l.dcm", large).stat().st_size
    large.PixelData = bytes((2 << 20) + 2 * ((limit + over - size + 1) // 2))
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    peer = AE("CT1")
    peer.add_requested_context(CTImageStorage, making.SYNTAX)
    association = peer.associate("127.0.0.1", node.port)
    for one in (large, small):
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = making.SYNTAX
    assert [association.send_c_store(one).Status for one in (large, small)] == [0xA700, 0x0000]
    association.release()
    assert node.spooled() == []
    assert len(list((node.files.root / "dicom").glob("*/*"))) == 1
    node.stop()


def test_slow_ones_hold_nobody_up(node: Node, tmp_path: Path) -> None:
    """A byte now and then, in the request and in the middle of a dataset; another is served in its time."""
    then = message(tmp_path, Rows=64, Columns=64, PixelData=bytes(2 * 64 * 64))
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", node.port))) for _ in range(20)]
        for number, one in enumerate(slow):
            if number % 2:
                one.sendall(request())
                assert received(one)[0] == ACCEPT
            one.sendall((then if number % 2 else request())[: 3 + 10 * number])
        began = time.monotonic()
        for step in range(5):
            for number, one in enumerate(slow):
                at = 3 + 10 * number + step
                one.sendall((then if number % 2 else request())[at : at + 1])
            assert serves(node)
        assert time.monotonic() - began < 15
    assert eventually(lambda: not list(node.files.spool.rglob("*.dcm")))


@pytest.mark.timeout(120)
def test_two_hundred_that_do_nothing(node: Node) -> None:
    """As many as fit are kept, the rest are turned away; when they are gone, everyone is served again. Idle
    ones cost next to nothing."""
    before = resident(node)
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", node.port))) for _ in range(200)]
        for one in lines:
            try:
                one.sendall(request((ECHO,)))
            except ConnectionError:
                continue
        first: list[int] = []
        for one in lines:
            one.settimeout(10)
            try:
                first.append((one.recv(1) or b"\0")[0])
            except (ConnectionError, TimeoutError):
                first.append(0)
        assert 20 <= first.count(ACCEPT) <= 40  # those that are being turned away count for a moment
        assert set(first) <= {ACCEPT, 3, 0}
        assert node.process is not None
        used = cpu(node.process.pid)
        time.sleep(2)
        assert cpu(node.process.pid) - used < 0.4  # seconds, of two
    assert eventually(lambda: serves(node), 30)
    assert resident(node) - before < GROWTH


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Waiting:
    """The parts of an association that `Messages` asks for."""

    def __init__(self) -> None:
        self._accepted_cx = {1: type("Context", (), {"transfer_syntax": [making.SYNTAX]})}
        self.came_whole: list[tuple[int, StoreRequest]] = []

    def came(self, context: int, request: StoreRequest) -> None:
        self.came_whole.append((context, request))


@given(
    st.lists(st.tuples(st.sampled_from([1, 3, 5]), st.integers(0, 3), st.binary(max_size=300)), max_size=12)
)
def test_fragments_in_any_order(parts: list[tuple[int, int, bytes]]) -> None:
    """Whatever comes, no file is left."""
    waiting = Waiting()
    messages = Messages(waiting)
    with suppress(Exception):  # whatever it is, the association is aborted
        for context, control, data in parts:
            messages.take(memoryview(pdv(data, context, control)[6:]))
    for one in waiting.came_whole:  # as when the association is doing something else
        messages.msg_queue.put(one)
    assert messages.drop() >= len(waiting.came_whole)
    assert not any(one.path.exists() for _context, one in waiting.came_whole)


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_a_store_in_any_fragments_is_the_same_file(data: bytes, size: int) -> None:
    waiting = Waiting()
    messages = Messages(waiting)
    parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    messages.take(memoryview(pdv(STORE[:30], 1, 1)[6:] + pdv(STORE[30:], 1, 3)[6:]))
    for number, part in enumerate(parts, 1):
        messages.take(memoryview(pdv(part, 1, 2 if number == len(parts) else 0)[6:]))
    context, request = waiting.came_whole.pop()
    assert (context, request.MessageID, request.AffectedSOPInstanceUID) == (1, 1, "2.25.1")
    content = request.path.read_bytes()
    request.path.unlink()
    import hashlib

    assert hashlib.sha256(content).hexdigest() == request.sha256
    assert content[128:132] == b"DICM"
    start = 144 + int.from_bytes(content[140:144], "little")
    assert content[start:] == data


SERVICES = (
    "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2",
    "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3",
    "1.2.840.10008.1.20.1",
)  # fmt: skip


@pytest.mark.parametrize("deflated_alone", [True, False])
def test_messages_are_never_deflated(node: Node, deflated_alone: bool) -> None:
    """Queries, steps and questions: a few bytes would unfold to gigabytes. Images may be."""
    peer = AE("WELL")
    for name in SERVICES:
        peer.add_requested_context(name, [DEFLATED] if deflated_alone else [DEFLATED, making.SYNTAX])
    peer.add_requested_context(CTImageStorage, [DEFLATED])
    association = peer.associate("127.0.0.1", node.port)
    taken = {str(one.abstract_syntax): str(one.transfer_syntax[0]) for one in association.accepted_contexts}
    association.release()
    spoken = {} if deflated_alone else dict.fromkeys(SERVICES, making.SYNTAX)
    assert taken == {**spoken, str(CTImageStorage): DEFLATED}
