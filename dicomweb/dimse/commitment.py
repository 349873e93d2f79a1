"""Storage Commitment: a peer asks whether instances are kept for good; each is looked up and its bytes are
counted against what was acknowledged, then the peer is told which are and which are not.

    N-ACTION → row of the index → looked up → N-EVENT-REPORT → row gone

The question outlives this process: whichever process of the node runs takes it up. The result goes to the
peer's own address, on a new association; where that does not answer, on the one on which it was asked, as
long as it is open; else again later, for a week. PS3.4 §J (Storage Commitment Service Class)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomweb.dimse import registry
from dicomweb.dimse.promising import (
    CLASS_CONFLICT,
    FAILED,
    NO_RESOURCES,
    NO_SUCH_INSTANCE,
    NOT_AUTHORISED,
    Question,
    Unanswerable,
    question,
    result,
)
from dicomweb.dimse.registry import calling
from dicomweb.dimse.reporting import SOP_CLASS, tell, told_here
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.files import sha256_of
from dicomweb.index.contract import Promise
from dicomweb.peers.peer import Peer
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 5.0, 900.0  # seconds before a peer that was not reached is called again
GIVEN_UP = 7 * 86_400  # seconds after which a peer that takes no result is left alone
FEWEST_TRIES = 100  # before that: a clock may jump
LOOK_SECONDS = 2.0
LEASE_SECONDS = 120.0  # within which a process tells a result that it has taken up
MOST_OPEN = 500


class Committer:
    """Takes questions in pynetdicom's threads, answers them in one of its own (`run`)."""

    def __init__(self, world: World) -> None:
        self.files, self.index, self.known = world.images.files, world.images.index, world.known
        self.ae_title, self.stopped = world.settings.ae_title, world.stopped
        self._asked = threading.Event()
        self._open: dict[tuple[str, str], Any] = {}  # the associations of this process's questions

    def on_action(self, event: Any) -> tuple[int, Dataset | None]:
        """EVT_N_ACTION. 0x0000 says that the question is on disk."""
        peer = calling(event)
        if peer is None or registry.COMMITMENT not in peer.uses:
            return NOT_AUTHORISED, None
        try:
            asked = question(event)
        except Unanswerable as error:
            return error.status, None
        now = utc_microseconds()
        promise = Promise(asked.transaction, peer.id, now, asked.items, now)
        if not self.index.put_promise(promise, MOST_OPEN):
            return NO_RESOURCES, None
        self._keep_open(asked.transaction, peer.id, event.assoc)
        self._asked.set()
        return 0x0000, None

    def _keep_open(self, transaction: str, peer: str, association: Any) -> None:
        """Those that ended are let go: their questions may be settled by another process, or in days."""
        for key, one in list(self._open.items()):
            if not one.is_established:
                self._open.pop(key, None)
        self._open[transaction, peer] = association

    def run(self) -> None:
        """Until the node stops: answer what is due, of whichever process it was asked."""
        while not self.stopped.is_set():
            self._asked.wait(LOOK_SECONDS)
            self._asked.clear()
            try:
                while not self.stopped.is_set() and self._settle(utc_microseconds()):
                    pass
            except Exception:
                log.exception("storage commitments could not be answered")

    def _settle(self, now: int) -> bool:
        """One that is due; whether there was one."""
        promise = self.index.claim_promise(now, now + int(LEASE_SECONDS * 1e6))
        if promise is None:
            return False
        peer = next((one for one in self.known.peers() if one.id == promise.peer), None)
        if self._told(peer, promise):
            self.index.drop_promise(promise)
        elif now - promise.asked > GIVEN_UP * 1_000_000 and promise.tries >= FEWEST_TRIES:
            log.error("%s took no answer to its storage commitment; given up", promise.peer)
            self.index.drop_promise(promise)
        else:
            wait = min(FIRST_WAIT * 2**promise.tries, LONGEST_WAIT)
            self.index.later_promise(promise, now + int(wait * 1e6))
            return True
        self._open.pop((promise.uid, promise.peer), None)
        return True

    def _told(self, peer: Peer | None, promise: Promise) -> bool:
        if peer is None:  # switched off, for now
            return False
        made = result(Question(promise.uid, promise.items), self._reason)
        made.RetrieveAETitle = self.ae_title
        if tell(self.ae_title, peer, made):
            return True
        association = self._open.get((promise.uid, promise.peer))
        return association is not None and told_here(association, made)

    def _reason(self, sop_class: str, uid: str) -> int:
        """0 when the bytes on disk are those that were acknowledged."""
        file = self.index.file(uid)
        if file is None:
            return NO_SUCH_INSTANCE
        if file.sop_class != sop_class:
            return CLASS_CONFLICT
        path = self.files.path(file.path)
        try:
            same = path.stat().st_size == file.size and sha256_of(path) == file.sha256
        except OSError:
            same = False
        return 0 if same else FAILED


def _handlers(world: World) -> Mapping[Any, Handler]:
    committer = Committer(world)
    threading.Thread(target=committer.run, name="commitment", daemon=True).start()
    return {evt.EVT_N_ACTION: committer.on_action}


SERVICE = Service([SOP_CLASS], _handlers, registry.COMMITMENT)
