"""`$graphql` over HTTP. FHIR R4 graphql.html"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.access import Access, Scope
from fhir_server.graphql import execute
from fhir_server.graphql.query import read
from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.store.contract import Store
from profiles.outcomes import Invalid
from tests.rest.serving import Served, make_engine, serve

PATIENT: dict[str, Any] = {
    "name": [
        {"use": "official", "family": "Martin", "given": ["Anne", "Lise"]},
        {"use": "nickname", "given": ["Nanou"]},
    ],
    "birthDate": "1950-01-01",
    "_birthDate": {"extension": [{"url": "urn:x", "valueCode": "y"}]},
    "active": True,
    "managingOrganization": {"reference": "Organization/org"},
    "generalPractitioner": [{"reference": "Practitioner/none"}, {"reference": "#in"}],
    "contained": [{"resourceType": "Practitioner", "id": "in", "active": False}],
}


@pytest.fixture
async def served(tmp_path: Path, store: Store) -> Served:
    """Patient a with two observations, patient b; an organization."""
    served = serve(make_engine(tmp_path, store, operations=Operations(STANDARD)))
    await put(served, "Organization", "org", name="CH", partOf={"reference": "Organization/top"})
    await put(served, "Organization", "top", name="GHT")
    await put(served, "Patient", "a", **PATIENT)
    await put(served, "Patient", "b", active=False)
    subject = {"reference": "Patient/a"}
    for id, value in (
        ("weight", {"valueQuantity": {"value": 70.50, "unit": "kg"}}),
        ("note", {"valueString": "calme"}),
    ):
        await put(served, "Observation", id, status="final", code={"text": id}, subject=subject, **value)
    return served


async def put(served: Served, kind: str, id: str, /, **more: Any) -> None:
    response = await served.client().put(f"/{kind}/{id}", json={"resourceType": kind, "id": id, **more})
    assert response.status_code == 201, response.text


async def asked(served: Served, place: str, query: str, **more: Any) -> Any:
    response = await served.client().post(f"{place}/$graphql", json={"query": query, **more})
    assert response.headers["content-type"].startswith("application/json")
    return response


A = "/Patient/a"
ANSWERS: list[tuple[str, str, str, Any]] = [
    (
        "elements",
        A,
        "{ id active birthDate resourceType }",
        {"id": "a", "active": True, "birthDate": "1950-01-01", "resourceType": "Patient"},
    ),
    ("what is absent is null", A, "{ gender photo { url } }", {"gender": None, "photo": None}),
    (
        "parts of a list",
        A,
        "{ name { given } }",
        {"name": [{"given": ["Anne", "Lise"]}, {"given": ["Nanou"]}]},
    ),
    ("by a part", A, "{ name(use: nickname) { given } }", {"name": [{"given": ["Nanou"]}]}),
    ("by FHIRPath", A, '{ name(fhirpath: "family.exists()") { use } }', {"name": [{"use": "official"}]}),
    ("a page of a list", A, "{ name(_offset: 1, _count: 1) { use } }", {"name": [{"use": "nickname"}]}),
    ("alias", A, "{ n: name(use: official) { f: family } }", {"n": [{"f": "Martin"}]}),
    (
        "same field twice",
        A,
        "{ name { use } name { family } }",
        {"name": [{"use": "official", "family": "Martin"}, {"use": "nickname", "family": None}]},
    ),
    (
        "beside a primitive",
        A,
        "{ _birthDate { extension { url valueCode } } }",
        {"_birthDate": {"extension": [{"url": "urn:x", "valueCode": "y"}]}},
    ),
    ("a fragment", A, "{ ...p } fragment p on Patient { id }", {"id": "a"}),
    ("a fragment of a wider type", A, "{ ... on DomainResource { id } ... on Group { name } }", {"id": "a"}),
    (
        "skip and include",
        A,
        "{ id @skip(if: true) active @include(if: false) birthDate @include(if: true) }",
        {"birthDate": "1950-01-01"},
    ),
    (
        "a reference",
        A,
        "{ managingOrganization { resource { ... on Organization { name partOf { resource { ...o } } } } } } "
        "fragment o on Organization { name }",
        {"managingOrganization": {"resource": {"name": "CH", "partOf": {"resource": {"name": "GHT"}}}}},
    ),
    (
        "another type is left out",
        A,
        "{ managingOrganization { resource(type: Location) { id } } }",
        {"managingOrganization": {"resource": None}},
    ),
    (
        "contained, and what is optional",
        A,
        "{ generalPractitioner { resource(optional: true) { ... on Practitioner { active } } } }",
        {"generalPractitioner": [{"resource": None}, {"resource": {"active": False}}]},
    ),
    (
        "what refers to it",
        A,
        '{ ObservationList(_reference: patient, _sort: "_id") { id } }',
        {"ObservationList": [{"id": "note"}, {"id": "weight"}]},
    ),
    (
        "a choice by type",
        "/Observation/weight",
        "{ value { ... on Quantity { value unit } } }",
        {"value": {"value": 70.5, "unit": "kg"}},
    ),
    (
        "a choice that is plain",
        "/Observation/note",
        "{ value { ... on Quantity { value } } valueString }",
        {"value": "calme", "valueString": "calme"},
    ),
    ("one by id", "", '{ Patient(id: "a") { id } }', {"Patient": {"id": "a"}}),
    ("a search", "", "{ PatientList(active: true) { id } }", {"PatientList": [{"id": "a"}]}),
    (
        "a parameter with a hyphen",
        "",
        '{ ObservationList(value_string: "calme") { id } }',
        {"ObservationList": [{"id": "note"}]},
    ),
    (
        "values in a list",
        "",
        '{ PatientList(_id: ["a", "b"], _sort: "_id") { id } }',
        {"PatientList": [{"id": "a"}, {"id": "b"}]},
    ),
    (
        "a connection",
        "",
        '{ PatientConnection(_sort: "_id", _count: 1) { count edges { mode resource { id } } previous } }',
        {
            "PatientConnection": {
                "count": 2,
                "edges": [{"mode": "match", "resource": {"id": "a"}}],
                "previous": None,
            }
        },
    ),
    ("first", A, "{ name @first { family } }", {"name": {"family": "Martin"}}),
    (
        "flatten",
        A,
        "{ name @flatten { given use } }",
        {"given": ["Anne", "Lise", "Nanou"], "use": ["official", "nickname"]},
    ),
    ("flatten the first", A, "{ name @first @flatten { family } }", {"family": "Martin"}),
    (
        "slice",
        A,
        '{ name @slice(path: "use") { given @first } }',
        {"name.official": {"given": "Anne"}, "name.nickname": {"given": "Nanou"}},
    ),
    (
        "slices of one name",
        A,
        '{ name @slice(path: "use.exists()") { use } }',
        {"name.true": [{"use": "official"}, {"use": "nickname"}]},
    ),
    (
        "slice by number",
        A,
        '{ name @slice(path: "$index") { use } }',
        {"name.0": {"use": "official"}, "name.1": {"use": "nickname"}},
    ),
]


@pytest.mark.parametrize(("place", "query", "data"), [a[1:] for a in ANSWERS], ids=[a[0] for a in ANSWERS])
async def test_answers(served: Served, place: str, query: str, data: Any) -> None:
    response = await asked(served, place, query)
    assert (response.status_code, response.json()) == (200, {"data": data})


async def test_digits_of_a_decimal_stay(served: Served) -> None:
    response = await served.client().put(
        "/Observation/d",
        content=b'{"resourceType":"Observation","id":"d","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":1.50}}',
        headers={"Content-Type": "application/fhir+json"},
    )
    assert response.status_code == 201
    assert b'"value":1.50' in (await asked(served, "/Observation/d", "{ valueQuantity { value } }")).content


REFUSED: list[tuple[str, str, str, str]] = [
    ("syntax", A, "{ id ", "line 1, column 6"),
    ("element", A, "{ id\n nam { use } }", "line 2, column 2: Patient has no 'nam'; it has name"),
    ("element under what is absent", A, "{ photo { ur } }", "Attachment has no 'ur'"),
    ("an object without parts", A, "{ name }", "'name' is an object"),
    ("a plain value with parts", A, "{ active { x } }", "plain value"),
    ("argument", A, "{ name(us: official) { use } }", "no argument 'us'"),
    ("argument's FHIRPath", A, '{ name(fhirpath: "use.") { use } }', ""),
    ("number", A, "{ name(_count: -1) { use } }", "'_count' takes a number"),
    ("fragment that is not there", A, "{ ...x }", "fragment 'x'"),
    ("fragment that opens itself", A, "{ ...x } fragment x on Patient { ...x }", "opens itself"),
    ("directive", A, "{ id @last }", "no directive @last"),
    ("variable without value", A, "query q($x: Boolean!) { id @skip(if: $x) }", "$x needs a value"),
    ("equal keys of other arguments", A, "{ name(use: official) { use } name { use } }", "asked for twice"),
    ("mutation", A, "mutation { id }", "only queries"),
    ("two operations", A, "query a { id } query b { id }", "no single operation"),
    ("deep", A, "{ extension " * 30 + "{ url }" + " }" * 30, "24 deep"),
    ("very deep", A, "{ a " * 4_000 + "}" * 4_000, ""),
    ("long", A, "{ id }" + " " * 50_001, "50000 characters"),
    ("root", "", "{ Patients { id } }", "the query has no 'Patients'; it has Patient"),
    ("one without id", "", "{ Patient { id } }", "takes 'id'"),
    ("reference without type", A, "{ managingOrganization { resource { name } } }", "… on Patient"),
    (
        "a type that is none",
        A,
        "{ managingOrganization { resource { ... on Org { name } } } }",
        "no resource type",
    ),
    ("what refers, by nothing", A, "{ ObservationList { id } }", "'_reference'"),
    ("connection", "", "{ PatientConnection { edge { mode } } }", "it has edges"),
]


@pytest.mark.parametrize(("place", "query", "text"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
async def test_refused(served: Served, place: str, query: str, text: str) -> None:
    """Before anything is read, with the place in the query."""
    response = await asked(served, place, query)
    assert response.status_code == 400, response.text
    (error,) = response.json()["errors"]
    assert text in error["message"]
    assert error["extensions"]["resource"]["resourceType"] == "OperationOutcome"


async def test_a_part_that_fails_leaves_the_rest(served: Served) -> None:
    response = await asked(
        served, A, "{ id generalPractitioner { resource { ... on Practitioner { active } } } }"
    )
    assert response.json() == {
        "data": {"id": "a", "generalPractitioner": [{"resource": None}, {"resource": {"active": False}}]},
        "errors": [
            {
                "message": "the reference leads to nothing that is there",
                "path": ["generalPractitioner", 0, "resource"],
            }
        ],
    }
    search = (await asked(served, "", '{ PatientList(nam: "x") { id } Patient(id: "b") { id } }')).json()
    assert search["data"] == {"PatientList": None, "Patient": {"id": "b"}}
    assert search["errors"][0]["path"] == ["PatientList"]


async def test_ways_to_ask(served: Served) -> None:
    client = served.client()
    one = {"data": {"id": "a"}}
    assert (await client.get("/Patient/a/$graphql?query={id}")).json() == one
    plain = await client.post(
        "/Patient/a/$graphql", content="{ id }", headers={"Content-Type": "application/graphql"}
    )
    assert plain.json() == one
    query = (
        'query q($n: ID = "b", $skip: Boolean) { Patient(id: $n) { id active @skip(if: $skip) } } '
        "query r { x }"
    )
    body = {"operationName": "q", "variables": {"n": "a", "skip": True}}
    assert (await asked(served, "", query, **body)).json()["data"] == {"Patient": {"id": "a"}}
    body["variables"] = {"skip": False}
    assert (await asked(served, "", query, **body)).json()["data"] == {
        "Patient": {"id": "b", "active": False}
    }
    for wrong in (b"{", b"[]", b'{"query": 7}', b'{"query": "{ id }", "variables": []}'):
        response = await client.post("/$graphql", content=wrong, headers={"Content-Type": "application/json"})
        assert response.status_code == 400
    assert (await client.get("/Patient/none/$graphql?query={id}")).status_code == 404


async def test_pages_of_a_connection(served: Served) -> None:
    asks = "{ next edges { resource { id } } }"
    query = f'query q($c: String) {{ PatientConnection(_sort: "_id", _count: 1, _cursor: $c) {asks} }}'
    first = (await asked(served, "", query.replace(", _cursor: $c", "").replace("($c: String)", ""))).json()[
        "data"
    ]
    following = (await asked(served, "", query, variables={"c": first["PatientConnection"]["next"]})).json()[
        "data"
    ]
    assert following["PatientConnection"]["edges"] == [{"resource": {"id": "b"}}]
    assert following["PatientConnection"]["next"] is None


async def test_every_hop_keeps_to_the_readers_rights(served: Served) -> None:
    some = served.client(Access("Client/some", (Scope("Patient", "rs"),), None))
    query = (
        "{ managingOrganization { resource { ... on Organization { name } } } "
        "ObservationList(_reference: patient) { id } }"
    )
    found = (await some.post("/Patient/a/$graphql", json={"query": query})).json()
    assert found["data"] == {"managingOrganization": {"resource": None}, "ObservationList": None}
    assert len(found["errors"]) == 2
    part = served.client(Access("Practitioner/1", (Scope("*", "rs"),), frozenset({"Practitioner/1"})))
    assert (await part.get("/Patient/a/$graphql?query={id}")).status_code == 404
    listed = (
        await part.post("/$graphql", json={"query": '{ PatientList { id } Patient(id: "a") { id } }'})
    ).json()
    assert listed["data"] == {"PatientList": [], "Patient": None}


async def test_the_work_is_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "MOST_RESOURCES", 3)
    assert (await asked(served, "", "{ PatientList { id } }")).status_code == 200
    many = "{ " + " ".join(f"p{n}: PatientList {{ id }}" for n in range(2)) + " }"
    response = await asked(served, "", many)
    assert (response.status_code, "more than 3 resources" in response.text) == (400, True)
    monkeypatch.setattr(execute, "MOST_VALUES", 3)
    assert "more than 3 values" in (await asked(served, A, "{ id active birthDate gender }")).text


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(alphabet='{}()[]@$:!."#,| \n_abIdname0-9…\\', max_size=60) | st.text(max_size=30))
def test_no_query_is_another_error(text: str) -> None:
    with contextlib.suppress(Invalid):
        read(text)
