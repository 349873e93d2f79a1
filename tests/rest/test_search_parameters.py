"""Search parameters of one's own: written, indexed in the background, searched by.

FHIR R4 searchparameter.html
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server import packages
from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.conformance import reindex
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.jobs.runner import Runner
from fhir_server.store.contract import Store
from profiles.outcomes import SchemaMismatch
from tests.commands.test_package import tgz
from tests.rest.serving import Served, make_engine
from tests.rest.test_bundle import slugs

NICK = "urn:test:nickname"
OWN: dict[str, Any] = {
    "resourceType": "SearchParameter",
    "id": "own",
    "url": "https://example.org/SearchParameter/nickname",
    "name": "nickname",
    "status": "active",
    "description": "A nickname",
    "code": "nickname",
    "base": ["Patient"],
    "type": "string",
    "expression": f"Patient.extension('{NICK}').value.ofType(string)",
}


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "GRACE", 0.0)
    monkeypatch.setattr(reindex, "BATCH", 3)


def patient(id: str, nickname: str, **more: Any) -> dict[str, Any]:
    extension = [{"url": NICK, "valueString": nickname}]
    return {"resourceType": "Patient", "id": id, "extension": extension, **more}


async def work(engine: Engine) -> None:
    """Every job that waits, as a serving process does them."""
    await Runner(engine, {"reindex": reindex.work}).once()


async def found(served: Served, query: str) -> set[str] | str:
    """The ids, or the slug of the refusal."""
    response = await served.client().get(f"/{query}")
    if response.status_code != 200:
        assert response.status_code == 400
        (slug,) = slugs(response)
        return str(slug)
    return {entry["resource"]["id"] for entry in response.json().get("entry", [])}


async def promised(served: Served, code: str) -> list[str]:
    """The definitions that the CapabilityStatement names for a parameter of Patient."""
    (rest,) = (await served.client().get("/metadata")).json()["rest"]
    (patient,) = [each for each in rest["resource"] if each["type"] == "Patient"]
    return [each["definition"] for each in patient["searchParam"] if each["name"] == code]


async def test_from_writing_it_to_searching_by_it(served: Served) -> None:
    fhir = served.system
    for number in range(8):
        await fhir.update(patient(f"p{number}", "Zouzou" if number % 2 else "Lulu"))
    await fhir.update(OWN)
    assert await found(served, "Patient?nickname=zou") == "parameter-not-ready"
    assert await promised(served, "nickname") == []
    lenient = await served.client().get("/Patient?nickname=zou", headers={"Prefer": "handling=lenient"})
    assert lenient.status_code == 200
    assert [
        i["details"]["coding"][0]["code"]
        for e in lenient.json()["entry"]
        if e["search"]["mode"] == "outcome"
        for i in e["resource"]["issue"]
    ] == ["parameter-not-ready"]
    await fhir.update(patient("late", "Zouave"))
    await work(served.engine)
    assert await found(served, "Patient?nickname=zou") == {"p1", "p3", "p5", "p7", "late"}
    assert await promised(served, "nickname") == [OWN["url"]]
    assert await found(served, "Patient?nickname:exact=Lulu") == {"p0", "p2", "p4", "p6"}
    assert await found(served, "Patient?nickname:missing=true") == set()
    await fhir.update(patient("p1", "Autre"))
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    await fhir.create({**observation, "subject": {"reference": "Patient/p3"}})
    assert await found(served, "Patient?nickname=zou&_sort=-nickname&_count=2") == {"p5", "p7"}
    chained = await served.client().get("/Observation?patient.nickname=zou")
    assert len(chained.json()["entry"]) == 1


TOKEN = {**OWN, "type": "token", "expression": "Patient.name.use", "code": "name-use"}


PATIENT = {"resourceType": "Patient"}
GRAM = {"value": 1, "system": "http://unitsofmeasure.org", "code": "g"}
PARTS = [
    {"definition": f"http://hl7.org/fhir/SearchParameter/individual-{part}", "expression": part}
    for part in ("given", "family")
]


def own(type: str, code: str, expression: str, **more: Any) -> dict[str, Any]:
    return {**OWN, "type": type, "code": code, "expression": expression, **more}


@pytest.mark.parametrize(
    ("parameter", "resources", "query"),
    [
        (own("token", "name-use", "Patient.name.use"), [{"name": [{"use": "usual"}]}], "name-use=usual"),
        (
            own("reference", "linked", "Patient.link.other", target=["Patient"]),
            [{"link": [{"other": {"reference": "Patient/1"}, "type": "seealso"}]}, {}],
            "linked=1",
        ),
        (
            own("date", "identified", "Patient.identifier.period"),
            [{"identifier": [{"value": "1", "period": {"start": "2020"}}]}, {}],
            "identified=gt2019",
        ),
        (
            own("number", "rank", "Patient.multipleBirth.ofType(integer)"),
            [{"multipleBirthInteger": 2}, {"multipleBirthInteger": 1}],
            "rank=gt1",
        ),
        (
            own("uri", "identifier-system", "Patient.identifier.system"),
            [{"identifier": [{"system": "urn:a", "value": "1"}]}, {"identifier": [{"system": "urn:b"}]}],
            "identifier-system=urn:a",
        ),
        (
            own("quantity", "dose", "Patient.extension.value.ofType(Quantity)"),
            [{"extension": [{"url": "urn:dose", "valueQuantity": GRAM}]}, {}],
            "dose=1000|http://unitsofmeasure.org|mg",
        ),
        (
            own("composite", "given-family", "Patient.name", component=PARTS),
            [
                {"name": [{"given": ["A"], "family": "D"}]},
                {"name": [{"given": ["A"], "family": "B"}, {"given": ["C"], "family": "D"}]},
            ],
            "given-family=a$d",
        ),
        (
            own("token", "spoken", "Resource.language", base=["Resource"]),
            [{"language": "fr"}, {"language": "en"}],
            "spoken=fr",
        ),
    ],
)
async def test_every_type_of_parameter(
    served: Served, parameter: dict[str, Any], resources: list[dict[str, Any]], query: str
) -> None:
    """The first of the resources is found, and no other."""
    for place, resource in enumerate(resources):
        await served.system.update({**PATIENT, **resource, "id": str(place)})
    await served.system.update(parameter)
    await work(served.engine)
    assert await found(served, f"Patient?{query}") == {"0"}


UNKNOWN = [{"definition": "urn:x", "expression": "given"}]


@pytest.mark.parametrize(
    ("change", "place", "told"),
    [
        ({"expression": "Patient.("}, "expression", ""),
        ({"expression": "Patient.nmae"}, "expression", "nmae"),
        ({"expression": "Patient.name.given.frst()"}, "expression", "frst"),
        ({"code": "nick name"}, "code", "letters"),
        ({"code": "nick.name"}, "code", "letters"),
        ({"url": "urn:" + "x" * 1000}, "url", "1000"),
        ({"code": "nick:name"}, "code", "letters"),
        ({"type": "composite", "component": []}, "", ""),
        ({"type": "composite", "component": UNKNOWN}, "component[0].definition", "standard"),
        ({"base": ["Patent"]}, "base[0]", ""),
        ({"type": "text"}, "type", ""),
    ],
)  # fmt: skip
async def test_what_cannot_work_is_refused(
    served: Served, change: dict[str, Any], place: str, told: str
) -> None:
    response = await served.client().put("/SearchParameter/own", json={**OWN, **change})
    assert response.status_code == 422, response.text
    issues = response.json()["issue"]
    assert any(told in issue["diagnostics"] and place in issue.get("expression", [""])[0] for issue in issues)
    assert await found(served, "Patient?nickname=x") == "unknown-parameter"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "retired"},
        {"expression": None},
        {"type": "special"},
        {"code": "family"},
        {"expression": "DocumentReference.extension('urn:x')"},
    ],
)
async def test_what_is_kept_without_effect(served: Served, change: dict[str, Any]) -> None:
    resource = {key: value for key, value in {**OWN, **change}.items() if value is not None}
    assert (await served.client().put("/SearchParameter/own", json=resource)).status_code == 201
    await work(served.engine)
    await served.system.update(patient("p", "Zouzou", name=[{"family": "Fictif"}]))
    assert await found(served, "Patient?nickname=zouzou") in ("unknown-parameter", set())
    assert await found(served, "Patient?family=fictif") == {"p"}


async def test_a_changed_or_removed_parameter(served: Served) -> None:
    fhir = served.system
    await fhir.update(patient("a", "Zouzou", name=[{"given": ["Léa"]}]))
    await fhir.update(OWN)
    await work(served.engine)
    await fhir.update({**OWN, "expression": "Patient.name.given"})
    assert await found(served, "Patient?nickname=lea") == "parameter-not-ready"
    await work(served.engine)
    assert await found(served, "Patient?nickname=lea") == {"a"}
    assert await found(served, "Patient?nickname=zou") == set()
    await fhir.delete("SearchParameter", "own")
    assert await found(served, "Patient?nickname=lea") == "unknown-parameter"
    await fhir.update(patient("b", "Zozo", name=[{"given": ["Léo"]}]))
    await fhir.update({**OWN, "expression": "Patient.name.given"})
    await work(served.engine)
    assert await found(served, "Patient?nickname=le") == {"a", "b"}


async def test_two_with_one_code_and_one_with_a_url_of_another(served: Served) -> None:
    fhir = served.system
    await fhir.update(patient("a", "Zouzou", name=[{"given": ["Léa"]}]))
    await fhir.update(OWN)
    await fhir.update(
        {
            **OWN,
            "id": "other",
            "url": "https://example.org/SearchParameter/z",
            "expression": "Patient.name.given",
        }
    )
    await work(served.engine)
    assert await found(served, "Patient?nickname=zou") == {"a"}
    assert await found(served, "Patient?nickname=lea") == set()


async def test_it_goes_on_where_it_stopped(served: Served) -> None:
    for number in range(8):
        await served.system.update(patient(f"p{number}", "Zouzou"))
    await served.system.update(OWN)
    steps: list[str] = []

    async def stop(text: str) -> None:
        steps.append(text)
        if len(steps) == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await reindex.catch_up(served.engine, stop)
    await reindex.catch_up(served.engine, stop)
    assert steps == [f"nickname: {done} resources, now Patient" for done in (3, 6, 8)]
    assert await found(served, "Patient?nickname=zouzou") == {f"p{number}" for number in range(8)}


async def test_an_expression_that_never_ends_harms_no_write(served: Served) -> None:
    endless = "Patient.repeat(name | $this | contact).repeat($this | name).repeat(given | $this).where(true)"
    await served.system.update({**OWN, "expression": endless})
    await served.system.update(patient("a", "Zouzou", name=[{"given": ["x"] * 50}] * 200))
    await work(served.engine)
    assert await found(served, "Patient?_id=a") == {"a"}


async def test_a_parameter_of_a_package(tmp_path: Path, store: Store) -> None:
    manifest = {"name": "example.own", "version": "1.0.0", "fhirVersions": ["4.0.1"]}
    parameter = {key: value for key, value in OWN.items() if key != "id"}
    file = tgz(tmp_path / "own.tgz", {"package/package.json": manifest, "package/p.json": parameter})
    engine = make_engine(tmp_path, store)
    engine = replace(engine, settings=replace(engine.settings, packages=str(tmp_path / "packages")))
    packages.install(engine.settings.packages_path, file)
    fhir = Fhir(engine, SYSTEM)
    await fhir.update(patient("a", "Zouzou"))
    await reindex.submit(engine)
    await work(engine)
    assert [one["id"] for one in await fhir.search("Patient", [("nickname", "zou")])] == ["a"]


# the operations


async def test_reindex_and_its_status(served: Served) -> None:
    client = served.client()
    await served.system.update(patient("a", "Zouzou"))
    await served.system.update(OWN)

    async def status() -> dict[str, Any]:
        response = await client.get("/SearchParameter/own/$reindex-status")
        assert response.status_code == 200
        (row,) = response.json()["parameter"]
        return {part["name"]: next(v for k, v in part.items() if k != "name") for part in row["part"]}

    assert (await status())["state"] == "waiting"
    await work(served.engine)
    assert await status() == {
        "url": OWN["url"],
        "code": "nickname",
        "type": "Patient",
        "state": "ready",
        "done": 1,
    }
    again = await client.post("/SearchParameter/own/$reindex")
    assert again.status_code == 202
    assert again.headers["Content-Location"].startswith("http://test/fhir/_job/")
    assert await found(served, "Patient?nickname=zou") == "parameter-not-ready"
    await work(served.engine)
    assert await found(served, "Patient?nickname=zou") == {"a"}
    assert (await client.post("/SearchParameter/$reindex")).status_code == 202


async def test_a_url_of_any_letters_breaks_no_header(served: Served) -> None:
    client = served.client()
    await served.system.update(patient("a", "Zouzou"))
    await served.system.update({**OWN, "url": "urn:téléexpertise:\u2028→"})
    again = await client.post("/SearchParameter/own/$reindex")
    await work(served.engine)
    done = await client.get(again.headers["Content-Location"])
    assert (done.status_code, done.json()["parameters"]) == (200, 0)
    assert await found(served, "Patient?nickname=zou") == {"a"}


async def test_who_may_not_reindex(served: Served) -> None:
    await served.system.update(OWN)
    reader = served.client(Access("Practitioner/p", (Scope("*", "cruds"),), frozenset({"Practitioner/p"})))
    for address in ("/SearchParameter/own/$reindex", "/SearchParameter/$reindex"):
        assert (await reader.post(address)).status_code == 403
    assert (await reader.get("/SearchParameter/$reindex-status")).status_code == 403
    weak = served.client(Access("Client/x", (Scope("SearchParameter", "r"),), None))
    assert (await weak.post("/SearchParameter/$reindex")).status_code == 403
    await served.system.update({**OWN, "status": "retired"})
    refused = await served.client().post("/SearchParameter/own/$reindex")
    assert (refused.status_code, slugs(refused)) == (409, ["no-effect"])


# the version of the index


async def test_an_index_of_another_version_is_refused_until_all_is_done(served: Served) -> None:
    store, engine = served.engine.store, served.engine
    await reindex.check_version(store)
    await reindex.check_version(store)
    await served.system.update(patient("a", "x", name=[{"family": "Fictif"}]))
    await store.put_record("index", "version", {"version": 0})
    with pytest.raises(SchemaMismatch, match="reindex --all"):
        await reindex.check_version(store)
    await reindex.run(engine, reindex.Target.everything(), _quiet)
    await reindex.check_version(store)
    assert await found(served, "Patient?family=fictif") == {"a"}
    assert json.dumps(await store.get_record("reindex", "*")).count("ready") == 1


async def _quiet(_text: str) -> None:
    return None
