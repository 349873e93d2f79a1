"""pynetdicom's association without its polling, and with bounds on what a peer can make us hold.

pynetdicom looks at every association a thousand times a second, in two threads: twenty idle ones take most of
a core, and each message waits for the next look. Here both threads sleep until something comes: the provider
on its socket and a wake-up line, the association on its queue of messages. And a peer that sends faster than
we store, a command without end or an identifier of gigabytes is held back or aborted. PS3.8 §9.2 (state
machine), PS3.7 §6.3
"""

from __future__ import annotations

import contextlib
import logging
import queue
import select
import socket
import threading
from typing import Any

from pynetdicom import build_context, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT, A_RELEASE, P_DATA

from dicomweb.dataset import is_stored
from dicomweb.dimse.messages import Messages, StoreEvent, StoreRequest, answer_pieces
from dicomweb.dimse.sockets import HEAD, QuickSocket
from dicomweb.dimse.steady import Checkpoint

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
DICOM_CONTEXT = "1.2.840.10008.3.1.1.1"
LOOK_SECONDS = 1.0  # timers are looked at so often; everything else wakes us
HELD_BACK_SECONDS = 0.005
MOST_WAITING = 4  # messages received and not yet answered: above, the peer is not read from
MOST_QUEUED = 8  # P-DATA on their way out
INVALID_PDU, CONNECTION_CLOSED = "Evt19", "Evt17"
P_DATA_TF, DATA_TRANSFER = 0x04, "Sta6"


class Wake:
    """A line by which other threads wake a sleeping one; ringing it after `close` does nothing."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._near.fileno()

    def ring(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # full: it rings already
            self._far.send(b"!")

    def quiet(self) -> None:
        with contextlib.suppress(OSError):
            self._near.recv(4096)

    def close(self) -> None:
        with self._lock:
            self._near.close()
            self._far.close()


class Telling(queue.Queue[Any]):
    """The provider's queue to the association: an end of the association also rings there."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        if isinstance(item, A_RELEASE | A_ABORT | A_P_ABORT):
            self._association.dimse.msg_queue.put((None, None))


