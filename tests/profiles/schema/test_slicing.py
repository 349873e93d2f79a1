"""Slicing: by each discriminator, in each mode, and slices of slices."""

from __future__ import annotations

from typing import Any

import pytest

from tests.profiles.schema.profile import element, judged, profile

Json = dict[str, Any]
A, B = {"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}
OTHER = {"system": "urn:other", "value": "3"}


def patient(*identifiers: Json, **members: Any) -> Json:
    return {"resourceType": "Patient", **({"identifier": [*identifiers]} if identifiers else {}), **members}


def by_system(rules: str = "open", *, ordered: bool = False, **first: Any) -> Json:
    """Identifiers in the slices a and b."""
    slicing = {"discriminator": [{"type": "value", "path": "system"}], "rules": rules, "ordered": ordered}
    return profile(
        "Patient",
        element("Patient.identifier", slicing=slicing),
        element("Patient.identifier:a", **first),
        element("Patient.identifier:a.system", min=1, fixedUri="urn:a"),
        element("Patient.identifier:b"),
        element("Patient.identifier:b.system", min=1, patternUri="urn:b"),
        element("Patient.identifier:b.value", maxLength=1),
    )


CASES: dict[str, tuple[Json, Json, set[tuple[str, str]]]] = {
    "open": (by_system(), patient(A, OTHER, B), set()),
    "closed": (by_system("closed"), patient(A, OTHER, B), {("closed-slicing", "Patient.identifier[1]")}),
    "openAtEnd": (by_system("openAtEnd"), patient(A, OTHER, B), {("slice-order", "Patient.identifier[2]")}),
    "openAtEnd, kept": (by_system("openAtEnd"), patient(B, A, OTHER), set()),
    "ordered": (by_system(ordered=True), patient(B, A), {("slice-order", "Patient.identifier[1]")}),
    "ordered, kept": (by_system(ordered=True), patient(A, OTHER, B), set()),
    "a slice's min": (by_system(min=1), patient(B), {("missing-element", "Patient.identifier")}),
    "a slice's min, no items at all": (
        by_system(min=1),
        patient(),
        {("missing-element", "Patient.identifier")},
    ),
    "a slice's max": (by_system(max="1"), patient(A, A, B), {("too-many", "Patient.identifier")}),
    "a slice's own rules": (
        by_system(),
        patient({**A, "value": "long"}, {**B, "value": "long"}),
        {("too-long", "Patient.identifier[1].value")},
    ),
    "by type": (
        profile(
            "Observation",
            element(
                "Observation.value[x]",
                slicing={"discriminator": [{"type": "type", "path": "$this"}], "rules": "closed"},
            ),
            element("Observation.value[x]:valueQuantity", type=[{"code": "Quantity"}]),
            element("Observation.value[x]:valueQuantity.unit", min=1),
        ),
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueQuantity": {"value": 1},
        },
        {("missing-element", "Observation.value.ofType(Quantity).unit")},
    ),
    "by exists": (
        profile(
            "Patient",
            element(
                "Patient.name",
                slicing={"discriminator": [{"type": "exists", "path": "family"}], "rules": "open"},
            ),
            element("Patient.name:with"),
            element("Patient.name:with.family", min=1),
            element("Patient.name:with.given", min=1),
            element("Patient.name:without"),
            element("Patient.name:without.family", max="0"),
            element("Patient.name:without.text", min=1),
        ),
        patient(name=[{"family": "a"}, {"use": "usual"}, {"family": "b", "given": ["c"]}, {"text": "d"}]),
        {("missing-element", "Patient.name[0].given"), ("missing-element", "Patient.name[1].text")},
    ),
    "by pattern": (
        profile(
            "Observation",
            element(
                "Observation.category",
                slicing={"discriminator": [{"type": "pattern", "path": "$this"}], "rules": "open"},
            ),
            element(
                "Observation.category:lab",
                min=1,
                patternCodeableConcept={"coding": [{"system": "urn:c", "code": "lab"}]},
            ),
        ),
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "category": [{"coding": [{"system": "urn:c", "code": "other"}]}],
        },
        {("missing-element", "Observation.category")},
    ),
    "by the profile of what is referred to": (
        profile(
            "Observation",
            element(
                "Observation.performer",
                slicing={"discriminator": [{"type": "type", "path": "resolve()"}], "rules": "open"},
            ),
            element(
                "Observation.performer:doctor",
                min=1,
                type=[
                    {
                        "code": "Reference",
                        "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Practitioner"],
                    }
                ],
            ),
        ),
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "contained": [{"resourceType": "Organization", "id": "o", "name": "x"}],
            "performer": [{"reference": "#o"}],
        },
        {("missing-element", "Observation.performer")},
    ),
    "re-slicing": (
        profile(
            "Patient",
            element(
                "Patient.identifier",
                slicing={"discriminator": [{"type": "value", "path": "system"}], "rules": "open"},
            ),
            element(
                "Patient.identifier:a",
                slicing={"discriminator": [{"type": "value", "path": "use"}], "rules": "closed"},
            ),
            element("Patient.identifier:a.system", min=1, fixedUri="urn:a"),
            element("Patient.identifier:a/usual", max="1"),
            element("Patient.identifier:a/usual.use", min=1, fixedCode="usual"),
        ),
        patient({**A, "use": "usual"}, {**A, "use": "old"}, OTHER),
        {("closed-slicing", "Patient.identifier[1]")},
    ),
    "an extension by its URL": (
        profile(
            "Patient",
            element(
                "Patient.extension:place",
                min=1,
                type=[
                    {
                        "code": "Extension",
                        "profile": ["http://hl7.org/fhir/StructureDefinition/patient-birthPlace"],
                    }
                ],
            ),
        ),
        patient(
            extension=[
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                    "valueString": "x",
                }
            ]
        ),
        {("missing-element", "Patient.extension")},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_slicing(name: str) -> None:
    structure, resource, expected = CASES[name]
    assert judged(structure, resource) == expected


def test_a_discriminator_that_fixes_nothing_is_a_warning() -> None:
    from tests.profiles.schema.profile import found, over

    structure = profile(
        "Patient",
        element(
            "Patient.identifier",
            slicing={"discriminator": [{"type": "value", "path": "value"}], "rules": "closed"},
        ),
        element("Patient.identifier:a", min=1),
    )
    issues = over(structure).validate(patient(A), profiles=[structure["url"]])
    assert found(issues, "error", "warning") == {("not-judged", "Patient.identifier")}
