"""The socket under an association: PDUs whole and in order, however they come in. PS3.8 §9.3.1"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomweb.dimse.sockets import HEAD, MAXIMUM_PDU, SMALLEST, QuickSocket


def quick(line: socket.socket) -> QuickSocket:
    """pynetdicom's own constructor binds and connects; here the line is there already."""
    made = QuickSocket.__new__(QuickSocket)
    made._assoc = SimpleNamespace(dul=SimpleNamespace(event_queue=queue.Queue()))
    made.socket, made._is_connected = line, True
    return made


@pytest.fixture
def lines() -> Iterator[tuple[socket.socket, socket.socket]]:
    server = socket.create_server(("127.0.0.1", 0))
    near = socket.create_connection(server.getsockname())
    far, _address = server.accept()
    server.close()
    for one in (near, far):
        one.settimeout(10)
    yield near, far
    near.close()
    far.close()


def pdu(kind: int, body: bytes) -> bytes:
    return bytes([kind, 0]) + len(body).to_bytes(4, "big") + body


SIZES = st.one_of(st.integers(0, 40), st.integers(SMALLEST - 20, SMALLEST + 20), st.just(2 * MAXIMUM_PDU))


@given(
    sizes=st.lists(SIZES, min_size=1, max_size=6),
    pieces=st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pdus_are_those_that_were_sent(
    lines: tuple[socket.socket, socket.socket], sizes: list[int], pieces: list[int]
) -> None:
    sent = [pdu(number % 7 + 1, bytes([number]) * size) for number, size in enumerate(sizes)]
    whole = b"".join(sent)

    def send() -> None:
        at = turn = 0
        while at < len(whole):
            at += lines[0].send(whole[at : at + pieces[turn % len(pieces)]])
            turn += 1

    reader, sender = quick(lines[1]), threading.Thread(target=send)
    sender.start()
    try:
        for one in sent:
            assert bytes(reader.pdu()) == one
        assert not reader.ready
    finally:
        sender.join()


def test_what_was_handed_out_stays_while_a_larger_one_is_read(
    lines: tuple[socket.socket, socket.socket],
) -> None:
    """The first is looked at by somebody when the buffer must grow."""
    first, second = pdu(4, b"a" * 10), pdu(4, b"b" * (SMALLEST + 1))
    sender = threading.Thread(target=lines[0].sendall, args=(first + second,))
    sender.start()
    reader = quick(lines[1])
    early = reader.pdu()
    late = reader.pdu()
    sender.join()
    assert (bytes(early), bytes(late)) == (first, second)


def test_ready_while_something_is_held(lines: tuple[socket.socket, socket.socket]) -> None:
    """Two came at once: the system has nothing more, and yet there is one to read."""
    lines[0].sendall(pdu(4, b"a") + pdu(5, b"b"))
    reader = quick(lines[1])
    assert bytes(reader.pdu()) == pdu(4, b"a")
    assert reader.ready
    assert bytes(reader.pdu()) == pdu(5, b"b")
    assert not reader.ready


@pytest.mark.parametrize("cut", [0, 3, HEAD, HEAD + 4])
def test_a_connection_closed_within_a_pdu(lines: tuple[socket.socket, socket.socket], cut: int) -> None:
    lines[0].sendall(pdu(4, b"12345678")[:cut])
    lines[0].close()
    assert bytes(quick(lines[1]).pdu()) == pdu(4, b"12345678")[:cut]


def test_a_pdu_beyond_what_is_offered(lines: tuple[socket.socket, socket.socket]) -> None:
    lines[0].sendall(b"\x04\x00" + (2 * MAXIMUM_PDU + 1).to_bytes(4, "big"))
    with pytest.raises(OSError, match="beyond the maximum"):
        quick(lines[1]).pdu()
    lines[0].sendall(b"x")
    with pytest.raises(OSError, match="beyond the maximum"):
        quick(lines[1]).recv(2 * MAXIMUM_PDU + 1)
