"""A peer by DIMSE: C-ECHO, C-FIND, C-GET, C-MOVE and C-STORE as SCU, on pynetdicom.

Nothing is decoded: what comes goes to spool files chunk by chunk, what goes is read from its file. One
association is kept for as long as the next operation needs nothing that it did not negotiate. PS3.4 §B, §C;
PS3.7 §9.1
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    ModalityWorklistInformationFind as ORDERS,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    StorageCommitmentPushModel as COMMITMENT,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    StudyRootQueryRetrieveInformationModelFind as FIND,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    StudyRootQueryRetrieveInformationModelGet as GET,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    StudyRootQueryRetrieveInformationModelMove as MOVE,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]

from dicomweb.attributes import first
from dicomweb.dataset import to_json
from dicomweb.dimse.outgoing import Target
from dicomweb.dimse.reporting import WELL_KNOWN
from dicomweb.dimse.sockets import MAXIMUM_PDU, QuickSocket, hasten
from dicomweb.dimse.steady import steady
from dicomweb.gateway.region.board import Board
from dicomweb.index.steps import StepMessage
from dicomweb.peers import performing, questions
from dicomweb.peers.contexts import receiving
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import (
    Answered,
    Attributes,
    Denied,
    Fetched,
    Incapable,
    Level,
    PeerError,
    Sendable,
    StepAnswer,
    Taker,
    Unreachable,
    Wanted,
)
from dicomweb.peers.storing import Storing
from dicomweb.reasons import FAILED, Refused
from dicomweb.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MESSAGES

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
MOST_LISTED = 50_000
SAME_ASSOCIATION_SECONDS = 1.0  # for a storage commitment's answer
BATCH = 20  # instances of one C-GET or C-MOVE
CANCELLED = 0xFE00
RECEIVED = "from the peer: "
PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True, slots=True)
class Ours:
    """How we present ourselves. `stored`: whether an instance is here, for C-MOVE, which brings it to our
    node in another process. `board`: where errands for gateways are posted; without it no peer behind one is
    reached."""

    ae_title: str
    credentials: Credentials
    stored: Callable[[str], bool] = lambda _instance: False
    board: Board | None = None


class DimseSession:
    """One peer, one association at a time."""

    def __init__(self, peer: Peer, ours: Ours) -> None:
        self._peer, self._ours = peer, ours
        self._association: Association | None = None
        self._proposed: frozenset[tuple[str, str]] = frozenset()
        self._numbers = itertools.cycle(range(1, 60000))
        self._take: Taker | None = None
        self._arrived: list[Fetched] = []
        self._storing = Storing(self._target)
        _config.LOG_HANDLER_LEVEL = "none"
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what fails is raised
        _config.STORE_RECV_CHUNKED_DATASET = True

    # -- the association
    def _open(self, contexts: Sequence[PresentationContext], roles: Sequence[Any] = ()) -> Association:
        """The association that is open if it proposed all of these, else a new one."""
        given = RECEIVED if roles else ""  # what the peer may send us is nothing that we may send it
        asked = frozenset(
            (given + str(one.abstract_syntax), str(syntax))
            for one in contexts
            for syntax in one.transfer_syntax
        )
        if self._association is not None:
            if self._association.is_established and asked <= self._proposed:
                return self._association
            self.close()
        self._storing.close()
        association = self._associate(list(contexts), list(roles))
        self._association, self._proposed = association, asked
        return association

    def _associate(self, contexts: list[PresentationContext], roles: list[Any]) -> Association:
        node = AE(self._peer.calling_ae or self._ours.ae_title)
        node.connection_timeout = CONNECT_SECONDS
        node.acse_timeout, node.dimse_timeout, node.network_timeout = CONNECT_SECONDS, ANSWER_SECONDS, 60.0
        tls = (self._ours.credentials.context(self._peer), self._peer.host) if self._peer.tls else None
        try:
            association = node.associate(
                self._peer.host, self._peer.port, contexts=contexts, ae_title=self._peer.ae_title,
                max_pdu=MAXIMUM_PDU, ext_neg=roles, tls_args=tls,
                evt_handlers=[(evt.EVT_CONN_OPEN, _quicken), (evt.EVT_C_STORE, self._on_store)],
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise Unreachable("no-connection", type(error).__name__) from error
        if association.is_established:
            return association
        if association.is_rejected:
            raise Denied("association-rejected", "the peer rejects our AE title or is full")
        if association.rejected_contexts:
            raise Denied("service-refused", "the peer offers nothing of what is asked")
        raise Unreachable("no-connection", "no association")

    def close(self) -> None:
        """Release; an association that is lost is let go."""
        self._storing.close()
        self._release()

    def _release(self) -> None:
        association, self._association, self._proposed = self._association, None, frozenset()
        if association is not None and association.is_established:
            with contextlib.suppress(Exception):
                association.release()

    def _drop(self) -> None:
        association, self._association, self._proposed = self._association, None, frozenset()
        if association is not None:
            with contextlib.suppress(Exception):
                association.abort()

    def _target(self) -> Target:
        peer, ours = self._peer, self._ours
        tls = ours.credentials.context(peer) if peer.tls else None
        return Target(peer.host, peer.port, peer.ae_title, peer.calling_ae or ours.ae_title, tls)

    def _number(self) -> int:
        return next(self._numbers)

    # -- services
    def echo(self) -> None:
        """C-ECHO. Raises PeerError. PS3.7 §9.1.5"""
        status = self._open([build_context(Verification)]).send_c_echo(self._number())
        if not status:
            self._drop()
            raise Unreachable("no-answer", "the peer broke off or did not answer in time")
        self._judge(int(status.Status))

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        """C-FIND at study root, or of the modality worklist. PS3.4 §C.4.1, §K.4.1"""
        model = ORDERS if level == "order" else FIND
        association = self._open([build_context(model, list(MESSAGES))])
        self._accepted(model)
        asked = questions.search(level, keys)
        found: list[Attributes] = []
        number = self._number()
        for status, identifier in association.send_c_find(asked, model, number):
            if not status:
                self._drop()
                raise Unreachable("no-answer", "the peer did not answer a C-FIND")
            if status.Status in PENDING and identifier is not None:
                found.append(_readable(identifier))
                if len(found) == most:
                    association.send_c_cancel(number, query_model=model)
            elif status.Status not in (0x0000, CANCELLED):
                raise Denied("query-refused", f"C-FIND answered {status.Status:#06x}")
        return found[:most]

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        """C-GET, or C-MOVE to our own node, some at a time."""
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            for series in dict.fromkeys((one.study, one.series) for one in batch):
                of_series = [one for one in batch if (one.study, one.series) == series]
                way = self._get if self._peer.retrieve == "get" else self._move
                yield from way(of_series, take)

    def _get(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        contexts, roles = receiving({one.sop_class for one in wanted})
        association = self._open(contexts, roles)
        self._accepted(GET)
        self._take, self._arrived = take, []
        number, left = self._number(), {one.instance for one in wanted}
        answers = association.send_c_get(questions.instances(wanted), GET, number)
        try:
            for status, _ in answers:
                if not status:
                    self._drop()
                    raise Unreachable("cut-off", "the peer broke off a C-GET")
                yield from self._settled(left)
                if status.Status in (0xA700, 0xA701, 0xA702, 0xA900) or 0xC000 <= status.Status <= 0xCFFF:
                    break
        except GeneratorExit:
            self._cancel(association, answers, (number, GET))
            raise
        yield from self._settled(left)
        for instance in sorted(left):
            yield Fetched(instance, missing="not-given")

    def _settled(self, left: set[str]) -> Iterator[Fetched]:
        arrived, self._arrived = self._arrived, []
        for one in arrived:
            if one.instance in left:
                left.discard(one.instance)
                yield one

    def _move(self, wanted: Sequence[Wanted], _take: Taker) -> Iterator[Fetched]:
        """What our node has acknowledged is in the index by then: it is asked there, not believed."""
        association = self._open([build_context(MOVE, list(MESSAGES))])
        self._accepted(MOVE)
        left, code = {one.instance for one in wanted}, 0
        number = self._number()
        answers = association.send_c_move(questions.instances(wanted), self._ours.ae_title, MOVE, number)
        try:
            for status, _ in answers:
                if not status:
                    self._drop()
                    raise Unreachable("cut-off", "the peer broke off a C-MOVE")
                code = int(status.Status)
                if code == 0xA801:
                    raise Denied("move-destination-unknown", "the peer does not know our AE title as one")
                yield from self._moved(left)
        except GeneratorExit:
            self._cancel(association, answers, (number, MOVE))
            raise
        yield from self._moved(left)
        if code >= 0xA000 and code & 0xF000 != 0xB000 and len(left) == len(wanted):
            left -= self._listed(wanted[0])
            if len(left) < len(wanted):
                raise Unreachable("not-moved", "the peer has them and cannot bring them to our node")
        for instance in sorted(left):
            yield Fetched(instance, missing="not-given")

    def _listed(self, one: Wanted) -> set[str]:
        """What the peer has of a series: some answer alike when our node is away and when they have no such
        instance."""
        keys = {"StudyInstanceUID": one.study, "SeriesInstanceUID": one.series}
        return {first(row, "00080018") for row in self.find("instance", keys, MOST_LISTED)}

    def _moved(self, left: set[str]) -> Iterator[Fetched]:
        for instance in [one for one in sorted(left) if self._ours.stored(one)]:
            left.discard(instance)
            yield Fetched(instance)

    def _cancel(self, association: Association, answers: Iterator[Any], asked: tuple[int, Any]) -> None:
        """C-CANCEL, then the answers that are still to come: the association stays good."""
        number, model = asked
        try:
            association.send_c_cancel(number, query_model=model)
            for status, _ in answers:
                if not status:
                    self._drop()
        except Exception:
            self._drop()

    def send(self, one: Sendable) -> str:
        """C-STORE of the file as it is. Raises Incapable when the peer does not take its transfer syntax."""
        if self._association is not None:
            self._release()
        self._judge(self._storing.store(one))
        return one.transfer_syntax

    def commit(self, transaction: str, wanted: Mapping[str, str], answered: Answered) -> None:
        """N-ACTION of Storage Commitment, then a moment's wait for peers that answer on the same association.
        PS3.4 §J.3.2"""
        context = build_context(COMMITMENT, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
        association = self._open([context])
        self._accepted(COMMITMENT)
        asked = questions.commitment(transaction, wanted)
        told = threading.Event()

        def on_report(event: Any) -> tuple[int, None]:
            information = event.event_information
            if str(information.get("TransactionUID", "")) != transaction:
                return 0x0110, None
            answered(*questions.outcome(information))
            told.set()
            return 0x0000, None

        association.bind(evt.EVT_N_EVENT_REPORT, on_report)
        status, _reply = association.send_n_action(asked, 1, COMMITMENT, WELL_KNOWN, self._number())
        if not status:
            self._drop()
            raise Unreachable("no-answer", "the peer did not answer a storage commitment")
        if int(status.Status) != 0x0000:
            raise Denied("commitment-refused", f"the peer answered {status.Status:#06x}")
        told.wait(SAME_ASSOCIATION_SECONDS)

    def perform(self, said: StepMessage, begin: Callable[[], None]) -> StepAnswer:
        """N-CREATE or N-SET of a performed procedure step. PS3.4 §F.7.2"""
        association = self._open(performing.contexts(said))
        self._accepted(performing.STEPS)
        begin()
        try:
            return performing.tell(association, said, self._number())
        except Unreachable:
            self._drop()
            raise

    def _accepted(self, model: Any) -> None:
        association = self._association
        if association is None or not any(
            one.abstract_syntax == model for one in association.accepted_contexts
        ):
            raise Denied("service-refused", f"the peer does not offer {model.name}")

    def _judge(self, code: int) -> None:
        if code == 0x0000 or 0xB000 <= code <= 0xBFFF:
            return
        if 0xA700 <= code <= 0xA7FF:
            raise Unreachable("out-of-resources", f"the peer has no room: {code:#06x}")
        raise Incapable("refused-by-peer", f"the peer answered {code:#06x}")

    def _on_store(self, event: Any) -> int:
        """A C-STORE within a C-GET: the file is the taker's from here on."""
        uid, path = str(event.request.AffectedSOPInstanceUID or ""), Path(event.dataset_path)
        if self._take is None:
            return FAILED.status
        try:
            self._take(path)
        except Refused as refused:
            self._arrived.append(Fetched(uid, refused))
            return refused.reason.status
        except Exception:
            return FAILED.status
        self._arrived.append(Fetched(uid))
        return 0x0000


def _quicken(event: Any) -> None:
    steady(event)
    quick = event.assoc.dul.socket
    if quick is not None and quick.socket is not None:
        hasten(quick.socket)
        quick.__class__ = QuickSocket


def _readable(identifier: Dataset) -> Attributes:
    try:
        return to_json(identifier)
    except Exception as error:  # a peer's answer is hostile input too
        raise PeerError("unreadable-answer", "an answer to a C-FIND cannot be read") from error
