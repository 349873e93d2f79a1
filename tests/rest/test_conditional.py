"""Conditional create, update, delete and read. FHIR R4 http.html#ccreate, #cond-update, #cdelete, #cread"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from tests.mongodb import ENGINES, TRANSACTIONAL
from tests.rest.serving import Served
from tests.rest.test_bundle import bundle, entry, identified, post, slugs, statuses

ONE, TWO = "/Patient?identifier=urn:x|1", "/Patient?identifier=urn:x|2"


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


async def _patients(served: Served, *values: str) -> list[str]:
    made = [await served.client().post("/Patient", json=identified(value)) for value in values]
    assert [each.status_code for each in made] == [201] * len(values)
    return [each.json()["id"] for each in made]


async def test_update_of_what_matches(served: Served) -> None:
    client = served.client()
    first = await client.put(ONE, json=identified("1"))
    assert (first.status_code, first.json()["meta"]["versionId"]) == (201, "1")
    again = await client.put(ONE, json={**identified("1"), "active": False})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.json()["meta"]["versionId"] == "2"
    assert again.headers["content-location"].endswith(f"/Patient/{first.json()['id']}/_history/2")
    same = await client.put(ONE, json={**identified("1"), "id": first.json()["id"]})
    assert same.json()["meta"]["versionId"] == "3"
    named = await client.put(TWO, json={**identified("2"), "id": "chosen"})
    assert (named.status_code, named.json()["id"]) == (201, "chosen")


REFUSED: list[tuple[str, str, str, dict[str, str], dict[str, Any] | None, int, str]] = [
    ("no match, id taken", "PUT", "/Patient?identifier=urn:x|9", {}, {"id": "taken"}, 409, "id-taken"),
    ("match, other id", "PUT", ONE, {}, {"id": "other"}, 400, "wrong-id"),
    ("id that is none", "PUT", ONE, {}, {"id": "a b"}, 400, "bad-id"),
    ("several match, update", "PUT", TWO, {}, {}, 412, "several-match"),
    ("several match, delete", "DELETE", TWO, {}, None, 412, "several-match"),
    (
        "several match, create",
        "POST",
        "/Patient",
        {"If-None-Exist": "identifier=urn:x|2"},
        {},
        412,
        "several-match",
    ),
    ("no condition", "PUT", "/Patient", {}, {}, 400, "no-condition"),
    ("no condition, delete", "DELETE", "/Patient?_format=json", {}, None, 400, "no-condition"),
    ("condition that narrows nothing", "DELETE", "/Patient?_count=1", {}, None, 412, "empty-condition"),
    ("blank condition", "DELETE", "/Patient?identifier=", {}, None, 412, "empty-condition"),
    ("unknown parameter", "DELETE", "/Patient?identifer=urn:x|1", {}, None, 400, "unknown-parameter"),
    ("id and condition", "PUT", "/Patient/taken?identifier=1", {}, {"id": "taken"}, 400, "id-and-condition"),
    ("If-Match, another version", "PUT", ONE, {"If-Match": 'W/"7"'}, {}, 412, "stale-version"),
    (
        "If-Match, no match",
        "PUT",
        "/Patient?identifier=urn:x|9",
        {"If-Match": 'W/"1"'},
        {},
        412,
        "stale-version",
    ),
    ("If-Match *, nothing", "PUT", "/Patient/none", {"If-Match": "*"}, {"id": "none"}, 412, "stale-version"),
    (
        "If-None-Match *",
        "PUT",
        "/Patient/taken",
        {"If-None-Match": "*"},
        {"id": "taken"},
        412,
        "already-there",
    ),
    (
        "If-None-Match of a write",
        "PUT",
        "/Patient/taken",
        {"If-None-Match": '"1"'},
        {"id": "taken"},
        400,
        "bad-etag",
    ),
]


@pytest.mark.parametrize(
    ("method", "url", "headers", "more", "status", "slug"),
    [r[1:] for r in REFUSED],
    ids=[r[0] for r in REFUSED],
)
async def test_refused(
    served: Served,
    method: str,
    url: str,
    headers: dict[str, str],
    more: dict[str, Any] | None,
    status: int,
    slug: str,
) -> None:
    await _patients(served, "1", "2", "2")
    client = served.client()
    assert (await client.put("/Patient/taken", json={**identified("3"), "id": "taken"})).status_code == 201
    before = (await client.get("/Patient?_summary=count")).json()["total"]
    body = {} if more is None else {"json": {**identified("1"), **more}}
    response = await client.request(method, url, headers=headers, **body)
    assert (response.status_code, slugs(response)) == (status, [slug])
    assert (await client.get("/_history?_count=0")).status_code == 200
    assert (await client.get("/Patient?_summary=count")).json()["total"] == before
    history = (await client.get("/Patient/_history?_count=100")).json()
    assert len(history["entry"]) == before, "nothing was written"


async def test_delete_of_what_matches(served: Served) -> None:
    client = served.client()
    (id,) = await _patients(served, "1")
    assert (await client.request("DELETE", ONE, headers={"If-Match": 'W/"2"'})).status_code == 412
    gone = await client.delete(ONE)
    assert (gone.status_code, gone.headers["etag"]) == (204, 'W/"2"')
    assert (await client.get(f"/Patient/{id}")).status_code == 410
    again = await client.delete(ONE)
    assert (again.status_code, "etag" in again.headers) == (204, False)


@pytest.mark.parametrize("how", ["create", "update", "transaction"])
async def test_of_simultaneous_requests_one_creates(served: Served, how: str) -> None:
    """A condition is no lock to the client, but two of us must not both find nothing."""
    client = served.client()

    async def ask(n: int) -> str:
        body = {**identified("1"), "gender": "other" if n % 2 else "unknown"}
        if how == "create":
            response = await client.post(
                "/Patient", json=body, headers={"If-None-Exist": "identifier=urn:x|1"}
            )
            return str(response.status_code)
        if how == "update":
            return str((await client.put(ONE, json=body)).status_code)
        one = entry("POST", "Patient", body, ifNoneExist="identifier=urn:x|1")
        return statuses(await post(served, bundle("transaction", one)))[0]

    answers = await asyncio.gather(*(ask(n) for n in range(16)))
    assert sorted(set(answers)) in (["200", "201"], ["200", "201", "409"])
    assert answers.count("201") == 1
    assert (await client.get(ONE)).json()["total"] == 1


@pytest.mark.parametrize("engine_name", TRANSACTIONAL)
async def test_in_a_transaction(served: Served) -> None:
    """Matched, created and deleted by condition in one commit; fullUrls lead to what matched."""
    one, two, _ = await _patients(served, "1", "3", "4")
    urn = "urn:uuid:33333333-3333-4333-8333-333333333333"
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": urn},
    }
    sent = bundle(
        "transaction",
        entry("PUT", "Patient?identifier=urn:x|1", {**identified("1"), "active": False}, fullUrl=urn),
        entry("PUT", "Patient?identifier=urn:x|2", identified("2")),
        entry("DELETE", "Patient?identifier=urn:x|3"),
        entry("DELETE", "Patient?identifier=urn:x|9"),
        entry("POST", "Encounter", encounter),
    )
    response = await post(served, sent)
    assert statuses(response) == ["200", "201", "204", "204", "201"]
    found = (await served.client().get("/Encounter")).json()["entry"][0]["resource"]
    assert found["subject"]["reference"] == f"Patient/{one}"
    assert (await served.client().get(f"/Patient/{two}")).status_code == 410
    assert (await served.client().get(f"/Patient/{one}")).json()["active"] is False


@pytest.mark.parametrize("engine_name", TRANSACTIONAL)
async def test_a_resource_found_by_id_and_by_condition_is_written_once(served: Served) -> None:
    (id,) = await _patients(served, "1")
    both = bundle(
        "transaction",
        entry("PUT", f"Patient/{id}", {**identified("1"), "id": id}),
        entry("DELETE", "Patient?identifier=urn:x|1"),
    )
    response = await post(served, both)
    assert (response.status_code, slugs(response)) == (400, ["duplicate-entry"])


async def test_in_a_batch(served: Served) -> None:
    """Conditional writes, and reads with ifNoneMatch and ifModifiedSince."""
    (id,) = await _patients(served, "1")
    at = (await served.client().get(f"/Patient/{id}")).json()["meta"]["lastUpdated"]
    reads = [entry("GET", f"Patient/{id}") for _ in range(4)]
    reads[1]["request"]["ifNoneMatch"] = 'W/"1"'
    reads[2]["request"]["ifNoneMatch"] = 'W/"9"'
    reads[3]["request"]["ifModifiedSince"] = at
    response = await post(served, bundle("batch", *reads))
    assert statuses(response) == ["200", "304", "200", "304"]
    assert [("resource" in e) for e in response.json()["entry"]] == [True, False, True, False]
    writes = [
        entry("PUT", "Patient?identifier=urn:x|1", {**identified("1"), "active": False}),
        entry("DELETE", "Patient?identifier=urn:x|2"),
        entry("POST", "Patient", identified("5"), ifNoneExist="identifier=urn:x|5"),
    ]
    assert statuses(await post(served, bundle("batch", *writes))) == ["200", "204", "201"]


async def test_a_condition_needs_the_right_to_search(served: Served) -> None:
    """What one may not search must not be found out by a condition."""
    await _patients(served, "1")
    writer = served.client(Access("Client/writer", (Scope("Patient", "crud"),), None))
    answers = [
        await writer.put(ONE, json=identified("1")),
        await writer.delete(ONE),
        await writer.post("/Patient", json=identified("1"), headers={"If-None-Exist": "identifier=urn:x|1"}),
    ]
    assert [(each.status_code, slugs(each)) for each in answers] == [(403, ["scope"])] * 3
