"""History of a type and of everything over HTTP, its parameters and its limits. FHIR R4 http.html#history"""

from __future__ import annotations

import pytest

from fhir_server.access import Access, Scope
from tests.mongodb import ENGINES
from tests.rest.serving import Served

AUDIENCE = Access("Practitioner/p", (Scope("*", "rs"),), frozenset({"Practitioner/p"}))


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


async def written(served: Served) -> None:
    client = served.client()
    for id in ("a", "b"):
        await client.put(f"/Patient/{id}", json={"resourceType": "Patient", "id": id})
    await client.put("/Organization/o", json={"resourceType": "Organization", "id": "o", "name": "O"})
    await client.put("/Patient/a", json={"resourceType": "Patient", "id": "a", "active": True})
    await client.delete("/Patient/b")


def told(bundle: dict) -> list[tuple[str, str]]:
    return [
        (entry["request"]["method"], entry["fullUrl"].rpartition("fhir/")[2]) for entry in bundle["entry"]
    ]


async def test_of_a_type_and_of_everything(served: Served) -> None:
    await written(served)
    client = served.client()
    patients = [
        ("DELETE", "Patient/b"),
        ("PUT", "Patient/a"),
        ("POST", "Patient/b"),
        ("POST", "Patient/a"),
    ]
    answer = await client.get("/Patient/_history")
    assert (answer.status_code, answer.json()["type"]) == (200, "history")
    assert told(answer.json()) == patients
    everything = (await client.get("/_history")).json()
    assert told(everything) == [*patients[:2], ("POST", "Organization/o"), *patients[2:]]


async def test_pages_by_an_opaque_cursor(served: Served) -> None:
    await written(served)
    client = served.client()
    url, seen = "/_history?_count=2", []
    while url:
        page = (await client.get(url)).json()
        assert 0 < len(page["entry"]) <= 2
        seen += told(page)
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    assert seen == told((await client.get("/_history")).json())
    assert len(seen) == 5


async def test_since_and_at(served: Served) -> None:
    await written(served)
    client = served.client()
    versions = [(await client.get(f"/Patient/a/_history/{n}")).json() for n in (1, 2)]
    second = versions[1]["meta"]["lastUpdated"]
    later = (await client.get("/Patient/_history", params={"_since": second})).json()
    assert told(later)[-1] == ("PUT", "Patient/a") or len(later["entry"]) == 4, "within one millisecond"
    at = (await client.get("/Patient/a/_history", params={"_at": second})).json()
    assert at["entry"][0]["resource"]["meta"]["versionId"] == "2"
    assert "entry" not in (await client.get("/_history", params={"_since": "2999-01-01"})).json()
    assert "entry" not in (await client.get("/_history", params={"_at": "1999"})).json()


async def test_only_for_who_sees_all_of_it(served: Served) -> None:
    await written(served)
    person = served.client(AUDIENCE)
    for path in ("/_history", "/Patient/_history"):
        answer = await person.get(path)
        assert answer.status_code == 403
        assert "Patient/" not in answer.text
    assert len((await person.get("/Organization/_history")).json()["entry"]) == 1
    narrow = served.client(Access("Client/n", (Scope("Organization", "r"),), None))
    assert told((await narrow.get("/_history")).json()) == [("POST", "Organization/o")]
    assert (await narrow.get("/Patient/_history")).status_code == 403


async def test_inside_a_batch(served: Served) -> None:
    await written(served)
    entries = [
        {"request": {"method": "GET", "url": url}} for url in ("_history", "Patient/_history?_count=1")
    ]
    for kind in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        answered = (await served.client().post("/", json=bundle)).json()["entry"]
        assert [len(one["resource"]["entry"]) for one in answered] == [5, 1]
