"""The terminology operations over HTTP, by their pages in FHIR R4."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.access import Access, Scope
from tests.rest.serving import Served
from tests.rest.test_bundle import slugs
from tests.terminology.making import COLOURS, chosen, include, value_set
from tests.terminology.making import SYSTEM as COLOUR_SYSTEM

ALL = "https://example.org/ValueSet/all-colours"
WARM = {
    **chosen("concept", "is-a", "red"),
    "id": "warm",
    "url": "https://example.org/ValueSet/warm",
    "name": "Warm",
}
GENDER = "http://hl7.org/fhir/administrative-gender"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"


@pytest.fixture
async def served(served: Served) -> Served:
    """With the colours stored."""
    await served.system.update({**COLOUR_SYSTEM, "id": "colours"})
    await served.system.update(WARM)
    return served


def sent(**values: Any) -> dict[str, Any]:
    """A Parameters: a text as valueString, a flag as valueBoolean, objects by their kind."""
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            kind = (
                "resource"
                if "resourceType" in value
                else "valueCodeableConcept"
                if "coding" in value
                else "valueCoding"
            )
        else:
            kind = (
                "valueBoolean"
                if isinstance(value, bool)
                else "valueInteger"
                if isinstance(value, int)
                else "valueUri"
            )
        rows.append({"name": name, kind: value})
    return {"resourceType": "Parameters", "parameter": rows}


def rows(response: Any) -> dict[str, Any]:
    """The answer's single values by name."""
    assert response.status_code == 200, response.text
    found = {}
    for row in response.json()["parameter"]:
        if "part" not in row:
            found[row["name"]] = next(value for key, value in row.items() if key.startswith("value"))
    return found


def properties(response: Any) -> list[tuple[str, Any]]:
    found = []
    for row in response.json()["parameter"]:
        if row["name"] == "property":
            code, value = row["part"]
            found.append((code["valueCode"], next(v for key, v in value.items() if key.startswith("value"))))
    return found


# codesystem-operation-lookup.html


async def test_lookup(served: Served) -> None:
    client = served.client()
    response = await client.get(f"/CodeSystem/$lookup?system={COLOURS}&code=red")
    assert rows(response) == {"name": "Colours", "version": "2", "display": "Red"}
    assert properties(response) == [
        ("inactive", False),
        ("parent", "any"),
        ("child", "crimson"),
        ("child", "pink"),
        ("child", "mauve"),
        ("warm", True),
    ]
    (named,) = [row["part"] for row in response.json()["parameter"] if row["name"] == "designation"]
    assert named == [{"name": "language", "valueCode": "fr"}, {"name": "value", "valueString": "Rouge"}]
    only = await client.get(
        f"/CodeSystem/$lookup?system={COLOURS}&code=red&property=parent&displayLanguage=fr-FR"
    )
    assert rows(only)["display"] == "Rouge"
    assert properties(only) == [("parent", "any")]
    assert [row["name"] for row in only.json()["parameter"]] == ["name", "version", "display", "property"]
    by_coding = await client.post("/CodeSystem/$lookup", json=sent(coding={"system": GENDER, "code": "male"}))
    assert rows(by_coding)["display"] == "Male"


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        (f"system={COLOURS}&code=green", 404, "unknown-code"),
        ("system=http://snomed.info/sct&code=1", 404, "unknown-code-system"),
        (f"system={COLOURS}", 400, "no-code"),
        ("code=red", 400, "no-code-system"),
        (f"system={COLOURS}&code=red&colour=red", 400, "unknown-parameter"),
        (f"system={COLOURS}&code=red&code=blue", 400, "repeated-parameter"),
        (f"system={COLOURS}&coding=red", 400, "bad-parameter"),
    ],
)
async def test_lookup_refuses(served: Served, query: str, status: int, slug: str) -> None:
    response = await served.client().get(f"/CodeSystem/$lookup?{query}")
    assert (response.status_code, slugs(response)) == (status, [slug])


