"""The operations on a real store: who may, what is written at once, races, and what a wrong call gets."""

from __future__ import annotations

import asyncio
import base64

import pytest

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.interactions.history import history
from fhir_server.interactions.vread import vread
from fhir_server.operations.registry import OperationResult
from fhir_server.teledossier.file import read_mark
from fhir_server.teledossier.vocabulary import code_of, extensions, key, ref, target, value
from profiles.outcomes import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TeledossierError,
    Unprocessable,
)
from tests.teledossier.acting import (
    MACHINE,
    PATIENT,
    READER,
    Resource,
    call,
    code,
    document,
    filled,
    patient,
    reference,
    sent,
    started,
    text,
    view,
    who,
)
from tests.teledossier.made import FORM


async def test_start_opens_a_draft_with_all_that_is_known(region: Engine) -> None:
    """R026, R040: one call gives patient, author, service, number; the Patient known by INS is the one
    used."""
    made = await call(region, "start", "p08", "", code("workflow", "avis-avc-aigu"), patient())
    assert made.status == 201
    assert isinstance(made.resource, dict)
    request = made.resource
    assert (
        made.headers["Location"] == f"{region.settings.fhir_base}/ServiceRequest/{request['id']}/_history/1"
    )
    assert (request["status"], request["priority"], request["subject"]) == (
        "draft",
        "stat",
        ref("Patient/pat03"),
    )
    assert request["requester"] == ref("PractitionerRole/p08-urg-auch", "Dr Nadia BENALI")
    assert value(request, "visibility") == "community"
    assert request["identifier"][0]["value"].startswith("TD-2")
    assert [target(one["valueReference"]) for one in extensions(request, "audience")] == ["Practitioner/p08"]


async def test_numbers_rise(region: Engine) -> None:
    numeros = [(await view(region, await started(region))).numero for _ in range(3)]
    assert [int(numero[-6:]) for numero in numeros] == [1, 2, 3]
    assert len({numero[:8] for numero in numeros}) == 1


async def test_delegation(region: Engine) -> None:
    """R050: a secretary types for her doctor; both see the draft; she cannot name just any doctor."""
    made = await call(region, "start", "p02", "", code("workflow", "avis-generique"), patient())
    assert isinstance(made.resource, dict)
    assert target(made.resource["requester"]) == "PractitionerRole/p03-med-chiva"
    assert target(value(made.resource, "author")) == "PractitionerRole/p02-med-chiva"
    await call(region, "save", "p03", made.resource["id"], text("comment", "Relu"))
    other = reference("requester", "PractitionerRole/p08-urg-auch")
    with pytest.raises(Forbidden):
        await call(region, "start", "p02", "", code("workflow", "avis-generique"), patient(), other)


@pytest.mark.parametrize("by", ["p09", "p19", "p21"])
async def test_not_everyone_opens_a_teledossier(region: Engine, by: str) -> None:
    with pytest.raises(Forbidden):
        await started(region, by)
    assert await region.store.count("ServiceRequest", SYSTEM.visible("ServiceRequest")) == 0


WRONG_STARTS: list[tuple[list[Resource], type[TeledossierError]]] = [
    ([patient()], Invalid),
    ([code("workflow", "autre"), patient()], Invalid),
    ([code("workflow", "avis-generique")], Invalid),
    (
        [code("workflow", "avis-generique"), {"name": "patient", "resource": {"resourceType": "Group"}}],
        Invalid,
    ),
    ([code("workflow", "avis-generique"), patient(name="LABORDE")], Unprocessable),
    ([code("workflow", "avis-generique"), patient(name=[{"family": 7}])], Unprocessable),
    (
        [
            code("workflow", "avis-generique"),
            patient(),
            reference("author", "PractitionerRole/p01-urg-chiva"),
        ],
        Invalid,
    ),
    ([code("workflow", "avis-generique"), patient(), text("numero", "TD-2024-000001")], Forbidden),
    (
        [code("workflow", "avis-generique"), patient(), {"name": "occurred", "valueDateTime": "2024-01-01"}],
        Forbidden,
    ),
    ([code("workflow", "avis-generique"), patient(), text("colour", "blue")], Invalid),
    ([code("workflow", "avis-generique"), code("workflow", "avis-urgences"), patient()], Invalid),
    ([{"name": "workflow", "valueInteger": 3}, patient()], Invalid),
]


