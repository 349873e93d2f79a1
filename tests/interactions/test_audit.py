"""The trail: who is in it, what an event says, and that it neither slows nor breaks a read. IHE BALP"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.audit import QUEUE, QUIET, Trail
from fhir_server.interactions import create, history, read, search, update
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Put, Unless, Version
from fhir_server.store.files import Files
from profiles import codec
from profiles.validation import validator

PROFILE = "https://teledossier.example/fhir/StructureDefinition/teledossier-audit-event"
JUDGE = validator()
PERSON = Access("Practitioner/p1", (Scope("*", "cruds"),), None)
MACHINE = Access("Client/dpi", (Scope("*", "cruds"),), None)


@dataclass(slots=True)
class Clock:
    at: int = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.at


@dataclass(frozen=True, slots=True)
class Watched:
    engine: Engine
    trail: Trail
    clock: Clock

    async def events(self) -> list[dict[str, Any]]:
        """All AuditEvents, oldest first, each of them valid."""
        await self.trail.flush()
        found = [codec.parse(v.body) async for v in self.engine.store.scan("AuditEvent") if v.body]
        issues = [issue for event in found for issue in JUDGE.validate(event, profiles=[PROFILE])]
        assert [issue for issue in issues if issue.severity == "error"] == []
        return sorted(found, key=lambda event: str(event["recorded"]))


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    settings = Settings(base_url="http://test", store=f"sqlite:///{tmp_path}/t.db")
    store, clock = open_store(settings), Clock()
    await store.open()
    trail = Trail(store, settings, clock)
    engine = Engine(store, Files(tmp_path / "files"), settings, clock, trail=trail)
    system = Fhir(engine, SYSTEM)
    await system.update({"resourceType": "Patient", "id": "a"})
    for id in ("s1", "s2"):
        await system.update(
            {
                "resourceType": "ServiceRequest",
                "id": id,
                "status": "active",
                "intent": "order",
                "subject": {"reference": "Patient/a"},
            }
        )
        await system.update(
            {
                "resourceType": "Task",
                "id": id,
                "status": "requested",
                "intent": "order",
                "focus": {"reference": f"ServiceRequest/{id}"},
                "for": {"reference": "Patient/a"},
            }
        )
    await system.update({"resourceType": "Organization", "id": "o", "name": "x"})
    yield Watched(engine, trail, clock)
    await store.close()


def told(event: dict[str, Any]) -> tuple[str, str, set[str]]:
    """(who, action, what it names)"""
    names = {entity["what"]["reference"] for entity in event.get("entity", ()) if "what" in entity}
    return event["agent"][0]["who"]["reference"], event["action"], names


async def test_a_read_names_reader_teledossier_and_patient(watched: Watched) -> None:
    await read.read(watched.engine, PERSON, "Task", "s1")
    (event,) = await watched.events()
    assert told(event) == ("Practitioner/p1", "R", {"Task/s1", "ServiceRequest/s1", "Patient/a"})
    assert event["subtype"][0]["code"] == "read"


async def test_only_people_and_only_what_concerns_patients(watched: Watched) -> None:
    await read.read(watched.engine, MACHINE, "Patient", "a")
    await read.read(watched.engine, SYSTEM, "Patient", "a")
    await read.read(watched.engine, PERSON, "Organization", "o")
    await search.search(watched.engine, PERSON, "Organization", [])
    await search.search(watched.engine, PERSON, "AuditEvent", [("_id", "x")])
    assert await watched.events() == []
    await history.history(watched.engine, PERSON, "Patient", "a")
    assert [told(event) for event in await watched.events()] == [("Practitioner/p1", "R", {"Patient/a"})]


async def test_a_search_is_one_event_for_each_teledossier(watched: Watched) -> None:
    """So no event tells the audience of one télédossier of another one."""
    query = [("status", "requested"), ("_include", "Task:focus")]
    await search.search(watched.engine, PERSON, "Task", query)
    events = await watched.events()
    names = [told(event)[2] - {"Patient/a"} for event in events]
    assert sorted(map(sorted, names)) == [["ServiceRequest/s1"], ["ServiceRequest/s2"]]
    queries = {base64.b64decode(event["entity"][0]["query"]).decode() for event in events}
    assert queries == {"Task?status=requested&_include=Task%3Afocus"}


async def test_a_search_that_finds_nothing_is_an_event(watched: Watched) -> None:
    await search.search(watched.engine, PERSON, "Patient", [("family", "Durand")])
    (event,) = await watched.events()
    assert told(event) == ("Practitioner/p1", "E", set())


async def test_the_same_again_is_one_event_for_a_while(watched: Watched) -> None:
    for _ in range(5):
        await read.read(watched.engine, PERSON, "Patient", "a")
    assert len(await watched.events()) == 1
    await read.read(watched.engine, replace(PERSON, subject="Practitioner/p2"), "Patient", "a")
    assert len(await watched.events()) == 2
    watched.clock.at += QUIET
    await read.read(watched.engine, PERSON, "Patient", "a")
    assert len(await watched.events()) == 3


async def test_a_write_and_its_event_are_one_commit(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[list[str]] = []
    real = type(watched.engine.store).commit

    async def counted(self: Any, puts: Sequence[Put], unless: Sequence[Unless] = ()) -> list[Version]:
        commits.append([put.type for put in puts])
        return await real(self, puts, unless)

    monkeypatch.setattr(type(watched.engine.store), "commit", counted)
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": "ServiceRequest/s1"},
    }
    version = await create.create(watched.engine, PERSON, task)
    await update.update(watched.engine, PERSON, {**task, "id": version.id})
    await Fhir(watched.engine, PERSON).delete("Task", version.id)
    assert commits == [["Task", "AuditEvent"]] * 3
    named = {f"Task/{version.id}", "ServiceRequest/s1"}
    assert sorted(told(e) for e in await watched.events()) == [("Practitioner/p1", a, named) for a in "CDU"]


async def test_reads_go_on_when_the_trail_cannot_write(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> list[Version]:
        raise OSError("disk full")

    monkeypatch.setattr(type(watched.engine.store), "commit", broken)
    await read.read(watched.engine, PERSON, "Patient", "a")
    await watched.trail.flush()
    assert watched.trail.dropped == 1


async def test_the_queue_is_bounded(watched: Watched) -> None:
    version = await read.read(watched.engine, SYSTEM, "Patient", "a")
    for number in range(QUEUE + 7):
        watched.trail.noticed(replace(PERSON, subject=f"Practitioner/{number}"), "read", [version])
    assert watched.trail.dropped == 7


async def test_written_in_the_background_and_at_the_stop(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = asyncio.Event()
    real = type(watched.engine.store).commit

    async def told_of(self: Any, puts: Sequence[Put]) -> list[Version]:
        versions = await real(self, puts)
        written.set()
        return versions

    monkeypatch.setattr(type(watched.engine.store), "commit", told_of)
    watched.trail.start()
    await read.read(watched.engine, PERSON, "Patient", "a")
    async with asyncio.timeout(10):
        await written.wait()
    await read.read(watched.engine, PERSON, "Task", "s1")
    await watched.trail.stop()
    assert len([v async for v in watched.engine.store.scan("AuditEvent")]) == 2
