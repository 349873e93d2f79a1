"""Bulk load: links, order, resuming, counting, several processes."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fhir_server import opening
from fhir_server.bulk import sources
from fhir_server.bulk.load import Counts, load
from fhir_server.bulk.preparing import Preparer
from fhir_server.bulk.workers import Workers, here
from fhir_server.interactions.engine import Engine, Judging
from fhir_server.search.nodes import Everything, Select, Sort
from fhir_server.settings import Settings
from profiles import codec
from profiles.outcomes import Unavailable

A, B = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


def settings_of(tmp_path: Path) -> Settings:
    return Settings(store=f"sqlite:///{tmp_path}/t.db", files=str(tmp_path / "files"))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with opening.opened_engine(settings_of(tmp_path)) as engine:
        yield engine


def patient(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **more}


def ndjson(path: Path, *resources: dict[str, Any]) -> Path:
    body = "".join(json.dumps(each) + "\n" for each in resources).encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


async def loaded(engine: Engine, path: Path, counts: Counts | None = None) -> Counts:
    counts = counts or Counts()
    await load(engine, path, partial(here, Preparer(engine)), counts, lambda _: None)
    return counts


async def body(engine: Engine, type: str, id: str) -> dict[str, Any]:
    version = await engine.store.read(type, id)
    assert version is not None
    assert version.body is not None
    return codec.parse(version.body)


async def test_what_comes_later_wins_and_what_is_the_same_is_left(engine: Engine, tmp_path: Path) -> None:
    file = ndjson(
        tmp_path / "a.ndjson.gz", patient("p", active=True), patient("q"), patient("p", active=False)
    )
    assert (await loaded(engine, file)).numbers() == {
        "created": 2,
        "updated": 1,
        "unchanged": 0,
        "refused": 0,
    }
    assert (await body(engine, "Patient", "p"))["active"] is False
    other = ndjson(tmp_path / "b.ndjson", patient("p", active=False), patient("q", active=True), patient("r"))
    assert (await loaded(engine, other)).numbers() == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
        "refused": 0,
    }
    assert (await body(engine, "Patient", "q"))["meta"]["versionId"] == "2"


async def test_links_of_a_bundle(engine: Engine, tmp_path: Path) -> None:
    """Between entries, and conditional ones to what was loaded before or stands later in the same file."""
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": f"urn:uuid:{A}"},
        "participant": [{"individual": {"reference": "Practitioner?identifier=urn:x|7"}}],
    }
    entries = [
        {"fullUrl": f"urn:uuid:{B}", "resource": encounter},
        {"fullUrl": f"urn:uuid:{A}", "resource": patient(A)},
        {
            "resource": {
                "resourceType": "Practitioner",
                "id": "d",
                "identifier": [{"system": "urn:x", "value": "7"}],
            }
        },
        {"request": {"method": "GET", "url": "Patient"}},
        {
            "fullUrl": "urn:uuid:x",
            "resource": {**encounter, "id": "lost", "subject": {"reference": "urn:uuid:none"}},
        },
        {
            "resource": {
                **encounter,
                "id": "none",
                "participant": [{"individual": {"reference": "Practitioner?name=x"}}],
            }
        },
    ]
    file = tmp_path / "b.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
    counts = await loaded(engine, file)
    assert (counts.created, counts.refused) == (3, 2)
    assert [(place, why.split()[0]) for _, place, why in counts.reasons] == [(5, "no"), (6, "a")]
    stored = await body(engine, "Encounter", B)
    assert stored["subject"]["reference"] == f"Patient/{A}"
    assert stored["participant"][0]["individual"]["reference"] == "Practitioner/d"
    assert (await loaded(engine, file)).numbers() == {
        "created": 0,
        "updated": 0,
        "unchanged": 3,
        "refused": 2,
    }


async def test_a_load_that_was_cut_off_goes_on_with_its_counts(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LINES", 2)
    file = ndjson(tmp_path / "a.ndjson", *(patient(f"p{n}", active=n != 3 or "no") for n in range(9)))
    pieces: list[int] = []

    async def cut(chunks: Any) -> AsyncIterator[Any]:
        async for chunk, prepared in here(Preparer(engine), chunks):
            pieces.append(chunk.last)
            if len(pieces) == 4:
                raise Unavailable("cut", "cut")
            yield chunk, prepared

    with pytest.raises(Unavailable):
        await load(engine, file, cut, Counts(), lambda _: None)
    told: list[int] = []
    counts = Counts()
    await load(engine, file, partial(here, Preparer(engine)), counts, told.append)
    assert counts.numbers() == {"created": 8, "updated": 0, "unchanged": 0, "refused": 1}
    assert (told[0], sum(told)) == (6, 9), "six lines were done, one of them refused"
    assert await engine.store.list_records("load") == []


async def test_several_processes_give_the_same(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the file, whoever prepares."""
    monkeypatch.setattr(sources, "LINES", 50)
    lines = [patient(f"p{n % 300}", birthDate=f"{1900 + n // 300}") for n in range(1_200)]
    file = ndjson(tmp_path / "a.ndjson", *lines, {"resourceType": "Patient", "id": "bad", "active": 1})
    workers = Workers(2, partial(opening.opened_engine, settings_of(tmp_path)))
    workers.start()
    try:
        counts = Counts()
        await load(engine, file, workers.prepared, counts, lambda _: None)
    finally:
        workers.stop()
    assert counts.numbers() == {"created": 300, "updated": 900, "unchanged": 0, "refused": 1}
    assert await engine.store.count("Patient", Everything()) == 300
    assert {(await body(engine, "Patient", f"p{n}"))["birthDate"] for n in range(0, 300, 50)} == {"1903"}


