"""read, vread, create, update, delete, history over HTTP. FHIR R4 http.html"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.mongodb import ENGINES
from tests.rest.serving import BASE, Served

PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Martin"}], "active": True}


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


async def _created(client: httpx.AsyncClient, resource: dict[str, Any] = PATIENT) -> dict[str, Any]:
    response = await client.post(f"/{resource['resourceType']}", json=resource)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_create_answers_with_place_and_version(served: Served) -> None:
    """http.html#create"""
    response = await served.client().post("/Patient", json={**PATIENT, "id": "mine"})
    body = response.json()
    assert response.status_code == 201
    assert body["id"] != "mine"
    assert response.headers["location"] == f"{BASE}/Patient/{body['id']}/_history/1"
    assert response.headers["etag"] == 'W/"1"'
    assert "last-modified" in response.headers
    assert response.headers["content-type"].startswith("application/fhir+json")
    assert body["meta"]["versionId"] == "1"
    assert {key: body[key] for key in PATIENT} == PATIENT


async def test_read_gives_the_stored_bytes(served: Served) -> None:
    """http.html#read: the digits of a decimal stay."""
    client = served.client()
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":1.50,"unit":"mg"}}'
    )
    made = await client.post("/Observation", content=body, headers={"Content-Type": "application/fhir+json"})
    read = await client.get(f"/Observation/{made.json()['id']}")
    assert read.status_code == 200
    assert read.content == made.content
    assert b'"value":1.50' in read.content


@pytest.mark.parametrize(
    ("prefer", "type", "empty"),
    [
        ("return=minimal", None, True),
        ("return=representation", "Patient", False),
        ("return=OperationOutcome", "OperationOutcome", False),
        ("respond-async, return=minimal", None, True),
        ("return=nonsense", "Patient", False),
    ],
)
async def test_prefer_return(served: Served, prefer: str, type: str | None, empty: bool) -> None:
    """http.html#return"""
    response = await served.client().post("/Patient", json=PATIENT, headers={"Prefer": prefer})
    assert response.status_code == 201
    assert (response.content == b"") == empty
    if type:
        assert response.json()["resourceType"] == type


async def test_update_raises_the_version(served: Served) -> None:
    """http.html#update"""
    client = served.client()
    made = await _created(client)
    changed = await client.put(f"/Patient/{made['id']}", json={**made, "active": False})
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    assert (await client.get(f"/Patient/{made['id']}")).json()["active"] is False
    assert (await client.get(f"/Patient/{made['id']}/_history/1")).json() == made


async def test_update_creates_under_the_clients_id(served: Served) -> None:
    """http.html#upsert"""
    client = served.client()
    made = await client.put("/Patient/a.b-C3", json={**PATIENT, "id": "a.b-C3"})
    assert (made.status_code, made.headers["location"]) == (201, f"{BASE}/Patient/a.b-C3/_history/1")
    assert (await client.get("/Patient/a.b-C3")).status_code == 200


async def test_if_match(served: Served) -> None:
    """http.html#concurrency"""
    client = served.client()
    made = await _created(client)
    path = f"/Patient/{made['id']}"
    first = await client.put(path, json=made, headers={"If-Match": 'W/"1"'})
    stale = await client.put(path, json=made, headers={"If-Match": 'W/"1"'})
    unborn = await client.put("/Patient/new", json={**made, "id": "new"}, headers={"If-Match": 'W/"1"'})
    deleted = await client.delete(path, headers={"If-Match": 'W/"1"'})
    assert [r.status_code for r in (first, stale, unborn, deleted)] == [200, 412, 412, 412]
    assert (await client.get(path)).headers["etag"] == 'W/"2"'


