"""What is stored is known at once, to every process that shares the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access import SYSTEM
from fhir_server.conformance import held as room
from fhir_server.conformance import reindex
from fhir_server.interactions.fhir import Fhir
from fhir_server.jobs.runner import Runner
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Store
from tests.rest.serving import make_engine
from tests.rest.test_search_parameters import OWN, patient
from tests.terminology.making import COLOURS, chosen
from tests.terminology.making import SYSTEM as COLOUR_SYSTEM

ALL = "https://example.org/ValueSet/all-colours"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[list[Store]]:
    """Two openings of one store, as two processes have."""
    opened = [open_store(Settings(store=f"sqlite:///{tmp_path}/t.db")) for _ in range(2)]
    for store in opened:
        await store.open()
    yield opened
    for store in opened:
        await store.close()


def value_set(code: str) -> dict[str, Any]:
    return {**chosen("code", "=", code), "id": "v", "url": "https://example.org/ValueSet/v"}


async def result(store: Any, code: str, value_set: str = "https://example.org/ValueSet/v") -> str:
    snapshot = await store.current()
    return str(snapshot.terminology.validate_code(value_set, COLOURS, code, None).result)


async def test_created_changed_deleted_and_seen_by_both(tmp_path: Path, stores: list[Store]) -> None:
    here, there = (make_engine(tmp_path, store) for store in stores)
    fhir = Fhir(here, SYSTEM)
    assert [await result(each.held, "red") for each in (here, there)] == ["unknown"] * 2
    await fhir.create(COLOUR_SYSTEM)
    await fhir.update(value_set("red"))
    assert [await result(each.held, "red") for each in (here, there)] == ["yes"] * 2
    assert await result(there.held, "navy", ALL) == "yes"
    await fhir.update(value_set("blue"))
    assert [await result(each.held, "red") for each in (here, there)] == ["no"] * 2
    await fhir.delete("ValueSet", "v")
    assert [await result(each.held, "red") for each in (here, there)] == ["unknown"] * 2
    assert await result(here.held, "navy", ALL) == "yes"


async def test_nothing_is_made_again_while_nothing_changes(tmp_path: Path, stores: list[Store]) -> None:
    engine = make_engine(tmp_path, stores[0])
    before = await engine.held.current()
    await Fhir(engine, SYSTEM).create({"resourceType": "Patient"})
    assert await engine.held.current() is before


async def test_a_change_without_a_mark_is_found(
    tmp_path: Path, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (make_engine(tmp_path, store) for store in stores)
    await Fhir(here, SYSTEM).create(COLOUR_SYSTEM)
    assert await result(there.held, "navy", ALL) == "yes"
    monkeypatch.setattr(here.store, "put_record", _forgotten)
    await Fhir(here, SYSTEM).update(value_set("red"))
    assert await result(there.held, "red") == "unknown"
    monkeypatch.setattr(room, "LONGEST", -1.0)
    assert await result(there.held, "red") == "yes"


async def _forgotten(*_args: object, **_parts: object) -> bool:
    return True


async def test_of_two_with_one_url_the_newest_answers(tmp_path: Path, stores: list[Store]) -> None:
    engine = make_engine(tmp_path, stores[0])
    fhir = Fhir(engine, SYSTEM)
    await fhir.create(COLOUR_SYSTEM)
    await fhir.update(value_set("red"))
    await fhir.update({**value_set("blue"), "id": "w"})
    assert [await result(engine.held, code) for code in ("red", "blue")] == ["no", "yes"]


async def test_a_large_definition_is_kept_whole(tmp_path: Path, stores: list[Store]) -> None:
    engine = make_engine(tmp_path, stores[0])
    concepts = [{"code": f"c{number}"} for number in range(2_000)]
    whole = {**COLOUR_SYSTEM, "concept": concepts}
    await Fhir(engine, SYSTEM).create(whole)
    assert await result(engine.held, "c1999", ALL) == "yes"


async def test_a_search_parameter_is_indexed_by_in_every_process_at_once(
    tmp_path: Path, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process writes once the parameter is there needs no reindex."""
    monkeypatch.setattr(reindex, "GRACE", 0.0)
    here, there = (Fhir(make_engine(tmp_path, store), SYSTEM) for store in stores)
    await there.update(patient("a", "Zouzou"))
    await here.update(OWN)
    await Runner(here.engine, {"reindex": reindex.work}).once()
    await there.update(patient("b", "Zouave"))
    for fhir in (here, there):
        assert {one["id"] for one in await fhir.search("Patient", [("nickname", "zou")])} == {"a", "b"}
