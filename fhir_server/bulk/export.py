"""`$export`: what it takes, and the work that writes the NDJSON files.

A page at a time in the order of writing, each narrowed to what the asker may see. Resources that others
change meanwhile move to the end of that order; they are written as they were when the export began, so the
result is the state of that moment. Bulk Data Access IG 2.0.0 export.html
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fhir_server.access import Access
from fhir_server.interactions import content, prepare
from fhir_server.interactions.binding import binder
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.entries import parse_query
from fhir_server.interactions.subset import Subset
from fhir_server.interactions.visibility import current, require, sees_all
from fhir_server.jobs.record import Job
from fhir_server.jobs.runner import Report
from fhir_server.search.bind import Binder
from fhir_server.search.nodes import And, Chain, Everything, Ids, Node, Nothing, Or, Reference, Select, Sort
from fhir_server.search.plan import plan_of
from fhir_server.store.contract import Past, Version
from profiles import codec, dates, definitions
from profiles.outcomes import Invalid, NotAcceptable, Unprocessable, operation_outcome

PAGE = 500
LINES = 100_000
"""Resources in one file at most."""
_ORDER = (Sort("_lastUpdated", "date"),)


@dataclass(frozen=True, slots=True)
class Asked:
    """One export. `patients` (ids) narrow it to their compartments; None: `level` "system" takes everything,
    "patient" every patient's compartment. `filters` by type: search queries, one of which must match."""

    level: str = "system"
    types: tuple[str, ...] = ()
    since: str = ""
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    elements: tuple[tuple[str, str], ...] = ()
    patients: tuple[str, ...] | None = None
    url: str = ""

    def request(self) -> dict[str, Any]:
        """As a record."""
        return {
            "level": self.level,
            "types": list(self.types),
            "since": self.since,
            "filters": {type: list(queries) for type, queries in self.filters.items()},
            "elements": [list(pair) for pair in self.elements],
            "patients": None if self.patients is None else list(self.patients),
            "url": self.url,
        }

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Asked:
        """From a record."""
        patients = request["patients"]
        return cls(
            request["level"],
            tuple(request["types"]),
            request["since"],
            request["filters"],
            tuple((type, name) for type, name in request["elements"]),
            None if patients is None else tuple(patients),
            request["url"],
        )


async def selects(engine: Engine, access: Access, asked: Asked) -> Mapping[str, Node]:
    """Type → what of it is exported, narrowed to what the reader may see. Raises Invalid, Forbidden,
    NotFound for what does not fit together."""
    meaning = await binder(engine, access)
    inside = definitions.compartment("Patient")
    offered = sorted(definitions.resource_types() if asked.level == "system" else {*inside, "Patient"})
    for type in asked.types:
        require(access, type, "r")
        if type not in offered:
            raise Invalid("not-in-compartment", f"{type} is not in the compartment of a patient")
    types = asked.types or tuple(type for type in offered if access.allows(type, "r"))
    for type in asked.filters:
        if type not in types:
            raise Invalid("filter-without-type", f"_typeFilter names {type[:64]}, which is not exported")
    return {type: And((_filtered(meaning, asked, type), _inside(access, asked, type))) for type in types}


def _filtered(meaning: Binder, asked: Asked, type: str) -> Node:
    since = [("_lastUpdated", f"ge{asked.since}")] if asked.since else []
    queries = [parse_query(query) for query in asked.filters.get(type, ())] or [()]
    nodes = [plan_of(type, [*query, *since], meaning).select.where for query in queries]
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))


def _inside(access: Access, asked: Asked, type: str) -> Node:
    """The compartment: of some patients, or of any that the reader sees."""
    if asked.level == "system":
        return Everything()
    patients = asked.patients
    if type == "Patient":
        return Everything() if patients is None else Ids(patients)
    if patients is not None:
        targets = tuple(f"Patient/{id}" for id in patients)
        if not targets:
            return Nothing()
        ways: list[Node] = [Reference(param, targets) for param in definitions.compartment("Patient")[type]]
    else:
        everyone = access.restrict("Patient", Everything())
        ways = [Chain(param, "Patient", everyone) for param in definitions.compartment("Patient")[type]]
    return ways[0] if len(ways) == 1 else Or(tuple(ways))


async def members(engine: Engine, access: Access, id: str) -> tuple[str, ...]:
    """The patients of a Group, the inactive ones left out. Raises NotFound, Gone."""
    require(access, "Group", "r")
    group = prepare.body_of(await current(engine, access, "Group", id)) or {}
    if not group.get("member"):
        return ()
    found = []
    for member in group["member"]:
        type, _, patient = str(member.get("entity", {}).get("reference", "")).partition("/")
        if type == "Patient" and patient and not member.get("inactive"):
            found.append(patient)
    if not found:
        raise Unprocessable("no-patients", "no active member of the Group is a Patient of this server")
    return tuple(dict.fromkeys(found))