@pytest.mark.parametrize(("given", "error"), WRONG_STARTS)
async def test_a_wrong_start_writes_nothing(
    region: Engine, given: list[Resource], error: type[TeledossierError]
) -> None:
    before = await region.store.latest()
    with pytest.raises(error):
        await call(region, "start", "p08", "", *given)
    assert await region.store.latest() == before


async def test_what_one_may_not_see_is_not_there(region: Engine) -> None:
    """Another community's draft and file answer like an id that never was; so does a wrong id."""
    draft, file = await started(region), await sent(region)
    for id, by in ((draft, "p05"), (draft, "p09"), (file, "p07"), (file, "p01"), ("none", "p08")):
        for name, given in (
            ("step", code("step", "read")),
            ("save", text("comment", "x")),
            ("everything", None),
        ):
            with pytest.raises(NotFound):
                await call(region, name, by, id, *([given] if given else []))
    assert (await call(region, "step", "p05", file, code("step", "read"))).status == 200


async def test_read_is_idempotent(region: Engine) -> None:
    id = await sent(region)
    await call(region, "step", "p05", id, code("step", "read"))
    first = await view(region, id)
    again = await call(region, "step", "p05", id, code("step", "read"))
    second = await view(region, id)
    assert again.status == 200
    assert second.request["meta"] == first.request["meta"]
    assert read_mark(second.tasks[0]) == read_mark(first.tasks[0])
    audits = await region.store.count("AuditEvent", SYSTEM.visible("AuditEvent"))
    await call(region, "step", "p05", id, code("step", "read"))
    assert await region.store.count("AuditEvent", SYSTEM.visible("AuditEvent")) == audits + 1


async def test_two_experts_take_at_once_and_one_wins(region: Engine) -> None:
    """p16 and p17 are in the same community: the other is told who took it."""
    id = await started(region, "p15", "rcp-greffe-renale")
    answers = {
        "resourceType": "QuestionnaireResponse",
        "status": "in-progress",
        "item": FORM["rcp-greffe-renale"],
    }
    to = reference("recipient", "Organization/greffe-tls")
    await call(region, "save", "p15", id, {"name": "answers", "resource": answers}, to)
    await call(region, "step", "p15", id, code("step", "send"))
    await call(region, "step", "p16", id, code("step", "read"))
    calls = [call(region, "step", by, id, code("step", "take")) for by in ("p16", "p17")]
    results = await asyncio.gather(*calls, return_exceptions=True)
    lost = [one for one in results if isinstance(one, Conflict)]
    won = [one for one in results if isinstance(one, OperationResult)]
    assert (len(won), len(lost)) == (1, 1), results
    (task,) = (await view(region, id)).tasks
    assert lost[0].slug == "illegal-step"
    assert value(task, "assignee")["display"] in lost[0].issues[0].text
    takes = [
        one for one in (await view(region, id)).of("Provenance") if code_of(one["activity"], "step") == "take"
    ]
    assert len(takes) == 1


async def test_many_calls_logged_at_once_are_all_there(region: Engine) -> None:
    """Overtaken steps are computed again, none is lost."""
    id = await sent(region)
    say = [
        call(region, "step", "p08", id, code("step", "log-call"), text("text", f"Appel {n}"))
        for n in range(5)
    ]
    await asyncio.gather(*say)
    said = sorted(one["payload"][0]["contentString"] for one in (await view(region, id)).of("Communication"))
    assert said == [f"Appel {n}" for n in range(5)]


async def test_a_signed_report_is_a_pdf_in_the_file(region: Engine) -> None:
    id = await sent(region)
    for step, said in (("read", ""), ("take", ""), ("answer", "Thrombolyse"), ("sign-report", "")):
        await call(region, "step", "p05", id, code("step", step), text("text", said))
    (report,) = (await view(region, id)).of("DiagnosticReport")
    assert (report["status"], report["conclusion"]) == ("final", "Thrombolyse")
    (form,) = report["presentedForm"]
    binary = await Fhir(region, await who(region, "p08")).read("Binary", form["url"].removeprefix("Binary/"))
    assert base64.b64decode(binary["data"]).startswith(b"%PDF-")
    with pytest.raises(NotFound):
        await Fhir(region, await who(region, "p07")).read("Binary", form["url"].removeprefix("Binary/"))


