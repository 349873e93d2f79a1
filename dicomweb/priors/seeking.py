"""Earlier exams of a patient, looked for at the sites of the requester's hospital group when a télédossier is
sent (R097).

    ServiceRequest or Patient written since the last look
      → requests that are sent, consent not refused → the sites of the same GHT
      → the exams of theirs that the platform has; one search for each PACS that may be asked
    search due → C-FIND or QIDO-RS → `likely` → wanted, or proposed to a person
    wanted → an order of the lowest urgency and a wish: the worker attaches it as a prior

What is asked, found and decided are rows of the `ledger`: a worker killed at any point loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from dicomweb.association import moment, request_of
from dicomweb.attributes import Attributes
from dicomweb.changes import changed
from dicomweb.fhir import Fhir
from dicomweb.identity import issuer_key
from dicomweb.peers.peer import Peer, of_endpoint
from dicomweb.peers.session import Level, PeerError
from dicomweb.priors.ledger import HERE, Ledger, Prior, Search
from dicomweb.priors.likely import FETCHED, Candidate, Site, candidates, person_of, questions
from dicomweb.transfers.audit import Searched
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import Order, Transfer
from fhir_server.store.contract import Store
from profiles.outcomes import Gone, Invalid, NotFound

log = logging.getLogger(__name__)

MARK = "priors"
GHT = "https://teledossier.example/fhir/StructureDefinition/ght"
URGENCY = 3  # after everything that somebody waits for
LOOK = 1.0  # seconds between two looks
MOST = 5000  # establishments of a region
AT_ONCE = 4  # PACS asked at the same time
DEEPEST = 5  # steps from a community to its establishment
ANSWERS = 200  # of one question
UID = "urn:dicom:uid"

Find = Callable[[Peer, Level, Mapping[str, str], int], list[Attributes]]
Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A télédossier whose patient's earlier exams are looked for."""

    request: Resource
    patient: Resource
    studies: tuple[Resource, ...]

    @property
    def id(self) -> str:
        return str(self.request["id"])

    @property
    def facts(self) -> dict[str, Any]:
        """As `likely.candidates` takes them."""
        known = set(request_of(self.request).accessions)
        modalities: set[str] = set()
        for study in self.studies:
            known.add(str(study.get("id", "")))
            modalities |= {str(one.get("code", "")) for one in study.get("modality", ())}
        return {"known": known, "modalities": modalities}

    def sent(self, now: datetime) -> datetime:
        return moment(self.request.get("authoredOn")) or now


