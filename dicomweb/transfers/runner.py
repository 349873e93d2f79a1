"""The transfers' part of `teledossier worker`: lanes started where there is work, ends told to the
télédossier, relays that follow from what was sent.

    queue ── peer has work ──▶ Endpoint ──▶ lane (thread)
    transfer over ──▶ Provenance with the receipt's signature
    exam attached to a sent télédossier ──▶ a relay to each recipient's PACS (`relaying`)
    identity corrected, exam withdrawn ──▶ what went out follows (`correcting`)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dicomweb.dimse.spool import spooling
from dicomweb.fhir import Fhir, put, transaction
from dicomweb.images import Images
from dicomweb.index.contract import Index
from dicomweb.peers.dimse import Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import Credentials, Peer, of_endpoint
from dicomweb.transfers import audit, trace
from dicomweb.transfers.correcting import Corrections
from dicomweb.transfers.delivered import Deliveries
from dicomweb.transfers.lane import SECOND, Lane
from dicomweb.transfers.moving import Importing, Relaying, Way
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.receipt import Sign
from dicomweb.transfers.record import Kind, Order, Transfer
from dicomweb.transfers.rejecting import Rejecting
from dicomweb.transfers.relaying import Relays
from dicomweb.transfers.standing import Ask, Standing, standing
from dicomweb.worker import Worker
from fhir_server.clock import utc_microseconds
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from profiles.outcomes import Conflict, Gone, Invalid, NotFound, PreconditionFailed

log = logging.getLogger(__name__)

LOOK = 0.3  # seconds between two looks at the queue
ANSWER_SECONDS = 30.0  # until the store must have said how an exam stands
UNKNOWN_WAIT = 60.0  # seconds until a peer that the directory does not have is looked up again


@dataclass(frozen=True, slots=True)
class Parts:
    """What the runner works with; the caller opens and closes them."""

    settings: Settings
    store: Store
    fhir: Fhir
    images: Images
    exams: Worker
    sign: Sign

    @property
    def queue(self) -> Queue:
        return self.images.queue


@dataclass(slots=True)
class Runner:
    """`await Runner(parts).run(stop)`; several may run: a lane is one process's at a time."""

    parts: Parts
    now: Callable[[], int] = utc_microseconds
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then each lane ends after the instance it is at."""
        parts = self.parts
        relays = Relays(parts.store, parts.fhir, parts.queue, self.now)
        corrections = Corrections(
            parts.store, parts.fhir, parts.queue, parts.images.index, self.now, self._peer_of
        )
        with spooling(self.parts.images.files.spool.absolute()):
            while not stop.is_set():
                for act in (self.start, self.record, relays.sweep, corrections.sweep, self.grant):
                    try:
                        await act()
                    except Exception:
                        log.exception("work on transfers failed; it is tried again")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK)
            self._stop.set()
            for thread in self._threads.values():
                await asyncio.to_thread(thread.join, 30.0)

    async def start(self) -> None:
        """A lane for each peer that has work and none yet."""
        for id in await asyncio.to_thread(self.parts.queue.peers, self.now()):
            thread = self._threads.get(id)
            if thread is not None and thread.is_alive():
                continue
            peer = await peer_of(self.parts.fhir, id)
            if peer is None:
                await asyncio.to_thread(self._unknown, id)
                continue
            lane = self.lane(peer)
            self._threads[id] = threading.Thread(target=lane.run, name=f"lane-{id}", daemon=True)
            self._threads[id].start()

    def lane(self, peer: Peer) -> Lane:
        parts = self.parts
        files, index = parts.images.files, parts.images.index
        credentials = Credentials(parts.settings.peer_keys_path)
        ours = Ours(parts.settings.ae_title, credentials, lambda uid: _has(index, uid), parts.images.board)
        return Lane(
            peer,
            parts.queue,
            open_session(peer, ours, files.spool),
            self._ways(peer),
            parts.sign,
            parts.settings.zone,
            files.root / "locks",
            self.now,
            self._stop,
            index.origins,
        )

    def _ways(self, peer: Peer) -> Mapping[Kind, Way]:
        images, deliveries = self.parts.images, Deliveries(self.parts.queue)
        files, index = images.files, images.index
        ask = self._ask(peer)
        return {
            "import": Importing(peer, files, index, self.now),
            "relay": Relaying(peer, files, index, images.decoder, deliveries, self.now, ask),
            "reject": Rejecting(peer, files, index, deliveries),
        }

    def _ask(self, peer: Peer) -> Ask:
        """For the lane's thread: how an exam stands, asked on the runner's event loop."""
        loop = asyncio.get_running_loop()

        def ask(order: Order) -> Standing:
            asked = asyncio.run_coroutine_threadsafe(standing(self.parts.fhir, peer, order), loop)
            return asked.result(ANSWER_SECONDS)

        return ask

    def _unknown(self, id: str) -> None:
        transfer = self.parts.queue.next(id, self.now(), least=9)
        if transfer is not None:
            log.warning("transfers wait for a peer that the directory does not have")
            self.parts.queue.postpone(transfer.id, "no-such-peer", self.now() + int(UNKNOWN_WAIT * SECOND))

    async def record(self) -> None:
        """What ended, in the timeline of its télédossier. Writing it again changes nothing."""
        queue = self.parts.queue
        for transfer in await asyncio.to_thread(queue.unrecorded):
            if transfer.order.request and transfer.total:
                receipt = await asyncio.to_thread(queue.receipt, transfer.id)
                text = await self._said(transfer)
                await self._write(trace.provenance(transfer, text, receipt, self.parts.sign))
            if transfer.state != "cancelled":  # whoever cancels it is on record already
                ended = audit.of_transfer(transfer, "ended", transfer.order.asker, transfer.ended)
                await audit.keep(self.parts.images, ended, audit.id_of(transfer))
            if transfer.order.kind == "import":
                await self.parts.exams.refresh(transfer.order.study)
            await asyncio.to_thread(queue.record, transfer.id)

    async def _said(self, transfer: Transfer) -> str:
        order, deliveries = transfer.order, Deliveries(self.parts.queue)
        peer = await peer_of(self.parts.fhir, order.peer)
        note = None
        if order.kind == "reject":
            note = await asyncio.to_thread(deliveries.rejection, order.series[0])
        rows = await asyncio.to_thread(deliveries.of, order.peer, order.study)
        is_correction = any(row.corrected or row.salt for row in rows)
        proofs = await asyncio.to_thread(self.parts.queue.proofs, transfer.id)
        return trace.said(transfer, peer.name if peer else order.peer, note, is_correction, proofs)

    async def _peer_of(self, id: str) -> Peer | None:
        return await peer_of(self.parts.fhir, id)

    async def grant(self) -> None:
        """Exams that a person wants in a télédossier, once they are here."""
        for study, request in await asyncio.to_thread(self.parts.queue.open_wishes):
            with contextlib.suppress(
                Conflict, PreconditionFailed
            ):  # written meanwhile: the next round does it
                if await self.parts.exams.attaching.attach_wanted(study, request):
                    await asyncio.to_thread(self.parts.queue.grant, study, request, self.now())

    async def _write(self, resource: dict[str, Any]) -> None:
        with contextlib.suppress(NotFound):
            await self.parts.fhir.read("Provenance", resource["id"])
            return
        await transaction(self.parts.fhir, put(resource, None))


async def peer_of(fhir: Fhir, id: str) -> Peer | None:
    """None for an Endpoint that is not there, is no image peer, or is wrong."""
    try:
        return of_endpoint(await fhir.read("Endpoint", id))
    except (NotFound, Gone, Invalid):
        return None


def _has(index: Index, uid: str) -> bool:
    return index.file(uid) is not None