# codesystem-operation-subsumes.html


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        ("red", "red", "equivalent"),
        ("any", "sky", "subsumes"),
        ("sky", "any", "subsumed-by"),
        ("sky", "red", "not-subsumed"),
    ],
)
async def test_subsumes(served: Served, a: str, b: str, outcome: str) -> None:
    client = served.client()
    one = await client.get(f"/CodeSystem/$subsumes?system={COLOURS}&codeA={a}&codeB={b}")
    assert rows(one) == {"outcome": outcome}
    assert rows(await client.get(f"/CodeSystem/colours/$subsumes?codeA={a}&codeB={b}")) == {
        "outcome": outcome
    }
    codings = sent(codingA={"system": COLOURS, "code": a}, codingB={"system": COLOURS, "code": b})
    assert rows(await client.post("/CodeSystem/$subsumes", json=codings)) == {"outcome": outcome}


async def test_subsumes_refuses(served: Served) -> None:
    client = served.client()
    unknown = await client.get(f"/CodeSystem/$subsumes?system={COLOURS}&codeA=red&codeB=green")
    assert (unknown.status_code, slugs(unknown)) == (404, ["unknown-code"])
    codings = sent(codingA={"system": COLOURS, "code": "red"}, codingB={"system": GENDER, "code": "male"})
    two = await client.post("/CodeSystem/$subsumes", json=codings)
    assert (two.status_code, slugs(two)) == (400, ["two-systems"])


# codesystem-operation-validate-code.html


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (f"url={COLOURS}&code=red", True),
        (f"url={COLOURS}&code=red&display=Rouge", True),
        (f"url={COLOURS}&code=red&display=Bleu", False),
        (f"url={COLOURS}&code=green", False),
        (f"url={COLOURS}&code=any", True),
        (f"url={COLOURS}&code=any&abstract=false", False),
        ("url=http://unitsofmeasure.org&code=mm[Hg]", True),
        ("url=http://unitsofmeasure.org&code=mmHg", False),
    ],
)
async def test_validate_code_of_a_code_system(served: Served, query: str, result: bool) -> None:
    assert rows(await served.client().get(f"/CodeSystem/$validate-code?{query}"))["result"] is result


async def test_validate_code_of_an_instance_and_of_one_sent_along(served: Served) -> None:
    client = served.client()
    assert rows(await client.get("/CodeSystem/colours/$validate-code?code=sky"))["result"] is True
    along = sent(codeSystem={**COLOUR_SYSTEM, "concept": [{"code": "green"}]}, code="green")
    assert rows(await client.post("/CodeSystem/$validate-code", json=along))["result"] is True
    other = sent(url=COLOURS, coding={"system": GENDER, "code": "male"})
    assert rows(await client.post("/CodeSystem/$validate-code", json=other))["result"] is False


# valueset-operation-validate-code.html


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (f"url={WARM['url']}&system={COLOURS}&code=pink", {"result": True, "display": "Pink"}),
        (f"url={WARM['url']}&code=pink&display=PINK", {"result": True, "display": "Pink"}),
        (f"url={WARM['url']}&code=red&displayLanguage=fr", {"result": True, "display": "Rouge"}),
        (f"url={WARM['url']}&code=pink&display=Rose", {"result": False, "display": "Pink"}),
        (
            f"url={WARM['url']}&code=pink&display=Rose&lenient-display-validation=true",
            {"result": True, "display": "Pink"},
        ),
        (f"url={WARM['url']}&system={COLOURS}&code=sky", {"result": False}),
        (f"url={ALL}&code=any&abstract=false", {"result": False}),
        (f"url={ALL}&code=any", {"result": True}),
        (f"url={GENDERS}&code=male", {"result": True, "display": "Male"}),
        (
            "url=http://hl7.org/fhir/ValueSet/observation-codes&system=http://loinc.org&code=8867-4",
            {"result": False, "x-caused-by-unknown-system": "http://loinc.org"},
        ),
    ],
)
async def test_validate_code_of_a_value_set(served: Served, query: str, answer: dict[str, Any]) -> None:
    found = rows(await served.client().get(f"/ValueSet/$validate-code?{query}"))
    told = {name: found.get(name) for name in ("result", "display", "x-caused-by-unknown-system")}
    assert {name: value for name, value in told.items() if value is not None} == answer
    assert ("message" in found) is (not answer["result"] or "lenient" in query)


