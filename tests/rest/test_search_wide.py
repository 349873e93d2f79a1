"""Searches that are not of one type alone: over several types, in a compartment, of a list.

FHIR R4 http.html#search, search.html#list, compartmentdefinition.html
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.access import Access, Scope
from profiles import definitions
from tests.mongodb import ENGINES
from tests.rest.serving import BASE, Served

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


def observation(id: str, patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"code": "x"}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "a", "gender": "male"},
    {
        "resourceType": "Patient",
        "id": "b",
        "link": [{"other": {"reference": "Patient/a"}, "type": "seealso"}],
    },
    observation("o1", "a", effectiveDateTime="2024-01-01"),
    observation("o2", "b", effectiveDateTime="2024-03-01"),
    observation("o3", "b", performer=[{"reference": "Patient/a"}], effectiveDateTime="2024-02-01"),
    {
        "resourceType": "Condition",
        "id": "c",
        "subject": {"reference": "Patient/a"},
        "recordedDate": "2024-02-15",
        "meta": {"tag": [{"code": "t"}]},
    },
    {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/b"},
        "participant": [{"individual": {"reference": "Practitioner/p"}}],
    },
    {"resourceType": "Practitioner", "id": "p"},
    {"resourceType": "Device", "id": "d", "patient": {"reference": "Patient/b"}},
    {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/b"}},
    {
        "resourceType": "List",
        "id": "l",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Patient/a"}}, {"item": {"reference": "Observation/o2"}}],
    },
    {"resourceType": "Organization", "id": "out", "name": "Out"},
]


@pytest.fixture
async def wide(served: Served) -> Served:
    for resource in RESOURCES:
        await served.system.update(resource)
    return served


def names(page: dict[str, Any], mode: str = "match") -> list[str]:
    return [
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in page.get("entry", ())
        if e["search"]["mode"] == mode
    ]


SEARCHES = [
    # over several types
    ("?_type=Patient,Condition", "Condition/c Patient/b Patient/a"),
    ("?_type=Patient&_type=Device", "Device/d Patient/b Patient/a"),
    ("?_id=a,o1,c", "Condition/c Observation/o1 Patient/a"),
    ("?_tag=t", "Condition/c"),
    ("?_content=2024 x", "Observation/o3 Observation/o2 Observation/o1"),
    ("?_type=Observation,Condition,Encounter&patient=b", "Encounter/e Observation/o3 Observation/o2"),
    ("?_type=Observation,Encounter&date=2024-03-01", "Observation/o2"),
    ("?_type=Observation,Encounter&subject:Patient.gender=male", "Observation/o1"),
    (
        "?_type=Patient,Observation&_sort=_id&_id:not=b",
        "Patient/a Observation/o1 Observation/o2 Observation/o3",
    ),
    ("?_type=Patient,Observation&_sort=_lastUpdated&_id=a,o1", "Patient/a Observation/o1"),
    ("?_list=l", "Observation/o2 Patient/a"),
    # one list
    ("Patient?_list=l", "Patient/a"),
    ("Observation?_list=List/l", "Observation/o2"),
    ("Observation?_list=none", ""),
    ("Observation?subject:Patient._list=l", "Observation/o1"),
    # compartments
    ("Patient/a/Condition", "Condition/c"),
    ("Patient/a/Observation", "Observation/o3 Observation/o1"),
    ("Patient/a/Observation?date=2024-02-01", "Observation/o3"),
    ("Patient/a/Observation?date=2023", ""),
    ("Patient/a/Patient", "Patient/b Patient/a"),
    ("Patient/a/*", "Condition/c Observation/o3 Observation/o1 Patient/b Patient/a"),
    ("Patient/b/*?_type=Observation,Encounter", "Encounter/e Observation/o3 Observation/o2"),
    ("Patient/a/Encounter", ""),
    ("Encounter/e/Encounter", "Encounter/e"),
    ("Encounter/e/*", "Encounter/e"),
    ("Practitioner/p/Encounter", "Encounter/e"),
    ("Practitioner/p/*", "Practitioner/p Encounter/e"),
    ("Device/d/Device", "Device/d"),
    ("RelatedPerson/r/RelatedPerson", "RelatedPerson/r"),
]


@pytest.mark.parametrize(("query", "found"), SEARCHES)
async def test_matches(wide: Served, query: str, found: str) -> None:
    response = await wide.client().get(f"/{query}")
    assert response.status_code == 200, response.text
    page = response.json()
    assert names(page) == found.split()
    assert page["total"] == len(found.split())


async def test_pages_over_types(wide: Served) -> None:
    """Each once, in one order, both ways, whatever the type."""
    client, seen, url, last = wide.client(), [], f"{BASE}?_type=Observation,Condition&_sort=-_id&_count=2", {}
    while url:
        page = (await client.get(url)).json()
        last = {link["relation"]: link["url"] for link in page["link"]}
        assert last["self"].startswith(f"{BASE}?_type=Observation,Condition")
        assert page["total"] == 4
        seen.append(names(page))
        url = last.get("next", "")
    assert seen == [["Observation/o3", "Observation/o2"], ["Observation/o1", "Condition/c"]]
    assert names((await client.get(last["prev"])).json()) == seen[0]


async def test_posted(wide: Served) -> None:
    client = wide.client()
    for path, form, found in (
        ("/_search", "_type=Patient&_id=a", ["Patient/a"]),
        ("/Patient/a/_search", "_type=Condition", ["Condition/c"]),
        ("/Patient/a/Observation/_search", "date=2024-02-01", ["Observation/o3"]),
        ("/Patient/a/*/_search", "_tag=t", ["Condition/c"]),
    ):
        response = await client.post(path, content=form, headers=FORM)
        assert names(response.json()) == found, response.text


async def test_includes_over_types(wide: Served) -> None:
    client = wide.client()
    page = (await client.get("?_type=Observation,Encounter&_id=o1,e&_include=*")).json()
    assert (names(page), sorted(names(page, "include"))) == (
        ["Encounter/e", "Observation/o1"],
        ["Patient/a", "Patient/b", "Practitioner/p"],
    )
    page = (await client.get("/Patient?_id=a&_revinclude=*")).json()
    assert sorted(names(page, "include")) == [
        "Condition/c",
        "List/l",
        "Observation/o1",
        "Observation/o3",
        "Patient/b",
    ]


async def test_in_a_batch(wide: Served) -> None:
    urls = ["Patient/a/Condition", "?_type=Device", f"{BASE}/Practitioner/p/*"]
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    answer = (await wide.client().post("", json=bundle)).json()
    found = [names(entry["resource"]) for entry in answer["entry"]]
    assert found == [["Condition/c"], ["Device/d"], ["Practitioner/p", "Encounter/e"]]


REFUSED = [
    ("?_type=Colour", 404, "Colour"),
    ("?gender=male", 400, "gender"),
    ("?_type=Patient,Observation&gender=male", 400, "Observation: 'gender'"),
    ("?_type=Observation,Encounter&_sort=code", 400, "Encounter: 'code'"),
    ("Patient?_type=Patient", 400, "_type"),
    ("Patient?_list=$current-allergies", 400, "$current"),
    ("Patient?_list:not=l", 400, "no modifier"),
    ("Patient/zzz/Condition", 404, "not known"),
    ("Patient/a/Organization", 404, "in no compartment of a Patient"),
    (
        "Organization/out/Patient",
        404,
        "Organization has no compartment; there are Device, Encounter, Patient",
    ),
    ("Patient/a/Condition?colour=x", 400, "colour"),
    ("Patient/a/*?_type=Organization", 400, "not among what is searched"),
    ("Patient/a/Colour", 404, "no such address"),
]


@pytest.mark.parametrize(("query", "status", "told"), REFUSED)
async def test_refusals(wide: Served, query: str, status: int, told: str) -> None:
    response = await wide.client().get(f"/{query}")
    assert response.status_code == status, response.text
    assert told in response.json()["issue"][0]["diagnostics"]


async def test_scopes(wide: Served) -> None:
    """Without `_type` what the scopes allow; a type named that they do not is refused."""
    some = wide.client(Access("Client/some", (Scope("Patient", "rs"), Scope("Condition", "r")), None))
    assert names((await some.get("/?_id=a,c,o1")).json()) == ["Patient/a"]
    assert (await some.get("/?_type=Observation")).status_code == 403
    assert (await some.get("/Patient/a/Observation")).status_code == 403
    assert names((await some.get("/Patient/a/*")).json()) == ["Patient/b", "Patient/a"]
    assert names((await some.get("/Patient?_list=l")).json()) == []
    none = wide.client(Access("Client/none", (), None))
    assert (await none.get("/?_id=a")).status_code == 403


def test_the_table_of_compartments() -> None:
    """Each parameter is one of the type's that can refer to whose compartment it is."""
    assert sorted(definitions.compartments()) == [
        "Device",
        "Encounter",
        "Patient",
        "Practitioner",
        "RelatedPerson",
    ]
    for name in definitions.compartments():
        for type, params in definitions.compartment(name).items():
            for param in params:
                assert name in definitions.search_parameters(type)[param].targets, (name, type, param)
