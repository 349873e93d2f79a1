"""The sockets under pynetdicom, made quick: no Nagle, acknowledgements at once, large reads, bounded PDUs.

A peer that leaves Nagle on waits for our delayed acknowledgement before it sends the tail of each small
instance; re-arming TCP_QUICKACK around each read lifts that from some 20 to some hundreds of instances per
second. PS3.8 §9.1; RFC 896, RFC 1122 §4.2.3.2
"""

from __future__ import annotations

import contextlib
import socket

from pynetdicom.transport import AssociationSocket, RequestHandler

MAXIMUM_PDU = 262_144  # bytes; what we offer to receive
STALLED_SECONDS = 30.0  # within a PDU: a peer that stops there is hung up on
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def hasten(connection: socket.socket) -> None:
    """No Nagle and immediate acknowledgements on one connection."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _QUICKACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class QuickSocket(AssociationSocket):  # type: ignore[misc]
    """pynetdicom's socket with reads straight into one buffer of the announced size."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer when the peer closed. Raises OSError for a PDU beyond what we
        offered."""
        if nr_bytes > 2 * MAXIMUM_PDU:
            raise OSError(f"a PDU of {nr_bytes} bytes, beyond the maximum offered")
        connection = self.socket
        if connection is None:
            return bytearray()
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

    def _shutdown_socket(self) -> None:
        """Close even when the peer is gone already, where shutdown fails."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class QuickHandler(RequestHandler):  # type: ignore[misc]
    """Gives each new association a quick socket."""

    def _create_association(self) -> object:
        hasten(self.request)
        self.request.settimeout(STALLED_SECONDS)
        association = super()._create_association()
        quick = association.dul.socket
        quick.__class__ = QuickSocket
        return association
