"""An association of ours on which files go to a peer: C-STORE as SCU on a plain blocking socket.

pynetdicom's own side is made for datasets in memory and polls; a C-MOVE of a large study needs neither. Its
PDU classes are used for the negotiation. PS3.8 §9.3 (PDUs), PS3.4 §B (Storage Service Class)
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext

from dicomweb.dimse.sockets import MAXIMUM_PDU, hasten, send_all, send_pieces
from dicomweb.dimse.suboperations import BadAnswer, Instance, Originator, command, pieces, status_of

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
LARGEST_ANSWER = 1_048_576
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
ACCEPT, P_DATA, RELEASE_REQUEST, RELEASE_ANSWER = 0x02, 0x04, 0x05, 0x06
_RELEASE = struct.pack(">BBLL", RELEASE_REQUEST, 0, 4, 0)


class Refused(OSError):
    """The peer does not want the association."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go, and as whom we call; `tls`: checks the peer's certificate."""

    host: str
    port: int
    ae_title: str
    calling: str
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Outgoing:
    """An open association. `accepted`: SOP class → transfer syntax → presentation context."""

    connection: socket.socket
    accepted: Mapping[str, Mapping[str, int]]
    largest: int
    _message: int = field(default=0)

    def store(self, one: Instance, context: int, originator: Originator | None) -> int:
        """One C-STORE; its status. Raises OSError: the association is of no use any more."""
        self._message = self._message % 65535 + 1
        asked = command(one, self._message, originator)
        for some in pieces(one, asked, context, self.largest):
            if isinstance(self.connection, ssl.SSLSocket):
                send_all(self.connection, b"".join(some))
            else:
                send_pieces(self.connection, some)
        return status_of(self._answer(), self._message)

    def _answer(self) -> bytes:
        """The next command set that comes."""
        found = b""
        while True:
            kind, body = _pdu(self.connection)
            if kind != P_DATA:
                raise BadAnswer("the peer ends the association")
            at = 0
            while at + 6 <= len(body):
                length, _context, control = struct.unpack_from(">LBB", body, at)
                if length < 2 or at + 4 + length > len(body):
                    raise BadAnswer("a fragment beyond its PDU")
                if control & 1:
                    found += body[at + 6 : at + 4 + length]
                    if control & 2:
                        return found
                at += 4 + length
            if len(found) > LARGEST_ANSWER:
                raise BadAnswer("an answer without end")

    def release(self) -> None:
        """In good order, as far as the peer takes part."""
        with contextlib.suppress(OSError):
            self.connection.sendall(_RELEASE)
            while _pdu(self.connection)[0] not in (RELEASE_ANSWER, 0x07):
                pass
        self.connection.close()

    def abort(self) -> None:
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = 0x00, 0x00
        with contextlib.suppress(OSError):
            self.connection.sendall(abort.encode())
        self.connection.close()


def opened(target: Target, contexts: Sequence[PresentationContext]) -> Outgoing:
    """Raises OSError (no connection, no TLS), Refused."""
    connection = socket.create_connection((target.host, target.port), CONNECT_SECONDS)
    try:
        hasten(connection)
        if target.tls is not None:
            connection = target.tls.wrap_socket(connection, server_hostname=target.host)
        connection.sendall(_request(target, contexts))
        connection.settimeout(ANSWER_SECONDS)
        kind, body = _pdu(connection)
        if kind != ACCEPT:
            raise Refused("the peer rejects the association")
        return _accepted(connection, contexts, struct.pack(">BBL", kind, 0, len(body)) + body)
    except BaseException:
        connection.close()
        raise


def _request(target: Target, contexts: Sequence[PresentationContext]) -> bytes:
    asked = A_ASSOCIATE()
    asked.application_context_name = APPLICATION_CONTEXT
    asked.calling_ae_title, asked.called_ae_title = target.calling, target.ae_title
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    asked.presentation_context_definition_list = list(contexts)
    largest = MaximumLengthNotification()
    largest.maximum_length_received = MAXIMUM_PDU
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    asked.user_information = [largest, implementation, version]
    return bytes(A_ASSOCIATE_RQ(asked).encode())


def _accepted(connection: socket.socket, contexts: Sequence[PresentationContext], answer: bytes) -> Outgoing:
    made = A_ASSOCIATE_AC()
    try:
        made.decode(answer)
        told = made.to_primitive()
        names = {one.context_id: str(one.abstract_syntax) for one in contexts}
        accepted: dict[str, dict[str, int]] = {}
        for one in told.presentation_context_definition_results_list:
            if one.result == 0x00 and one.context_id in names:
                syntaxes = accepted.setdefault(names[one.context_id], {})
                syntaxes.setdefault(str(one.transfer_syntax[0]), int(one.context_id))
        largest = next(
            one.maximum_length_received
            for one in told.user_information
            if isinstance(one, MaximumLengthNotification)
        )
    except Exception as error:  # a peer's answer is hostile input too
        raise Refused("an acceptance that cannot be read") from error
    if 0 < largest < 128:
        raise Refused("a maximum length too short for any message")
    return Outgoing(connection, accepted, largest)


def _pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Type and body of the next one. Raises OSError."""
    kind, _reserved, length = struct.unpack(">BBL", _exactly(connection, 6))
    if length > max(LARGEST_ANSWER, MAXIMUM_PDU):
        raise BadAnswer("a PDU beyond the maximum offered")
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    buffer = bytearray(size)
    view, read = memoryview(buffer), 0
    while read < size:
        count = connection.recv_into(view[read:])
        if not count:
            raise OSError("the peer closed the connection")
        read += count
    return bytes(buffer)