async def test_validate_codings_and_concepts(served: Served) -> None:
    client = served.client()
    coding = {"system": COLOURS, "code": "pink"}
    assert (
        rows(await client.post("/ValueSet/warm/$validate-code", json=sent(coding=coding)))["result"] is True
    )
    bare = sent(coding={"code": "pink"})
    assert rows(await client.post("/ValueSet/warm/$validate-code", json=bare))["result"] is False
    concept = {"coding": [{"system": COLOURS, "code": "sky"}, coding]}
    found = rows(await client.post("/ValueSet/warm/$validate-code", json=sent(codeableConcept=concept)))
    assert (found["result"], found["code"]) == (True, "pink")
    along = sent(valueSet=include(system=COLOURS, concept=[{"code": "sky"}]), code="sky", system=COLOURS)
    assert rows(await client.post("/ValueSet/$validate-code", json=along))["result"] is True


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (sent(url=ALL), 400, "no-code"),
        (sent(url=ALL, code="red", coding={"code": "red"}), 400, "no-code"),
        (sent(url=ALL, coding={"system": COLOURS}), 400, "bad-coding"),
        (sent(url=ALL, codeableConcept={"coding": []}), 400, "no-code"),
        (sent(code="red"), 400, "no-value-set"),
        (sent(url="https://example.org/none", code="red"), 404, "unknown-value-set"),
        (sent(valueSet={"resourceType": "ValueSet", "colour": 1}, code="red"), 422, "unknown-element"),
        (sent(valueSet={"resourceType": "Patient"}, code="red"), 422, "resource-type-mismatch"),
        (sent(url=ALL, code="red", abstract="perhaps"), 400, "bad-parameter"),
        (sent(url="x" * 6000, code="red"), 400, "too-long"),
    ],
)
async def test_validate_code_refuses(served: Served, body: dict[str, Any], status: int, slug: str) -> None:
    response = await served.client().post("/ValueSet/$validate-code", json=body)
    assert response.status_code == status, response.text
    assert slug in slugs(response)


# valueset-operation-expand.html


def codes(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [row["code"] for row in response.json()["expansion"].get("contains", [])]


@pytest.mark.parametrize(
    ("query", "found", "total"),
    [
        (f"url={WARM['url']}", ["red", "crimson", "pink", "mauve"], 4),
        (f"url={WARM['url']}&count=2&offset=1", ["crimson", "pink"], 4),
        (f"url={WARM['url']}&count=0", [], 4),
        (f"url={WARM['url']}&offset=9", [], 4),
        (f"url={ALL}&filter=blue", ["blue", "navy", "sky"], 3),
        (f"url={ALL}&filter=NAV bl", ["navy"], 1),
        (f"url={ALL}&filter=roug", ["red"], 1),
        (f"url={ALL}&filter=sepi&activeOnly=true", [], 0),
        (f"url={ALL}&filter=an&excludeNotForUI=true", [], 0),
        (f"url={ALL}&exclude-system={COLOURS}", [], 0),
        (f"url={GENDERS}&filter=fem", ["female"], 1),
        ("url=https://teledossier.example/fhir/ValueSet/workflow&filter=avis gen", ["avis-generique"], 1),
    ],
)
async def test_expand(served: Served, query: str, found: list[str], total: int) -> None:
    response = await served.client().get(f"/ValueSet/$expand?{query}")
    assert codes(response) == found
    assert response.json()["expansion"]["total"] == total


async def test_what_an_expansion_says(served: Served) -> None:
    client = served.client()
    query = "filter=re&displayLanguage=fr&includeDesignations=true&includeDefinition=true"
    body = (await client.get(f"/ValueSet/warm/$expand?{query}")).json()
    assert (body["url"], body["name"], body["id"]) == (WARM["url"], "Warm", "warm")
    assert body["compose"] == WARM["compose"]
    (row,) = body["expansion"]["contains"]
    assert row == {
        "system": COLOURS,
        "code": "red",
        "display": "Rouge",
        "designation": [{"language": "fr", "value": "Rouge"}],
    }
    assert {one["name"] for one in body["expansion"]["parameter"]} == {
        "filter",
        "displayLanguage",
        "includeDesignations",
    }
    whole = (await client.get(f"/ValueSet/$expand?url={ALL}")).json()["expansion"]["contains"]
    assert (whole[0]["abstract"], whole[-1]["inactive"]) == (True, True)


async def test_expand_one_sent_along(served: Served) -> None:
    client = served.client()
    resource = value_set(
        {
            "include": [{"valueSet": [WARM["url"]]}],
            "exclude": [{"system": COLOURS, "concept": [{"code": "red"}]}],
        }
    )
    for body in (resource, sent(valueSet=resource, count=2)):
        assert codes(await client.post("/ValueSet/$expand", json=body))[:2] == ["crimson", "pink"]


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("url=http://hl7.org/fhir/ValueSet/observation-codes", 422, "cannot-expand"),
        ("url=http://hl7.org/fhir/ValueSet/ucum-units", 422, "cannot-expand"),
        (f"url={ALL}&count=-1", 400, "bad-parameter"),
        (f"url={ALL}&count=10001", 422, "too-costly"),
        (f"url={ALL}&context=x", 400, "unknown-parameter"),
        ("url=https://example.org/none", 404, "unknown-value-set"),
        ("", 400, "no-value-set"),
    ],
)
async def test_expand_refuses(served: Served, query: str, status: int, slug: str) -> None:
    response = await served.client().get(f"/ValueSet/$expand?{query}")
    assert (response.status_code, slugs(response)) == (status, [slug])