@dataclass(frozen=True, slots=True)
class Seeking:
    """`await run(stop)`. `find` asks a peer, blocking; `now` in UTC microseconds; `searched` keeps a
    trace of each search."""

    store: Store
    fhir: Fhir
    queue: Queue
    ledger: Ledger
    find: Find
    now: Callable[[], int]
    searched: Callable[[Searched], Awaitable[None]]

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for act in (self.sweep, self.search, self.order):
                try:
                    await act()
                except Exception:
                    log.exception("looking for earlier exams failed; it is tried again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK)

    # -- what to ask
    async def sweep(self) -> int:
        """Plan the searches of what was written since the last look; how many there are."""
        latest = await self.store.latest()
        mark = await asyncio.to_thread(self.queue.get_mark, MARK)
        if latest <= mark:
            return 0
        requests = {str(one["id"]): one for one in await changed(self.store, "ServiceRequest", mark)}
        for patient in await changed(self.store, "Patient", mark):
            found = await self.fhir.search("ServiceRequest", [("subject", f"Patient/{patient['id']}")])
            requests |= {str(one["id"]): one for one in found}
        planned = 0
        for request in requests.values():
            if request.get("status") == "active":
                planned += await self.plan(request)
        await asyncio.to_thread(self.queue.set_mark, MARK, latest)
        return planned

    async def plan(self, request: Resource) -> int:
        """One search for each PACS of the group; also what the platform has of the group's."""
        case = await self._case(request)
        if case is None:
            return 0
        group = await self._group(str(request.get("requester", {}).get("reference", "")))
        await self._keep_here(case, group)
        person, planned = person_of(case.patient), 0
        for peer in await self._peers(group):
            asked = questions(person, peer.organization.rpartition("/")[2])
            if asked:
                digest = hashlib.sha256(orjson.dumps(asked)).hexdigest()
                planned += await asyncio.to_thread(self.ledger.plan, case.id, peer.id, digest, self.now())
        return planned

    async def _case(self, request: Resource) -> Case | None:
        """None when nothing may be looked for: no patient, or the patient refused."""
        own = f"ServiceRequest/{request['id']}"
        subject = str(request.get("subject", {}).get("reference", ""))
        if not subject.startswith("Patient/"):
            return None
        for consent in await self.fhir.search("Consent", [("data", own)]):
            if is_denied(consent):
                return None
        try:
            patient = await self.fhir.read("Patient", subject.removeprefix("Patient/"))
        except (NotFound, Gone):
            return None
        return Case(request, patient, tuple(await self.fhir.search("ImagingStudy", [("basedon", own)])))

    async def _group(self, requester: str) -> frozenset[str]:
        """References of the establishments of the requester's GHT; of their own alone when it has none."""
        own: list[Resource] = []
        with contextlib.suppress(NotFound, Gone):
            reference = requester
            if reference.startswith("PractitionerRole/"):
                role = await self.fhir.read("PractitionerRole", reference.partition("/")[2])
                reference = str((role.get("organization") or {}).get("reference", ""))
            while reference.startswith("Organization/") and len(own) < DEEPEST:
                own.append(await self.fhir.read("Organization", reference.partition("/")[2]))
                reference = str((own[-1].get("partOf") or {}).get("reference", ""))
        names = {name for one in own if (name := _ght(one))}
        sites = {f"Organization/{one['id']}" for one in own}
        if names:
            places = await self.fhir.search("Organization", [("type", "etablissement")], limit=MOST)
            sites |= {f"Organization/{one['id']}" for one in places if _ght(one) in names}
        return frozenset(sites)

    async def _peers(self, group: frozenset[str]) -> list[Peer]:
        found = []
        for endpoint in await self.fhir.search("Endpoint", [("status", "active")]) if group else ():
            with contextlib.suppress(Invalid):
                peer = of_endpoint(endpoint)
                if peer is not None and "query" in peer.uses and peer.organization in group:
                    found.append(peer)
        return found

    async def _keep_here(self, case: Case, group: frozenset[str]) -> None:
        """Exams of this very patient in other télédossiers of the group come along without being asked for
        again."""
        subject = f"Patient/{case.patient['id']}"
        here = {str(study["id"]) for study in case.studies}
        rows: list[Candidate] = []
        for study in await self.fhir.search("ImagingStudy", [("subject", subject)]):
            if str(study["id"]) not in here and await self._is_of(study, group):
                rows.append(Candidate(str(study["id"]), "ins", _row(study), len(rows) < FETCHED))
        if rows:
            await asyncio.to_thread(self.ledger.keep_here, case.id, rows, self.now())

    async def _is_of(self, study: Resource, group: frozenset[str]) -> bool:
        """Whether a télédossier that a site of the group sent has this exam."""
        for based_on in study.get("basedOn", ()):
            with contextlib.suppress(NotFound, Gone):
                id = str(based_on.get("reference", "")).removeprefix("ServiceRequest/")
                request = await self.fhir.read("ServiceRequest", id)
                sender = str(request.get("requester", {}).get("reference", ""))
                if request.get("status") in ("active", "completed") and await self._group(sender) & group:
                    return True
        return False

    # -- asking
    async def search(self) -> int:
        """Some searches that are due, beside each other; how many."""
        due: list[Search] = []
        while len(due) < AT_ONCE and await asyncio.to_thread(self.ledger.has_work, self.now()):
            search = await asyncio.to_thread(self.ledger.claim, self.now())
            if search is None:
                break
            due.append(search)
        await asyncio.gather(*map(self._ask, due))
        return len(due)

    async def _ask(self, search: Search) -> None:
        ready = await self._ready(search)
        if ready is None:
            await asyncio.to_thread(self.ledger.forget, search)
            return
        case, peer = ready
        person, site = person_of(case.patient), await self._site(peer)
        asked = questions(person, site.id)
        told = Searched("", peer, "study", tuple(sorted({name for keys in asked for name in keys})))
        rows: list[Attributes] = []
        try:
            for keys in asked:
                rows += await asyncio.to_thread(self.find, peer, "study", keys, ANSWERS)
        except PeerError as error:
            log.warning("a search for earlier exams at %s: %s", peer.id, error.slug)
            await self.searched(replace(told, fault=error.slug))
            await asyncio.to_thread(self.ledger.failed, search, error.slug, self.now())
            return
        await self.searched(replace(told, found=len(rows)))
        now = datetime.fromtimestamp(self.now() / 1e6, UTC)
        found = candidates(person, site, rows, case.facts, case.sent(now))
        await asyncio.to_thread(self.ledger.settle, search, found, self.now())

    async def _site(self, peer: Peer) -> Site:
        id = peer.organization.rpartition("/")[2]
        issuers = {id}
        with contextlib.suppress(NotFound, Gone):
            place = await self.fhir.read("Organization", id)
            issuers |= {issuer_key(str(one.get("value", ""))) for one in place.get("identifier", ())}
        return Site(id, frozenset(issuers))

    async def _ready(self, search: Search) -> tuple[Case, Peer] | None:
        """None when there is no reason to ask any more."""
        try:
            request = await self.fhir.read("ServiceRequest", search.request)
            peer = of_endpoint(await self.fhir.read("Endpoint", search.peer))
        except (NotFound, Gone, Invalid):
            return None
        case = await self._case(request) if request.get("status") == "active" else None
        return (case, peer) if case and peer and peer.active else None

    # -- fetching
    async def order(self) -> int:
        """Set going what is wanted; how many that were."""
        wanted = await asyncio.to_thread(self.ledger.unordered)
        for prior in wanted:
            await asyncio.to_thread(order, self.queue, prior, "System", self.now())
        return len(wanted)


def order(queue: Queue, prior: Prior, asker: str, now: int, urgency: int = URGENCY) -> Transfer | None:
    """Fetch it, unless it is here (None), and have it attached. The wish comes last: it says that all is
    set."""
    transfer = None
    if prior.peer != HERE:
        wanted = Order("import", prior.peer, prior.study, urgency, prior.request, asker)
        transfer = queue.submit(wanted, now)
    queue.wish(prior.study, prior.request, asker, now)
    return transfer


def is_denied(consent: Resource) -> bool:
    """Whether a Consent is a refusal."""
    return (consent.get("provision") or {}).get("type") == "deny"


def _ght(organization: Resource) -> str:
    for extension in organization.get("extension", ()):
        if extension.get("url") == GHT:
            return str(extension.get("valueString", ""))
    return ""


def _row(study: Resource) -> dict[str, Any]:
    """An ImagingStudy in the words of a PACS."""
    started = str(study.get("started", ""))
    numbers = [one.get("value") for one in study.get("identifier", ()) if one.get("system") != UID]
    made: dict[str, Sequence[Any]] = {
        "0020000D": [str(study["id"])],
        "00080020": [started[:10].replace("-", "")] if len(started) >= 10 else [],
        "00080030": [started[11:19].replace(":", "")] if len(started) >= 19 else [],
        "00080050": [one for one in numbers if one],
        "00080061": [one.get("code") for one in study.get("modality", ())],
        "00081030": [study["description"]] if study.get("description") else [],
        "00201206": [study.get("numberOfSeries", 0)],
        "00201208": [study.get("numberOfInstances", 0)],
    }
    return {tag: {"Value": list(values)} for tag, values in made.items() if values}
