"""The sockets under pynetdicom, made quick: no Nagle, acknowledgements at once, large reads, bounded PDUs.

A peer that leaves Nagle on waits for our delayed acknowledgement before it sends the tail of each small
instance; re-arming TCP_QUICKACK around each read lifts that from some 20 to some hundreds of instances per
second. PS3.8 §9.1; RFC 896, RFC 1122 §4.2.3.2
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence

from pynetdicom.transport import AssociationSocket

MAXIMUM_PDU = 262_144  # bytes; what we offer to receive
STALLED_SECONDS = 30.0  # within a PDU: a peer that stops there is hung up on
MOST_PIECES = 512  # of one system call
HEAD = 6  # bytes of a PDU before its body
SMALLEST = 147_456  # bytes of a buffer: DCMTK's largest PDU, and the beginning of the next one
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def hasten(connection: socket.socket) -> None:
    """No Nagle and immediate acknowledgements on one connection."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _QUICKACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class QuickSocket(AssociationSocket):  # type: ignore[misc]
    """pynetdicom's socket with large reads into one buffer, which what comes in is handed out of."""

    rate = 0  # bytes per second that the peer may send, 0 without limit
    _due = 0.0  # when what was read would have come at that rate
    _turn: threading.Lock | None = None  # TLS: one reads or writes at a time
    _buffer = bytearray()
    _start = _end = 0  # what came in and was not handed out yet

    def take_turns(self) -> None:
        """Several threads will use this socket."""
        self._turn = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether something may be read without waiting."""
        return self._end > self._start or bool(super().ready)

    def pdu(self) -> memoryview:
        """The next PDU, with its head; what there is of it when the peer closed before its end. It stands in
        the buffer: valid until the next call. Raises OSError for one beyond what we offered."""
        if not self._fill(HEAD):
            return self._held(HEAD)
        length = int.from_bytes(self._buffer[self._start + 2 : self._start + HEAD], "big")
        if length > 2 * MAXIMUM_PDU:
            raise OSError(f"a PDU of {length} bytes, beyond the maximum offered")
        self._fill(HEAD + length)
        return self._held(HEAD + length)

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer when the peer closed. Raises OSError for more than a PDU that we
        offered."""
        if nr_bytes > 2 * MAXIMUM_PDU:
            raise OSError(f"a PDU of {nr_bytes} bytes, beyond the maximum offered")
        self._fill(nr_bytes)
        return bytearray(self._held(nr_bytes))

    def _held(self, most: int) -> memoryview:
        """Hand out what is there, up to so many bytes."""
        start, self._start = self._start, min(self._start + most, self._end)
        return memoryview(self._buffer)[start : self._start]

    def _fill(self, size: int) -> bool:
        """Read until `size` bytes are held; False when the peer closed before."""
        if self._end - self._start >= size:
            return True
        connection = self.socket
        if connection is None:
            return False
        self._make_room(size)
        with memoryview(self._buffer) as view:
            while self._end - self._start < size:
                count = self._read(connection, view[self._end :])
                if not count:
                    return False
                self._end += count
                self._pace(count)
        return True

    def _make_room(self, size: int) -> None:
        """What is left over goes to the beginning of the buffer; one that is too small for `size` bytes is
        replaced, since somebody may still look at the old one."""
        left = self._end - self._start
        if len(self._buffer) < size:
            made = bytearray(max(size, SMALLEST))
            made[:left] = self._buffer[self._start : self._end]
            self._buffer = made
        elif self._start and left:
            self._buffer[:left] = self._buffer[self._start : self._end]
        self._start, self._end = 0, left

    def _read(self, connection: socket.socket, into: memoryview) -> int:
        if _QUICKACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        if self._turn and isinstance(connection, ssl.SSLSocket):
            with self._turn:
                return connection.recv_into(into)
        return connection.recv_into(into)

    def _pace(self, size: int) -> None:
        """A peer that sends faster than it may waits before we read on."""
        if self.rate:
            now = time.monotonic()
            self._due = max(now, self._due) + size / self.rate
            time.sleep(max(0.0, self._due - now))

    def send(self, bytestream: bytes) -> None:
        """The whole of it, without copies; a peer that takes none of it for long is given up."""
        try:
            self.write([bytestream])
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Several pieces in one go. Raises OSError."""
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        with self._turn or contextlib.nullcontext():
            if isinstance(connection, ssl.SSLSocket):
                for piece in pieces:
                    send_all(connection, piece)
            else:
                send_pieces(connection, pieces)

    def _shutdown_socket(self) -> None:
        """Close even when the peer is gone already, where shutdown fails."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def send_all(connection: socket.socket, piece: bytes | memoryview) -> None:
    """The socket's timeout holds for each part that the peer takes, not for the whole."""
    left = memoryview(piece)
    while left:
        left = left[connection.send(left) :]


def send_pieces(connection: socket.socket, pieces: Sequence[bytes | memoryview]) -> None:
    """One system call for as many as fit. Not for TLS."""
    for start in range(0, len(pieces), MOST_PIECES):
        some = pieces[start : start + MOST_PIECES]
        sent = connection.sendmsg(some)
        for piece in some:
            if sent >= len(piece):
                sent -= len(piece)
                continue
            send_all(connection, memoryview(piece)[sent:])
            sent = 0
