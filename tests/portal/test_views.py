"""The pure views by table: the form's questions, the steps offered, what waits for whom, the list."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smart_launch.app.views.draft import content_mark, saved, typed
from smart_launch.app.views.exams import awaited, awaited_words, exams, image_words
from smart_launch.app.views.people import Me, Post
from smart_launch.app.views.questionnaire import fault_of, fields, judged, response_items, submitted
from smart_launch.app.views.steps import actors, editors, possible
from smart_launch.app.views.worklist import Filters, filters, search_params, state_of, waits
from tests.portal.platform import definitions

Json = dict[str, Any]
PARIS = ZoneInfo("Europe/Paris")
FORM = next(
    one for one in definitions() if one["resourceType"] == "Questionnaire" and one["id"] == "avis-avc-aigu"
)
PLAN = next(
    one for one in definitions() if one["resourceType"] == "PlanDefinition" and one["id"] == "avis-avc-aigu"
)
BASE = "https://teledossier.example/fhir"
EXPERT = Me(
    "Practitioner/p05",
    "Dr Durand",
    (Post("PractitionerRole/e", "Practitioner/p05", community_ref="Organization/tls", roles=("requis",)),),
    None,
)
CALLER = Me(
    "Practitioner/p08",
    "Dr Benali",
    (Post("PractitionerRole/c", "Practitioner/p08", community_ref="Organization/urg", roles=("requerant",)),),
    None,
)


def task(state: str, owner: str = "Organization/tls") -> Json:
    coding = [{"system": f"{BASE}/CodeSystem/business-status", "code": state}]
    return {"owner": {"reference": owner}, "businessStatus": {"coding": coding}}


def said(kind: str, minute: int) -> Json:
    coding = [{"system": f"{BASE}/CodeSystem/communication", "code": kind}]
    return {"category": [{"coding": coding}], "sent": f"2024-08-08T05:{minute:02}:00Z"}


@pytest.mark.parametrize(
    ("name", "text", "faulty", "answer"),
    [
        ("nihss", "14", False, {"valueInteger": 14}),
        ("nihss", "14,5", True, None),
        ("nihss", "quatorze", True, None),
        ("nihss", "43", True, None),
        ("signs", "Aphasie\r\nHémiplégie", False, {"valueString": "Aphasie\nHémiplégie"}),
        ("onset", "2024-08-08T04:05", False, {"valueDateTime": "2024-08-08T04:05:00+02:00"}),
        ("onset", "hier", True, None),
        ("anticoagulant", "peut-être", True, None),
    ],
)
def test_an_answer_is_read_or_refused_and_kept(
    name: str, text: str, faulty: bool, answer: Json | None
) -> None:
    found = submitted(FORM, {f"q-{name}": text}, PARIS)
    field = next(one for one in found if one.link_id == name)
    assert (bool(field.fault), bool(fault_of(field))) == (faulty, faulty)
    assert field.value == text.replace("\r\n", "\n")
    items = response_items(FORM, found, PARIS)
    assert [item["answer"] for item in items] == ([[answer]] if answer else [])


@pytest.mark.parametrize("vital", [True, False])
def test_missing_answers_hold_back_unless_life_is_at_stake(vital: bool) -> None:
    found = judged(fields(FORM, {}, PARIS), vital=vital)
    required = {item["linkId"] for item in FORM["item"] if item.get("required")}
    assert required
    assert {field.link_id for field in found if field.fault} == (set() if vital else required)
    assert {field.link_id for field in found if field.advice} == (required if vital else set())


def test_the_mark_of_a_draft_follows_its_content_alone() -> None:
    request: Json = {"meta": {"versionId": "1"}, "note": [{"text": "Vite"}]}
    before = content_mark(saved(request, {}, ("", ""), FORM, PARIS))
    moved = {**request, "meta": {"versionId": "9"}}
    assert content_mark(saved(moved, {}, ("", ""), FORM, PARIS)) == before
    others = [
        saved({**request, "note": [{"text": "Lent"}]}, {}, ("", ""), FORM, PARIS),
        saved({**request, "performer": [{"reference": "Organization/tls"}]}, {}, ("", ""), FORM, PARIS),
        saved(
            request, {"item": [{"linkId": "nihss", "answer": [{"valueInteger": 3}]}]}, ("", ""), FORM, PARIS
        ),
        saved(request, {}, ("recueilli", ""), FORM, PARIS),
    ]
    assert len({before, *map(content_mark, others)}) == 5


def test_typed_values_outside_their_tables_are_dropped() -> None:
    draft = typed(
        {"priorite": "extreme", "visibilite": "tous"}, ["Patient/1", "Organization/tls"], FORM, PARIS
    )
    assert (draft.priority, draft.visibility, set(draft.recipients)) == (
        "routine",
        "community",
        {"Organization/tls"},
    )


@pytest.mark.parametrize(
    ("state", "who", "codes"),
    [
        ("envoye", "expert", []),
        ("lu", "expert", ["answer", "log-call", "take", "request-information", "add-information", "refuse"]),
        ("repondu", "requester", ["log-call", "acknowledge", "add-information", "close"]),
        ("envoye", "requester", ["log-call", "add-information", "cancel"]),
        ("clos", "requester", []),
        ("lu", "radiographer", []),
    ],
)
def test_steps_offered(state: str, who: str, codes: list[str]) -> None:
    assert [step.code for step in editors(possible(PLAN, {state}, frozenset({who})))] == codes


def test_what_one_is_in_a_file() -> None:
    owners = ["Organization/tls"]
    assert actors(EXPERT, owners, "PractitionerRole/c", "", []) == {"expert"}
    assert actors(CALLER, owners, "PractitionerRole/c", "PractitionerRole/c", []) == {"requester", "author"}
    assert actors(CALLER, owners, "PractitionerRole/x", "", ["Organization/urg"]) == {"requester"}
    assert actors(CALLER, owners, "PractitionerRole/x", "", []) == set()


@pytest.mark.parametrize(
    ("states", "messages", "expert", "caller"),
    [
        (["envoye"], [], True, False),
        (["lu"], [], True, False),
        (["complement-demande"], [], True, True),
        (["repondu"], [said("answer", 1)], False, True),
        (["repondu"], [said("answer", 1), said("acknowledgement", 2)], False, False),
        (["repondu"], [said("acknowledgement", 2), said("answer", 3)], False, True),
        (["clos"], [], False, False),
    ],
)
def test_what_waits_for_whom(states: list[str], messages: list[Json], expert: bool, caller: bool) -> None:
    tasks = [task(state) for state in states]
    assert waits(tasks, messages, EXPERT, sender=False) is expert
    assert waits(tasks, messages, CALLER, sender=True) is caller
    assert waits(tasks, messages, CALLER, sender=False) is False


@pytest.mark.parametrize(
    ("status", "states", "state"),
    [
        ("draft", [], "brouillon"),
        ("active", ["envoye", "lu"], "lu"),
        ("active", ["repondu", "envoye"], "repondu"),
        ("active", [], "envoye"),
        ("revoked", ["refuse"], "refuse"),
        ("completed", ["repondu"], "clos"),
        ("entered-in-error", ["lu"], "erreur-de-dossier"),
    ],
)
def test_state_of_the_whole(status: str, states: list[str], state: str) -> None:
    assert state_of({"status": status}, [task(one) for one in states]) == state


def test_filters_keep_known_values_and_no_name_reaches_an_address() -> None:
    wanted = filters({"vue": "recus", "etat": "lu", "priorite": "x", "patient": " Dupont, Jean "})
    assert wanted == Filters(tab="recus", state="lu", text="Dupont, Jean")
    assert "Dupont" not in wanted.query()
    params = search_params(wanted, {"Organization/tls"}, set())
    assert dict(params) == {
        "status": "active,completed",
        "performer": "Organization/tls",
        "_has:Task:focus:business-status": "lu",
        "subject:Patient.name": "Jean",
    }
    assert ("subject:Patient.name", "Dupont\\,") in params


TRACKS = [  # stage, received, expected → sentence, tone, whether the viewer can be opened
    ("acquiring", 0, 0, 0, "En acquisition", "encours", False),
    ("transferring", 12, 1412, 12, "En transfert : 12 sur 1\u00a0412", "encours", True),
    ("complete", 412, 412, 412, "Complet", "fait", True),
    ("incomplete", 411, 412, 411, "Incomplet : 1 image manquante sur 412", "alerte", True),
    ("incomplete", 0, 3, 0, "Incomplet : 3 images manquantes sur 3", "alerte", False),
    ("discontinued", 0, 0, 0, "Acquisition abandonnée", "attente", False),
    ("interrupted", 0, 0, 0, "Acquisition interrompue : fin non annoncée par la modalité", "alerte", False),
    ("interrupted", 3, 3, 3, "Acquisition interrompue : fin non annoncée par la modalité", "alerte", True),
]


@pytest.mark.parametrize(("stage", "received", "expected", "here", "said", "tone", "opens"), TRACKS)
def test_how_far_an_announced_exam_has_come(
    stage: str, received: int, expected: int, here: int, said: str, tone: str, opens: bool
) -> None:
    parts = [{"url": "stage", "valueCode": stage}, {"url": "expected", "valueUnsignedInt": expected},
             {"url": "received", "valueUnsignedInt": received}]  # fmt: skip
    url = "https://teledossier.example/fhir/StructureDefinition/acquisition"
    study = {
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.1"}], "numberOfInstances": here,
        "basedOn": [{"reference": "ServiceRequest/r1"}], "extension": [{"url": url, "extension": parts}],
    }  # fmt: skip
    (exam,) = exams([study], "ServiceRequest/r1", "r1", UTC)
    assert (exam.track, exam.tone, bool(exam.href), bool(exam.thumbnail)) == (said, tone, opens, opens)
    (plain,) = exams([{**study, "extension": []}], "ServiceRequest/r1", "r1", UTC)
    assert (plain.track, plain.tone) == ("", "")


def test_exams_come_and_awaited() -> None:
    logical = {"type": "ImagingStudy", "identifier": {"value": "AUCH-1"}}
    request = {"supportingInfo": [logical, {**logical, "identifier": {"value": "AUCH-2"}}]}
    studies = [{"identifier": [{"value": "AUCH-1"}], "numberOfInstances": 1022}]
    assert awaited(request, studies) == ["AUCH-2"]
    assert (awaited_words(1), awaited_words(2), awaited_words(0)) == (
        "1 examen attendu",
        "2 examens attendus",
        "",
    )
    assert image_words(studies) == "1 examen · 1\u00a0022 images"
    assert image_words([]) == ""
