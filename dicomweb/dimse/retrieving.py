"""C-MOVE and C-GET: each instance goes from its file, as it is stored when the receiver takes that, else
decompressed by a child process; counts and the list of what failed are exact.

    C-MOVE   lanes: up to so many associations to the destination, each in a thread
    C-GET    the requester's own association

An association that breaks in the middle is opened once more for each lane; what then still cannot go has
failed. PS3.4 §C.4.2 (C-MOVE), §C.4.3 (C-GET)
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext

from dicomweb.dataset import evened, is_even
from dicomweb.dimse.outgoing import Outgoing, Target, opened
from dicomweb.dimse.sockets import QuickSocket
from dicomweb.dimse.suboperations import Instance, Originator, command, pieces
from dicomweb.files import SLOW_SPOOL
from dicomweb.frames import attributes_of
from dicomweb.images import Images
from dicomweb.index.contract import File
from dicomweb.syntaxes import DECODED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from profiles.outcomes import TeledossierError

log = logging.getLogger(__name__)

PENDING, SUCCESS, CANCEL, SOME_FAILED, ALL_FAILED = 0xFF00, 0x0000, 0xFE00, 0xB000, 0xA702
MAX_CONTEXTS = 128
PENDING_SECONDS = 0.1  # between two reports of progress
LOOK_SECONDS = 0.2  # for a cancellation, while nothing is settled
SMALLEST_SHARE = 10  # instances for which another association is worth its while
MOST_LISTED = 900  # failed UIDs: what a UI value of explicit VR holds
MOST_EVENED = 100_000_000  # bytes of a file that is padded in memory
Accepted = Mapping[str, Mapping[str, int]]  # SOP class → transfer syntax → presentation context


class Way(Protocol):
    """Where sub-operations go. Raises OSError when it is of no use any more."""

    accepted: Accepted

    def store(self, one: Instance, context: int, originator: Originator | None) -> int: ...


@dataclass(slots=True)
class Counts:
    """Of sub-operations. PS3.4 §C.4.2.1.6"""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0
    failed_uids: list[str] = field(default_factory=list)

    def settle(self, uid: str, status: int | None) -> None:
        """One more is done; None: it could not be sent."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif status is not None and (0xB000 <= status <= 0xBFFF or status in (0x0001, 0x0107, 0x0116)):
            self.warning += 1
        else:
            self.failed += 1
            self.failed_uids.append(uid)

    @property
    def final(self) -> int:
        if not self.failed and not self.warning:
            return SUCCESS
        return SOME_FAILED if self.completed or self.warning else ALL_FAILED


@dataclass(frozen=True, slots=True)
class Asked:
    """One C-MOVE or C-GET, and how it is answered."""

    association: Any
    request: Any
    context: Any

    @property
    def cancelled(self) -> bool:
        return self.request.MessageID in self.association.dimse.cancel_req

    @property
    def over(self) -> bool:
        return self.cancelled or not self.association.is_established

    def refuse(self, status: int, comment: str) -> None:
        """A final answer without sub-operations."""
        made = self._response(status)
        made.ErrorComment = comment[:64]
        self.association.dimse.send_msg(made, self.context.context_id)

    def tell(self, status: int, counts: Counts) -> None:
        """Progress, or the end."""
        made = self._response(status)
        if status in (PENDING, CANCEL):
            made.NumberOfRemainingSuboperations = counts.remaining
        made.NumberOfCompletedSuboperations = counts.completed
        made.NumberOfFailedSuboperations = counts.failed
        made.NumberOfWarningSuboperations = counts.warning
        if status not in (PENDING, SUCCESS):
            made.Identifier = self._listed(counts.failed_uids)
        self.association.dimse.send_msg(made, self.context.context_id)

    def _response(self, status: int) -> Any:
        made: Any = C_MOVE() if isinstance(self.request, C_MOVE) else C_GET()
        made.MessageID = made.MessageIDBeingRespondedTo = self.request.MessageID
        made.AffectedSOPClassUID = self.request.AffectedSOPClassUID
        made.Status = status
        return made

    def _listed(self, uids: Sequence[str]) -> BytesIO:
        made = Dataset()
        made.FailedSOPInstanceUIDList = list(uids[:MOST_LISTED])
        syntax = self.context.transfer_syntax
        flags = syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
        return BytesIO(encode(made, *flags) or b"")


