"""What R4's own definitions ask beyond structure: extensions, identifiers, codes, bundles, questionnaires,
definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from profiles.validation import Validator, validator
from terminology import service
from tests.profiles.schema.profile import element, found, over, profile

Json = dict[str, Any]
CORE = "http://hl7.org/fhir/StructureDefinition"
UUID = "urn:uuid:00000000-0000-4000-8000-00000000000"


@pytest.fixture(scope="module")
def strict() -> Validator:
    return replace(validator(codes=service.standard()), strict=True)


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient", **members}


def identified(system: str, value: str) -> Json:
    return patient(identifier=[{"system": system, "value": value}])


def coded(**coding: Any) -> Json:
    return patient(maritalStatus={"coding": [coding]})


def entry(kind: str, number: int, /, **members: Any) -> Json:
    return {"fullUrl": f"{UUID}{number}", "resource": {"resourceType": kind, **members}}


def bundle(type: str, *entries: Json, **members: Any) -> Json:
    return {"resourceType": "Bundle", "type": type, **members, "entry": [*entries]}


def document(*entries: Json, **composition: Any) -> Json:
    head = {
        "status": "final",
        "type": {"text": "t"},
        "date": "2024",
        "author": [{"display": "a"}],
        "title": "T",
        **composition,
    }
    return bundle(
        "document",
        entry("Composition", 1, **head),
        *entries,
        identifier={"system": "urn:ietf:rfc:3986", "value": f"{UUID}9"},
        timestamp="2024-01-01T00:00:00Z",
    )


QUESTIONS = [
    {"linkId": "1", "type": "string", "required": True},
    {"linkId": "2", "type": "group", "item": [{"linkId": "2.1", "type": "integer"}]},
    {"linkId": "3", "type": "choice", "repeats": True},
]


def answers(*items: Json, status: str = "completed", asked: list[Json] | None = None) -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "status": status,
        "questionnaire": "#q",
        "contained": [
            {"resourceType": "Questionnaire", "id": "q", "status": "active", "item": asked or QUESTIONS}
        ],
        "item": [*items],
    }


def answer(link: str, *values: Json, **members: Any) -> Json:
    return {"linkId": link, **({"answer": [*values]} if values else {}), **members}


ONE = answer("1", {"valueString": "a"})
CASES: dict[str, tuple[Json, set[tuple[str, str]]]] = {
    # extensibility.html; defining-extensions.html#context
    "a known extension": (
        patient(extension=[{"url": f"{CORE}/patient-mothersMaidenName", "valueString": "x"}]),
        set(),
    ),
    "an unknown extension": (
        patient(extension=[{"url": "https://nobody.example/e", "valueString": "x"}]),
        {("unknown-extension", "Patient.extension[0]")},
    ),
    "an extension in the wrong place": (
        patient(name=[{"extension": [{"url": f"{CORE}/patient-mothersMaidenName", "valueString": "x"}]}]),
        {("extension-context", "Patient.name[0].extension[0]")},
    ),
    "an extension of the wrong type": (
        patient(extension=[{"url": f"{CORE}/patient-mothersMaidenName", "valueBoolean": True}]),
        {("wrong-type", "Patient.extension[0].value.ofType(boolean)")},
    ),
    "a modifier among the others": (
        patient(modifierExtension=[{"url": f"{CORE}/patient-mothersMaidenName", "valueString": "x"}]),
        {("extension-modifier", "Patient.modifierExtension[0]")},
    ),
    "an extension of a primitive": (
        patient(
            birthDate="2020-01-01",
            _birthDate={
                "extension": [{"url": f"{CORE}/patient-birthTime", "valueDateTime": "2020-01-01T01:00:00Z"}]
            },
        ),
        set(),
    ),
    "an unknown extension of a primitive": (
        patient(
            birthDate="2020-01-01",
            _birthDate={"extension": [{"url": "https://nobody.example/e", "valueString": "x"}]},
        ),
        {("unknown-extension", "Patient.birthDate.extension[0]")},
    ),
    "a version in an extension's URL": (
        patient(extension=[{"url": f"{CORE}/patient-mothersMaidenName|4.0.1", "valueString": "x"}]),
        {("versioned-extension", "Patient.extension[0]")},
    ),
    # identity: STANDARDS of the ANS
    "a sound INS": (identified("urn:oid:1.2.250.1.213.1.4.8", "253072B07300470"), set()),
    "an INS with a wrong key": (
        identified("urn:oid:1.2.250.1.213.1.4.8", "123456789012244"),
        {("bad-key", "Patient.identifier[0].value")},
    ),
    "a Corsican FINESS": (identified("https://finess.esante.gouv.fr", "2B0000020"), set()),
    "a FINESS with a wrong key": (
        identified("https://finess.esante.gouv.fr", "310781407"),
        {("bad-key", "Patient.identifier[0].value")},
    ),
    "an RPPS with a wrong key": (
        identified("https://rpps.esante.gouv.fr", "10101201234"),
        {("bad-key", "Patient.identifier[0].value")},
    ),
    "an idNatPS of the RPPS with a wrong key": (
        identified("urn:oid:1.2.250.1.71.4.2.1", "810101201234"),
        {("bad-key", "Patient.identifier[0].value")},
    ),
    "an idNatPS of another kind": (identified("urn:oid:1.2.250.1.71.4.2.1", "0112345678"), set()),
    "an identifier that is a URI": (identified("urn:ietf:rfc:3986", "urn:oid:1.2.3"), set()),
    "an identifier that should be a URI": (
        identified("urn:ietf:rfc:3986", "1.2.3"),
        {("not-a-uri", "Patient.identifier[0].value")},
    ),
    "a relative system": (identified("ipp", "1"), {("relative-system", "Patient.identifier[0].system")}),
    # datatypes.html#Coding
    "a code of its system": (
        coded(system="http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", code="M"),
        set(),
    ),
    "a code that its system has not": (
        coded(system="http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", code="Q"),
        {("unknown-code", "Patient.maritalStatus.coding[0].code")},
    ),
    "a code of a system that is not loaded": (coded(system="http://snomed.info/sct", code="1"), set()),
    "a relative code system": (
        coded(system="codes", code="1"),
        {("relative-system", "Patient.maritalStatus.coding[0].system")},
    ),
    "a value set for a code system": (
        coded(system="http://hl7.org/fhir/ValueSet/marital-status", code="M"),
        {("system-is-value-set", "Patient.maritalStatus.coding[0].system")},
    ),
    # datatypes.html#Quantity
    "no unit of UCUM": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueQuantity": {"value": 1, "system": "http://unitsofmeasure.org", "code": "tablet"},
        },
        {("bad-unit", "Observation.value.ofType(Quantity).code")},
    ),
    "a comparator where a simple quantity is meant": (
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "referenceRange": [{"low": {"value": 1, "comparator": "<"}}],
        },
        {("invariant", "Observation.referenceRange[0].low")},
    ),
    # datatypes.html#code: languages are of BCP 47
    "a language": (patient(language="gsw-CH"), set()),
    "no language": (patient(language="français"), {("bad-code", "Patient.language")}),
    # observation-vitalsigns.html
    "a heart rate that is no vital sign": (
        {
            "resourceType": "Observation",
            "status": "final",
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                            "code": "vital-signs",
                        }
                    ]
                }
            ],
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            "subject": {"reference": "Patient/1"},
            "valueQuantity": {"value": 60, "unit": "/min"},
        },
        {
            ("missing-element", "Observation.effective"),
            ("missing-element", "Observation.value.ofType(Quantity).system"),
            ("missing-element", "Observation.value.ofType(Quantity).code"),
        },
    ),
    # element.html#id; references.html
    "an id twice": (
        patient(name=[{"id": "a", "family": "x"}], telecom=[{"id": "a", "system": "phone", "value": "1"}]),
        {("repeated-id", "Patient.telecom[0].id")},
    ),
    "an id twice, in different resources": (
        patient(
            name=[{"id": "a", "family": "x"}],
            contained=[
                {
                    "resourceType": "Organization",
                    "id": "o",
                    "name": "x",
                    "contact": [{"id": "a", "name": {"text": "x"}}],
                }
            ],
            managingOrganization={"reference": "#o"},
        ),
        set(),
    ),
    "a reference to another type": (
        patient(managingOrganization={"reference": "Organization/1", "type": "Location"}),
        {("other-type", "Patient.managingOrganization.type")},
    ),
    # conformance-rules.html#constraints
    "an invariant of a type": (
        patient(telecom=[{"value": "1"}]),
        {("invariant", "Patient.telecom[0]")},
    ),
    "an invariant that is empty": (
        {
            "resourceType": "Encounter",
            "status": "planned",
            "class": {"code": "AMB"},
            "period": {"start": "2023-06-21", "end": "2023-06-21T06:20:00Z"},
        },
        {("invariant", "Encounter.period")},
    ),
    # bundle.html
    "a relative fullUrl": (
        bundle("collection", {"fullUrl": "Patient/1", "resource": patient(id="1")}),
        {("relative-full-url", "Bundle.entry[0].fullUrl")},
    ),
    "a fullUrl of another id": (
        bundle("collection", {"fullUrl": "https://x.example/Patient/2", "resource": patient(id="1")}),
        {("full-url-id", "Bundle.entry[0].fullUrl")},
    ),
    "a document without its Composition": (
        {**document(), "entry": [entry("Patient", 1)]},
        {("no-composition", "Bundle.entry[0]"), ("invariant", "Bundle")},
    ),
    "a document with all it refers to": (
        document(entry("Patient", 2), subject={"reference": f"{UUID}2"}),
        set(),
    ),
    "a document that lacks its subject": (
        document(subject={"reference": f"{UUID}2"}),
        {
            ("outside-the-document", "Bundle.entry[0].resource.subject"),
            ("not-in-bundle", "Bundle.entry[0].resource.subject.reference"),
        },
    ),
    "a document with what nothing leads to": (
        document(entry("Patient", 2)),
        {("unreached-entry", "Bundle.entry[1]")},
    ),
    "a document with what leads to its Composition": (
        document(
            entry(
                "Provenance",
                2,
                target=[{"reference": f"{UUID}1"}],
                recorded="2024-01-01T00:00:00Z",
                agent=[{"who": {"display": "a"}}],
            )
        ),
        set(),
    ),
    "a message without its header": (
        bundle("message", entry("Patient", 1)),
        {("no-message-header", "Bundle.entry[0]"), ("invariant", "Bundle")},
    ),
    "a message that lacks its focus": (
        bundle(
            "message",
            entry(
                "MessageHeader",
                1,
                eventUri="urn:e",
                source={"endpoint": "urn:s"},
                focus=[{"reference": "Patient/1"}],
            ),
        ),
        {("outside-the-message", "Bundle.entry[0].resource.focus[0]")},
    ),
    "a search result without id": (
        bundle("searchset", {"resource": patient(), "search": {"mode": "match"}}),
        {("result-without-id", "Bundle.entry[0].resource")},
    ),
    # questionnaireresponse.html#link
    "all that is asked": (answers(ONE), set()),
    "a required answer is missing": (
        answers(answer("3", {"valueString": "a"}, {"valueString": "b"})),
        {("unanswered", "QuestionnaireResponse")},
    ),
    "a required answer is missing as yet": (
        answers(answer("3", {"valueString": "a"}), status="in-progress"),
        set(),
    ),
    "an item that is not asked": (
        answers(ONE, answer("4", {"valueString": "a"})),
        {("unknown-link-id", "QuestionnaireResponse.item[1]")},
    ),
    "an answer of another type": (
        answers(ONE, answer("2", item=[answer("2.1", {"valueString": "a"})])),
        {("wrong-answer-type", "QuestionnaireResponse.item[1].item[0].answer[0]")},
    ),
    "two answers to one question": (
        answers(answer("1", {"valueString": "a"}, {"valueString": "b"})),
        {("several-answers", "QuestionnaireResponse.item[0]")},
    ),
    "answers out of order": (
        answers(answer("3", {"valueString": "a"}), ONE),
        {("out-of-order", "QuestionnaireResponse.item[1]")},
    ),
    "a group that is answered": (
        answers(ONE, answer("2", {"valueString": "a"})),
        {("not-a-question", "QuestionnaireResponse.item[1]")},
    ),
    "a questionnaire that is none": (
        {
            "resourceType": "QuestionnaireResponse",
            "status": "completed",
            "questionnaire": "http://example.org/ValueSet/x",
        },
        {("not-a-questionnaire", "QuestionnaireResponse.questionnaire")},
    ),
    "a condition on a question that is not there": (
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [
                {
                    "linkId": "1",
                    "type": "string",
                    "enableWhen": [{"question": "9", "operator": "exists", "answerBoolean": True}],
                }
            ],
        },
        {("unknown-question", "Questionnaire.item[0].enableWhen[0].question")},
    ),
    # structuredefinition.html; codesystem.html; valueset.html
    "a profile": (profile("Patient", element("Patient.name", min=1)), set()),
    "an element that the base has not": (
        profile("Patient", element("Patient.colour", min=1)),
        {("bad-differential", "StructureDefinition.differential")},
    ),
    "a cardinality wider than the base's": (
        profile("Patient", element("Patient.gender", max="2")),
        {("bad-differential", "StructureDefinition.differential")},
    ),
    "a type that the base does not allow": (
        profile("Patient", element("Patient.gender", type=[{"code": "Quantity"}])),
        {("bad-differential", "StructureDefinition.differential")},
    ),
    "a profile of another type than its base": (
        profile("Patient", base=f"{CORE}/Observation"),
        {("other-type", "StructureDefinition.type")},
    ),
    "an invariant that is no FHIRPath": (
        profile(
            "Patient",
            element(
                "Patient.name",
                constraint=[{"key": "x-1", "severity": "error", "human": "h", "expression": "family ="}],
            ),
        ),
        {("bad-expression", "StructureDefinition.differential.element[1].constraint[0].expression")},
    ),
    "a property that the code system does not define": (
        {
            "resourceType": "CodeSystem",
            "status": "draft",
            "content": "complete",
            "concept": [{"code": "a", "property": [{"code": "colour", "valueString": "red"}]}],
        },
        {("undefined-property", "CodeSystem.concept[0].property[0]")},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_case(strict: Validator, name: str) -> None:
    resource, expected = CASES[name]
    assert found(strict.validate(resource)) == expected


def test_an_extension_of_an_extension() -> None:
    """defining-extensions.html#context: of type extension, the URL of the one that holds it."""
    outer = profile(
        "Extension", url="https://example.org/outer", context=[{"type": "element", "expression": "Patient"}]
    )
    inner = profile(
        "Extension",
        url="https://example.org/inner",
        context=[{"type": "extension", "expression": "https://example.org/outer"}],
    )
    judge = over(outer, inner)
    one = {"url": "https://example.org/inner", "valueString": "x"}
    held = patient(extension=[{"url": "https://example.org/outer", "extension": [one]}])
    assert found(judge.validate(held)) == set()
    assert found(judge.validate(patient(extension=[one]))) == {("extension-context", "Patient.extension[0]")}


def test_every_finding_speaks_both_languages(strict: Validator) -> None:
    for resource, _expected in CASES.values():
        for issue in strict.validate(resource):
            assert issue.text, issue.diagnostics


def test_a_definition_that_is_judged_changes_no_other(strict: Validator) -> None:
    """The differential is laid over a copy of its base."""
    before = strict.validate(patient(meta={"profile": [f"{CORE}/Patient"]}))
    strict.validate(profile("Patient", element("Patient.name", min=1), element("Patient.photo", min=1)))
    other = profile("Patient", element("Patient.gender", min=1), url="https://example.org/other")
    judge = replace(strict, profiles=validator(strict.profiles.packages.with_resources([other])).profiles)
    assert found(judge.validate(patient(), profiles=[other["url"]])) == {
        ("missing-element", "Patient.gender")
    }
    assert strict.validate(patient(meta={"profile": [f"{CORE}/Patient"]})) == before
