"""Exams of a sent "transfert d'imagerie" go by themselves to the PACS of each recipient's site (R082).

    ImagingStudy, ServiceRequest or Endpoint written since the last look
      → requests of that workflow, sent, with an exam → recipients → their sites → Endpoints with use "relay"
      → one relay each, once; again only when the exam has grown since

A look that is repeated finds its orders done. What it has looked at is a mark in the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dicomweb.association import is_prior
from dicomweb.changes import changed
from dicomweb.fhir import Fhir
from dicomweb.peers.peer import Peer, of_endpoint
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import URGENCIES, Order
from fhir_server.store.contract import Store
from profiles.outcomes import Gone, Invalid, NotFound

MARK = "relayed"
WORKFLOW = "https://teledossier.example/fhir/CodeSystem/workflow"
RELAYED = "transfert-imagerie"
DEEPEST = 5  # steps from a community to its establishment
UID = "urn:dicom:uid"


@dataclass(frozen=True, slots=True)
class Relays:
    """`await sweep()` now and then."""

    store: Store
    fhir: Fhir
    queue: Queue
    now: Callable[[], int]

    async def sweep(self) -> int:
        """Returns how many relays were asked for."""
        latest = await self.store.latest()
        mark = await asyncio.to_thread(self.queue.get_mark, MARK)
        if latest <= mark:
            return 0
        studies = {str(one["id"]): one for one in await changed(self.store, "ImagingStudy", mark)}
        for request in await changed(self.store, "ServiceRequest", mark):
            if _is_relayed(request):
                query = [("basedon", f"ServiceRequest/{request['id']}")]
                studies |= {str(one["id"]): one for one in await self.fhir.search("ImagingStudy", query)}
        asked = 0
        for study in studies.values():
            asked += await self._relay(study)
        await asyncio.to_thread(self.queue.set_mark, MARK, latest)
        return asked

    async def _relay(self, study: dict[str, Any]) -> int:
        asked = 0
        wanted = (one for one in study.get("basedOn", ()) if not is_prior(one))
        for reference in {str(one.get("reference", "")) for one in wanted}:
            with suppress(NotFound, Gone):
                request = await self.fhir.read("ServiceRequest", reference.removeprefix("ServiceRequest/"))
                if _is_relayed(request):
                    for peer in await self.recipients(request):
                        asked += await asyncio.to_thread(self._order, study, request, peer)
        return asked

    def _order(self, study: dict[str, Any], request: dict[str, Any], peer: Peer) -> int:
        uid = study_uid(study)
        urgency = URGENCIES.get(str(request.get("priority")), 2)
        chosen = self.queue.selected(str(request["id"]), uid)
        order = Order("relay", peer.id, uid, urgency, str(request["id"]), series=chosen)
        before = self.queue.ever(order.key)
        count = _instances(study, chosen)
        if not uid or not count or (before is not None and before.total >= count):
            return 0  # done, or given up: then a person asks again
        self.queue.submit(order, self.now())
        return 1

    async def recipients(self, request: dict[str, Any]) -> list[Peer]:
        """The PACS of the recipients' sites that take relays. One site is one destination, however many of
        its communities are asked."""
        sites: set[str] = set()
        for one in request.get("performer", ()):
            sites |= await self.sites(str(one.get("reference", "")))
        found: dict[str, Peer] = {}
        for endpoint in await self.fhir.search("Endpoint", [("status", "active")]) if sites else ():
            with suppress(Invalid):
                peer = of_endpoint(endpoint)
                if peer is not None and "relay" in peer.uses and peer.organization in sites:
                    found.setdefault(peer.organization, peer)
        return list(found.values())

    async def sites(self, reference: str) -> set[str]:
        """An organisation and what it is part of."""
        found: set[str] = set()
        while reference.startswith("Organization/") and reference not in found and len(found) < DEEPEST:
            found.add(reference)
            try:
                one = await self.fhir.read("Organization", reference.removeprefix("Organization/"))
            except (NotFound, Gone):
                break
            reference = str((one.get("partOf") or {}).get("reference", ""))
        return found


def _is_relayed(request: dict[str, Any]) -> bool:
    """Sent, and of the workflow whose exams go to the recipient's PACS."""
    codes = {
        coding.get("code")
        for concept in request.get("category", ())
        for coding in concept.get("coding", ())
        if coding.get("system") == WORKFLOW
    }
    return request.get("status") in ("active", "completed") and RELAYED in codes


def _instances(study: dict[str, Any], chosen: Sequence[str]) -> int:
    """How many there are to send: of the whole exam, or of the series that were chosen."""
    if not chosen:
        return int(study.get("numberOfInstances") or 0)
    series = (one for one in study.get("series", ()) if one.get("uid") in chosen)
    return sum(int(one.get("numberOfInstances") or 0) for one in series)


def study_uid(study: dict[str, Any]) -> str:
    """Of an ImagingStudy."""
    for one in study.get("identifier", ()):
        if one.get("system") == UID:
            return str(one.get("value", "")).removeprefix("urn:oid:")
    return ""
