"""batch and transaction over HTTP. FHIR R4 http.html#transaction"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from tests.rest.serving import ALL, BASE, Served

PATIENT: dict[str, Any] = {"resourceType": "Patient", "active": True}
P_URN, E_URN = (
    "urn:uuid:11111111-1111-4111-8111-111111111111",
    "urn:uuid:22222222-2222-4222-8222-222222222222",
)


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    request = {"method": method, "url": url}
    for name in ("ifMatch", "ifNoneExist"):
        if name in more:
            request[name] = more.pop(name)
    made: dict[str, Any] = {"request": request, **more}
    return {**made, "resource": resource} if resource is not None else made


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def encounter(subject: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": subject},
    }


def identified(value: str) -> dict[str, Any]:
    return {**PATIENT, "identifier": [{"system": "urn:x", "value": value}]}


async def post(served: Served, body: dict[str, Any], access: Access = ALL, **headers: str) -> Any:
    return await served.client(access).post(BASE, json=body, headers=headers)


def statuses(response: Any) -> list[str]:
    return [e["response"]["status"].split()[0] for e in response.json().get("entry", ())]


def slugs(response: Any) -> list[str]:
    return [issue["details"]["coding"][0]["code"] for issue in response.json()["issue"]]


async def count(served: Served, type: str) -> int:
    from fhir_server.search.nodes import Everything

    return await served.engine.store.count(type, Everything())


async def test_links_between_entries(served: Served) -> None:
    """http.html#trules: urn, forward reference, narrative, uri; a plain string is left alone."""
    text = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{P_URN}">x</a></div>',
    }
    visit = {**encounter(P_URN), "text": text, "identifier": [{"value": P_URN}]}
    response = await post(
        served,
        bundle(
            "transaction",
            entry("POST", "Encounter", visit, fullUrl=E_URN),
            entry("POST", "Patient", PATIENT, fullUrl=P_URN),
        ),
    )
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["type"] == "transaction-response"
    assert statuses(response) == ["201", "201"]
    locations = [
        e["response"]["location"].removeprefix(BASE + "/").split("/_history")[0] for e in body["entry"]
    ]
    stored = (await served.client().get("/" + locations[0])).json()
    assert stored["subject"]["reference"] == locations[1]
    assert locations[1] in stored["text"]["div"]
    assert stored["identifier"] == [{"value": P_URN}]
    assert [e["response"]["etag"] for e in body["entry"]] == ['W/"1"'] * 2


async def test_relative_references_resolve_against_full_url(served: Served) -> None:
    """bundle.html#references"""
    response = await post(
        served,
        bundle(
            "transaction",
            entry("POST", "Patient", PATIENT, fullUrl="https://other/fhir/Patient/7"),
            entry("POST", "Encounter", encounter("Patient/7"), fullUrl="https://other/fhir/Encounter/1"),
            entry("POST", "Encounter", encounter("https://other/fhir/Patient/7"), fullUrl=E_URN),
            entry("POST", "Encounter", encounter("https://third/fhir/Patient/7"), fullUrl=P_URN),
        ),
        Prefer="return=representation",
    )
    assert response.status_code == 200, response.text
    patient, *visits = [e["resource"] for e in response.json()["entry"]]
    subjects = [visit["subject"]["reference"] for visit in visits]
    assert subjects == [f"Patient/{patient['id']}"] * 2 + ["https://third/fhir/Patient/7"]


