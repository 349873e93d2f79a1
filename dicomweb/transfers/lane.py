"""One lane per peer: instance by instance, always of the most urgent transfer, over one association.

Before each instance the queue is asked again, so what is more urgent overtakes within one image, a cancelled
transfer stops there, and a killed process goes on there. A lane blocks; it has a thread of its own, and a
file lock, which the system releases when its process dies, keeps it the only one of its peer.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from dicomweb.index.contract import Origin
from dicomweb.locks import alone
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Heeding, PeerError, Session
from dicomweb.transfers.commitments import Awaiting
from dicomweb.transfers.moving import Way
from dicomweb.transfers.outgoing import WITHDRAWN, Withdrawn
from dicomweb.transfers.queue import Queue, least_urgent
from dicomweb.transfers.receipt import Sign, Verified, claims
from dicomweb.transfers.record import VITAL, Item, Kind, State, Transfer
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

BATCH = 100  # instances of which a way is given the list; it may have several on their way at once
HEED = 0.02  # seconds between two looks at the queue while nothing is settled
TRIES = 3  # of one instance
ATTEMPTS = 12  # of a transfer without any instance in between
FIRST_WAIT, LONGEST_WAIT = 2.0, 900.0  # seconds before a transfer is tried again; doubled each time
ABSENT = frozenset({"gateway-silent"})
PATIENCE = 14 * 24 * 3600 * 1_000_000  # microseconds that a transfer waits for its gateway
MOST_INSTANCES = 50_000
SECOND = 1_000_000
AWAITED = 30 * SECOND  # until one looks again for an answer that makes itself heard when it comes


class Overtaken(Exception):
    """What is under way is left: the queue has something else to do."""


@dataclass(slots=True)
class Lane:
    """`run` until there is nothing to do for this peer or `stop` is set. `origins`: what gateways said of a
    study's instances, for the receipt."""

    peer: Peer
    queue: Queue
    session: Session
    ways: Mapping[Kind, Way]
    sign: Sign
    zone: ZoneInfo
    locks: Path
    now: Callable[[], int] = utc_microseconds
    stop: threading.Event = field(default_factory=threading.Event)
    origins: Callable[[str], Sequence[Origin]] = lambda _study: ()
    _moving: Transfer | None = None
    _heeded: float = 0.0

    def run(self) -> None:
        """Returns at once when another process has this lane."""
        if isinstance(self.session, Heeding):
            self.session.heed(self._heed)
        with alone(self.locks / f"{self.peer.id}.lock") as is_alone:
            try:
                while is_alone and not self.stop.is_set() and (transfer := self._next()) is not None:
                    self._step(transfer)
            finally:
                self.session.close()

    def _next(self) -> Transfer | None:
        now = self.now()
        local = datetime.fromtimestamp(now / 1e6, UTC).astimezone(self.zone)
        vital_only = self.peer.window is not None and not self.peer.window.holds(local)
        return self.queue.next(self.peer.id, now, least=least_urgent(vital_only=vital_only))

    def _step(self, transfer: Transfer) -> None:
        try:
            if not self.peer.active:
                raise PeerError("peer-not-active", "the site has switched it off")
            if not transfer.listed:
                self._list(transfer)
            elif batch := self.queue.waiting(transfer.id, BATCH):
                self._move(transfer, batch)
            else:
                self._finish(transfer)
        except Overtaken:
            pass
        except Awaiting:
            self.session.close()
            self.queue.pause(transfer.id, "awaiting-commitment", self.now() + AWAITED)
        except Withdrawn:
            self._end(transfer, WITHDRAWN, Verified())
        except PeerError as error:
            self.session.close()
            self._broke(transfer, error.slug)
        except Exception:
            log.exception("a transfer broke")
            self.session.close()
            self._broke(transfer, "failed-here")

    def _broke(self, transfer: Transfer, slug: str) -> None:
        """Tried again later, sooner when it is vital; given up when nothing came for long. A gateway that
        does not call is nothing that was tried: it costs nothing to wait until it does."""
        is_absent = slug in ABSENT and self.now() - transfer.created < PATIENCE
        if transfer.attempts + 1 >= ATTEMPTS and not is_absent:
            self._end(transfer, slug, Verified())
            return
        longest = 30.0 if is_absent or transfer.order.urgency == VITAL else LONGEST_WAIT
        wait = min(longest, FIRST_WAIT * 2 ** min(transfer.attempts, 12)) * random.uniform(0.75, 1.0)  # noqa: S311
        log.warning("transfer to or from %s: %s; again in %.0f s", self.peer.id, slug, wait)
        self.queue.postpone(transfer.id, slug, self.now() + int(wait * SECOND))

    def _way(self, transfer: Transfer) -> Way:
        return self.ways[transfer.order.kind]

    def _list(self, transfer: Transfer) -> None:
        items = self._way(transfer).listed(self.session, transfer)
        if not items:
            self.queue.list_items(transfer.id, (), self.now())
            self._end(transfer, "nothing-to-transfer", Verified())
            return
        self.queue.list_items(transfer.id, items[:MOST_INSTANCES], self.now())

    def _move(self, transfer: Transfer, batch: list[Item]) -> None:
        moving, self._moving = self._way(transfer).moved(self.session, transfer, batch), transfer
        first = began = time.monotonic()
        try:
            for number, item in enumerate(moving, 1):
                now = time.monotonic()
                # several come at once over some ways: the pace that people see is that of the batch so far
                self.queue.settle(transfer.id, [_tried(item)], max((now - first) / number, 1e-6))
                self._pace(transfer, item.size, now - began)
                if self._is_to_leave(transfer):
                    return
                began = time.monotonic()
        finally:
            self._moving = None
            moving.close()

    def _is_to_leave(self, transfer: Transfer) -> bool:
        """Whether something more urgent has come, or it was cancelled, or the process is to stop."""
        return self.stop.is_set() or (self._next() or transfer).id != transfer.id or self._over(transfer)

    def _heed(self) -> None:
        """Called while several instances are under way and none is settled. Raises Overtaken."""
        at = time.monotonic()
        if self._moving is not None and at - self._heeded > HEED:
            self._heeded = at
            if self._is_to_leave(self._moving):
                raise Overtaken

    def _over(self, transfer: Transfer) -> bool:
        found = self.queue.get(transfer.id)
        return found is None or found.state != "waiting"

    def _pace(self, transfer: Transfer, size: int, seconds: float) -> None:
        """Wait as long as the site's limit asks, but not when something more urgent has come. Vital transfers
        have no limit."""
        if not self.peer.rate or transfer.order.urgency == VITAL:
            return
        until = time.monotonic() + size / self.peer.rate - seconds
        while (left := until - time.monotonic()) > 0 and not self.stop.wait(min(left, 0.05)):
            if (self._next() or transfer).id != transfer.id:
                return

    def _finish(self, transfer: Transfer) -> None:
        way = self._way(transfer)
        if new := way.grown(self.session, transfer, self.queue.items(transfer.id)):
            self.queue.list_items(transfer.id, new, self.now())
            return
        done = [one for one in self.queue.items(transfer.id) if one.state == "done"]
        verified, changed = way.verified(self.session, transfer, done)
        if changed:
            self.queue.settle(transfer.id, [_tried(one) for one in changed])
        if not self.queue.waiting(transfer.id, 1):
            self._end(transfer, "", verified)

    def _end(self, transfer: Transfer, slug: str, verified: Verified) -> None:
        """The receipt names what did not come through."""
        items = [
            one if one.state != "waiting" else replace(one, state="failed", reason=slug)
            for one in self.queue.items(transfer.id)
        ]
        failed = sum(one.state == "failed" for one in items)
        state: State = "done" if not failed and items else "failed" if failed == len(items) else "partial"
        now = self.now()
        receipt = self.sign(claims(transfer, items, verified, now, self.origins(transfer.order.study)))
        self.queue.settle(transfer.id, items)
        self.queue.finish(
            transfer.id, state, slug or ("" if state == "done" else "some-failed"), receipt, now
        )


def _tried(item: Item) -> Item:
    """A failure of one instance is tried again a few times, after the others."""
    if item.state != "failed":
        return item
    final = item.attempts + 1 >= TRIES
    return replace(item, attempts=item.attempts + 1, state="failed" if final else "waiting")
