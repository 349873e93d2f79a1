"""Each rule of a profile: what keeps it passes, what breaks it is named at its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.profiles.schema.profile import element, judged, profile

Json = dict[str, Any]
LOINC = "http://loinc.org"


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient", **members}


def observation(**members: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **members}


CASES: dict[str, tuple[Json, Json, set[tuple[str, str]]]] = {
    "elementdefinition.html#min": (
        profile("Patient", element("Patient.name", min=1)),
        patient(),
        {("missing-element", "Patient.name")},
    ),
    "elementdefinition.html#min, kept": (
        profile("Patient", element("Patient.name", min=1)),
        patient(name=[{"family": "a"}]),
        set(),
    ),
    "elementdefinition.html#min, below": (
        profile("Patient", element("Patient.name.family", min=1)),
        patient(name=[{"family": "a"}, {"text": "b"}]),
        {("missing-element", "Patient.name[1].family")},
    ),
    "elementdefinition.html#min, by an extension alone": (
        profile("Patient", element("Patient.birthDate", min=1)),
        patient(
            _birthDate={
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                        "valueCode": "unknown",
                    }
                ]
            }
        ),
        set(),
    ),
    "elementdefinition.html#max": (
        profile("Patient", element("Patient.name", max="1")),
        patient(name=[{"family": "a"}, {"family": "b"}]),
        {("too-many", "Patient.name")},
    ),
    "elementdefinition.html#max, none": (
        profile("Patient", element("Patient.photo", max="0")),
        patient(photo=[{"url": "http://example.org/p"}]),
        {("too-many", "Patient.photo")},
    ),
    "elementdefinition.html#fixed": (
        profile("Patient", element("Patient.gender", fixedCode="female")),
        patient(gender="male"),
        {("not-fixed", "Patient.gender")},
    ),
    "elementdefinition.html#fixed, true is not 1": (
        profile("Patient", element("Patient.multipleBirth[x]", fixedInteger=1)),
        patient(multipleBirthBoolean=True),
        {("not-fixed", "Patient.multipleBirth.ofType(boolean)")},
    ),
    "elementdefinition.html#fixed, whole value": (
        profile("Patient", element("Patient.maritalStatus", fixedCodeableConcept={"text": "a"})),
        patient(maritalStatus={"text": "a", "coding": [{"code": "b"}]}),
        {("not-fixed", "Patient.maritalStatus")},
    ),
    "elementdefinition.html#pattern, more than it is allowed": (
        profile("Patient", element("Patient.maritalStatus", patternCodeableConcept={"text": "a"})),
        patient(maritalStatus={"text": "a", "coding": [{"code": "b"}]}),
        set(),
    ),
    "elementdefinition.html#pattern, in a list": (
        profile(
            "Observation",
            element(
                "Observation.code", patternCodeableConcept={"coding": [{"system": LOINC, "code": "1-1"}]}
            ),
        ),
        observation(code={"coding": [{"system": LOINC, "code": "2-2"}, {"system": "urn:x", "code": "1-1"}]}),
        {("not-pattern", "Observation.code")},
    ),
    "elementdefinition.html#minValue, a number": (
        profile("Patient", element("Patient.multipleBirth[x]", minValueInteger=1)),
        patient(multipleBirthInteger=0),
        {("out-of-range", "Patient.multipleBirth.ofType(integer)")},
    ),
    "elementdefinition.html#maxValue, a date": (
        profile("Patient", element("Patient.birthDate", maxValueDate="2020-01-01")),
        patient(birthDate="2020-01-02"),
        {("out-of-range", "Patient.birthDate")},
    ),
    "elementdefinition.html#maxValue, a less precise date is not judged": (
        profile("Patient", element("Patient.birthDate", maxValueDate="2020-01-01")),
        patient(birthDate="2020"),
        set(),
    ),
    "elementdefinition.html#maxLength": (
        profile("Patient", element("Patient.name.family", maxLength=3)),
        patient(name=[{"family": "abc"}, {"family": "abcd"}]),
        {("too-long", "Patient.name[1].family")},
    ),
    "elementdefinition.html#type, of a choice": (
        profile("Observation", element("Observation.value[x]", type=[{"code": "Quantity"}])),
        observation(valueString="a"),
        {("wrong-type", "Observation.value.ofType(string)")},
    ),
    "elementdefinition.html#type, a choice by its JSON name": (
        profile("Observation", element("Observation.valueQuantity", min=1)),
        observation(),
        {("missing-element", "Observation.value")},
    ),
    "elementdefinition.html#targetProfile": (
        profile(
            "Observation",
            element(
                "Observation.subject",
                type=[
                    {
                        "code": "Reference",
                        "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Patient"],
                    }
                ],
            ),
        ),
        observation(subject={"reference": "Group/1"}),
        {("wrong-target", "Observation.subject")},
    ),
    "elementdefinition.html#targetProfile, contained": (
        profile(
            "Observation",
            element(
                "Observation.performer",
                type=[
                    {
                        "code": "Reference",
                        "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Practitioner"],
                    }
                ],
            ),
        ),
        observation(
            contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
            performer=[{"reference": "#o"}, {"reference": "https://there.example/Practitioner/1"}],
        ),
        {("wrong-target", "Observation.performer[0]")},
    ),
    "conformance-rules.html#constraints": (
        profile(
            "Patient",
            element(
                "Patient.name",
                constraint=[
                    {"key": "x-1", "severity": "error", "human": "A family", "expression": "family.exists()"}
                ],
            ),
        ),
        patient(name=[{"text": "a"}]),
        {("invariant", "Patient.name[0]")},
    ),
    "conformance-rules.html#constraints, a warning is no error": (
        profile(
            "Patient",
            element(
                "Patient.name",
                constraint=[
                    {
                        "key": "x-1",
                        "severity": "warning",
                        "human": "A family",
                        "expression": "family.exists()",
                    }
                ],
            ),
        ),
        patient(name=[{"text": "a"}]),
        set(),
    ),
    "elementdefinition.html#contentReference": (
        profile("Questionnaire", element("Questionnaire.item.item.text", min=1)),
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string"}]}],
        },
        {("missing-element", "Questionnaire.item[0].item[0].text")},
    ),
    "profiling.html: of another type": (
        profile("Observation"),
        patient(),
        {("unsuited-profile", "Patient")},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    structure, resource, expected = CASES[name]
    assert judged(structure, resource) == expected


def test_a_profile_over_a_profile_keeps_both() -> None:
    base = profile("Patient", element("Patient.name", min=1), url="https://example.org/base")
    over = profile("Patient", element("Patient.gender", min=1), base="https://example.org/base")
    assert judged(over, patient(), base) == {
        ("missing-element", "Patient.name"),
        ("missing-element", "Patient.gender"),
    }


def test_a_type_profile_is_kept() -> None:
    name = profile("HumanName", element("HumanName.family", min=1), url="https://example.org/name")
    structure = profile(
        "Patient",
        element("Patient.name", type=[{"code": "HumanName", "profile": ["https://example.org/name"]}]),
    )
    assert judged(structure, patient(name=[{"text": "a"}]), name) == {
        ("missing-element", "Patient.name[0].family")
    }
    assert judged(structure, patient(name=[{"family": "a"}]), name) == set()
