"""The transition table on a télédossier: every state and step, every right, and what each step leaves
behind."""

from __future__ import annotations

import pytest

from fhir_server.teledossier.file import outputs, read_mark, state_of
from fhir_server.teledossier.judgement import known_steps, possible
from fhir_server.teledossier.vocabulary import code_of, target, value
from fhir_server.teledossier.workflows import workflow_codes
from profiles.outcomes import Conflict, Forbidden, Invalid, TeledossierError, Unprocessable

from .made import World, at, filled, references, role

OPINIONS = tuple(code for code in workflow_codes() if code != "transfert-imagerie")

# state → what is possible for the requesting doctor, for an expert
ALLOWED = {
    "brouillon": ({"send", "log-call"}, set()),
    "envoye": ({"log-call", "add-information", "cancel"}, {"read"}),
    "lu": (
        {"log-call", "add-information", "cancel"},
        {"read", "take", "log-call", "request-information", "add-information", "answer", "refuse"},
    ),
    "pris-en-charge": (
        {"log-call", "add-information"},
        {"read", "log-call", "request-information", "add-information", "answer"},
    ),
    "complement-demande": (
        {"log-call", "add-information"},
        {"read", "log-call", "add-information", "answer"},
    ),
    "repondu": (
        {"log-call", "add-information", "acknowledge", "close"},
        {"read", "log-call", "request-information", "add-information", "answer", "sign-report", "close"},
    ),
    "clos": (set(), {"read"}),
    "refuse": (set(), {"read"}),
    "annule": (set(), {"read"}),
}
TRANSFER = {
    "brouillon": ({"send", "log-call"}, set()),
    "envoye": ({"log-call", "add-information", "cancel"}, {"read"}),
    "lu": (
        {"log-call", "add-information", "cancel"},
        {"read", "log-call", "request-information", "add-information", "acknowledge", "refuse"},
    ),
    "complement-demande": ({"log-call", "add-information"}, {"read", "log-call", "add-information"}),
    "clos": (set(), {"read"}),
    "refuse": (set(), {"read"}),
    "annule": (set(), {"read"}),
}
CASES = [(flow, state, *sets) for flow in OPINIONS for state, sets in ALLOWED.items()]
CASES += [("transfert-imagerie", state, *sets) for state, sets in TRANSFER.items()]


@pytest.mark.parametrize(("flow", "state", "sender", "expert"), CASES)
def test_every_state_and_step(flow: str, state: str, sender: set[str], expert: set[str]) -> None:
    """Exactly the listed steps go through; every other is refused and names exactly the listed ones."""
    for name, allowed in (("doctor", sender), ("expert", expert)):
        world = at(state, flow)
        assert world.file.state == state
        assert set(possible(world.file, world.flow, world.person(name))) == allowed
        for code in known_steps():
            world = at(state, flow)
            try:
                world.step(code, name, text="texte", reason="motif")
                went = True
            except (Conflict, Forbidden) as refused:
                went = False
                listed = {one.diagnostics for one in refused.issues if one.slug == "possible-step"}
                assert listed == allowed
            assert went == (code in allowed), (state, name, code)


# in state repondu (the widest): who may do what
RIGHTS = {
    "doctor": {"log-call", "add-information", "acknowledge", "close"},
    "colleague": {"log-call", "add-information", "acknowledge", "close"},
    "delegate": {"add-information", "acknowledge"},
    "radiographer": set(),
    "expert": {
        "read",
        "log-call",
        "request-information",
        "add-information",
        "answer",
        "sign-report",
        "close",
    },
    "second": {
        "read",
        "log-call",
        "request-information",
        "add-information",
        "answer",
        "sign-report",
        "close",
    },
    "secretary": {"read", "request-information", "add-information"},
    "outsider": set(),
}


