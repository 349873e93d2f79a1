"""`$meta`, `$meta-add`, `$meta-delete`, `$versions`. FHIR R4 resource-operations.html"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.store.contract import Store
from tests.rest.serving import Served, make_engine, serve
from tests.rest.test_bundle import slugs

A, B, C = ({"system": "urn:x", "code": code} for code in "abc")


@pytest.fixture
def served(tmp_path: Path, store: Store) -> Served:
    return serve(make_engine(tmp_path, store, operations=Operations(STANDARD)))


def parameters(**labels: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": labels}]}


def returned(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    (one,) = response.json()["parameter"]
    assert one["name"] == "return"
    value: dict[str, Any] = one["valueMeta"]
    return value


NAMES: dict[str, Any] = {"Patient": [{"family": "Fictif"}], "Organization": "Fictive"}


async def put(served: Served, type: str, id: str, **labels: Any) -> None:
    body = {"resourceType": type, "id": id, "name": NAMES[type], **({"meta": labels} if labels else {})}
    assert (await served.client().put(f"/{type}/{id}", json=body)).status_code == 201


async def test_of_one_of_a_type_of_everything(served: Served) -> None:
    await put(served, "Patient", "p", tag=[A, B], profile=["http://p"])
    await put(served, "Patient", "q", tag=[B], security=[{"code": "R"}])
    await put(served, "Organization", "o", tag=[C])
    client = served.client()
    assert returned(await client.get("/Patient/p/$meta")) == {"tag": [A, B], "profile": ["http://p"]}
    assert returned(await client.get("/Patient/$meta")) == {
        "profile": ["http://p"],
        "security": [{"code": "R"}],
        "tag": [A, B],
    }
    assert returned(await client.get("/$meta"))["tag"] == [A, B, C]
    assert returned(await client.get("/Group/$meta")) == {}
    assert (await client.get("/Patient/none/$meta")).status_code == 404


async def test_add_and_delete(served: Served) -> None:
    await put(served, "Patient", "p", tag=[{**A, "display": "kept"}], source="urn:s")
    client = served.client()
    added = await client.post("/Patient/p/$meta-add", json=parameters(tag=[{**A, "display": "x"}, B]))
    assert returned(added) == {"tag": [{**A, "display": "kept"}, B]}
    read = (await client.get("/Patient/p")).json()["meta"]
    assert (read["versionId"], read["source"], len(read["tag"])) == ("2", "urn:s", 2)
    assert (await client.get("/Patient?_tag=urn:x|b")).json()["total"] == 1
    same = await client.post("/Patient/p/$meta-add", json=parameters(tag=[B]))
    assert len(returned(same)["tag"]) == 2
    assert (await client.get("/Patient/p")).json()["meta"]["versionId"] == "2", "nothing to change"
    less = await client.post("/Patient/p/$meta-delete", json=parameters(tag=[A, C]))
    assert returned(less) == {"tag": [B]}
    assert (await client.get("/Patient?_tag=urn:x|a")).json()["total"] == 0


async def test_simultaneous_additions_all_stay(served: Served) -> None:
    await put(served, "Patient", "p")
    client = served.client()
    asked = [{"system": "urn:x", "code": str(n)} for n in range(4)]
    answers = await asyncio.gather(
        *(client.post("/Patient/p/$meta-add", json=parameters(tag=[tag])) for tag in asked)
    )
    assert {each.status_code for each in answers} == {200}
    there = returned(await client.get("/Patient/p/$meta"))["tag"]
    assert sorted(each["code"] for each in there) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"resourceType": "Parameters"}, 400, "no-meta"),
        ({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": 7}]}, 400, "no-meta"),
        (parameters(tag="x"), 400, "no-meta"),
        (parameters(tag=[{"code": 7}]), 422, "bad-format"),
    ],
    ids=["none", "no object", "no list", "invalid label"],
)
async def test_refused(served: Served, body: dict[str, Any], status: int, slug: str) -> None:
    await put(served, "Patient", "p")
    response = await served.client().post("/Patient/p/$meta-add", json=body)
    assert (response.status_code, slugs(response)) == (status, [slug])
    assert (await served.client().get("/Patient/p")).json()["meta"]["versionId"] == "1"


async def test_labels_in_use_are_for_who_sees_all(served: Served) -> None:
    await put(served, "Patient", "p", tag=[A])
    part = Access("Practitioner/1", (Scope("*", "cruds"),), frozenset({"Organization/1"}))
    some = Access("Client/some", (Scope("Patient", "rs"),), None)
    for access, path in (
        (part, "/Patient/$meta"),
        (part, "/$meta"),
        (some, "/$meta"),
        (some, "/Group/$meta"),
    ):
        response = await served.client(access).get(path)
        assert (response.status_code, slugs(response)) == (403, ["partial-view"])
    assert (await served.client(part).get("/Patient/p/$meta")).status_code == 404
    assert returned(await served.client(some).get("/Patient/$meta")) == {"tag": [A]}
    refused = await served.client(some).post("/Patient/p/$meta-add", json=parameters(tag=[B]))
    assert (refused.status_code, slugs(refused)) == (403, ["scope"])


async def test_versions(served: Served) -> None:
    found = (await served.client().get("/$versions")).json()
    assert [(p["name"], p["valueString"]) for p in found["parameter"]] == [
        ("version", "4.0"),
        ("default", "4.0"),
    ]
