"""The questions of terminology-service.html over what is built in and over a small system of our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.codes import CodeChecker, Coding, Verdict
from terminology.service import standard
from tests.terminology.making import COLOURS, terminology

T = terminology()
HL7 = "http://hl7.org/fhir/ValueSet/"
V3 = "http://terminology.hl7.org/ValueSet/v3-"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
FR = "https://hl7.fr/ig/fhir/core/ValueSet/fr-core-vs-"
OURS = "https://teledossier.example/fhir/CodeSystem/"


@pytest.mark.parametrize(
    ("value_set", "system", "code", "result"),
    [
        (HL7 + "administrative-gender", None, "male", "yes"),
        (HL7 + "administrative-gender|4.0.1", "http://hl7.org/fhir/administrative-gender", "male", "yes"),
        (HL7 + "administrative-gender|9", None, "male", "yes"),
        (HL7 + "administrative-gender", None, "Male", "no"),
        (HL7 + "administrative-gender", "http://hl7.org/fhir/contact-point-use", "home", "no"),
        (HL7 + "administrative-gender", "", "male", "no"),
        (V3 + "ActEncounterCode", ACT, "IMP", "yes"),
        (V3 + "ActEncounterCode", ACT, "ACUTE", "yes"),
        (V3 + "ActEncounterCode", ACT, "BLD", "no"),
        (HL7 + "mimetypes", None, "application/dicom", "yes"),
        (HL7 + "mimetypes", None, "text/plain; charset=utf-8", "yes"),
        (HL7 + "mimetypes", None, "pdf", "no"),
        (HL7 + "ucum-units", None, "mm[Hg]", "yes"),
        (HL7 + "ucum-units", None, "mmHg", "no"),
        (HL7 + "all-time-units", "http://unitsofmeasure.org", "min", "yes"),
        (HL7 + "all-time-units", "http://unitsofmeasure.org", "m", "no"),
        (HL7 + "all-languages", None, "fr-FR", "yes"),
        (HL7 + "all-languages", None, "en_US", "no"),
        (HL7 + "currencies", None, "EUR", "yes"),
        (HL7 + "currencies", None, "EURO", "no"),
        (HL7 + "iso3166-1-2", None, "FR", "yes"),
        (HL7 + "iso3166-1-2", None, "FRA", "no"),
        (HL7 + "iso3166-1-3", None, "FRA", "yes"),
        (HL7 + "dicom-dcim", "http://dicom.nema.org/resources/ontology/DCM", "CT", "yes"),
        (FR + "patient-identifier-use-pi", None, "usual", "yes"),
        (HL7 + "observation-codes", "http://loinc.org", "8867-4", "unknown"),
        (HL7 + "condition-code", "http://snomed.info/sct", "38341003", "unknown"),
        (HL7 + "condition-code", "http://hl7.org/fhir/sid/icd-10", "I10", "no"),
        (HL7 + "no-such-value-set", None, "x", "unknown"),
        ("http://snomed.info/sct?fhir_vs=isa/38341003", "http://snomed.info/sct", "38341003", "unknown"),
        ("https://example.org/ValueSet/all-colours", None, "navy", "yes"),
        ("https://example.org/ValueSet/all-colours", None, "green", "no"),
    ],
)
def test_validate_code(value_set: str, system: str | None, code: str, result: str) -> None:
    assert T.validate_code(value_set, system, code, None).result == result


def test_what_cannot_be_judged_names_the_systems() -> None:
    found = T.validate_code(HL7 + "observation-codes", "http://loinc.org", "8867-4", None)
    assert found.unknown_systems == ("http://loinc.org",)
    assert "http://loinc.org" in found.message


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (None, ""),
        ("Red", ""),
        ("  red ", ""),
        ("Rouge", ""),
        ("Bleu", "the display is none of the code's; expected 'Red'"),
    ],
)
def test_displays(display: str | None, message: str) -> None:
    found = T.validate_code("https://example.org/ValueSet/all-colours", COLOURS, "red", display)
    assert found == Verdict("yes", message, COLOURS, "Red")


def test_case_insensitive_systems_find_any_case() -> None:
    system = {
        "resourceType": "CodeSystem",
        "url": "https://example.org/CodeSystem/loose",
        "caseSensitive": False,
        "valueSet": "https://example.org/ValueSet/loose",
        "concept": [{"code": "Ab", "display": "AB"}],
    }
    found = terminology(system).validate_code("https://example.org/ValueSet/loose", None, "aB", None)
    assert (found.result, found.display) == ("yes", "AB")


def test_an_incomplete_system_leaves_open_what_it_does_not_hold() -> None:
    system = {
        "resourceType": "CodeSystem",
        "url": "https://example.org/CodeSystem/part",
        "content": "fragment",
        "valueSet": "https://example.org/ValueSet/part",
        "concept": [{"code": "a"}],
    }
    t = terminology(system)
    assert t.validate_code("https://example.org/ValueSet/part", None, "a", None).result == "yes"
    assert t.validate_code("https://example.org/ValueSet/part", None, "b", None).result == "unknown"
    assert t.validate_in_system(system["url"], "b", None).unknown_systems == (system["url"],)


def test_expand() -> None:
    gender = "http://hl7.org/fhir/administrative-gender"
    assert T.expand(HL7 + "administrative-gender", limit=2) == (
        Coding(gender, "male", "Male"),
        Coding(gender, "female", "Female"),
    )
    assert T.expand(HL7 + "observation-codes", limit=2) is None
    assert T.expand(HL7 + "no-such-value-set", limit=2) is None


@pytest.mark.parametrize(
    ("a", "b", "relation"),
    [
        ("red", "red", "equivalent"),
        ("any", "pink", "subsumes"),
        ("mauve", "red", "subsumed-by"),
        ("red", "blue", "not-subsumed"),
        ("red", "green", None),
    ],
)
def test_subsumes(a: str, b: str, relation: str | None) -> None:
    assert T.subsumes(COLOURS, a, b) == relation


def test_hierarchies() -> None:
    assert T.subsumed(COLOURS, "red") == ("red", "crimson", "pink", "mauve")
    assert T.ancestors(COLOURS, "mauve") == ("mauve", "any", "red")
    assert T.subsumed(COLOURS, "green") is None
    assert T.ancestors("http://snomed.info/sct", "1") is None


def test_every_value_set_built_in_compiles() -> None:
    """Those that cannot be listed lack a system that is not of the packages, or are grammars."""
    t = standard()
    urls = [
        url
        for package in t.library.packages
        for url, e in package.entries.items()
        if e["resourceType"] == "ValueSet"
    ]
    listed = [url for url in urls if t.expand(url, limit=100_000) is not None]
    assert len(urls) > 1350
    assert len(listed) > 1240
    first = {url: t.expand(url, limit=3) for url in listed}
    for url, codings in first.items():
        for coding in codings or ():
            assert t.validate_code(url, coding.system, coding.code, None).result == "yes", url


def test_our_own_code_systems_are_there() -> None:
    found = T.concept(OURS + "workflow", "avis-avc-aigu")
    assert found is not None
    assert found.display


@given(st.text(), st.none() | st.text(), st.text(), st.none() | st.text())
def test_no_question_raises(value_set: str, system: str | None, code: str, display: str | None) -> None:
    checker: CodeChecker = T
    assert checker.validate_code(value_set, system, code, display).result == "unknown"
    assert checker.validate_code(HL7 + "mimetypes", system, code, display).result in ("yes", "no")
    assert checker.expand(value_set, limit=5) is None
    assert checker.subsumed(system or "", code) is None
    assert checker.ancestors(COLOURS, code) in (None, ("any",))