# -- the two services ------------------------------------------------------------------------------
def move(asked: Asked, images: Images, found: Sequence[File], target: Target, connections: int) -> None:
    """Send all to `target`, and answer."""
    counts, settled = Counts(len(found)), queue.Queue[tuple[str, int | None]]()
    work: queue.Queue[File] = queue.Queue()
    for file in found:
        work.put(file)
    stop = threading.Event()
    originator = Originator(str(asked.association.requestor.ae_title).strip(), asked.request.MessageID)
    lane = _Lane(images, target, contexts(found), originator, (work, settled, stop))
    share = max(1, min(connections, len(found) // SMALLEST_SHARE))
    threads = [threading.Thread(target=lane.run, name="move", daemon=True) for _ in range(share)]
    for thread in threads:
        thread.start()
    told = 0.0
    while counts.remaining and not asked.over:
        with contextlib.suppress(queue.Empty):
            counts.settle(*settled.get(timeout=LOOK_SECONDS))
            if counts.remaining and time.monotonic() - told > PENDING_SECONDS:
                asked.tell(PENDING, counts)
                told = time.monotonic()
    stop.set()
    for thread in threads:
        thread.join()
    while not settled.empty():
        counts.settle(*settled.get())
    _end(asked, counts)


def get(asked: Asked, images: Images, found: Sequence[File]) -> None:
    """Send all on the association on which it was asked, and answer."""
    counts, told = Counts(len(found)), 0.0
    way = _Same(asked.association)
    for file in found:
        if asked.over:
            break
        counts.settle(file.uid, _sent(images, way, file, None))
        if counts.remaining and time.monotonic() - told > PENDING_SECONDS:
            asked.tell(PENDING, counts)
            told = time.monotonic()
    _end(asked, counts)


def _end(asked: Asked, counts: Counts) -> None:
    if asked.association.is_established:
        asked.tell(CANCEL if asked.cancelled and counts.remaining else counts.final, counts)


# -- one instance ----------------------------------------------------------------------------------
def _sent(images: Images, way: Way, file: File, originator: Originator | None) -> int | None:
    """The receiver's status; None when the instance cannot go that way. Raises OSError when nothing can."""
    accepted = way.accepted.get(file.sop_class, {})
    with _ready(images, file, accepted) as (path, context):
        if path is None:
            return None
        return way.store(Instance(file.sop_class, file.uid, path), context, originator)


@contextlib.contextmanager
def _ready(images: Images, file: File, accepted: Mapping[str, int]) -> Iterator[tuple[Path | None, int]]:
    """A file in a transfer syntax that is accepted, and its context; (None, 0) when there is none."""
    path = images.files.path(file.path)
    if file.transfer_syntax in accepted:
        with _even(images, path) as even:
            yield even, accepted[file.transfer_syntax]
        return
    target = next((one for one in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if one in accepted), None)
    if target is None or file.transfer_syntax not in DECODED:
        yield None, 0
        return
    made = images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    try:
        try:
            images.decoder.transcode(path, file.layout, attributes_of(images, file), target, made)
        except (TeledossierError, OSError):
            yield None, 0
        else:
            yield made, accepted[target]
    finally:
        made.unlink(missing_ok=True)


@contextlib.contextmanager
def _even(images: Images, path: Path) -> Iterator[Path | None]:
    """The file itself; padded where it has an odd length, on which receivers end the association, with all
    that was still to come."""
    if not path.exists() or is_even(path):
        yield path if path.exists() else None
        return
    made = images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    try:
        is_made = path.stat().st_size <= MOST_EVENED
        try:
            if is_made:
                evened(path, made)
        except (OSError, ValueError, AttributeError, RuntimeError):
            is_made = False
        yield made if is_made and is_even(made) else None
    finally:
        made.unlink(missing_ok=True)


class _Same:
    """The association on which C-GET was asked."""

    def __init__(self, association: Any) -> None:
        self._association = association
        self._line: QuickSocket = association.dul.socket
        self._line.take_turns()
        self._largest = int(association.requestor.maximum_length or 0)
        self._message = 0
        accepted: dict[str, dict[str, int]] = {}
        for one in association.accepted_contexts:
            if one.as_scu:
                syntaxes = accepted.setdefault(str(one.abstract_syntax), {})
                syntaxes.setdefault(str(one.transfer_syntax[0]), int(one.context_id))
        self.accepted: Accepted = accepted

    def store(self, one: Instance, context: int, originator: Originator | None) -> int:
        self._message = self._message % 65535 + 1
        asked = command(one, self._message, originator)
        try:
            for some in pieces(one, asked, context, self._largest):
                self._line.write(some)
        except OSError:  # in the middle of a message: nothing else can follow on this association
            self._association.abort(block=False)
            raise
        _context, answer = self._association.dimse.get_msg(block=True)
        if answer is None or getattr(answer, "Status", None) is None:
            self._association.abort(block=False)
            raise OSError("no answer to a C-STORE")
        return int(answer.Status)


@dataclass(slots=True)
class _Lane:
    """Takes from the work that is left, until there is none; `shared`: work, what is settled, stop."""

    images: Images
    target: Target
    contexts: Sequence[PresentationContext]
    originator: Originator
    shared: tuple[queue.Queue[File], queue.Queue[tuple[str, int | None]], threading.Event]

    def run(self) -> None:
        """Each file is settled once, whatever happens."""
        work, settled, stop = self.shared
        way: Outgoing | None = None
        tries = 2  # to open the association
        while not stop.is_set():
            try:
                file = work.get_nowait()
            except queue.Empty:
                break
            status: int | None = None
            while tries:
                try:
                    way = way or opened(self.target, _copies(self.contexts))
                    status = _sent(self.images, way, file, self.originator)
                    break
                except OSError as error:
                    log.warning("C-MOVE: the destination is lost: %s", type(error).__name__)
                    tries -= 1
                    way = _dropped(way)
                except Exception:
                    log.exception("C-MOVE: an instance cannot be sent")
                    way = _dropped(way)
                    break
            settled.put((file.uid, status))
        if way is not None:
            way.release()


def _dropped(way: Outgoing | None) -> Outgoing | None:
    if way is not None:
        way.abort()
    return None


def _copies(contexts: Sequence[PresentationContext]) -> list[PresentationContext]:
    """Their numbers are written into them, and lanes open at the same time."""
    return [build_context(one.abstract_syntax, list(one.transfer_syntax)) for one in contexts]


def contexts(found: Sequence[File]) -> list[PresentationContext]:
    """For each class what is stored, and uncompressed besides; one transfer syntax each, so that the
    receiver's choice is known."""
    pairs = dict.fromkeys((file.sop_class, file.transfer_syntax) for file in found)
    for sop_class in dict.fromkeys(sop_class for sop_class, _syntax in pairs):
        pairs.update(dict.fromkeys((sop_class, syntax) for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)))
    return [build_context(sop_class, syntax) for sop_class, syntax in list(pairs)[:MAX_CONTEXTS]]