async def test_each_step_leaves_provenance_and_audit(region: Engine) -> None:
    id = await sent(region)
    file = await view(region, id)
    assert [code_of(one["activity"], "step") for one in file.of("Provenance")] == ["start", "send"]
    access = await who(region, "p05")
    trails = await Fhir(region, access).search("AuditEvent", [])
    assert {one["entity"][0]["what"]["reference"] for one in trails} == {f"ServiceRequest/{id}"}
    assert [one["subtype"][0]["code"] for one in trails] == ["send", "save", "start"]


WRONG_STEPS: list[tuple[str, list[Resource], type[TeledossierError]]] = [
    ("p05", [], Invalid),
    ("p05", [code("step", "fly")], Invalid),
    ("p05", [code("step", "invite")], Conflict),
    ("p05", [code("step", "answer"), text("text", "trop tôt")], Conflict),
    ("p08", [code("step", "answer"), text("text", "moi-même")], Forbidden),
    ("p08", [code("step", "read")], Forbidden),
    ("p08", [code("step", "cancel")], Unprocessable),
    ("p08", [code("step", "log-call"), {"name": "minutes", "valueInteger": -1}], Invalid),
    ("p08", [code("step", "log-call"), {"name": "minutes", "valueInteger": True}], Invalid),
    ("p08", [code("step", "log-call"), text("text", "x" * 20_001)], Invalid),
    ("p08", [code("step", "log-call"), {"name": "closes", "valueString": "yes"}], Invalid),
    ("p08", [code("step", "log-call"), reference("who", "Practitioner/p05")], Forbidden),
]


@pytest.mark.parametrize(("by", "given", "error"), WRONG_STEPS)
async def test_a_refused_step_writes_nothing(
    region: Engine, by: str, given: list[Resource], error: type[TeledossierError]
) -> None:
    id = await sent(region)
    before = await region.store.latest()
    with pytest.raises(error):
        await call(region, "step", by, id, *given)
    assert await region.store.latest() == before


async def test_machines_take_over_history(region: Engine) -> None:
    """`who` and `occurred` are a machine's, with the right to write; a reading machine has no step."""
    id = await filled(region)
    early = {"name": "occurred", "valueDateTime": "2024-08-08T05:30:00+02:00"}
    await call(region, "step", MACHINE, id, code("step", "send"), reference("who", "Practitioner/p08"), early)
    when = {"name": "occurred", "valueDateTime": "2024-08-08T05:34:00+02:00"}
    with pytest.raises(Invalid):
        await call(region, "step", MACHINE, id, code("step", "read"))
    with pytest.raises(Invalid):
        await call(region, "step", MACHINE, id, code("step", "read"), reference("who", "Practitioner/nobody"))
    with pytest.raises(Forbidden):
        await call(region, "step", READER, id, code("step", "read"), reference("who", "Practitioner/p05"))
    for wrong in ("2024-08-08", "2024-08-08T05:34:00", "3024-08-08T05:34:00+02:00", "soon"):
        said = {"name": "occurred", "valueDateTime": wrong}
        with pytest.raises(Invalid):
            await call(
                region, "step", MACHINE, id, code("step", "read"), reference("who", "Practitioner/p05"), said
            )
    await call(region, "step", MACHINE, id, code("step", "read"), reference("who", "Practitioner/p05"), when)
    (task,) = (await view(region, id)).tasks
    assert read_mark(task) == ("PractitionerRole/p05-neurovasc-tls", "2024-08-08T05:34:00+02:00")


WRONG_SAVES: list[tuple[list[Resource], type[TeledossierError]]] = [
    ([reference("recipient", "Organization/chu-tls")], Unprocessable),
    ([reference("recipient", "Organization/nowhere")], Unprocessable),
    ([reference("recipient", "Practitioner/p05")], Unprocessable),
    ([code("visibility", "everyone")], Invalid),
    ([code("priority", "asap")], Invalid),
    ([{"name": "consent", "part": [code("state", "maybe")]}], Invalid),
    (
        [
            {
                "name": "answers",
                "resource": {"resourceType": "QuestionnaireResponse", "item": [{"linkId": "x"}]},
            }
        ],
        Invalid,
    ),
    ([{"name": "answers", "resource": {"resourceType": "QuestionnaireResponse", "item": 7}}], Unprocessable),
    ([{"name": "exam", "valueReference": ref("ImagingStudy/1")}], Invalid),
]