BAD = [
    ("unknown urn", [entry("POST", "Encounter", encounter(P_URN))], 400, "unresolved-reference"),
    ("same PUT twice", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})] * 2, 400, "duplicate-entry"),
    (
        "same fullUrl twice",
        [entry("POST", "Patient", PATIENT, fullUrl=P_URN)] * 2,
        400,
        "duplicate-full-url",
    ),
    ("no request", [{"resource": PATIENT}], 400, "no-request"),
    ("entry is no object", [7], 400, "no-request"),
    ("bad method", [entry("STEAL", "Patient", PATIENT)], 400, "bad-method"),
    ("no resource", [entry("POST", "Patient")], 400, "no-resource"),
    ("type differs", [entry("POST", "Encounter", PATIENT)], 400, "wrong-type"),
    ("unknown type", [entry("POST", "Patent", PATIENT)], 400, "unknown-type"),
    ("id differs", [entry("PUT", "Patient/b", {**PATIENT, "id": "a"})], 400, "wrong-id"),
    ("bad id", [entry("PUT", "Patient/b_c", PATIENT)], 400, "bad-id"),
    ("bad etag", [entry("PUT", "Patient/b", PATIENT, ifMatch="7")], 400, "bad-etag"),
    ("stale", [entry("PUT", "Patient/b", PATIENT, ifMatch='W/"7"')], 412, "stale-version"),
    ("patch that is none", [entry("PATCH", "Patient/b", PATIENT)], 400, "bad-patch"),
    ("neither id nor condition", [entry("PUT", "Patient", PATIENT)], 400, "bad-url"),
    ("id and condition", [entry("PUT", "Patient/a?identifier=7", PATIENT)], 400, "bad-url"),
    (
        "the same condition twice",
        [entry("PUT", "Patient?identifier=7", PATIENT), entry("DELETE", "Patient?identifier=7")],
        400,
        "duplicate-entry",
    ),
    ("url is a number", [{"request": {"method": "POST", "url": 7}, "resource": PATIENT}], 400, "bad-request"),
    ("operation", [entry("POST", "Patient/$x", PATIENT)], 501, "no-operation"),
]