async def export(engine: Engine, job: Job, report: Report) -> Mapping[str, Any]:
    """The work. The result holds the manifest's parts; file names, not addresses."""
    asked = Asked.of(job.request)
    end = await engine.store.latest()
    begun = prepare.moment(engine)
    subset = Subset(elements=asked.elements)
    output: list[dict[str, Any]] = []
    refused = _Written(report.folder, "OperationOutcome")
    done = 0
    for type, where in (await selects(engine, job.access, asked)).items():
        written = _Written(report.folder, type)
        async for versions in _versions(engine, type, where, end):
            lines = [line for version in versions if (line := await _line(engine, version, subset, refused))]
            await asyncio.to_thread(written.add, lines)
            done += len(lines)
            await report(f"{type}: {done} resources")
        output += await asyncio.to_thread(written.close)
    return {
        "transactionTime": prepare.instant(begun),
        "request": asked.url,
        "output": output,
        "deleted": await _deleted(engine, job.access, asked, report),
        "error": await asyncio.to_thread(refused.close),
    }


async def _versions(engine: Engine, type: str, where: Node, end: int) -> AsyncIterator[list[Version]]:
    """In the order of writing up to `end`. What was changed since stands behind that: of it the version of
    then, unless it was passed before the change. 8 bytes are kept for each resource."""
    passed = array("q")
    last: int | None = None
    after: tuple[object, ...] | None = None
    while rows := await engine.store.search(Select(type, where, _ORDER, PAGE, after)):
        after = rows[-1].position
        found = [row.version for row in rows if row.version.seq <= end]
        passed.extend(version.seq for version in found)
        if rows[-1].version.seq > end:
            last = last or await engine.store.latest()
            for row in rows:
                if row.version.seq > end:
                    found += await _before(engine, row.version, end, passed)
        yield found
        if last is not None and rows[-1].version.seq >= last:
            return


async def _before(engine: Engine, version: Version, end: int, passed: array[int]) -> list[Version]:
    """The version that was current at `end`, if there was one that is not among the passed."""
    (old,) = await engine.store.history(Past((version.type,), version.id, 1, end + 1)) or (None,)
    if old is None or old.body is None:
        return []
    place = bisect_left(passed, old.seq)
    return [] if place < len(passed) and passed[place] == old.seq else [old]


async def _line(engine: Engine, version: Version, subset: Subset, refused: _Written) -> bytes | None:
    body = version.body
    assert body is not None
    if version.type == "Binary":
        try:
            body = codec.dump(await content.inlined(engine, codec.parse(body)))
        except NotAcceptable as error:
            refused.add([codec.dump(operation_outcome(error.issues))])
            return None
    return subset.apply(body)


async def _deleted(engine: Engine, access: Access, asked: Asked, report: Report) -> list[dict[str, Any]]:
    """With `_since`: what was deleted since, as Bundles; only for readers who see all of the type, since a
    deleted resource leads to no télédossier any more."""
    if not asked.since or asked.level != "system":
        return []
    types = tuple(type for type in await selects(engine, access, asked) if sees_all(access, type))
    since, _ = dates.interval(asked.since, engine.settings.zone)
    written = _Written(report.folder, "deleted")
    before: int | None = None
    while versions := await engine.store.history(Past(types, "", PAGE, before, since)):
        before = versions[-1].seq
        gone = [version for version in versions if version.method == "delete"]
        still = await engine.store.read_many([(version.type, version.id) for version in gone])
        entries = [
            {"request": {"method": "DELETE", "url": f"{version.type}/{version.id}"}}
            for version in gone
            if (version.type, version.id) not in still
        ]
        if entries:
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            await asyncio.to_thread(written.add, [codec.dump(bundle)])
        await report("deletions")
    return [{**each, "type": "Bundle"} for each in await asyncio.to_thread(written.close)]


@dataclass(slots=True)
class _Written:
    """The files of one type: `Type.1.ndjson`, `Type.2.ndjson` …"""

    folder: Path
    type: str
    files: list[dict[str, Any]] = field(default_factory=list)
    open: BinaryIO | None = None

    def add(self, lines: Sequence[bytes]) -> None:
        """Each with its line feed."""
        if not lines:
            return
        if self.open is None or self.files[-1]["count"] >= LINES:
            if self.open is not None:
                self.open.close()
            name = f"{self.type}.{len(self.files) + 1}.ndjson"
            self.open = (self.folder / name).open("wb")
            self.files.append({"type": self.type, "file": name, "count": 0})
        self.open.write(b"\n".join(lines) + b"\n")
        self.files[-1]["count"] += len(lines)

    def close(self) -> list[dict[str, Any]]:
        if self.open is not None:
            self.open.close()
            self.open = None
        return self.files