@pytest.mark.parametrize("name", RIGHTS)
def test_rights(name: str) -> None:
    """DOMAIN 1.a: what each kind of person may do."""
    world = at("repondu")
    assert set(possible(world.file, world.flow, world.person(name))) == RIGHTS[name]
    for code in ("answer", "sign-report", "read", "log-call", "acknowledge", "close", "take"):
        if code not in RIGHTS[name]:
            with pytest.raises((Forbidden, Conflict)):
                at("repondu").step(code, name, text="texte")


def test_own_request_is_not_answered_by_oneself() -> None:
    """A doctor who is a member of the community they ask has no expert's rights there."""
    world = World(author="expert", requester="expert")
    answers = {"resourceType": "QuestionnaireResponse", "item": []}
    world.save("expert", answers=answers, recipients=("Organization/neuro",))
    world.step("send", "expert")
    with pytest.raises(Forbidden) as refused:
        world.step("answer", "expert", text="Oui")
    assert "propre demande" in refused.value.issues[0].text
    world.step("read", "second")
    world.step("answer", "second", text="Oui")
    assert world.file.state == "repondu"


def test_visible_to_me_only_closes_the_community_out() -> None:
    world = filled()
    world.save(visibility="me")
    world.step("send", "doctor")
    assert possible(world.file, world.flow, world.person("colleague")) == ()
    assert "cancel" in possible(world.file, world.flow, world.person("doctor"))


def test_the_avc_file_step_by_step() -> None:
    """TD-2024-000001 as it happened, with its delays of 19 and 27 minutes."""
    world = filled()
    assert audience(world) == {"Practitioner/doctor"}
    world.step("send", "doctor", "05:15")
    assert world.file.request["status"] == "active"
    assert audience(world) == {"Practitioner/doctor", "Organization/urg", "Organization/neuro"}
    assert (world.task["status"], world.task["owner"]["display"]) == ("requested", "Neurovasculaire CHU")
    assert world.file.answers is not None
    assert world.file.answers["status"] == "completed"
    world.step("read", "expert", "05:34")
    assert read_mark(world.task) == (role("expert"), "2024-08-08T05:34:00+02:00")
    world.step("log-call", "doctor", "05:36", text="Décision orale", minutes=4)
    (call,) = world.written("Communication")
    assert value(call, "duration-minutes") == 4
    world.step("answer", "expert", "05:42", text="Thrombolyse")
    assert (world.file.state, target(value(world.task, "assignee"))) == ("repondu", role("expert"))
    world.step("acknowledge", "doctor", "05:44", text="Reçu")
    assert world.file.request["status"] == "active"
    world.step("sign-report", "expert", "06:03")
    assert (world.file.request["status"], world.task["status"], world.file.state) == (
        "completed",
        "completed",
        "clos",
    )
    assert [kind for kind, _ in outputs(world.task)] == ["answer", "acknowledgement", "report"]
    traces = [code_of(one["activity"], "step") for one in world.file.of("Provenance")]
    assert traces == ["start", "send", "read", "log-call", "answer", "acknowledge", "sign-report", "close"]
    assert world.file.of("Provenance")[-1]["agent"] == [{"who": {"display": "Plateforme"}}]
    assert minutes(world, "send", "read") == 19
    assert minutes(world, "send", "answer") == 27


def audience(world: World) -> set[str]:
    found = (one for one in world.file.request["extension"] if one["url"].endswith("/audience"))
    return {target(one["valueReference"]) for one in found}


def minutes(world: World, first: str, second: str) -> int:
    clock = {
        code_of(one["activity"], "step"): one["occurredDateTime"][11:16]
        for one in world.file.of("Provenance")
    }
    hours = [int(clock[code][:2]) * 60 + int(clock[code][3:]) for code in (first, second)]
    return hours[1] - hours[0]


def test_a_first_reading_marks_and_later_ones_only_leave_an_audit_trail() -> None:
    world = at("lu")
    before = world.file
    world.step("read", "second", "06:00")
    assert [entry["resource"]["resourceType"] for entry in world.bundle["entry"]] == ["AuditEvent"]
    assert world.file.request == before.request
    assert read_mark(world.task) == (role("expert"), "2024-08-08T05:15:00+02:00")