@pytest.mark.parametrize(
    ("entries", "status", "slug"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
async def test_a_transaction_is_all_or_nothing(
    served: Served, entries: list[Any], status: int, slug: str
) -> None:
    """http.html#trules: with a good entry before and behind the bad one; the good ones alone do write."""
    good = [entry("POST", "Patient", PATIENT), entry("PUT", "Patient/good", PATIENT)]
    response = await post(served, bundle("transaction", good[0], *entries, good[1]))
    assert (response.status_code, slugs(response)[0]) == (status, slug), response.text
    assert await count(served, "Patient") == 0
    assert (await post(served, bundle("transaction", *good))).status_code == 200
    assert await count(served, "Patient") == 2


async def test_a_batch_goes_on(served: Served) -> None:
    """http.html#batch"""
    response = await post(
        served,
        bundle(
            "batch",
            entry("GET", "Patient/a"),
            entry("PUT", "Patient/a", PATIENT),
            entry("POST", "Encounter", PATIENT),
            entry("GET", "Patient/none"),
            entry("DELETE", "Patient/none"),
            entry("GET", "Patient/a/_history/1"),
            entry("GET", "Patient/a/_history"),
            entry("GET", "Patient/a/b/c"),
            entry("PATCH", "Patient/a", PATIENT),
        ),
    )
    assert response.status_code == 200
    assert statuses(response) == ["200", "201", "400", "404", "204", "200", "200", "400", "400"]
    entries = response.json()["entry"]
    assert response.json()["type"] == "batch-response"
    assert entries[0]["resource"]["id"] == "a"
    assert entries[3]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert entries[6]["resource"]["type"] == "history"


async def test_order_and_reads_after_writes(served: Served) -> None:
    """http.html#trules: DELETE, POST, PUT, GET whatever the order in the Bundle."""
    await post(
        served, bundle("transaction", entry("PUT", "Patient/a", PATIENT), entry("PUT", "Patient/b", PATIENT))
    )
    response = await post(
        served,
        bundle(
            "transaction",
            entry("GET", "Patient/a"),
            entry("PUT", "Patient/b", {**PATIENT, "active": False}, ifMatch='W/"1"'),
            entry("DELETE", "Patient/a"),
            entry("GET", "Patient/b"),
        ),
    )
    assert statuses(response) == ["410", "200", "204", "200"]
    assert response.json()["entry"][3]["resource"]["active"] is False


async def test_every_entry_is_checked_for_its_own_scope(served: Served) -> None:
    """SMART App Launch 2.2 scopes: batch and transaction"""
    reader = Access("Client/r", (Scope("Patient", "cruds"), Scope("Encounter", "r")), None)
    entries = [entry("POST", "Patient", PATIENT), entry("POST", "Encounter", encounter("Patient/x"))]
    assert (await post(served, bundle("transaction", *entries), reader)).status_code == 403
    assert await count(served, "Patient") == 0
    assert statuses(await post(served, bundle("batch", *entries), reader)) == ["201", "403"]


async def test_concurrent_transactions(served: Served) -> None:
    """With If-Match one wins and nothing of the others is there; without it all get in."""
    await post(served, bundle("transaction", entry("PUT", "Patient/a", PATIENT)))
    raced = [
        bundle(
            "transaction",
            entry("PUT", "Patient/a", PATIENT, ifMatch='W/"1"'),
            entry("POST", "Patient", PATIENT),
        )
    ] * 6
    answers = await asyncio.gather(*(post(served, body) for body in raced))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
    assert await count(served, "Patient") == 2
    free = [bundle("transaction", entry("PUT", "Patient/a", PATIENT), entry("POST", "Patient", PATIENT))] * 3
    answers = await asyncio.gather(*(post(served, body) for body in free))
    assert [answer.status_code for answer in answers] == [200] * 3
    assert await count(served, "Patient") == 5


async def test_large(served: Served) -> None:
    """No small limit on entries."""
    entries = [entry("POST", "Patient", PATIENT) for _ in range(2000)]
    response = await post(served, bundle("transaction", *entries))
    assert response.status_code == 200
    assert statuses(response) == ["201"] * 2000
    assert await count(served, "Patient") == 2000


async def test_if_none_exist_and_conditional_references(served: Served) -> None:
    """http.html#ccreate, http.html#trules"""
    body = bundle(
        "transaction",
        entry("POST", "Patient", identified("1"), fullUrl=P_URN, ifNoneExist="identifier=urn:x|1"),
        entry("POST", "Patient", identified("1"), fullUrl=E_URN, ifNoneExist="identifier=urn:x|1"),
        entry("POST", "Encounter", encounter(P_URN)),
        entry("POST", "Encounter", encounter(E_URN)),
    )
    first = await post(served, body, Prefer="return=representation")
    second = await post(served, body, Prefer="return=representation")
    assert (statuses(first), statuses(second)) == (["201", "200", "201", "201"], ["200", "200", "201", "201"])
    ids = {e["resource"]["id"] for r in (first, second) for e in r.json()["entry"][:2]}
    subjects = {e["resource"]["subject"]["reference"] for r in (first, second) for e in r.json()["entry"][2:]}
    assert len(ids) == 1
    assert subjects == {f"Patient/{next(iter(ids))}"}
    linked = bundle("transaction", entry("POST", "Encounter", encounter("Patient?identifier=urn:x|1")))
    answer = await post(served, linked, Prefer="return=representation")
    assert answer.json()["entry"][0]["resource"]["subject"]["reference"] in subjects


async def test_conditions_that_match_none_or_several(served: Served) -> None:
    for _ in range(2):
        assert (await served.client().post("/Patient", json=identified("2"))).status_code == 201
    encounters = [
        entry("POST", "Encounter", encounter(f"Patient?identifier=urn:x|{n}")) for n in ("none", "2")
    ]
    for one, slug in zip(encounters, ("conditional-reference", "several-match"), strict=True):
        response = await post(served, bundle("transaction", entry("POST", "Patient", PATIENT), one))
        assert (response.status_code, slugs(response)) == (412, [slug])
        assert response.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.subject"]
    several = entry("POST", "Patient", PATIENT, ifNoneExist="identifier=urn:x|2")
    assert (await post(served, bundle("transaction", several))).status_code == 412
    assert (await count(served, "Patient"), await count(served, "Encounter")) == (2, 0)


async def test_invalid_resources_are_named_all(served: Served) -> None:
    bad = [
        entry("POST", "Patient", {**PATIENT, "active": "yes"}),
        entry("POST", "Patient", {**PATIENT, "x": 1}),
    ]
    response = await post(served, bundle("transaction", entry("POST", "Patient", PATIENT), *bad))
    assert response.status_code == 422
    places = {place for issue in response.json()["issue"] for place in issue.get("expression", ())}
    assert {p for p in places if p.startswith("Bundle.entry[1].resource")}
    assert {p for p in places if p.startswith("Bundle.entry[2].resource")}
    assert not {p for p in places if p.startswith("Bundle.entry[0]")}
    assert await count(served, "Patient") == 0
