"""$validate over HTTP, and validation of what is written. FHIR R4 resource-operation-validate.html"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.access import Access, Scope
from profiles.schema.rules.identifier import TEST_SYSTEMS
from profiles.validation import validator
from tests.profiles.schema.profile import element, profile
from tests.rest.serving import Served, make_engine, serve

Json = dict[str, Any]
VITAL_SIGNS = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
PATIENT = {"resourceType": "Patient", "name": [{"family": "Fictif"}]}


def problems(outcome: Json) -> set[tuple[str, str]]:
    """(slug, place) of the errors."""
    assert outcome["resourceType"] == "OperationOutcome"
    return {
        (issue["details"]["coding"][0]["code"], issue.get("expression", [""])[0])
        for issue in outcome["issue"]
        if issue["severity"] in ("error", "fatal")
    }


def parameters(resource: Json | None = None, **named: str) -> Json:
    rows: list[Json] = [{"name": "resource", "resource": resource}] if resource else []
    kinds = {"mode": "valueCode", "profile": "valueUri"}
    rows += [{"name": name, kinds[name]: value} for name, value in named.items()]
    return {"resourceType": "Parameters", "parameter": rows}


CASES: dict[str, tuple[str, Json, set[tuple[str, str]]]] = {
    "a bare resource": ("Patient/$validate", PATIENT, set()),
    "as Parameters": ("Patient/$validate", parameters(PATIENT), set()),
    "every fault": (
        "Patient/$validate",
        {**PATIENT, "gendre": "male", "birthDate": "1950-13"},
        {("unknown-element", "Patient"), ("bad-format", "Patient.birthDate")},
    ),
    "of another type": (
        "Patient/$validate",
        {"resourceType": "Observation"},
        {("resource-type-mismatch", "Patient.resourceType")},
    ),
    "an invariant of R4": (
        "Patient/$validate",
        {**PATIENT, "contact": [{"gender": "male"}]},
        {("invariant", "Patient.contact[0]")},
    ),
    "an unknown extension": (
        "Patient/$validate",
        {**PATIENT, "extension": [{"url": "https://nobody.example/e", "valueCode": "x"}]},
        {("unknown-extension", "Patient.extension[0]")},
    ),
    "a profile by parameter": (
        "Observation/$validate",
        parameters(
            {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}, profile=VITAL_SIGNS
        ),
        {
            ("missing-element", "Observation.category"),
            ("missing-element", "Observation.subject"),
            ("missing-element", "Observation.effective"),
            ("invariant", "Observation"),
        },
    ),
    "a profile by the address": (
        f"Patient/$validate?profile={VITAL_SIGNS}",
        PATIENT,
        {("unsuited-profile", "Patient")},
    ),
    "a profile that nobody knows": (
        "Patient/$validate?profile=https://nobody.example/p",
        PATIENT,
        {("unknown-profile", "Patient")},
    ),
    "a declared profile": (
        "Patient/$validate",
        {**PATIENT, "meta": {"profile": [VITAL_SIGNS]}},
        {("unsuited-profile", "Patient")},
    ),
    "a Parameters by itself": ("Parameters/$validate", {"resourceType": "Parameters"}, set()),
    "create": ("Patient/$validate?mode=create", PATIENT, set()),
    "update without an id": ("Patient/$validate?mode=update", PATIENT, {("no-id", "Patient.id")}),
    "update": ("Patient/$validate?mode=update", {**PATIENT, "id": "a"}, set()),
}


@pytest.mark.parametrize("name", CASES)
async def test_validate_a_type(served: Served, name: str) -> None:
    address, body, expected = CASES[name]
    answer = await served.client().post(address, json=body)
    assert answer.status_code == 200, answer.text
    assert problems(answer.json()) == expected


REFUSED: dict[str, tuple[str, Json]] = {
    "no-resource": ("Patient/$validate", parameters()),
    "bad-mode": ("Patient/$validate?mode=look", PATIENT),
    "no-profile": ("Patient/$validate?mode=profile", PATIENT),
    "no-instance": ("Patient/$validate?mode=delete", PATIENT),
    "unknown-parameter": ("Patient/$validate?profil=x", PATIENT),
}


@pytest.mark.parametrize("slug", REFUSED)
async def test_parameters_that_do_not_fit(served: Served, slug: str) -> None:
    address, body = REFUSED[slug]
    answer = await served.client().post(address, json=body)
    assert answer.status_code == 400
    assert {found for found, _place in problems(answer.json())} == {slug}


async def test_validate_an_instance(served: Served) -> None:
    client = served.client()
    made = (await client.post("Patient", json=PATIENT)).json()
    address = f"Patient/{made['id']}/$validate"
    assert problems((await client.get(address)).json()) == set()
    assert problems((await client.post(address, json=made)).json()) == set()
    assert problems((await client.post(address, json=PATIENT)).json()) == {("wrong-id", "Patient.id")}
    assert problems((await client.get(f"{address}?mode=delete")).json()) == set()
    assert (await client.get("Patient/unknown/$validate")).status_code == 404
    reader = served.client(Access("Client/reader", (Scope("*", "r"),), None))
    assert problems((await reader.get(f"{address}?mode=delete")).json()) == {("scope", "")}
    assert problems((await reader.post(f"{address}?mode=update", json=made)).json()) == {("scope", "")}
    assert (await client.get(f"Patient/{made['id']}")).json() == made


async def test_validation_stores_nothing(served: Served) -> None:
    client = served.client()
    await client.post("Patient/$validate?mode=create", json=PATIENT)
    await client.post("Binary/$validate?mode=create", json={"resourceType": "Binary", "contentType": "a/b"})
    assert (await client.get("Patient?_summary=count")).json()["total"] == 0
    assert not list(served.engine.settings.files_path.rglob("*"))


async def test_in_a_batch(served: Served) -> None:
    entries = [
        {"request": {"method": "POST", "url": "Patient/$validate"}, "resource": body}
        for body in ({**PATIENT, "gendre": "x"}, parameters(PATIENT, mode="create"))
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = (await served.client().post("", json=bundle)).json()
    assert [problems(entry["resource"]) for entry in answer["entry"]] == [
        {("unknown-element", "Patient")},
        set(),
    ]


async def test_a_write_is_refused_with_every_issue(served: Served) -> None:
    wrong = {
        **PATIENT,
        "meta": {"profile": [VITAL_SIGNS]},
        "contact": [{"gender": "male"}],
        "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10101201234"}],
    }
    answer = await served.client().post("Patient", json=wrong)
    assert answer.status_code == 422
    assert problems(answer.json()) == {
        ("invariant", "Patient.contact[0]"),
        ("bad-key", "Patient.identifier[0].value"),
        ("unsuited-profile", "Patient"),
    }


async def test_a_write_takes_what_is_not_known(served: Served) -> None:
    """Extensions and profiles of others are kept: a write is no place to refuse what one does not know."""
    resource = {
        **PATIENT,
        "meta": {"profile": ["https://nobody.example/p"]},
        "extension": [{"url": "https://nobody.example/e", "valueCode": "x"}],
    }
    assert (await served.client().post("Patient", json=resource)).status_code == 201


async def test_production_refuses_test_identities(tmp_path: Any, store: Any) -> None:
    served = serve(make_engine(tmp_path, store, validator=validator(refused_systems=TEST_SYSTEMS)))
    demo = {"system": "urn:oid:1.2.250.1.213.1.4.11", "value": "153053299010337"}
    answer = await served.client().post("Patient", json={**PATIENT, "identifier": [demo]})
    assert answer.status_code == 422
    assert problems(answer.json()) == {("test-identity", "Patient.identifier[0].system")}


async def test_lines_and_columns(served: Served) -> None:
    """For a refused write, for $validate of a bare resource, and of one within Parameters."""
    body = '{"resourceType": "Patient",\n "birthDate": "1950-13"}'
    wrapped = '{"resourceType": "Parameters", "parameter": [{"name": "resource", "resource":\n' + body + "}]}"
    headers = {"content-type": "application/fhir+json"}
    client = served.client()
    for address, text, line in (
        ("Patient", body, 2),
        ("Patient/$validate", body, 2),
        ("Patient/$validate", wrapped, 3),
    ):
        (issue,) = (await client.post(address, content=text, headers=headers)).json()["issue"]
        assert issue["diagnostics"].endswith(f"(line {line}, column 2)")
        assert {one["url"].rpartition("-")[2]: one["valueInteger"] for one in issue["extension"]} == {
            "line": line,
            "col": 2,
        }
        assert issue["details"]["text"].startswith("Patient.birthDate : ")


async def test_a_stored_profile_is_judged_by(served: Served) -> None:
    """From the moment it is stored until it is deleted; the standard's own definitions are not taken over."""
    client = served.client()
    strict = profile("Patient", element("Patient.gender", min=1), url="https://example.org/strict")
    taken = profile(
        "Patient", element("Patient.gender", min=1), url="http://hl7.org/fhir/StructureDefinition/bmi"
    )
    declared = {**PATIENT, "meta": {"profile": [strict["url"]]}}
    assert (await client.post("Patient", json=declared)).status_code == 201
    stored = await client.post("StructureDefinition", json=strict)
    assert stored.status_code == 201
    answer = await client.post("Patient", json=declared)
    assert (answer.status_code, problems(answer.json())) == (422, {("missing-element", "Patient.gender")})
    asked = await client.post(f"Patient/$validate?profile={strict['url']}", json=PATIENT)
    assert problems(asked.json()) == {("missing-element", "Patient.gender")}
    assert (await client.post("StructureDefinition", json=taken)).status_code == 201
    asked = await client.post(f"Patient/$validate?profile={taken['url']}", json=PATIENT)
    assert problems(asked.json()) == {("unsuited-profile", "Patient")}
    await client.delete(f"StructureDefinition/{stored.json()['id']}")
    assert (await client.post("Patient", json=declared)).status_code == 201