async def test_a_process_that_ends_stops_the_load(engine: Engine, tmp_path: Path) -> None:
    workers = Workers(1, partial(opening.opened_engine, settings_of(tmp_path)))
    workers.start()
    try:
        (process,) = workers._processes
        process.kill()
        await asyncio.to_thread(process.join)
        with pytest.raises(Unavailable, match="loading process"):
            await load(
                engine,
                ndjson(tmp_path / "a.ndjson", patient("p")),
                workers.prepared,
                Counts(),
                lambda _: None,
            )
    finally:
        workers.stop()


async def test_reasons_are_bounded(engine: Engine, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "a.ndjson", *({"resourceType": "Patient"} for _ in range(9)))
    counts = await loaded(engine, file, Counts(most=3))
    assert (counts.refused, len(counts.reasons)) == (9, 3)


async def test_another_writer_during_a_load(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What someone else writes between reading and committing is seen, not overwritten blindly."""
    file = ndjson(tmp_path / "a.ndjson", patient("p", active=True), patient("q"))
    preparer = Preparer(engine)
    first: Callable[..., Any] = engine.store.read_many
    rounds: list[int] = []

    async def read_many(keys: Any) -> Any:
        found = await first(keys)
        if not rounds:
            await engine.store.commit(
                [await preparer.put(patient("p", gender="other"), await engine.store.read("Patient", "p"))]
            )
        rounds.append(1)
        return found

    await engine.store.commit([await preparer.put(patient("p"), None)])
    monkeypatch.setattr(engine.store, "read_many", read_many)
    counts = await loaded(engine, file)
    assert (counts.created, counts.updated, len(rounds)) == (1, 1, 2)
    assert (await body(engine, "Patient", "p"))["meta"]["versionId"] == "3"


@pytest.mark.parametrize(
    ("judging", "created"),
    [("all", ["sound"]), ("structure", ["rule", "sound"]), ("nothing", ["rule", "sound", "type"])],
)
async def test_how_much_is_judged(
    engine: Engine, tmp_path: Path, judging: Judging, created: list[str]
) -> None:
    """A wrong type; an invariant that does not hold (pat-1: a contact without any detail); nothing wrong."""
    file = ndjson(
        tmp_path / "a.ndjson",
        patient("type", active="yes"),
        patient("rule", contact=[{"gender": "male"}]),
        patient("sound"),
    )
    await loaded(replace(engine, judging=judging), file)
    found = await engine.store.search(Select("Patient", Everything(), (Sort("_id", "token"),)))
    assert [row.version.id for row in found] == created