async def test_delete_then_gone_then_back(served: Served) -> None:
    """http.html#delete: idempotent; the reader who sees all is told 410, and history keeps it."""
    client = served.client()
    path = f"/Patient/{(await _created(client))['id']}"
    statuses = [(await client.delete(path)).status_code for _ in range(2)]
    statuses += [(await client.get(path)).status_code, (await client.get(path + "/_history/2")).status_code]
    assert statuses == [204, 204, 410, 410]
    assert (await client.delete("/Patient/never")).status_code == 204
    again = await client.put(path, json={**PATIENT, "id": path.rpartition("/")[2]})
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"3"')
    history = (await client.get(path + "/_history")).json()
    assert [entry["request"]["method"] for entry in history["entry"]] == ["POST", "DELETE", "POST"]
    assert ["resource" in entry for entry in history["entry"]] == [True, False, True]


async def test_history_pages(served: Served) -> None:
    """http.html#history"""
    client = served.client()
    made = await _created(client)
    path = f"/Patient/{made['id']}"
    for _ in range(4):
        assert (await client.put(path, json=made)).status_code == 200
    seen, url = [], f"{path}/_history?_count=2"
    while url:
        page = (await client.get(url)).json()
        assert page["type"] == "history"
        assert page["total"] == 5
        seen += [entry["resource"]["meta"]["versionId"] for entry in page["entry"]]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert seen == ["5", "4", "3", "2", "1"]


async def test_conditional_read(served: Served) -> None:
    """http.html#cread"""
    client = served.client()
    made = await _created(client)
    path = f"/Patient/{made['id']}"
    modified = (await client.get(path)).headers["last-modified"]
    cases = [
        ({"If-None-Match": 'W/"1"'}, 304),
        ({"If-None-Match": 'W/"2", "1"'}, 304),
        ({"If-None-Match": 'W/"2"'}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 2015 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
    ]
    for headers, status in cases:
        response = await client.get(path, headers=headers)
        assert (headers, response.status_code) == (headers, status)
        assert bool(response.content) == (status == 200)


async def test_head_is_get_without_body(served: Served) -> None:
    client = served.client()
    made = await _created(client)
    get, head = [await client.request(m, f"/Patient/{made['id']}") for m in ("GET", "HEAD")]
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("_elements=active", {"resourceType", "id", "meta", "active"}),
        ("_summary=true", {"resourceType", "id", "meta", "active", "name"}),
        ("_summary=text", {"resourceType", "id", "meta", "text"}),
        ("_summary=data", {"resourceType", "id", "meta", "active", "name", "maritalStatus"}),
        ("_summary=false", {"resourceType", "id", "meta", "active", "name", "maritalStatus", "text"}),
    ],
)
async def test_parts_of_a_resource(served: Served, query: str, keys: set[str]) -> None:
    """search.html#summary, search.html#elements"""
    client = served.client()
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    made = await _created(client, {**PATIENT, "maritalStatus": {"text": "m"}, "text": text})
    part = (await client.get(f"/Patient/{made['id']}?{query}")).json()
    assert set(part) == keys
    tags = [tag["code"] for tag in part["meta"].get("tag", ())]
    assert tags == ([] if query == "_summary=false" else ["SUBSETTED"])


async def test_pretty(served: Served) -> None:
    client = served.client()
    made = await _created(client)
    plain, pretty = [await client.get(f"/Patient/{made['id']}{q}") for q in ("", "?_pretty=true")]
    assert plain.json() == pretty.json()
    assert b"\n" not in plain.content
    assert b"\n  " in pretty.content


async def test_concurrent_updates_one_wins(served: Served) -> None:
    """http.html#concurrency: exactly one with the same If-Match; without it every one gets in, in some
    order."""
    client = served.client()
    made = await _created(client)
    path = f"/Patient/{made['id']}"
    raced = await asyncio.gather(
        *(client.put(path, json=made, headers={"If-Match": 'W/"1"'}) for _ in range(8))
    )
    assert sorted(r.status_code for r in raced) == [200] + [412] * 7
    free = await asyncio.gather(*(client.put(path, json=made) for _ in range(3)))
    assert [r.status_code for r in free] == [200] * 3
    assert (await client.get(path)).headers["etag"] == 'W/"5"'