class QuickProvider(DULServiceProvider):  # type: ignore[misc]
    """The upper layer's thread."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True
        self.to_user_queue = Telling(association)
        self._wake = Wake()

    # -- called from other threads
    def send_pdu(self, primitive: Any) -> None:
        """P-DATA waits while too many are on their way, so that a long message is never in memory whole."""
        while isinstance(primitive, P_DATA) and self.to_provider_queue.qsize() >= MOST_QUEUED:
            if not self.is_alive():
                return
            threading.Event().wait(HELD_BACK_SECONDS)
        super().send_pdu(primitive)
        self._wake.ring()

    def kill_dul(self) -> None:
        super().kill_dul()
        self._wake.ring()

    def stop_dul(self) -> bool:
        if self.state_machine.current_state == "Sta1":
            self.kill_dul()
            self.join()
            return True
        self._wake.ring()
        return False

    # -- the thread
    def run_reactor(self) -> None:
        """Until the association is over. PS3.8 §9.2"""
        self._idle_timer.start()
        try:
            while not self._kill_thread:
                self.assoc._dul_ready.set()
                if self.artim_timer.expired:
                    self.event_queue.put("Evt18")
                try:
                    if not self._step():
                        self._sleep()
                except Exception:
                    log.warning("an association is aborted: the peer sent what the upper layer cannot take")
                    self._break_off()
        finally:
            self.to_user_queue.put(None)  # whoever waits for the peer's request need not wait any longer
            self._wake.close()

    def _step(self) -> bool:
        """One thing, if there is one to do."""
        moved = bool(self._process_recv_primitive())
        if not moved and not self._held_back() and self._is_transport_event():
            self._idle_timer.restart()
            moved = True
        try:
            event = self.event_queue.get_nowait()
        except queue.Empty:
            return moved
        self.state_machine.do_action(event)
        return True

    def _read_pdu_data(self) -> None:
        """One PDU from the socket: data straight to the messages, the rest to the state machine."""
        try:
            pdu = self.socket.pdu()
        except OSError:
            pdu = memoryview(b"")
        if len(pdu) < HEAD or len(pdu) < HEAD + int.from_bytes(pdu[2:HEAD], "big"):
            self.event_queue.put(CONNECTION_CLOSED)
        elif pdu[0] == P_DATA_TF and self.state_machine.current_state == DATA_TRANSFER:
            self.assoc.dimse.take(pdu[HEAD:])
        elif not 1 <= pdu[0] <= 7:
            self.event_queue.put(INVALID_PDU)
        else:
            self._decoded(bytearray(pdu))

    def _decoded(self, whole: bytearray) -> None:
        try:
            pdu, event = self._decode_pdu(whole)
        except Exception:  # hostile input: whatever pynetdicom stumbles on
            self.event_queue.put(INVALID_PDU)
        else:
            self._recv_pdu.put(pdu)
            self.event_queue.put(event)

    def _held_back(self) -> bool:
        return bool(self.assoc.dimse.msg_queue.qsize() >= MOST_WAITING)

    def _sleep(self) -> None:
        held_back, line = self._held_back(), self.socket and self.socket.socket
        waiting = select.poll()
        waiting.register(self._wake.fileno(), select.POLLIN)
        if line is not None and not held_back and line.fileno() >= 0:
            waiting.register(line.fileno(), select.POLLIN)
        seconds = HELD_BACK_SECONDS if held_back or line is None else LOOK_SECONDS
        if any(found == self._wake.fileno() for found, _event in waiting.poll(seconds * 1000)):
            self._wake.quiet()

    def _break_off(self) -> None:
        """What pynetdicom does not expect ends here: A-ABORT by the provider, and both threads stop."""
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = 0x02, 0x00
        with contextlib.suppress(Exception):
            self.socket.send(abort.encode())
        with contextlib.suppress(Exception):
            self.socket.close()
        evt.trigger(self.assoc, evt.EVT_CONN_CLOSE, {"address": self.assoc.requestor.address_info.as_tuple})
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self.assoc._kill = self._kill_thread = True
        self.assoc.dimse.msg_queue.put((None, None))


class Negotiation(ACSE):  # type: ignore[misc]
    """What is accepted: storage of every class in every transfer syntax that is proposed, in both roles (for
    C-GET), and those services of the node that this peer may use."""

    def _negotiate_as_acceptor(self) -> None:
        offered = [
            one
            for one in self.acceptor.supported_contexts
            if self.assoc.offered is None or str(one.abstract_syntax) in self.assoc.offered
        ]
        syntaxes: dict[str, dict[str, None]] = {}
        for proposed in self.requestor.primitive.presentation_context_definition_list:
            name = str(proposed.abstract_syntax)
            if is_stored(name) and name != VERIFICATION:
                syntaxes.setdefault(name, {}).update(dict.fromkeys(map(str, proposed.transfer_syntax)))
        for name, proposed_syntaxes in syntaxes.items():
            context = build_context(name, list(proposed_syntaxes))
            context.scu_role = context.scp_role = True
            offered.append(context)
        self.acceptor.supported_contexts = offered
        super()._negotiate_as_acceptor()

    def negotiate_association(self) -> None:
        """A request that is none of DICOM is rejected, one that cannot be negotiated ends in A-ABORT. PS3.7
        §A.2.1; PS3.8 §9.3.4 (application context name not supported)"""
        asked = self.requestor.primitive
        if str(asked.application_context_name or "") != DICOM_CONTEXT:
            self.send_reject(1, 1, 2)
            self.assoc.kill()
            return
        try:
            super().negotiate_association()
        except Exception:  # hostile input: whatever pynetdicom stumbles on
            log.warning("an association is aborted: its request cannot be negotiated")
            self.send_abort(0x02)
            self.assoc.kill()


class QuickAssociation(Association):  # type: ignore[misc]
    """The association's thread. `quicken` makes one of pynetdicom's own, before it starts."""

    is_established: bool
    peer: object = None  # who calls, as far as the directory knows it
    offered: frozenset[str] | None = None  # the services that it may use, None: all of the node's
    _is_serving = _is_storing = False  # by its own thread; by the provider's

    def _run_reactor(self) -> None:
        while not self._kill:
            self._is_paused = True
            self._reactor_checkpoint.wait()
            self._is_paused = False
            try:
                context_id, message = self.dimse.msg_queue.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                context_id, message = None, None
            if message:
                self._serve_request(message, context_id)
            if self._over():
                return

    def _over(self) -> bool:
        """Whether the peer has ended the association, or nothing has come for too long."""
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            self.kill()
            return True
        if self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
            self.kill()
            return True
        if not self.dul.is_alive():
            self.kill()
            return True
        if self.dul.idle_timer_expired() and not self._is_storing:
            self.abort()
            self.kill()
            return True
        return False

    def _serve_request(self, message: Any, context_id: int) -> None:
        """An instance of any class is stored, also of one that pynetdicom does not know; C-MOVE and C-GET are
        answered by their handlers alone; the rest is pynetdicom's."""
        context = self._accepted_cx.get(context_id)
        retrieve = {C_MOVE: evt.EVT_C_MOVE, C_GET: evt.EVT_C_GET}.get(type(message))
        ours = retrieve is not None or isinstance(message, StoreRequest)
        self.dimse.cancel_req = {}
        self._is_paused = self._is_serving = True
        try:
            if not ours or context is None or not message.is_valid_request:
                super()._serve_request(message, context_id)
            elif retrieve is None:
                self._store(message, context)
            else:
                asked = {"request": message, "context": context.as_tuple}
                self.get_handlers(retrieve)[0](evt.Event(self, retrieve, asked))
        except Exception:
            log.exception("a request could not be answered")
            self.abort()
        finally:
            self._is_paused = self._is_serving = False
            self.dul._idle_timer.restart()  # the peer had to wait for us

    def came(self, context_id: int, request: StoreRequest) -> None:
        """An instance has come whole. Called by the provider's thread, which stores and answers by itself
        when nothing else is being done: handing it over would cost as much as reading it."""
        context = self._accepted_cx.get(context_id)
        if not self.is_established or self._is_serving or self.dimse.msg_queue.qsize() or context is None:
            self.dimse.msg_queue.put((context_id, request))
            return
        self._is_storing = True
        try:
            self._store(request, context)
        finally:
            self._is_storing = False
            self.dul._idle_timer.restart()

    def _store(self, request: StoreRequest, context: Any) -> None:
        """Ask the handler, and answer."""
        status = self.get_handlers(evt.EVT_C_STORE)[0](StoreEvent(self, request, context.as_tuple))
        code, comment = (status, "") if isinstance(status, int) else (status.Status, status.ErrorComment)
        if not self.is_established:
            return
        largest = int(self.requestor.maximum_length or 0)
        try:
            self.dul.socket.write(answer_pieces(request, code, comment, context.context_id, largest))
        except OSError:
            self.dul.event_queue.put(CONNECTION_CLOSED)

    def rouse(self) -> None:
        """Before another thread sends on this association: its own must not sleep on the queue of answers."""
        self.dimse.msg_queue.put((None, None))

    @property
    def busy(self) -> bool:
        """Whether something is being received or answered."""
        return bool(
            self._is_paused or self._is_storing or self.dimse.is_receiving or self.dimse.msg_queue.qsize()
        )


def quicken(association: Association) -> None:
    """Before it starts: sleep instead of polling, quick socket, bounds."""
    line = association.dul.socket
    association.__class__ = QuickAssociation
    association.dul = QuickProvider(association)
    association.dimse = Messages(association)
    association.acse = Negotiation(association)
    association._reactor_checkpoint = Checkpoint(association)
    association.dul.socket = line
    line.__class__ = QuickSocket
    line.take_turns()
    line.event_queue.put("Evt5")  # transport connection indication
    association.acse_timeout = association.acse_timeout  # the timers are the provider's
    association.network_timeout = association.network_timeout
