"""Search over HTTP: the Bundle around the matches. What matches is tested in tests/search. FHIR R4
search.html"""

from __future__ import annotations

from typing import Any

import pytest

from tests.mongodb import ENGINES
from tests.rest.serving import BASE, Served

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


@pytest.fixture
async def five(served: Served) -> Served:
    """Patients p0 … p4, p0 and p1 male; an Encounter of p0."""
    for n in range(5):
        await served.system.update(
            {
                "resourceType": "Patient",
                "id": f"p{n}",
                "name": [{"family": "Durand"}],
                "active": True,
                "gender": "male" if n < 2 else "female",
            }
        )
    await served.system.update(
        {
            "resourceType": "Encounter",
            "id": "e",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": {"reference": "Patient/p0"},
        }
    )
    return served


def ids(page: dict[str, Any], mode: str = "match") -> list[str]:
    return [e["resource"]["id"] for e in page.get("entry", ()) if e["search"]["mode"] == mode]


async def test_a_page(five: Served) -> None:
    response = await five.client().get("/Patient?gender=male")
    page = response.json()
    assert (response.status_code, page["type"], page["total"]) == (200, "searchset", 2)
    assert ids(page) == ["p1", "p0"]
    assert {e["fullUrl"] for e in page["entry"]} == {f"{BASE}/Patient/p0", f"{BASE}/Patient/p1"}
    assert page["link"] == [{"relation": "self", "url": f"{BASE}/Patient?gender=male"}]
    stored = (await five.client().get("/Patient/p0")).content
    assert stored in response.content


async def test_pages_are_linked_both_ways(five: Served) -> None:
    client, url, seen, last = five.client(), "/Patient?_count=2&_sort=_id", [], {}
    while url:
        page = (await client.get(url)).json()
        last = {link["relation"]: link["url"] for link in page["link"]}
        seen.append(ids(page))
        assert page["total"] == 5
        url = last.get("next", "")
    assert seen == [["p0", "p1"], ["p2", "p3"], ["p4"]]
    assert ids((await client.get(last["prev"])).json()) == ["p2", "p3"]


async def test_nothing_found(five: Served) -> None:
    page = (await five.client().get("/Patient?gender=other")).json()
    assert page["total"] == 0
    assert "entry" not in page


@pytest.mark.parametrize(
    ("query", "entries", "total"),
    [("_summary=count", 0, 5), ("_count=0", 0, 5), ("_total=none", 5, None), ("_total=accurate", 5, 5)],
)
async def test_totals(five: Served, query: str, entries: int, total: int | None) -> None:
    """search.html#total, search.html#count"""
    page = (await five.client().get(f"/Patient?{query}")).json()
    assert (len(page.get("entry", ())), page.get("total")) == (entries, total)


async def test_include(five: Served) -> None:
    page = (await five.client().get("/Encounter?_include=Encounter:subject")).json()
    assert (ids(page), ids(page, "include"), page["total"]) == (["e"], ["p0"], 1)


async def test_elements_in_a_search(five: Served) -> None:
    page = (await five.client().get("/Patient?_elements=gender&gender=male")).json()
    for entry in page["entry"]:
        assert set(entry["resource"]) == {"resourceType", "id", "meta", "gender"}


async def test_post_search(five: Served) -> None:
    """http.html#search: the form's parameters and the address's together."""
    response = await five.client().post("/Patient/_search?gender=male", content="_id=p0,p4", headers=FORM)
    assert ids(response.json()) == ["p0"]
    latin = await five.client().post("/Patient/_search", content=b"family=\xff", headers=FORM)
    assert latin.status_code == 400


async def test_lenient_says_what_it_passed_over(five: Served) -> None:
    """http.html#handling: strict unless asked."""
    client = five.client()
    strict = await client.get("/Patient?colour=red&gender=male")
    assert strict.status_code == 400
    text = strict.json()["issue"][0]["diagnostics"]
    assert "colour" in text
    assert "gender" in text
    lenient = await client.get("/Patient?colour=red&gender=male", headers={"Prefer": "handling=lenient"})
    page = lenient.json()
    assert ids(page) == ["p1", "p0"]
    (outcome,) = [e for e in page["entry"] if e["search"]["mode"] == "outcome"]
    assert "colour" in outcome["resource"]["issue"][0]["diagnostics"]
    assert page["link"][0]["url"] == f"{BASE}/Patient?gender=male"


BAD = [
    "_count=-1",
    "_count=ten",
    "_count=1.5",
    "_sort=colour",
    "_total=perhaps",
    "_summary=short",
    "gender:colour=x",
    "birthdate=yesterday",
    "birthdate=zz2020",
    "_include=colour",
    "_include=Encounter:colour",
    "_has:Encounter=x",
    "general-practitioner.colour=x",
    "_cursor=abc",
    "_lastUpdated=x",
    "active:missing=perhaps",
    "name:exact:exact=x",
    "_summary=true&_elements=name",
]


@pytest.mark.parametrize("query", BAD)
async def test_bad_parameters(five: Served, query: str) -> None:
    response = await five.client().get(f"/Patient?{query}")
    assert response.status_code == 400, response.text
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_head(five: Served) -> None:
    head = await five.client().head("/Patient?gender=male")
    assert (head.status_code, head.content) == (200, b"")


async def test_conditional_create(five: Served) -> None:
    """http.html#ccreate: none, one, several."""
    client, patient = five.client(), {"resourceType": "Patient", "gender": "other"}
    made, again, several = [
        await client.post("/Patient", json=patient, headers={"If-None-Exist": condition})
        for condition in ("gender=other", "gender=other", "gender=male")
    ]
    assert [r.status_code for r in (made, again, several)] == [201, 200, 412]
    assert again.json() == made.json()
    for condition in ("", "_count=1", "colour=red"):
        refused = await client.post("/Patient", json=patient, headers={"If-None-Exist": condition})
        assert refused.status_code in (400, 412)
