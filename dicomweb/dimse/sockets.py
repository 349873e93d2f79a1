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
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def hasten(connection: socket.socket) -> None:
    """No Nagle and immediate acknowledgements on one connection."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _QUICKACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class QuickSocket(AssociationSocket):  # type: ignore[misc]
    """pynetdicom's socket with reads straight into one buffer of the announced size."""

    rate = 0  # bytes per second that the peer may send, 0 without limit
    _due = 0.0  # when what was read would have come at that rate
    _turn: threading.Lock | None = None  # TLS: one reads or writes at a time

    def take_turns(self) -> None:
        """Several threads will use this socket."""
        self._turn = threading.Lock()

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer when the peer closed. Raises OSError for a PDU beyond what we
        offered."""
        if nr_bytes > 2 * MAXIMUM_PDU:
            raise OSError(f"a PDU of {nr_bytes} bytes, beyond the maximum offered")
        connection = self.socket
        if connection is None:
            return bytearray()
        self._pace(nr_bytes)
        tls = isinstance(connection, ssl.SSLSocket)
        with self._turn if tls and self._turn else contextlib.nullcontext():
            return self._read(connection, nr_bytes)

    def _pace(self, size: int) -> None:
        if self.rate:
            now = time.monotonic()
            self._due = max(now, self._due) + size / self.rate
            time.sleep(max(0.0, self._due - now - size / self.rate))

    def _read(self, connection: socket.socket, nr_bytes: int) -> bytearray:
        buffer = bytearray(nr_bytes)
        view, read = memoryview(buffer), 0
        while read < nr_bytes:
            if _QUICKACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            count = connection.recv_into(view[read:])
            if not count:
                break
            read += count
        view.release()
        return buffer if read == nr_bytes else buffer[:read]

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