@pytest.mark.parametrize(("given", "error"), WRONG_SAVES)
async def test_a_wrong_save_writes_nothing(
    region: Engine, given: list[Resource], error: type[TeledossierError]
) -> None:
    id = await started(region)
    before = await region.store.latest()
    with pytest.raises(error):
        await call(region, "save", "p08", id, *given)
    assert await region.store.latest() == before


async def test_save_replaces_what_it_is_given(region: Engine) -> None:
    id = await started(region)
    exam = {"name": "exam", "valueReference": {"identifier": {"value": "AUCH-24-1"}, "display": "IRM"}}
    consent = {"name": "consent", "part": [code("state", "recueilli"), text("text", "Oral")]}
    for recipient in ("Organization/neurovasc-tls", "Organization/neurovasc-mpl"):
        answers = {"resourceType": "QuestionnaireResponse", "item": FORM["avis-avc-aigu"][:2]}
        given = [{"name": "answers", "resource": answers}, exam, consent, text("comment", "Vite")]
        await call(region, "save", "p08", id, reference("recipient", recipient), *given)
    file = await view(region, id)
    assert [target(one) for one in file.request["performer"]] == ["Organization/neurovasc-mpl"]
    assert (len(file.of("QuestionnaireResponse")), len(file.of("Consent"))) == (1, 1)
    form, announced = file.request["supportingInfo"]
    assert target(form) == key(file.of("QuestionnaireResponse")[0])
    assert announced == {"type": "ImagingStudy", "identifier": {"value": "AUCH-24-1"}, "display": "IRM"}
    assert file.request["note"] == [{"text": "Vite"}]


async def test_discard_removes_a_draft_and_only_a_draft(region: Engine) -> None:
    id = await started(region)
    await call(region, "attach", "p08", id, document(b"%PDF-1.4"))
    assert (await call(region, "discard", "p08", id)).status == 204
    for type in ("ServiceRequest", "DocumentReference", "Binary"):
        assert await region.store.count(type, SYSTEM.visible(type)) == 0
    file = await sent(region)
    with pytest.raises(Conflict):
        await call(region, "discard", "p08", file)


async def test_everything_is_the_file_and_what_one_can_do(region: Engine) -> None:
    id = await sent(region)
    made = await call(region, "everything", "p05", id)
    assert isinstance(made.resource, dict)
    entries = [entry["resource"] for entry in made.resource["entry"]]
    assert [one["resourceType"] for one in entries[:2]] == ["ServiceRequest", "Patient"]
    kinds = {one["resourceType"] for one in entries}
    assert {"Task", "QuestionnaireResponse", "Provenance", "Practitioner", "Organization"} <= kinds
    assert entries[-1]["id"] == "possible"
    assert [one["valueCode"] for one in entries[-1]["parameter"]] == ["read"]
    machine = await call(region, "everything", MACHINE, id)
    assert isinstance(machine.resource, dict)
    assert machine.resource["entry"][-1]["resource"]["resourceType"] != "Parameters"


async def test_the_audience_is_the_servers_alone(region: Engine) -> None:
    """A system client's own ServiceRequest gets a number and an audience that follows from its content."""
    fhir = Fhir(region, MACHINE)
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": ref("Patient/pat03"),
        "requester": ref("PractitionerRole/p08-urg-auch"),
        "performer": [ref("PractitionerRole/p05-neurovasc-tls")],
        "extension": [
            {
                "url": "https://teledossier.example/fhir/StructureDefinition/audience",
                "valueReference": ref("Practitioner/p07"),
            }
        ],
    }
    made = await fhir.create(request)
    assert [target(one["valueReference"]) for one in extensions(made, "audience")] == [
        "Practitioner/p08",
        "Practitioner/p05",
    ]
    numero = made["identifier"][0]["value"]
    updated = await fhir.update({**request, "id": made["id"], "note": [{"text": "x"}]})
    assert updated["identifier"][0]["value"] == numero
    assert [target(one["valueReference"]) for one in extensions(updated, "audience")] == [
        "Practitioner/p08",
        "Practitioner/p05",
    ]
    assert await Fhir(region, await who(region, "p07")).search("ServiceRequest", []) == []
    assert len(await Fhir(region, await who(region, "p05")).search("ServiceRequest", [])) == 1


