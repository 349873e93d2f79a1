"""Whatever is sent, validation finds faults and raises nothing; profiles from outside are no less hostile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profiles.outcomes import Issue
from profiles.schema.packages import standard
from profiles.validation import validator
from terminology import service
from tests.profiles.examples import ALL
from tests.profiles.mutating import mutated
from tests.profiles.schema.profile import URL, element, profile

Json = dict[str, Any]
FR = "https://hl7.fr/ig/fhir/core/StructureDefinition"
CORE = "http://hl7.org/fhir/StructureDefinition"
PROFILES = [f"{FR}/fr-core-patient-ins", f"{FR}/fr-core-practitioner", f"{CORE}/vitalsigns", f"{CORE}/bp"]
JUDGE = replace(validator(codes=service.standard()), strict=True)
ANSWERS: Json = {
    "resourceType": "QuestionnaireResponse",
    "questionnaire": "#q",
    "contained": [
        {
            "resourceType": "Questionnaire",
            "id": "q",
            "status": "active",
            "item": [
                {
                    "linkId": "1",
                    "type": "group",
                    "item": [{"linkId": "1.1", "type": "string", "required": True}],
                },
                {"linkId": "2", "type": "choice", "answerOption": [{"valueString": "a"}]},
            ],
        }
    ],
    "status": "completed",
    "item": [
        {"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"valueString": "x"}]}]},
        {"linkId": "2", "answer": [{"valueString": "a"}]},
    ],
}
DEFINITION = profile(
    "Patient",
    element("Patient.name", min=1, max="2"),
    element(
        "Patient.identifier",
        slicing={"discriminator": [{"type": "value", "path": "system"}], "rules": "open"},
    ),
    element("Patient.identifier:a", min=1, patternIdentifier={"system": "urn:a"}),
    element("Patient.birthDate", maxValueDate="2020", binding={"strength": "required", "valueSet": "urn:v"}),
    element(
        "Patient.contact.name",
        constraint=[{"key": "x", "severity": "error", "human": "h", "expression": "family.exists()"}],
    ),
)


@given(st.sampled_from([*ALL, ANSWERS, DEFINITION]).flatmap(mutated), st.sampled_from([(), *PROFILES]))
def test_no_resource_raises(resource: Json, url: Any) -> None:
    issues = JUDGE.validate(resource, profiles=[url] if url else ())
    assert all(isinstance(issue, Issue) and issue.diagnostics for issue in issues)


@given(mutated(DEFINITION), st.sampled_from(ALL))
def test_no_profile_raises(structure: Json, resource: Json) -> None:
    judge = validator(standard().with_resources([{**structure, "url": URL}]))
    issues = judge.validate(resource, profiles=[URL])
    assert all(isinstance(issue, Issue) for issue in issues)
