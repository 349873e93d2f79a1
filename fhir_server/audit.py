"""Who looked at what and who wrote what: an AuditEvent for each access of a person to patient-related
resources.

Writes: the event is a Put of the same commit, so it is exactly as durable as what it tells. Reads and
searches: the event waits in a queue and is written in the background, many per commit, so that it neither
slows nor breaks the read. What can be lost, then: on a kill, the events of the last moments not yet
committed (at most what the queue holds); beyond QUEUE waiting events new ones are dropped and counted
(`teledossier_audit_dropped_total`). The same person doing the same again within QUIET microseconds is one
event: a screen that looks for news every two seconds is one reader, not 1,800 an hour. Machines and the
platform itself are not people and are not in this trail; the directory and the definitions concern no
patient.

Each event names one télédossier at most: whoever may see that one may see the event, and learns of no other.
IHE BALP (BasicAudit Read, Query, Create, Update, Delete); FHIR R4 auditevent.html
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from fhir_server.access import BELONGS_BY, DEFINITIONS, DIRECTORY, Access
from fhir_server.interactions.prepare import instant
from fhir_server.search.index import extract
from fhir_server.settings import Settings
from fhir_server.store.contract import Entries, Put, Store, Version
from profiles import codec
from profiles.outcomes import TeledossierError

PEOPLE = ("Practitioner/", "PractitionerRole/", "Patient/", "RelatedPerson/")
QUEUE = 10_000
QUIET = 60_000_000  # microseconds
_TOGETHER = 100
_REMEMBERED = 50_000

_REST = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_ACTIONS = {
    "create": "C",
    "update": "U",
    "delete": "D",
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "search-type": "E",
    "search-system": "E",
}
_PATIENT = ("patient", "subject")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Noticed:
    """One access by one reader: which interaction on which versions; `query` for a search ("Task?owner=…"),
    whose versions are what the page held."""

    subject: str
    interaction: str
    versions: tuple[Version, ...]
    query: str
    at: int


class Trail:
    """`start` and `stop` in the serving process; `noticed` for reads, `of_writes` for writes."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], int]) -> None:
        self._store, self._settings, self._now = store, settings, now
        self._queue: asyncio.Queue[Noticed | None] = asyncio.Queue(QUEUE)
        self._recent: dict[tuple[str, str, str, int], int] = {}
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        """Begin to write; called once, inside the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="audit")

    async def stop(self) -> None:
        """Write what waits, then end. Nothing is cancelled: a commit on its way would be written twice."""
        if self._task is not None:
            await self._queue.put(None)
            await self._task
            self._task = None
        await self.flush()

    async def flush(self) -> None:
        """Write what waits now."""
        while not self._queue.empty():
            await self._write(self._waiting())

    def noticed(self, access: Access, interaction: str, versions: Sequence[Version], query: str = "") -> None:
        """A person read the version, or found these with `query`. Never raises, never waits."""
        if not access.subject.startswith(PEOPLE):
            return
        seen = tuple(version for version in versions if concerns(access, version.type))
        if not seen and not (query and concerns(access, query.partition("?")[0])):
            return
        at = self._now()
        key = (
            access.subject,
            interaction,
            query,
            hash(tuple((version.type, version.id) for version in seen)),
        )
        if at - self._recent.get(key, -QUIET) < QUIET:
            return
        if len(self._recent) >= _REMEMBERED:
            self._recent.clear()
        self._recent[key] = at
        try:
            self._queue.put_nowait(Noticed(access.subject, interaction, seen, query, at))
        except asyncio.QueueFull:
            self.dropped += 1

    def of_writes(
        self, access: Access, puts: Sequence[Put], olds: Mapping[tuple[str, str], Version]
    ) -> list[Put]:
        """The events that belong into the commit of `puts`; `olds` say what a deletion removes."""
        events: list[Put] = []
        for put in puts:
            if not concerns(access, put.type):
                continue
            body = put.body or (old.body if (old := olds.get((put.type, put.id))) else None)
            version = Version(put.type, put.id, put.expect + 1, 0, put.at, put.method, body)
            events.extend(self._puts(Noticed(access.subject, put.method, (version,), "", put.at)))
        return events

    async def _run(self) -> None:
        while (first := await self._queue.get()) is not None:
            await self._write([first, *self._waiting(_TOGETHER - 1)])

    def _waiting(self, most: int = _TOGETHER) -> list[Noticed]:
        batch: list[Noticed] = []
        while len(batch) < most and not self._queue.empty():
            noticed = self._queue.get_nowait()
            if noticed is None:
                self._queue.put_nowait(None)
                break
            batch.append(noticed)
        return batch

    async def _write(self, batch: Sequence[Noticed]) -> None:
        """A failing store loses this batch, and says so; the next one is tried."""
        try:
            await self._store.commit([put for noticed in batch for put in self._puts(noticed)])
        except Exception as error:
            self.dropped += len(batch)
            log.error("%d audit events not written: %s", len(batch), type(error).__name__)

    def _puts(self, noticed: Noticed) -> list[Put]:
        """One event for a read or a write; for a search one for each télédossier, else each patient, it
        found."""
        abouts = dict.fromkeys(_about(version, self._entries(version)) for version in noticed.versions)
        if noticed.query:
            abouts = dict.fromkeys(replace(about, what="") for about in abouts) or {About(): None}
        return [self._put(audit_event(noticed, about, self._settings.url), noticed.at) for about in abouts]

    def _put(self, event: dict[str, Any], at: int) -> Put:
        return put_of(event, at, self._settings)

    def _entries(self, version: Version) -> Entries:
        if version.body is None:
            return Entries()
        try:
            return extract(codec.parse(version.body), self._settings.fhir_base, self._settings.zone)
        except TeledossierError:
            return Entries()


def put_of(event: dict[str, Any], at: int, settings: Settings, id: str = "") -> Put:
    """What writes an event (without id and meta) of that moment; under an `id` of the caller's it is
    written once."""
    at, id = at // 1000 * 1000, id or str(uuid4())
    meta = {"versionId": "1", "lastUpdated": instant(at)}
    stored = {"resourceType": "AuditEvent", "id": id, "meta": meta, **event}
    entries = extract(stored, settings.fhir_base, settings.zone)
    return Put("AuditEvent", id, 0, at, "create", codec.dump(stored), entries)


def concerns(access: Access, type: str) -> bool:
    """Whether the trail keeps this reader's access to this type."""
    return (
        access.subject.startswith(PEOPLE)
        and type not in DIRECTORY
        and type not in DEFINITIONS
        and type != "AuditEvent"
    )


