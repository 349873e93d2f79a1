"""Fhir, the interactions for code in the process; write rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fhir_server.access import SYSTEM, Access
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.files import Files
from profiles.outcomes import Forbidden, Gone, NotFound, PreconditionFailed, Unprocessable


@pytest.fixture
async def fhir(tmp_path: Path) -> AsyncIterator[Fhir]:
    settings = Settings(base_url="http://test", store=f"sqlite:///{tmp_path}/t.db")
    store = open_store(settings)
    await store.open()
    yield Fhir(Engine(store, Files(tmp_path / "files"), settings, lambda: 1_700_000_000_123_456), SYSTEM)
    await store.close()


async def test_create_read_update_delete(fhir: Fhir) -> None:
    made = await fhir.create({"resourceType": "Patient", "active": True})
    assert made["meta"] == {"versionId": "1", "lastUpdated": "2023-11-14T22:13:20.123Z"}
    assert await fhir.read("Patient", made["id"]) == made
    assert (await fhir.update(made, if_match=1))["meta"]["versionId"] == "2"
    with pytest.raises(PreconditionFailed):
        await fhir.update(made, if_match=1)
    await fhir.delete("Patient", made["id"])
    with pytest.raises(Gone):
        await fhir.read("Patient", made["id"])
    with pytest.raises(NotFound):
        await fhir.read("Patient", "never")
    with pytest.raises(Unprocessable, match=r"Patient\.active"):
        await fhir.create({"resourceType": "Patient", "active": "yes"})


@pytest.mark.parametrize(("limit", "found"), [(1000, 250), (7, 7), (150, 150)])
async def test_search_follows_the_pages(fhir: Fhir, limit: int, found: int) -> None:
    entries = [
        {"request": {"method": "PUT", "url": f"Patient/p{n:03}"}, "resource": {"resourceType": "Patient"}}
        for n in range(250)
    ]
    answer = await fhir.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert len(answer["entry"]) == 250
    ids = [patient["id"] for patient in await fhir.search("Patient", [("_sort", "_id")], limit=limit)]
    assert ids == [f"p{n:03}" for n in range(250)][:found]


async def test_write_rules_see_both_sides_and_decide(fhir: Fhir) -> None:
    seen: list[tuple[str, Resource | None]] = []

    async def rule(engine: Engine, access: Access, old: Resource | None, new: Resource) -> Resource:
        seen.append((access.subject, old))
        if new.get("status") == "cancelled":
            raise Forbidden("rule", "not so")
        return {**new, "priority": "stat"}

    ruled = replace(fhir, engine=replace(fhir.engine, write_rules={"Task": rule}))
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    made = await ruled.create(task)
    assert made["priority"] == "stat"
    with pytest.raises(Forbidden):
        await ruled.update({**made, "status": "cancelled"})
    entry = {
        "request": {"method": "PUT", "url": f"Task/{made['id']}"},
        "resource": {**made, "status": "cancelled"},
    }
    with pytest.raises(Forbidden) as error:
        await ruled.transaction({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert error.value.issues[0].expression.startswith("Bundle.entry[0]")
    assert seen == [("System", None), ("System", made), ("System", made)]
    assert await fhir.read("Task", made["id"]) == made
