"""What was sent to a peer follows the platform: a corrected identity, another patient, an exam put out of
sight.

    Patient, ImagingStudy or ServiceRequest written since the last look
      → exams that went somewhere → for each peer: what it has, beside how the platform stands to it now
        identity differs, same number     the same instances again, corrected
        another patient or number         a rejection note for what is there, then the instances anew, other
        UIDs out of sight, or out of the file  a rejection note

A look that is repeated finds its orders made. IHE RAD TF-1 §34 (Imaging Object Change Management); R094
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from dicomweb.changes import changed
from dicomweb.coercion.identity import Identity
from dicomweb.fhir import Fhir
from dicomweb.index.contract import Index
from dicomweb.peers.peer import Peer
from dicomweb.transfers.delivered import Delivered, Deliveries, Rejection
from dicomweb.transfers.notes import PATIENT_SAFETY, QUALITY, WRONG_ENTRY, Withdrawal
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import URGENCIES, Order
from dicomweb.transfers.relaying import study_uid
from dicomweb.transfers.standing import Standing, exam_of, is_anothers, patient_of, standing
from fhir_server.store.contract import Store
from profiles.outcomes import Gone, NotFound

MARK = "corrected"
UNDER_QUALITY = ("quality", "qualité")  # beginnings of the reason for which something was put out of sight


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done at one peer."""

    withdrawals: tuple[Withdrawal, ...] = ()
    resend: bool = False


def due(peer: str, rows: Sequence[Delivered], stands: Standing, facts: Facts) -> Due:
    """Pure. `rows`: all that the peer got of one exam."""
    live = [row for row in rows if not row.rejected]
    gone = [row for row in live if row.instance not in facts.present]
    here = [row for row in live if row.instance in facts.present]
    wrong = [row for row in here if not stands.goes or is_anothers(row, facts.identities, stands)]
    again = [row for row in rows if row.rejected and row.instance in facts.present]
    stale = [row for row in here if row not in wrong and row.identity != stands.identity.digest]
    hidden = QUALITY if facts.is_quality else PATIENT_SAFETY
    made = (*_withdrawals(peer, gone, hidden), *_withdrawals(peer, wrong, WRONG_ENTRY))
    return Due(made, stands.goes and bool(wrong or again or stale))


@dataclass(frozen=True, slots=True)
class Facts:
    """`present`: the instances in sight here; `identities` by digest; `is_quality`: what is out of sight is
    so for its quality."""

    present: Collection[str]
    identities: dict[str, Identity]
    is_quality: bool = False


def _withdrawals(peer: str, rows: Sequence[Delivered], title: str) -> list[Withdrawal]:
    """One for each identity and salt under which they went."""
    groups: dict[tuple[str, str], list[Delivered]] = {}
    for row in rows:
        groups.setdefault((row.identity, row.salt), []).append(row)
    return [Withdrawal(peer, found, title) for found in groups.values()]


@dataclass(frozen=True, slots=True)
class Corrections:
    """`await sweep()` now and then."""

    store: Store
    fhir: Fhir
    queue: Queue
    index: Index
    now: Callable[[], int]
    peer_of: Callable[[str], Awaitable[Peer | None]]  # by the Endpoint's id

    async def sweep(self) -> int:
        """Returns how many orders were made."""
        latest = await self.store.latest()
        mark = await asyncio.to_thread(self.queue.get_mark, MARK)
        if latest <= mark:
            return 0
        made = 0
        for study in await self._touched(mark):
            for peer in await asyncio.to_thread(self._deliveries.peers, study):
                made += await self._correct(study, peer)
        await asyncio.to_thread(self.queue.set_mark, MARK, latest)
        return made

    @property
    def _deliveries(self) -> Deliveries:
        return Deliveries(self.queue)

    async def _touched(self, mark: int) -> list[str]:
        """The exams that something written since the mark is about."""
        found = {study_uid(one) for one in await changed(self.store, "ImagingStudy", mark)} - {""}
        for kind in ("Patient", "ServiceRequest"):
            for one in await changed(self.store, kind, mark):
                id = str(one["id"])
                found |= set(await asyncio.to_thread(self._deliveries.studies_of, kind, id))
        return sorted(found)

    async def _correct(self, study: str, peer_id: str) -> int:
        peer = await self.peer_of(peer_id)
        rows = await asyncio.to_thread(self._deliveries.of, peer_id, study)
        exam = await exam_of(self.fhir, study)
        if peer is None or not rows or exam is None:  # nothing is said of it: nothing is corrected
            return 0
        order = await self._order(exam, peer_id, rows)
        stands = await standing(self.fhir, peer, order)
        await self._merged(study, peer_id, rows, stands)
        rows = await asyncio.to_thread(self._deliveries.of, peer_id, study)
        facts = await self._facts(study, rows)
        wanted = due(peer_id, rows, stands, facts)
        made = 0
        for one in wanted.withdrawals:
            made += await asyncio.to_thread(self._reject, study, one, order)
        if wanted.resend and order.request:
            await asyncio.to_thread(self.queue.submit, order, self.now())
            made += 1
        return made

    async def _order(self, exam: dict[str, Any], peer: str, rows: Sequence[Delivered]) -> Order:
        """As the exam goes there: under the request that still has it, if one of those does."""
        study = rows[0].study
        went = await asyncio.to_thread(self._deliveries.orders, peer, study)
        based_on = {str(one.get("reference", "")) for one in exam.get("basedOn", ())}
        requests = dict.fromkeys([*(row.request for row in rows), *went])
        request = next((one for one in requests if f"ServiceRequest/{one}" in based_on), rows[0].request)
        urgency = await self._urgency(request)
        return Order("relay", peer, study, urgency, request, series=went.get(request, ()))

    async def _urgency(self, request: str) -> int:
        try:
            found = await self.fhir.read("ServiceRequest", request) if request else {}
        except (NotFound, Gone):
            found = {}
        return min(
            1, URGENCIES.get(str(found.get("priority")), 2)
        )  # a wrong identity waits for nothing routine

    async def _facts(self, study: str, rows: Sequence[Delivered]) -> Facts:
        briefs = await asyncio.to_thread(self.index.briefs, study)
        masked = await asyncio.to_thread(self.index.masked, study)
        digests = {row.identity for row in rows}
        identities = {one: await asyncio.to_thread(self._deliveries.identity, one) for one in digests}
        reason = masked[-1].trace.reason.casefold() if masked else ""
        return Facts(frozenset(one.uid for one in briefs), identities, reason.startswith(UNDER_QUALITY))

    async def _merged(self, study: str, peer: str, rows: Sequence[Delivered], stands: Standing) -> None:
        """Patients that were merged into the present one are the same person."""
        for id in {row.patient for row in rows} - {stands.patient, ""}:
            found = await patient_of(self.fhir, f"Patient/{id}")
            if found and str(found.get("id")) == stands.patient:
                await asyncio.to_thread(self._deliveries.adopt, peer, study, (id, stands.patient))

    def _reject(self, study: str, wanted: Withdrawal, order: Order) -> bool:
        first = wanted.rows[0]
        instances = tuple((row.series, row.instance, row.sop_class) for row in wanted.rows)
        identity = self._deliveries.identity(first.identity)
        made = Rejection(
            wanted.uid, wanted.peer, study, first.salt, identity, self.now(), wanted.title, instances
        )
        note = Order("reject", wanted.peer, study, order.urgency, first.request, series=(wanted.uid,))
        return self._deliveries.reject(made, note)
