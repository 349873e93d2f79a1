"""Two readers, each with an audience, and one who sees all: nothing of the others' by any way, with counts.

Every way is asked by the three readers over the same records: mine, theirs, and both for the positive
control.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.access import Access, Scope
from tests.mongodb import SLOWLY
from tests.rest.serving import ALL, BASE, Served

RS = (Scope("*", "rs"),)
MINE = Access("Practitioner/p1", RS, frozenset({"Practitioner/p1", "Organization/o1"}))
THEIRS = Access("Practitioner/p2", RS, frozenset({"Practitioner/p2", "Organization/o2"}))
NOBODY = Access("Practitioner/p3", RS, frozenset({"Practitioner/p3"}))
AUDIENCE = "https://teledossier.example/fhir/StructureDefinition/audience"
NUMBER = {"m": 3, "t": 2}  # télédossiers of each side


@pytest.fixture(params=SLOWLY)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


def _ref(to: str) -> dict[str, str]:
    return {"reference": to}


def _records(side: str, org: str, n: int) -> list[dict[str, Any]]:
    """One télédossier with what hangs on it; ids `<side><n>`."""
    key, request = f"{side}{n}", _ref(f"ServiceRequest/{side}{n}")
    patient = _ref(f"Patient/{key}")
    code = {"coding": [{"system": "http://loinc.org", "code": "85208-7"}]}
    return [
        {"resourceType": "Patient", "id": key, "name": [{"family": "Durand"}], "birthDate": "1950-01-01"},
        {
            "resourceType": "ServiceRequest",
            "id": key,
            "status": "active",
            "intent": "order",
            "subject": patient,
            "encounter": _ref(f"Encounter/{key}"),
            "extension": [{"url": AUDIENCE, "valueReference": _ref(org)}],
        },
        {
            "resourceType": "Encounter",
            "id": key,
            "status": "finished",
            "class": {"code": "EMER"},
            "subject": patient,
        },
        {
            "resourceType": "Task",
            "id": key,
            "status": "requested",
            "intent": "order",
            "focus": request,
            "for": patient,
        },
        {
            "resourceType": "Communication",
            "id": key,
            "status": "completed",
            "basedOn": [request],
            "subject": patient,
        },
        {
            "resourceType": "DiagnosticReport",
            "id": key,
            "status": "final",
            "code": code,
            "basedOn": [request],
            "subject": patient,
        },
        {
            "resourceType": "ImagingStudy",
            "id": key,
            "status": "available",
            "subject": patient,
            "basedOn": [request],
        },
        {
            "resourceType": "QuestionnaireResponse",
            "id": key,
            "status": "completed",
            "basedOn": [request],
            "subject": patient,
        },
        {
            "resourceType": "DocumentReference",
            "id": key,
            "status": "current",
            "subject": patient,
            "content": [{"attachment": {"title": "x"}}],
            "context": {"related": [request]},
        },
        {
            "resourceType": "Binary",
            "id": key,
            "contentType": "text/plain",
            "data": "QUJD",
            "securityContext": request,
        },
        {
            "resourceType": "Provenance",
            "id": key,
            "target": [request],
            "recorded": "2024-01-01T00:00:00Z",
            "agent": [{"who": {"display": "x"}}],
        },
    ]


CLINICAL = (
    "Patient", "ServiceRequest", "Encounter", "Task", "Communication", "DiagnosticReport", "ImagingStudy",
    "QuestionnaireResponse", "DocumentReference", "Binary", "Provenance",
)  # fmt: skip


@pytest.fixture
async def full(served: Served) -> Served:
    """Both sides, a Patient and an Observation of no télédossier, and the directory."""
    entries = []
    records = [
        r
        for side, org in (("m", "Organization/o1"), ("t", "Organization/o2"))
        for n in range(NUMBER[side])
        for r in _records(side, org, n)
    ]
    records += [{"resourceType": "Organization", "id": f"o{n}", "name": "x"} for n in (1, 2)]
    records += [{"resourceType": "Patient", "id": "loose", "name": [{"family": "Durand"}]}]
    records += [
        {
            "resourceType": "Observation",
            "id": "loose",
            "status": "final",
            "code": {"text": "x"},
            "subject": _ref("Patient/m0"),
        }
    ]
    for record in records:
        url = f"{record['resourceType']}/{record['id']}"
        entries.append({"request": {"method": "PUT", "url": url}, "resource": record})
    await served.system.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    return served


async def _found(served: Served, access: Access, path: str) -> tuple[set[str], int | None]:
    """(Type/id of every entry on all pages, total)."""
    client, seen, total, url = served.client(access), set(), None, path
    while url:
        response = await client.get(url)
        assert response.status_code == 200, response.text
        page = response.json()
        seen |= {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in page.get("entry", ())}
        total = page.get("total", total)
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    return seen, total


def _all(type: str, *sides: str) -> set[str]:
    return {f"{type}/{side}{n}" for side in sides for n in range(NUMBER[side])}


@pytest.mark.parametrize("type", CLINICAL)
async def test_read_vread_history_search_of_every_type(full: Served, type: str) -> None:
    """The same record by four ways: 200 for its audience and for who sees all, 404 for everyone else."""
    for access, own in ((MINE, "m"), (THEIRS, "t"), (NOBODY, ""), (ALL, "mt")):
        client = full.client(access)
        for side in "mt":
            expected = 200 if side in own else 404
            for path in (f"/{type}/{side}0", f"/{type}/{side}0/_history/1", f"/{type}/{side}0/_history"):
                response = await client.get(path)
                assert (access.subject, path, response.status_code) == (access.subject, path, expected)
        loose = {"Patient/loose"} if type == "Patient" and access is ALL else set()
        expected_all = _all(type, *own) | loose
        assert await _found(full, access, f"/{type}?_count=1") == (expected_all, len(expected_all))


async def test_hidden_looks_like_missing(full: Served) -> None:
    """The answers differ in nothing but the id that was asked for."""
    client = full.client(MINE)
    for path in ("/Patient/{}", "/Patient/{}/_history/1", "/Patient/{}/_history", "/Binary/{}"):
        hidden, missing = [await client.get(path.format(id)) for id in ("t0", "x0")]
        assert hidden.status_code == missing.status_code == 404
        assert hidden.text.replace("t0", "x0") == missing.text
        drop = ("x-request-id",)
        left, right = [{k: v for k, v in r.headers.items() if k not in drop} for r in (hidden, missing)]
        assert left == right


SEARCHES: list[tuple[str, set[str], set[str]]] = [
    ("/Patient?family=durand", _all("Patient", "m"), _all("Patient", "m", "t") | {"Patient/loose"}),
    ("/Patient?_id=m0,t0", {"Patient/m0"}, {"Patient/m0", "Patient/t0"}),
    ("/Patient?_id:missing=false", _all("Patient", "m"), set()),
    ("/Patient?family:not-known=x", set(), set()),
    ("/Task?patient.family=durand", _all("Task", "m"), _all("Task", "m", "t")),
    ("/Task?focus:ServiceRequest.status=active", _all("Task", "m"), _all("Task", "m", "t")),
    ("/Task?focus:ServiceRequest.patient=Patient/t0", set(), {"Task/t0"}),
    (
        "/Organization?_id=o1,o2",
        {"Organization/o1", "Organization/o2"},
        {"Organization/o1", "Organization/o2"},
    ),
    ("/Patient?_has:Task:patient:status=requested", _all("Patient", "m"), _all("Patient", "m", "t")),
    ("/Patient?_has:Observation:patient:status=final", set(), {"Patient/m0"}),
    ("/Patient?_has:ServiceRequest:subject:_id=t0", set(), {"Patient/t0"}),
    (
        "/Task?_include=Task:focus&_include=Task:patient",
        _all("Task", "m") | _all("ServiceRequest", "m") | _all("Patient", "m"),
        _all("Task", "m", "t") | _all("ServiceRequest", "m", "t") | _all("Patient", "m", "t"),
    ),
    (
        "/Patient?_id=m0,t0&_revinclude=Task:patient&_revinclude=Observation:patient",
        {"Patient/m0", "Task/m0"},
        {"Patient/m0", "Patient/t0", "Task/m0", "Task/t0", "Observation/loose"},
    ),
    ("/Observation", set(), {"Observation/loose"}),
    (
        "/Patient?_sort=-_lastUpdated&_count=1",
        _all("Patient", "m"),
        _all("Patient", "m", "t") | {"Patient/loose"},
    ),
]
SEARCHES = [case for case in SEARCHES if case[2]]


@pytest.mark.parametrize(("path", "mine", "everything"), SEARCHES, ids=[case[0] for case in SEARCHES])
async def test_searches(full: Served, path: str, mine: set[str], everything: set[str]) -> None:
    """Exact sets; the reader of all is the positive control, the reader of nothing the negative one."""
    type = path[1:].partition("?")[0]
    assert (await _found(full, MINE, path))[0] == mine
    assert (await _found(full, ALL, path))[0] == everything
    open_types = {"Organization"}
    if type not in open_types:
        assert (await _found(full, NOBODY, path)) == (set(), 0)
    matches = {one for one in mine if one.startswith(type + "/")}
    assert (await _found(full, MINE, path))[1] == len(matches)
    counted = await _found(full, MINE, path + ("&" if "?" in path else "?") + "_summary=count")
    assert counted == (set(), len(matches))


async def test_batch_reads(full: Served) -> None:
    urls = [
        "Patient/m0",
        "Patient/t0",
        "Patient/t0/_history",
        "Patient/t0/_history/1",
        "Patient",
        "Task?_count=1",
    ]
    batch = {"resourceType": "Bundle", "type": "batch",
             "entry": [{"request": {"method": "GET", "url": url}} for url in urls]}  # fmt: skip
    for kind in ("batch", "transaction"):
        answer = (await full.client(MINE).post(BASE, json={**batch, "type": kind})).json()["entry"]
        assert [e["response"]["status"][:3] for e in answer] == ["200", "404", "404", "404", "200", "200"]
        assert [e["resource"]["total"] for e in answer[4:]] == [3, 3]
    control = (await full.client(ALL).post(BASE, json=batch)).json()["entry"]
    assert [e["response"]["status"][:3] for e in control] == ["200"] * 6


async def test_writes_do_not_tell(full: Served) -> None:
    """A writer with an audience: what is hidden is as if it were not there, for update, delete and
    conditions."""
    writer = Access("Practitioner/p1", (Scope("*", "cruds"),), MINE.audience)
    client = full.client(writer)
    for id in ("t0", "x0"):
        patient = {"resourceType": "Patient", "id": id}
        assert (await client.put(f"/Patient/{id}", json=patient)).status_code == 404
        assert (
            await client.put(f"/Patient/{id}", json=patient, headers={"If-Match": 'W/"1"'})
        ).status_code == 412
        assert (await client.delete(f"/Patient/{id}")).status_code == 204
        task = {
            "resourceType": "Task",
            "status": "requested",
            "intent": "order",
            "focus": _ref(f"ServiceRequest/{id}"),
        }
        assert (await client.post("/Task", json=task)).status_code == 404
        own = (await client.get("/Task/m0")).json()
        assert (await client.put("/Task/m0", json={**own, "focus": task["focus"]})).status_code == 404
    assert (await full.client(ALL).get("/Patient/t0")).headers["etag"] == 'W/"1"'
    own = (await client.get("/Task/m0")).json()
    assert (await client.put("/Task/m0", json={**own, "status": "accepted"})).status_code == 200
    assert (await client.delete("/Task/m1")).status_code == 204
    assert (await full.client(ALL).get("/Task/m1")).status_code == 410
    assert (await client.get("/Task/m1")).status_code == 404
    found = await client.post(
        "/Patient", json={"resourceType": "Patient"}, headers={"If-None-Exist": "_id=t0"}
    )
    assert found.status_code == 201


async def test_people_read_only(full: Served) -> None:
    """Scopes user/*.rs: every write is 403, whether or not the record is one's own."""
    client = full.client(MINE)
    for id in ("m0", "t0", "x0"):
        patient = {"resourceType": "Patient", "id": id}
        assert (await client.put(f"/Patient/{id}", json=patient)).status_code == 403
        assert (await client.delete(f"/Patient/{id}")).status_code == 403
        assert (await client.post("/Patient", json=patient)).status_code == 403
    narrow = full.client(Access("Client/n", (Scope("Task", "rs"),), None))
    assert (await narrow.get("/Patient/m0")).status_code == 403
    assert (await narrow.get("/Patient?_id=m0")).status_code == 403
    included = await narrow.get("/Task?_id=m0&_include=Task:patient")
    assert [e["resource"]["resourceType"] for e in included.json()["entry"]] == ["Task"]
    assert (await narrow.get("/Task?patient.family=durand")).json().get("entry", []) == []