async def test_a_form_without_answers_is_saved(region: Engine) -> None:
    """What an untouched form sends: FHIR knows no empty list, so the response has no item."""
    id = await started(region)
    for items in ([], [{"linkId": "nihss", "answer": [{"valueInteger": 14}]}], []):
        answers = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
        given = {**answers, "item": items} if items else answers
        await call(region, "save", "p08", id, {"name": "answers", "resource": given})
        stored = (await view(region, id)).of("QuestionnaireResponse")
        assert [one.get("item", "none") for one in stored] == [items or "none"]


async def test_everything_holds_only_what_the_scopes_allow(region: Engine) -> None:
    """A client that may read requests alone gets no patient: an operation is no way round scopes."""
    id = await sent(region)
    narrow = Access("Client/narrow", (Scope("ServiceRequest", "rs"), Scope("Task", "r")), None)
    whole, part = [await call(region, "everything", reader, id) for reader in (READER, narrow)]

    def types(result: OperationResult) -> set[str]:
        assert isinstance(result.resource, dict)
        return {entry["resource"]["resourceType"] for entry in result.resource["entry"]}

    assert types(whole) > {"ServiceRequest", "Task", "Patient", "Provenance"}, "positive control"
    assert types(part) == {"ServiceRequest", "Task"}


async def test_a_local_number_is_matched_only_from_its_own_establishment(region: Engine) -> None:
    """Local numbers can be guessed: a stranger's start must neither show nor change another's patient."""
    ipp = next(one for one in PATIENT["identifier"] if "/ipp/" in one["system"])
    forged = {
        "resourceType": "Patient",
        "identifier": [ipp],
        "birthDate": "1901-01-01",
        "name": [{"use": "official", "family": "AUTRE", "given": ["Nom"]}],
    }
    given = (code("workflow", "transfert-imagerie"), {"name": "patient", "resource": forged})
    subjects = {}
    for by in ("p15", "p08"):
        made = await call(region, "start", by, "", *given)
        assert isinstance(made.resource, dict)
        subjects[by] = target(made.resource["subject"])
    assert subjects["p08"] == "Patient/pat03", "positive control: the establishment that issued it"
    assert subjects["p15"] != "Patient/pat03"
    type, _, id = subjects["p15"].partition("/")
    assert "identifier" not in await Fhir(region, SYSTEM).read(type, id)


async def test_the_versions_of_a_draft_stay_with_who_wrote_it(region: Engine) -> None:
    """A recipient's history of the request, and of what hangs on it, begins with what was sent."""
    id = await started(region)
    form = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
    for said, item in (("pas encore", FORM["avis-avc-aigu"][:1]), ("dit", FORM["avis-avc-aigu"])):
        answers = {"name": "answers", "resource": {**form, "item": item}}
        to = reference("recipient", "Organization/neurovasc-tls")
        await call(region, "save", "p08", id, answers, to, text("comment", said))
    await call(region, "step", "p08", id, code("step", "send"))
    author, recipient = await who(region, "p08"), await who(region, "p05")
    form_id = str((await view(region, id)).of("QuestionnaireResponse")[0]["id"])
    for type, one in (("ServiceRequest", id), ("QuestionnaireResponse", form_id)):
        own = (await history(region, author, type, one)).parsed()
        seen = (await history(region, recipient, type, one)).parsed()
        now = own["total"]
        assert now == len(own["entry"]) > 1, "positive control"
        assert seen["total"] == len(seen["entry"]) == 1, type
        page = (await history(region, recipient, type, one, [("_count", "1")])).parsed()
        assert [link["relation"] for link in page["link"]] == ["self"]
        assert (await vread(region, recipient, type, one, now)).version == now
        for old in range(1, now):
            assert (await vread(region, author, type, one, old)).version == old
            with pytest.raises(NotFound):
                await vread(region, recipient, type, one, old)
        assert "pas encore" not in str(seen)
    await call(region, "step", "p05", id, code("step", "read"))
    assert (await history(region, recipient, "ServiceRequest", id)).parsed()["total"] == 2
