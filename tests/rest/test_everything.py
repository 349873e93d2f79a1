"""`$everything` of a patient and of an encounter. FHIR R4 patient-operation-everything.html"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from fhir_server.operations.registry import Operations
from fhir_server.operations.standard import STANDARD
from fhir_server.store.contract import Store
from tests.rest.serving import BASE, Served, make_engine, serve
from tests.rest.test_bundle import slugs


@pytest.fixture
async def served(tmp_path: Path, store: Store) -> Served:
    """Patient a with an encounter, two observations, a condition without a date; patient b with one."""
    served = serve(make_engine(tmp_path, store, operations=Operations(STANDARD)))
    await put(served, "Organization", "org", name="x")
    await put(served, "Practitioner", "doc", active=True)
    for n in ("a", "b"):
        await put(served, "Patient", n, managingOrganization=ref("Organization/org"))
    await put(
        served,
        "Encounter",
        "e",
        **{"class": {"code": "AMB"}},
        status="finished",
        subject=ref("Patient/a"),
        period={"start": "2020-01-01", "end": "2020-02-01"},
    )
    for id, patient, day in (("o1", "a", "2020-01-05"), ("o2", "a", "2021-01-05"), ("o3", "b", "2020-01-05")):
        await put(
            served,
            "Observation",
            id,
            status="final",
            code={"text": "x"},
            subject=ref(f"Patient/{patient}"),
            effectiveDateTime=day,
            performer=[ref("Practitioner/doc")],
            **({"encounter": ref("Encounter/e")} if id == "o1" else {}),
        )
    await put(served, "Condition", "c", subject=ref("Patient/a"))
    return served


def ref(target: str) -> dict[str, str]:
    return {"reference": target}


async def put(served: Served, kind: str, id: str, /, **more: Any) -> None:
    response = await served.client().put(f"/{kind}/{id}", json={"resourceType": kind, "id": id, **more})
    assert response.status_code in (200, 201), response.text


def found(bundle: dict[str, Any]) -> tuple[set[str], set[str]]:
    """(matches, what came along)"""
    assert bundle["type"] == "searchset"
    modes: dict[str, set[str]] = {"match": set(), "include": set()}
    for entry in bundle.get("entry", ()):
        modes[entry["search"]["mode"]].add(entry["fullUrl"].removeprefix(f"{BASE}/"))
    return modes["match"], modes["include"]


ALL_OF_A = {"Patient/a", "Encounter/e", "Observation/o1", "Observation/o2", "Condition/c"}
BESIDE = {"Organization/org", "Practitioner/doc"}
CASES: list[tuple[str, str, set[str], set[str]]] = [
    ("everything", "/Patient/a/$everything", ALL_OF_A, BESIDE),
    ("another", "/Patient/b/$everything", {"Patient/b", "Observation/o3"}, BESIDE),
    ("start", "/Patient/a/$everything?start=2020-06", {"Patient/a", "Observation/o2", "Condition/c"}, BESIDE),
    (
        "end",
        "/Patient/a/$everything?end=2020-01-02",
        {"Patient/a", "Encounter/e", "Condition/c"},
        {"Organization/org"},
    ),
    (
        "types",
        "/Patient/a/$everything?_type=Observation,Condition",
        {"Observation/o1", "Observation/o2", "Condition/c"},
        {"Practitioner/doc", "Patient/a", "Encounter/e"},
    ),
    ("since", "/Patient/a/$everything?_since=2100", set(), set()),
    ("since before", "/Patient/a/$everything?_since=2000", ALL_OF_A, BESIDE),
    (
        "an encounter",
        "/Encounter/e/$everything",
        {"Encounter/e", "Observation/o1"},
        {"Patient/a", "Practitioner/doc"},
    ),
]


@pytest.mark.parametrize(("path", "matches", "beside"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
async def test_what_it_holds(served: Served, path: str, matches: set[str], beside: set[str]) -> None:
    response = await served.client().get(path)
    assert response.status_code == 200, response.text
    assert found(response.json()) == (matches, beside)
    assert response.json()["total"] == len(matches)


async def test_in_pages(served: Served) -> None:
    seen: list[str] = []
    address = f"{BASE}/Patient/a/$everything?_count=2"
    pages = 0
    while address:
        bundle = (await served.client().get(address)).json()
        matches, _ = found(bundle)
        assert len(matches) <= 2
        seen += matches
        pages += 1
        address = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    assert (sorted(seen), pages) == (sorted(ALL_OF_A), 3)


async def test_posted(served: Served) -> None:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "start", "valueDate": "2020-06-01"},
            {"name": "_type", "valueCode": "Observation"},
            {"name": "_count", "valueInteger": 7},
        ],
    }
    response = await served.client().post("/Patient/a/$everything", json=parameters)
    assert found(response.json())[0] == {"Observation/o2"}


async def test_only_what_the_reader_sees(served: Served) -> None:
    """Types by scope; what leads to no télédossier of theirs is not there."""
    some = Access("Client/some", (Scope("Patient", "rs"), Scope("Condition", "rs")), None)
    response = await served.client(some).get("/Patient/a/$everything")
    assert found(response.json()) == ({"Patient/a", "Condition/c"}, set())
    part = Access("Practitioner/1", (Scope("*", "rs"),), frozenset({"Practitioner/1"}))
    hidden = await served.client(part).get("/Patient/a/$everything")
    assert (hidden.status_code, slugs(hidden)) == (404, ["no-such-resource"])
    request = {"status": "active", "intent": "order", "subject": ref("Patient/a")}
    audience = {
        "url": "https://teledossier.example/fhir/StructureDefinition/audience",
        "valueReference": ref("Practitioner/1"),
    }
    await put(served, "ServiceRequest", "s", **request, extension=[audience])
    seen = await served.client(part).get("/Patient/a/$everything")
    assert found(seen.json()) == ({"Patient/a", "ServiceRequest/s"}, {"Organization/org"})


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/Patient/none/$everything", 404, "no-such-resource"),
        ("/Patient/a/$everything?star=2020", 400, "unknown-parameter"),
        ("/Patient/a/$everything?start=soon", 400, "bad-date"),
        ("/Patient/a/$everything?_type=Organization", 400, "bad-type"),
        ("/Patient/a/$everything?_count=-1", 400, "bad-count"),
        ("/Patient/a/$everything?_cursor=AAAA", 400, "bad-cursor"),
        ("/Practitioner/doc/$everything", 404, "unknown-operation"),
    ],
)
async def test_refused(served: Served, path: str, status: int, slug: str) -> None:
    response = await served.client().get(path)
    assert (response.status_code, slugs(response)) == (status, [slug])


async def test_a_cursor_belongs_to_its_patient(served: Served) -> None:
    first = (await served.client().get("/Patient/a/$everything?_count=1")).json()
    (following,) = [link["url"] for link in first["link"] if link["relation"] == "next"]
    moved = await served.client().get(following.replace("Patient/a", "Patient/b"))
    assert (moved.status_code, slugs(moved)) == (400, ["bad-cursor"])