def test_each_step_is_one_transaction_guarded_by_versions() -> None:
    """What existed goes out with If-Match; Provenance and AuditEvent are in the same transaction."""
    world = at("lu")
    version = world.file.request["meta"]["versionId"]
    world.step("take", "expert")
    assert world.bundle["type"] == "transaction"
    by_type = {entry["resource"]["resourceType"]: entry["request"] for entry in world.bundle["entry"]}
    assert set(by_type) == {"Task", "ServiceRequest", "Provenance", "AuditEvent"}
    assert by_type["ServiceRequest"]["ifMatch"] == f'W/"{version}"'
    assert "ifMatch" in by_type["Task"]
    (trace,) = world.written("Provenance")
    assert references(trace) == {"ServiceRequest/file", f"Task/{world.task['id']}"}


def test_taking_what_is_taken_names_who_has_it() -> None:
    world = at("pris-en-charge")
    with pytest.raises(Conflict) as refused:
        world.step("take", "second")
    error = refused.value
    assert error.slug == "illegal-step"
    assert error.issues[0].text.startswith(
        "Étape impossible maintenant : le télédossier est déjà pris en charge par Dr Antoine DURAND."
    )


def test_the_refusal_says_why_and_what_is_possible() -> None:
    world = at("envoye")
    with pytest.raises(Conflict) as refused:
        world.step("answer", "expert", text="Oui")
    first, *rest = refused.value.issues
    assert (first.slug, first.text) == (
        "illegal-step",
        "Étape impossible maintenant : le télédossier est « Envoyé ». Possible maintenant : Lire.",
    )
    assert [(one.slug, one.diagnostics, one.text) for one in rest] == [("possible-step", "read", "Lire")]
    with pytest.raises(Conflict, match="not-built"):
        world.step("invite", "expert")
    with pytest.raises(Conflict, match="not-in-workflow"):
        at("lu", "transfert-imagerie").step("answer", "expert", text="Oui")
    with pytest.raises(Invalid, match="no step 'fly'"):
        world.step("fly", "expert")
    with pytest.raises(Invalid):
        world.step("start", "doctor")