async def test_who_may_not_read_value_sets_is_told_nothing(served: Served) -> None:
    client = served.client(Access("Client/x", (Scope("Patient", "cruds"),), None))
    for address in (f"/ValueSet/$expand?url={ALL}", f"/ValueSet/$validate-code?url={ALL}&code=red"):
        assert (await client.get(address)).status_code == 403
    assert (await client.get(f"/CodeSystem/$lookup?system={COLOURS}&code=red")).status_code == 403


async def test_an_update_is_known_at_once(served: Served) -> None:
    client = served.client()
    assert codes(await client.get(f"/ValueSet/$expand?url={WARM['url']}&filter=sky")) == []
    await served.system.update({**WARM, "compose": {"include": [{"system": COLOURS}]}})
    assert codes(await client.get(f"/ValueSet/$expand?url={WARM['url']}&filter=sky")) == ["sky"]


# search.html#modifiers, over what is stored


async def found(client: Any, query: str) -> set[str]:
    response = await client.get(f"/{query}")
    assert response.status_code == 200, response.text
    return {entry["resource"]["id"] for entry in response.json().get("entry", [])}


async def test_searches_by_value_sets_and_hierarchies(served: Served) -> None:
    client = served.client()
    for code in ("red", "pink", "sky", "navy"):
        coded = {"resourceType": "Observation", "id": code, "status": "final"}
        coded["code"] = {"coding": [{"system": COLOURS, "code": code}]}
        await served.system.update(coded)
    await served.system.update(
        {"resourceType": "Observation", "id": "none", "status": "final", "code": {"text": "Red"}}
    )
    assert await found(client, f"Observation?code:in={WARM['url']}") == {"red", "pink"}
    assert await found(client, "Observation?code:in=ValueSet/warm") == {"red", "pink"}
    assert await found(client, f"Observation?code:not-in={WARM['url']}") == {"sky", "navy", "none"}
    assert await found(client, f"Observation?code:below={COLOURS}|blue") == {"sky", "navy"}
    assert await found(client, f"Observation?code:above={COLOURS}|pink") == {"red", "pink"}
    await served.system.update(
        {**WARM, "compose": {"include": [{"system": COLOURS}], "exclude": WARM["compose"]["include"]}}
    )
    assert await found(client, f"Observation?code:in={WARM['url']}") == {"sky", "navy"}
    response = await client.get("/Observation?code:in=http://hl7.org/fhir/ValueSet/observation-codes")
    assert (response.status_code, slugs(response)) == (400, ["unknown-value-set"])


async def test_searches_through_places(served: Served) -> None:
    """Nine levels: eight steps down from the top reach all but the last."""
    client = served.client()
    for level in range(10):
        place = {"resourceType": "Location", "id": f"l{level}"}
        await served.system.update(
            {**place, "partOf": {"reference": f"Location/l{level - 1}"}} if level else place
        )
    assert await found(client, "Location?partof:below=l7") == {"l8", "l9"}
    assert await found(client, "Location?partof:below=l0") == {f"l{level}" for level in range(1, 10)}
    assert await found(client, "Location?partof:above=l1") == {"l1", "l2"}