@dataclass(frozen=True, slots=True)
class About:
    """What an event names: the resource itself, the télédossier, the patient; empty where unknown."""

    what: str = ""
    teledossier: str = ""
    patient: str = ""


def _about(version: Version, entries: Entries) -> About:
    """A resource that tells of several télédossiers or patients names none of them."""
    what = f"{version.type}/{version.id}"
    ways = BELONGS_BY.get(version.type, ())
    requests = {to for name, to in entries.references if name in ways and to.startswith("ServiceRequest/")}
    patients = {to for name, to in entries.references if name in _PATIENT and to.startswith("Patient/")}
    return About(
        what,
        what if version.type == "ServiceRequest" else requests.pop() if len(requests) == 1 else "",
        what if version.type == "Patient" else patients.pop() if len(patients) == 1 else "",
    )


def audit_event(noticed: Noticed, about: About, server: str) -> dict[str, Any]:
    """The AuditEvent without id and meta."""
    event = {
        "type": {"system": _REST, "code": "rest", "display": "RESTful Operation"},
        "subtype": [{"system": _INTERACTION, "code": noticed.interaction}],
        "action": _ACTIONS[noticed.interaction],
        "recorded": instant(noticed.at),
        "outcome": "0",
        "agent": [
            {
                "type": _concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
                "who": {"reference": noticed.subject},
                "requestor": True,
            },
            {
                "type": _concept(_DCM, "110152" if noticed.query else "110153"),
                "who": {"display": "Télédossier"},
                "requestor": False,
                "network": {"address": server, "type": "5"},
            },
        ],
        "source": {
            "observer": {"display": "Télédossier"},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
        },
    }
    entities = _entities(noticed, about)
    return {**event, "entity": entities} if entities else event


def _entities(noticed: Noticed, about: About) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    if noticed.query:
        query = base64.b64encode(noticed.query.encode()).decode("ascii")
        entities.append({**_entity("2", "24"), "query": query})
    if about.what not in ("", about.teledossier, about.patient):
        entities.append({"what": {"reference": about.what}, **_entity("2", "4")})
    if about.teledossier:
        entities.append({"what": {"reference": about.teledossier}, **_entity("2", "20")})
    if about.patient:
        entities.append({"what": {"reference": about.patient}, **_entity("1", "1")})
    return entities


def _entity(kind: str, role: str) -> dict[str, Any]:
    return {"type": {"system": _ENTITY, "code": kind}, "role": {"system": _ROLE, "code": role}}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
