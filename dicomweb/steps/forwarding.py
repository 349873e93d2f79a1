"""The performed steps' part of `teledossier worker`: whom each message is for, and a thread for each peer
that is to be told.

    message ──▶ the Endpoints of its site with `steps` ──▶ a telling for each ──▶ `teller`

A step's creation settles whom the step is for: its sets go to the same, so that no system hears of the end of
a step whose beginning it does not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dicomweb.fhir import Fhir
from dicomweb.images import Images
from dicomweb.index.steps import PerformedStep, StepMessage
from dicomweb.peers.dimse import Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import Credentials, Peer, of_endpoint
from dicomweb.steps.teller import SECOND, Teller, postpone
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Gone, Invalid, NotFound

log = logging.getLogger(__name__)

TELL = "steps"  # in an Endpoint's `use`: it wants to be told
LOOK = 0.5  # seconds between two looks
KEPT = 90 * 24 * 3600 * SECOND  # rows of messages, those that were refused with their content
CLEAN_EVERY = 3600 * SECOND


@dataclass(slots=True)
class Forwarding:
    """`await Forwarding(…).run(stop)`; several may run. `now`: UTC microseconds."""

    images: Images
    fhir: Fhir
    now: Callable[[], int] = utc_microseconds
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _cleaned: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then each teller ends after the message it is at."""
        while not stop.is_set():
            try:
                await self.step()
            except Exception:
                log.exception("performed procedure steps could not be forwarded; it is tried again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK)
        self._stop.set()
        await asyncio.to_thread(self.join)

    async def step(self) -> None:
        """One round."""
        await self.address()
        await self.start()
        if self.now() - self._cleaned > CLEAN_EVERY:
            self._cleaned = self.now()
            await asyncio.to_thread(self.images.index.tellings.forget, self.now() - KEPT)

    def join(self) -> None:
        """Until those that run have nothing more to tell."""
        for thread in self._threads.values():
            thread.join(90.0)

    # -- whom a message is for
    async def address(self) -> None:
        tellings = self.images.index.tellings
        for number, said in await asyncio.to_thread(tellings.fresh):
            await asyncio.to_thread(tellings.address, number, await self._peers(said))

    async def _peers(self, said: StepMessage) -> list[str]:
        if said.kind == "set":
            return await asyncio.to_thread(self.images.index.tellings.recipients, said.step)
        step = await asyncio.to_thread(self.images.index.performed, said.step)
        if step is None or not step.organisation:
            return []
        return [peer.id for peer in await self._of_site(step.organisation) if wants(peer, step)]

    async def _of_site(self, site: str) -> list[Peer]:
        found = []
        for resource in await self.fhir.search("Endpoint", [("organization", f"Organization/{site}")]):
            with contextlib.suppress(Invalid):  # one wrong Endpoint concerns nobody else
                peer = of_endpoint(resource)
                if peer is not None:
                    found.append(peer)
        return found

    # -- telling them
    async def start(self) -> None:
        """A teller for each peer that has something due and none yet."""
        tellings = self.images.index.tellings
        for id in await asyncio.to_thread(tellings.due, self.now()):
            thread = self._threads.get(id)
            if thread is not None and thread.is_alive():
                continue
            peer = await self._peer(id)
            if peer is None:
                await asyncio.to_thread(self._unknown, id)
                continue
            teller = self.teller(peer)
            self._threads[id] = threading.Thread(target=teller.run, name=f"steps-{id}", daemon=True)
            self._threads[id].start()

    def teller(self, peer: Peer) -> Teller:
        images = self.images
        ours = Ours(images.ae_title, Credentials(images.peer_keys), board=images.board)
        session = open_session(peer, ours, images.files.spool)
        locks = images.files.root / "locks"
        return Teller(peer, images.index.tellings, session, locks, self.now, self._stop)

    async def _peer(self, id: str) -> Peer | None:
        try:
            return of_endpoint(await self.fhir.read("Endpoint", id))
        except (NotFound, Gone, Invalid):
            return None

    def _unknown(self, id: str) -> None:
        """The directory does not have it, or has it wrong: looked up again later."""
        one = self.images.index.tellings.next(id, self.now())
        if one is not None:
            postpone(self.images.index.tellings, one, "no-such-peer", self.now())


def wants(peer: Peer, step: PerformedStep) -> bool:
    """Whether a system of the step's site is to be told; whoever told us knows. Pure."""
    return TELL in peer.uses and peer.kind == "dimse" and peer.ae_title != step.ae_title
