"""FR Core 2.2.0, built in: its own examples, and what each rule of a French identity refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from profiles.schema.packages import built_in
from profiles.schema.rules.identifier import TEST_SYSTEMS
from profiles.validation import Validator, validator
from terminology import service
from tests.profiles import fr_core
from tests.profiles.schema.profile import found

Json = dict[str, Any]
WRONG_KEYS = {
    "Patient-FRCorePatientExample": {("bad-key", "Patient.identifier[0].value")},
    "Practitioner-FRCorePractitionerExample": {
        ("bad-key", "Practitioner.identifier[0].value"),
        ("bad-key", "Practitioner.identifier[1].value"),
    },
    "PractitionerRole-FRCorePractitionerRoleExample": {("bad-key", "PractitionerRole.identifier[0].value")},
}


@pytest.fixture(scope="module")
def strict() -> Validator:
    return replace(validator(codes=service.standard()), strict=True)


@pytest.mark.parametrize("name", fr_core.names())
def test_examples(strict: Validator, name: str) -> None:
    """All are accepted but those whose check keys are wrong."""
    assert found(strict.validate(fr_core.example(name))) == WRONG_KEYS.get(name, set())


def test_what_cannot_be_judged_is_named(strict: Validator) -> None:
    issues = strict.validate(fr_core.patient())
    unjudged = {issue.diagnostics for issue in issues if issue.slug == "code-not-judged"}
    assert any("TRE-R260-HL7RoleClass" in text for text in unjudged)
    assert all(issue.severity in ("warning", "information") for issue in issues)


def _without_birth_place(patient: Json) -> None:
    del patient["extension"][0]


def _without_insee(patient: Json) -> None:
    del patient["extension"][0]["valueAddress"]["extension"]


def _another_official(patient: Json) -> None:
    patient["identifier"].append({**patient["identifier"][0], "value": "253072A07300443"})


def _without_ins(patient: Json) -> None:
    patient["identifier"] = [{"system": "urn:oid:1.2.3", "value": "1"}]


def _without_given(patient: Json) -> None:
    del patient["name"][0]["given"]


def _two_given(patient: Json) -> None:
    patient["name"][0]["given"].append("Yves")


def _without_birth_list(patient: Json) -> None:
    del patient["name"][0]["extension"]


def _without_gender(patient: Json) -> None:
    del patient["gender"]


def _other_gender(patient: Json) -> None:
    patient["gender"] = "other"


def _other_use(patient: Json) -> None:
    patient["identifier"][0]["use"] = "usual"


def _no_such_status(patient: Json) -> None:
    patient["extension"][1]["extension"][0]["valueCoding"]["code"] = "QUAL"


NAME, IDENTIFIER = "Patient.name", "Patient.identifier"
MUTATIONS: dict[Callable[[Json], None], set[tuple[str, str]]] = {
    _without_birth_place: {("missing-element", "Patient.extension")},
    _without_insee: {("missing-element", "Patient.extension[0].value.ofType(Address).extension")},
    _without_ins: {("invariant", "Patient")},
    _another_official: {("invariant", "Patient")},
    _without_given: {("missing-element", f"{NAME}[0].given")},
    _two_given: {("too-many", f"{NAME}[0].given")},
    _without_birth_list: {("missing-element", f"{NAME}[0].extension")},
    _without_gender: {("missing-element", "Patient.gender")},
    _other_gender: {("bad-code", "Patient.gender")},
    _other_use: {("bad-code", f"{IDENTIFIER}[0].use"), ("invariant", "Patient")},
    _no_such_status: {("unknown-code", "Patient.extension[1].extension[0].value.ofType(Coding).code")},
}


@pytest.mark.parametrize("change", MUTATIONS, ids=lambda change: change.__name__)
def test_ins(strict: Validator, change: Callable[[Json], None]) -> None:
    sound = fr_core.patient()
    assert found(strict.validate(sound)) == set()
    patient = copy.deepcopy(sound)
    change(patient)
    assert found(strict.validate(patient)) == MUTATIONS[change]


def test_production_refuses_test_identities(strict: Validator) -> None:
    production = replace(strict, refused_systems=TEST_SYSTEMS)
    assert found(production.validate(fr_core.patient())) == set()
    for system, code in (
        ("urn:oid:1.2.250.1.213.1.4.10", "INS-NIR-TEST"),
        ("urn:oid:1.2.250.1.213.1.4.11", "INS-NIR-DEMO"),
    ):
        patient = fr_core.patient()
        patient["identifier"][0]["system"] = system
        patient["identifier"][0]["type"]["coding"][0]["code"] = code
        assert found(strict.validate(patient)) == set()
        assert ("test-identity", "Patient.identifier[0].system") in found(production.validate(patient))


def test_the_package_says_what_it_is() -> None:
    package = built_in("hl7.fhir.fr.core")
    assert package.manifest["version"] == "2.2.0"
    assert len(package.entries) == 141
