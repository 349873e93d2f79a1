"""Who gets which exam: the decision as a table, twins and homonyms included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dicomweb.association import (
    Attach,
    Exam,
    Leave,
    Propose,
    Request,
    decide,
    is_near,
    proposal,
    request_of,
    said,
)
from dicomweb.names import near

T = datetime(2024, 8, 8, 5, 0, tzinfo=UTC)
INS_1, INS_6 = "180017599010113", "180013199010632"


def exam(**changes: Any) -> Exam:
    return Exam(**{"uid": "2.25.1", "started": T, **changes})


def request(
    id: str = "r1", patient: str = "p1", status: str = "active", hours: float = 0, *announced: str
) -> Request:
    return Request(id, f"Patient/{patient}", status, T + timedelta(hours=hours), frozenset(announced))


P1 = frozenset({"Patient/p1"})
NONE = frozenset[str]()
TO_R1 = Attach(("r1",), "Patient/p1")
ANNOUNCING = request("r1", "p1", "active", 0, "A")
CASES = {
    # identity and announced accession number
    "announced": (exam(accession="A"), P1, NONE, [ANNOUNCING], TO_R1),
    "announced by a closed one": (
        exam(accession="A"), P1, NONE, [request("r1", "p1", "completed", 0, "A")], TO_R1),
    "announced years before": (
        exam(accession="A"), P1, NONE, [request("r1", "p1", "active", 9999, "A")], TO_R1),
    "announced goes before open": (
        exam(accession="A"), P1, NONE, [request("r1"), request("r2", "p1", "draft", 0, "A")],
        Attach(("r2",), "Patient/p1")),
    "announced by two": (
        exam(accession="A"), P1, NONE, [ANNOUNCING, request("r2", "p1", "active", 0, "A")],
        Attach(("r1", "r2"), "Patient/p1")),
    "announced, but entered in error": (
        exam(accession="A"), P1, NONE, [request("r1", "p1", "entered-in-error", 0, "A")], Leave()),
    # identity and one open request
    "one open": (exam(), P1, NONE, [request()], TO_R1),
    "one draft": (exam(), P1, NONE, [request("r1", "p1", "draft")], TO_R1),
    "exam 72 h before": (exam(), P1, NONE, [request("r1", "p1", "active", 72)], TO_R1),
    "exam older": (exam(), P1, NONE, [request("r1", "p1", "active", 72.1)], Leave()),
    "exam after": (exam(), P1, NONE, [request("r1", "p1", "active", -200)], TO_R1),
    "only closed": (
        exam(), P1, NONE, [request("r1", "p1", "completed"), request("r2", "p1", "revoked")], Leave()),
    "several open": (exam(), P1, NONE, [request("r1"), request("r2")], Propose(("r1", "r2"), "several")),
    "one open, one too late": (
        exam(), P1, NONE, [request("r1"), request("r2", "p1", "active", 100)], TO_R1),
    "another's accession is the same": (
        exam(accession="A"), P1, NONE, [request("r1"), request("r2", "p2", "active", 0, "A")],
        TO_R1),
    # identity differs from the announcement
    "announced for another patient": (
        exam(accession="A"), P1, NONE, [request("r2", "p2", "active", 0, "A")],
        Propose(("r2",), "identity-differs")),
    "announced, nobody identified": (
        exam(accession="A"), NONE, NONE, [ANNOUNCING],
        Propose(("r1",), "identity-differs")),
    # traits
    "near, open": (exam(), NONE, P1, [request()], Propose(("r1",), "traits")),
    "near, closed": (exam(), NONE, P1, [request("r1", "p1", "completed")], Leave()),
    "near, too old": (exam(), NONE, P1, [request("r1", "p1", "active", 100)], Leave()),
    "nothing": (exam(), NONE, NONE, [request()], Leave()),
    # contradiction
    "two patients by identity": (
        exam(), P1 | {"Patient/p2"}, NONE, [request()], Propose(("r1",), "contradictory")),
    "instances disagree": (exam(mixed=True), P1, NONE, [request()], Propose(("r1",), "contradictory")),
    "instances disagree, announced": (
        exam(mixed=True, accession="A"), P1, NONE, [ANNOUNCING],
        Propose(("r1",), "contradictory")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_decision(case: tuple[Any, ...]) -> None:
    exam, identified, near_patients, requests, expected = case
    assert decide(exam, identified, near_patients, requests) == expected


def patient(family: str, given: str, birth: str, ins: str = "") -> dict[str, Any]:
    identifier = [{"system": "urn:oid:1.2.250.1.213.1.4.11", "value": ins}] if ins else []
    return {"name": [{"family": family, "given": [given]}], "birthDate": birth, "identifier": identifier}


@pytest.mark.parametrize(
    ("exam", "patient", "expected"),
    [
        # homonyms (pat01, pat06): same name, same birth date
        (exam(name="MARTIN^Jean", birth="1980-01-01"), patient("MARTIN", "Jean", "1980-01-01", INS_1), True),
        (exam(name="MARTIN^Jean", birth="1980-01-01", ins=frozenset({INS_6})),
         patient("MARTIN", "Jean", "1980-01-01", INS_1), False),
        (exam(name="MARTIN^Jean", birth="1980-01-01", ins=frozenset({INS_1})),
         patient("MARTIN", "Jean", "1980-01-01"), True),
        (exam(name="MARTIN^Jean", birth="1980-01-02"), patient("MARTIN", "Jean", "1980-01-01"), False),
        (exam(name="MARTIN^Jean", birth=""), patient("MARTIN", "Jean", "1980-01-01"), False),
        # twins (pat09, pat10): near names
        (exam(name="BONNET^Lucie", birth="1990-07-30", ins=frozenset({"290071299010901"})),
         patient("BONNET", "Lucile", "1990-07-30", "290071299011097"), False),
        (exam(name="BONNET^Lucie", birth="1990-07-30"),
         patient("BONNET", "Lucile", "1990-07-30", "290071299011097"), True),
    ],
)  # fmt: skip
def test_near_is_only_for_those_not_known_to_differ(
    exam: Exam, patient: dict[str, Any], expected: bool
) -> None:
    assert is_near(exam, patient) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("TEYSSIER^Gérard", "Gerard TEYSSIER", True), ("LE GOFF^Yann", "LE-GOFF Yann", True),
        ("LEGOFF^Yann", "LE GOFF Yann", False), ("SERRES^Camille", "SERRES-BLANC Camille", True),
        ("MARTIN^Jean", "MARTIN Jeanne", False), ("MARTIN^Jean", "MARTEN Jean", True),
        ("MARTIN^Jean", "DURAND Jean", False), ("", "MARTIN Jean", False), ("MARTIN", "MARTIN Jean", False),
        ("ROUMEGUERE^Alain", "ROUMÉGUÈRE Alain", True), ("LO^An", "LI An", False),
    ],
)  # fmt: skip
def test_near_names(a: str, b: str, expected: bool) -> None:
    assert near(a, b) is expected
    assert near(b, a) is expected


def test_a_request_announces_by_logical_reference() -> None:
    resource = {
        "id": "r1", "status": "active", "subject": {"reference": "Patient/p1"},
        "authoredOn": "2024-08-08T05:00:00Z",
        "supportingInfo": [
            {"reference": "QuestionnaireResponse/1"},
            {"type": "ImagingStudy", "identifier": {"value": "AUCH-24-08812"}},
        ],
    }  # fmt: skip
    assert request_of(resource) == Request("r1", "Patient/p1", "active", T, frozenset({"AUCH-24-08812"}))


def test_a_proposal_says_what_a_person_needs_to_judge() -> None:
    exam = Exam(
        "2.25.1", accession="A-1", started=T, name="LABORDE^HENRI", birth="1953-05-17",
        modalities=("CT",), description="TDM",
    )  # fmt: skip
    task = proposal(exam, request(), "traits", "2024-08-08T05:00:00Z")
    assert task["focus"] == {"reference": "ServiceRequest/r1"}
    shown = f"CT · {T:%d/%m/%Y %Hh%M} · TDM · A-1 · LABORDE HENRI 17/05/1953"
    assert task["input"][0]["valueReference"] == {"reference": "ImagingStudy/2.25.1", "display": shown}
    assert task["id"] == proposal(exam, request(), "several", "2030-01-01T00:00:00Z")["id"]


def test_a_proposal_of_an_exam_that_says_nothing_has_no_invented_words() -> None:
    assert said(Exam("2.25.1")) == ""
    task = proposal(Exam("2.25.1"), request(), "traits", "2024-08-08T05:00:00Z")
    assert task["input"][0]["valueReference"] == {"reference": "ImagingStudy/2.25.1"}