@pytest.mark.parametrize(
    ("state", "code", "name"),
    [("lu", "answer", "expert"), ("lu", "refuse", "expert"), ("envoye", "cancel", "doctor"),
     ("lu", "request-information", "expert"), ("lu", "add-information", "doctor")],
)  # fmt: skip
def test_texts_and_reasons_are_needed(state: str, code: str, name: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        at(state).step(code, name, text="  ", reason=" ")
    assert refused.value.slug in ("missing-text", "missing-reason")
    at(state).step(code, name, text="texte", reason="motif")


def test_what_must_be_there_before_sending() -> None:
    """Recipients and patient always (R045); required answers unless life is at stake."""
    urgent, vital = World("avis-urgences"), World("avis-avc-aigu")
    with pytest.raises(Unprocessable) as refused:
        urgent.step("send", "doctor")
    assert [one.slug for one in refused.value.issues] == [
        "missing-recipient",
        "missing-answer",
        "missing-answer",
    ]
    with pytest.raises(Unprocessable) as refused:
        vital.step("send", "doctor")
    assert [one.slug for one in refused.value.issues] == ["missing-recipient"]
    vital.step("send", "doctor", recipients=("Organization/neuro",))
    assert vital.file.state == "envoye"
    nameless = filled()
    assert nameless.file.patient is not None
    nameless.file.patient["name"] = []
    nameless.file.patient["identifier"] = []
    with pytest.raises(Unprocessable) as refused:
        nameless.step("send", "doctor")
    assert [one.slug for one in refused.value.issues] == [
        "missing-patient-name",
        "missing-patient-identifier",
    ]


def test_information_resumes_where_it_was_held() -> None:
    for before in ("lu", "pris-en-charge", "repondu"):
        world = at(before)
        world.step("request-information", "expert", text="Poids ?")
        assert world.task["status"] == "on-hold"
        world.step("add-information", "expert", text="Toujours en attente")
        assert world.file.state == "complement-demande"
        world.step("add-information", "doctor", text="74 kg")
        assert world.file.state == before


def test_new_information_reopens_an_answer_and_the_report_holds_both() -> None:
    """TD-2024-000002: answer, acknowledgement, control, second answer, one report, acknowledgement."""
    world = at("repondu")
    world.step("acknowledge", "doctor")
    world.step("add-information", "doctor", text="Contrôle à 6 h")
    assert world.file.state == "pris-en-charge"
    world.step("answer", "expert", text="Stabilité")
    world.step("sign-report", "expert")
    assert world.file.state == "repondu"
    with pytest.raises(Conflict) as refused:
        world.step("sign-report", "expert")
    assert refused.value.issues[0].text.startswith("Le compte rendu signé contient déjà")
    world.step("acknowledge", "doctor")
    assert world.file.state == "clos"


def test_closing_as_the_acknowledgement_says() -> None:
    world = at("repondu")
    world.step("acknowledge", "doctor", closes=True)
    assert world.file.request["status"] == "completed"
    world = at("repondu")
    world.step("sign-report", "expert")
    world.step("acknowledge", "doctor", closes=False)
    assert world.file.state == "repondu"


def test_a_transfer_is_acknowledged_by_its_recipient() -> None:
    """R114: the acknowledgement closes; the sender does not acknowledge its own transfer."""
    world = at("lu", "transfert-imagerie")
    with pytest.raises(Forbidden):
        world.step("acknowledge", "doctor")
    world.step("acknowledge", "secretary", text="Images reçues")
    assert (world.file.request["status"], world.file.state) == ("completed", "clos")


def test_several_recipients_each_have_their_part() -> None:
    world = filled()
    world.save(recipients=("Organization/neuro", "Organization/other"))
    world.step("send", "doctor")
    world.step("read", "expert")
    world.step("refuse", "expert", reason="Pas notre domaine")
    assert world.file.request["status"] == "active"
    assert [state_of(task) for task in world.file.tasks] == ["refuse", "envoye"]
    assert world.file.state == "envoye"
    world.step("read", "outsider")
    world.step("answer", "outsider", text="Oui")
    world.step("acknowledge", "doctor")
    world.step("sign-report", "outsider")
    assert [state_of(task) for task in world.file.tasks] == ["refuse", "clos"]
    assert world.file.request["status"] == "completed"


def test_refused_by_all_or_cancelled_revokes() -> None:
    assert at("refuse").file.request["status"] == "revoked"
    world = at("annule")
    assert (world.file.request["status"], world.task["statusReason"]) == ("revoked", {"text": "motif"})


def test_delegation_is_told() -> None:
    """R050: the author types, the doctor answers for it."""
    world = filled(author="delegate", requester="doctor")
    assert audience(world) == {"Practitioner/delegate", "Practitioner/doctor"}
    world.step("send", "delegate")
    (trace,) = world.written("Provenance")
    assert trace["agent"] == [
        {
            "who": {"reference": role("delegate"), "display": "Mme Isabelle PETIT"},
            "onBehalfOf": {"reference": role("doctor")},
        }
    ]
    assert world.file.request["requester"]["display"] == "Dr Nadia BENALI"


def test_a_draft_is_its_authors() -> None:
    world = filled()
    for name in ("colleague", "expert"):
        with pytest.raises(TeledossierError):
            world.save(name, comment="non")
    world.step("send", "doctor")
    with pytest.raises(Conflict) as refused:
        world.save(comment="trop tard")
    assert refused.value.slug == "not-a-draft"
