"""What is extracted from a resource, entry by entry."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.search import index
from fhir_server.search.measures import FAR, number_of
from profiles import dates
from profiles.folding import fold
from tests.profiles.examples import (
    BINARY,
    BUNDLE,
    OBSERVATION,
    PATIENT,
    QUESTIONNAIRE,
    SERVICE_REQUEST,
    TASK,
    B,
)

BASE = "https://here.example/fhir"
PARIS = ZoneInfo("Europe/Paris")
LOINC = "http://loinc.org"


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


def entries_of(resource: dict[str, Any], kind: str) -> set[tuple[object, ...]]:
    found = getattr(index.extract(resource, BASE, PARIS), kind)
    assert len(found) == len(set(found))
    return set(found)


def test_tokens_of_a_patient() -> None:
    gender = "http://hl7.org/fhir/administrative-gender"
    assert entries_of(PATIENT, "tokens") == {
        ("_tag", "", "demo"),
        ("_security", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R"),
        ("_profile", "", f"{B}/StructureDefinition/patient|1.0"),
        ("_profile", "", f"{B}/StructureDefinition/patient"),
        ("_source", "", "urn:demo"),
        ("identifier", f"{B}/NamingSystem/ipp/chiva", "0042"),
        ("identifier:of-type", "http://terminology.hl7.org/CodeSystem/v2-0203", "PI|0042"),
        ("active", "", "true"),
        ("deceased", "", "false"),
        ("gender", "", "female"),
        ("gender", gender, "female"),
        ("telecom", "", "zoe@example.org"),
        ("telecom", "", "+33561000000"),
        ("email", "", "zoe@example.org"),
        ("phone", "", "+33561000000"),
        ("general-practitioner:identifier", "https://rpps.esante.gouv.fr", "89990000013"),
    }


def test_strings_of_a_patient_are_folded() -> None:
    assert entries_of(PATIENT, "strings") == {
        ("name", "desiree-dupuis", "Désirée-Dupuis"), ("name", "zoe", "Zoë"), ("name", "anne", "Anne"),
        ("name", "mme", "Mme"),
        ("phonetic", "desiree-dupuis", "Désirée-Dupuis"), ("phonetic", "zoe", "Zoë"),
        ("phonetic", "anne", "Anne"),
        ("phonetic", "mme", "Mme"),
        ("family", "desiree-dupuis", "Désirée-Dupuis"), ("given", "zoe", "Zoë"), ("given", "anne", "Anne"),
        ("address", "1 rue de l'eglise", "1 rue de l'Église"), ("address", "foix", "Foix"),
        ("address", "09000", "09000"),
        ("address", "fr", "FR"), ("address-city", "foix", "Foix"), ("address-postalcode", "09000", "09000"),
        ("address-country", "fr", "FR"),
        ("identifier:text", "ipp", "IPP"), ("mothersMaidenName", "loeuillet", "Lœuillet"),
        ("organization:text", "chiva", "CHIVA"),
    }  # fmt: skip


def test_references_of_a_patient() -> None:
    assert entries_of(PATIENT, "references") == {
        ("general-practitioner", "Practitioner/p01"),
        ("organization", "Organization/chiva"),
        ("link", "Patient/old"),
    }


def test_dates_of_a_patient() -> None:
    updated = at(2024, 5, 6, 7, 8, 9) + 123_000
    assert entries_of(PATIENT, "dates") == {
        ("_lastUpdated", updated, updated + 1000),
        ("birthdate", at(1950, 1, 31, 23), at(1950, 2, 28, 23)),
    }


def test_an_observation() -> None:
    assert {e for e in entries_of(OBSERVATION, "tokens") if e[0] in ("code", "status")} == {
        ("code", LOINC, "70182-1"), ("status", "", "final"),
        ("status", "http://hl7.org/fhir/observation-status", "final"),
    }  # fmt: skip
    assert {e for e in entries_of(OBSERVATION, "strings") if e[0] == "code:text"} == {
        ("code:text", "nihss", "NIHSS"), ("code:text", "score nihss", "Score NIHSS"),
    }  # fmt: skip
    assert entries_of(OBSERVATION, "references") == {
        ("subject", "Patient/dupuis"),
        ("patient", "Patient/dupuis"),
    }
    assert entries_of(OBSERVATION, "dates") == {("date", at(2024, 5, 6, 5), dates.OPEN_END)}
    assert {e for e in entries_of(OBSERVATION, "numbers") if e[0] == "value-quantity"} == {
        ("value-quantity", 5.4, 5.4, "http://unitsofmeasure.org", "{score}"),
        ("value-quantity", 5.4, 5.4, "", "points"),
    }
    assert {e for e in entries_of(OBSERVATION, "numbers") if e[0] == "component-value-quantity"} == {
        ("component-value-quantity", -FAR, 3.0, "", "mg")
    }


def test_a_service_request() -> None:
    assert entries_of(SERVICE_REQUEST, "references") == {
        ("audience", "Practitioner/p01"),
        ("audience", "Organization/neurovasc-tls"),
        ("subject", "Patient/dupuis"),
        ("patient", "Patient/dupuis"),
        ("performer", "https://there.example/r4/Organization/9"),
        ("requester", "PractitionerRole/p01-chiva"),
        ("instantiates-canonical", f"{B}/PlanDefinition/avis-avc-aigu|2"),
        ("instantiates-canonical", f"{B}/PlanDefinition/avis-avc-aigu"),
    }
    assert entries_of(SERVICE_REQUEST, "dates") == {("occurrence", at(2024, 5, 5, 22), at(2024, 5, 8, 22))}


def test_others() -> None:
    assert entries_of(BINARY, "references") == {("security-context", "ServiceRequest/1")}
    assert ("composition", "Composition/c") in entries_of(BUNDLE, "references")
    assert ("owner", "urn:uuid:00000000-0000-4000-8000-000000000000") in entries_of(TASK, "references")
    assert ("url", "", f"{B}/Questionnaire/avis") in entries_of(QUESTIONNAIRE, "tokens")
    assert entries_of(QUESTIONNAIRE, "numbers") == {("context-quantity", 1.0, 3.0, "", "a")}


@pytest.mark.parametrize(
    ("number", "point"),
    [
        (Decimal("100"), 100.0), (Decimal("1.0"), 1.0), (Decimal("1E+2"), 100.0), (-3, -3.0),
        (Decimal("0.00"), 0.0), (0.5, 0.5), (Decimal("1E+400"), None),
    ],
)  # fmt: skip
def test_a_number_is_a_point(number: Decimal | float, point: float | None) -> None:
    assert number_of(number) == point


@pytest.mark.parametrize(
    ("text", "folded"),
    [("  LŒTITIA\t Désirée\n", "loetitia desiree"), ("Straße", "strasse"), ("ﬁn", "fin"), ("İnci", "inci"),
     ("N’Guyen", "n'guyen"),
     ("Ångström", "angstrom"), ("", "")],
)  # fmt: skip
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(folded) == folded


@pytest.mark.parametrize(
    "member",
    [
        {"birthDate": "2023-02-30"},
        {"deceasedDateTime": "2024-13"},
        {"name": [{"given": [None, "x"], "_given": [{"id": "a"}, None]}]},
        {"telecom": [{"system": "email"}]},
        {"generalPractitioner": [{"reference": ""}, {}]},
        {"identifier": [{"type": {"coding": [{}]}}, {}]},
    ],
)
def test_odd_content_makes_no_exception(member: dict[str, Any]) -> None:
    entries = index.extract({"resourceType": "Patient", **member}, BASE, PARIS)
    assert dataclasses.fields(entries)
