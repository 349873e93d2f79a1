"""What listens: accepts connections, several processes on one socket, plain or TLS, and starts associations.

Processes share the listening socket. The one with the fewest associations takes the next: each waits a moment
for every association that it has before it accepts. A process at its limit leaves connections to the others
for a little longer, and when nobody took it, answers "local limit exceeded". PS3.8 §9.3.4 (A-ASSOCIATE-RJ)
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicomweb.dimse.association import QuickAssociation, quicken
from dicomweb.dimse.sockets import MAXIMUM_PDU, hasten
from dicomweb.dimse.tls import HANDSHAKE_SECONDS
from dicomweb.syntaxes import MESSAGES

log = logging.getLogger(__name__)

MAXIMUM_ASSOCIATIONS = 40  # of one process
MOST_CONNECTIONS = 100  # of one process, those that are turned away included
IDLE_SECONDS = 60.0  # without a byte from the peer
ANSWER_SECONDS = 30.0
STALLED_SECONDS = 30.0  # within a PDU: a peer that stops there is hung up on
GRACE_SECONDS = 10.0  # for associations in the middle of something, when the node stops
ABORT_SECONDS = 3.0  # for those that were aborted after it
DEFERENCE_SECONDS = 0.002  # for each association that we have
FULL_SECONDS = 0.1
BOTH_ROLES = frozenset(
    {"1.2.840.10008.1.20.1"}
)  # storage commitment: who was asked calls as provider to tell
Handler = tuple[Any, Callable[[Any], Any]]


@dataclass(frozen=True, slots=True)
class Listening:
    """On which socket (it listens already; `sockets.listening_on`), under which AE title; `shared`: other
    processes accept from it too."""

    line: socket.socket
    ae_title: str
    tls: ssl.SSLContext | None = None
    maximum: int = MAXIMUM_ASSOCIATIONS
    shared: bool = False

    @property
    def port(self) -> int:
        return int(self.line.getsockname()[1])


def listen(at: Listening, abstract_syntaxes: Sequence[str], handlers: Sequence[Handler]) -> Server:
    """A server, not yet serving (`serve_forever`). Storage of every class is always accepted as a context."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_RECV_CHUNKED_DATASET = True
    node = AE(at.ae_title)
    node.add_supported_context(Verification)
    for name in abstract_syntaxes:
        both = True if name in BOTH_ROLES else None
        node.add_supported_context(name, list(MESSAGES), scu_role=both, scp_role=both)
    node.maximum_pdu_size = MAXIMUM_PDU
    node.maximum_associations = at.maximum
    node.network_timeout = IDLE_SECONDS
    node.dimse_timeout = ANSWER_SECONDS
    node.acse_timeout = ANSWER_SECONDS
    return Server(node, at, [*handlers, (evt.EVT_C_ECHO, lambda _event: 0x0000)])


@contextlib.contextmanager
def serving(servers: Sequence[Server]) -> Iterator[None]:
    """Each in a thread of its own; on leaving they have been stopped, and end."""
    threads = [
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        for one in servers
    ]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(2.0)


class Server(ThreadedAssociationServer):  # type: ignore[misc]
    """pynetdicom's server on a socket that listens already, which closes what is open when it stops."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, node: AE, at: Listening, handlers: Sequence[Handler]) -> None:
        self.at = at
        self._connections = 0
        self._counting = threading.Lock()
        address = at.line.getsockname()
        super().__init__(
            node, address, at.ae_title, node.supported_contexts, None, list(handlers), QuickHandler
        )

    def server_bind(self) -> None:
        """The socket is bound and listens already: take it in place of the one made for us."""
        unused: socket.socket = self.socket  # type: ignore[has-type,unused-ignore]
        unused.close()
        self.socket = self.at.line
        self.server_address = self.at.line.getsockname()

    def server_activate(self) -> None:
        pass

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; raises BlockingIOError when another process was first, as socketserver expects."""
        if self.at.shared:
            full = self._connections >= self.at.maximum
            time.sleep(FULL_SECONDS if full else DEFERENCE_SECONDS * self._connections)
        connection, address = self.socket.accept()
        with self._counting:
            self._connections += 1
        return connection, address

    def verify_request(self, _request: Any, _client_address: Any) -> bool:
        """Beyond all limits nobody is even told why."""
        if self._connections <= MOST_CONNECTIONS:
            return True
        self._left()
        return False

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            super().shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In a thread of its own: the TLS handshake, then the association until it is over."""
        try:
            request.settimeout(HANDSHAKE_SECONDS)
            if self.at.tls:
                request = self.at.tls.wrap_socket(request, server_side=True)
            handler = self.RequestHandlerClass(request, client_address, self)
            handler.association.join()
        except (ssl.SSLError, OSError) as error:
            log.warning("no TLS connection: %s", getattr(error, "reason", None) or type(error).__name__)
        except Exception:
            log.exception("a connection failed")
        finally:
            self.shutdown_request(request)
            self._left()

    def _left(self) -> None:
        with self._counting:
            self._connections -= 1

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        log.exception("a connection failed")

    def stop(self) -> None:
        """Stop accepting; what is in the middle of something may end it, the rest is aborted."""
        BaseServer.shutdown(self)
        self.socket.close()
        until = time.monotonic() + GRACE_SECONDS
        while (associations := self.active_associations) and time.monotonic() < until + ABORT_SECONDS:
            for one in associations:
                if time.monotonic() > until or not one.busy:
                    one.abort()
            time.sleep(0.05)


class QuickHandler(RequestHandler):  # type: ignore[misc]
    """Makes each new association a quick one."""

    association: QuickAssociation

    def _create_association(self) -> QuickAssociation:
        hasten(self.request)
        self.request.settimeout(STALLED_SECONDS)
        self.association = super()._create_association()
        quicken(self.association)
        return self.association
