"""Documents, motives and exams of a télédossier: what joins, and what is refused."""

from __future__ import annotations

import base64

import pytest

from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.teledossier.vocabulary import concept, key, ref
from profiles.outcomes import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TeledossierError,
    TooLarge,
    Unprocessable,
)
from tests.teledossier.acting import (
    Resource,
    call,
    code,
    document,
    reference,
    sent,
    text,
    view,
    who,
)


async def test_documents_join_for_good(region: Engine) -> None:
    """R083, R095: sender and recipient add; content large enough goes to a file; nothing joins a closed
    file."""
    id = await sent(region)
    await call(region, "step", "p05", id, code("step", "read"))
    for by, data in (("p08", b"%PDF-small"), ("p05", b"%PDF-" + bytes(400_000))):
        made = await call(region, "attach", by, id, document(data))
        assert made.status == 201
        assert isinstance(made.resource, dict)
        attachment = made.resource["content"][0]["attachment"]
        assert (attachment["size"], attachment["title"]) == (len(data), "Biologie.pdf")
    assert len((await view(region, id)).of("DocumentReference")) == 2
    await call(region, "step", "p05", id, code("step", "refuse"), text("reason", "Hors domaine"))
    with pytest.raises(Conflict) as refused:
        await call(region, "attach", "p08", id, document(b"%PDF-late"))
    assert refused.value.slug == "file-closed"


@pytest.mark.parametrize(
    ("sent_as", "stored"),
    [
        (text("reason", " Hors domaine "), {"text": "Hors domaine"}),
        (
            code("reason", "mauvais-destinataire"),
            {
                **concept("refusal-reason", "mauvais-destinataire", "Ne relève pas de cette communauté"),
                "text": "Ne relève pas de cette communauté",
            },
        ),
    ],
)
async def test_a_motive_is_a_text_or_a_code(region: Engine, sent_as: Resource, stored: Resource) -> None:
    """Kept with the recipient's part and in the trace."""
    id = await sent(region)
    await call(region, "step", "p05", id, code("step", "read"))
    await call(region, "step", "p05", id, code("step", "refuse"), sent_as)
    file = await view(region, id)
    assert [task["statusReason"] for task in file.tasks] == [stored]
    assert [one["reason"] for one in file.of("Provenance") if "reason" in one] == [[stored]]


async def test_a_motive_that_is_no_code_of_ours_is_refused(region: Engine) -> None:
    id = await sent(region)
    await call(region, "step", "p05", id, code("step", "read"))
    with pytest.raises(Invalid) as refused:
        await call(region, "step", "p05", id, code("step", "refuse"), code("reason", "humeur"))
    assert "mauvais-destinataire" in refused.value.issues[0].diagnostics
    with pytest.raises(Unprocessable) as missing:
        await call(region, "step", "p05", id, code("step", "refuse"), text("reason", "  "))
    assert missing.value.slug == "missing-reason"


async def test_a_posted_binary_joins_only_its_own_file(region: Engine) -> None:
    one, other = await sent(region), await sent(region)
    binary = await Fhir(region, await who(region, "p08")).create(
        {
            "resourceType": "Binary",
            "contentType": "image/png",
            "securityContext": ref(f"ServiceRequest/{one}"),
            "data": base64.b64encode(b"png").decode(),
        }
    )
    sent_document = {
        "name": "document",
        "resource": {
            "resourceType": "DocumentReference",
            "content": [{"attachment": {"contentType": "image/png", "title": "Photo", "url": key(binary)}}],
        },
    }
    with pytest.raises(NotFound):
        await call(region, "attach", "p08", other, sent_document)
    made = await call(region, "attach", "p08", one, sent_document)
    assert isinstance(made.resource, dict)
    assert made.resource["content"][0]["attachment"]["url"] == key(binary)


WRONG_DOCUMENTS: list[tuple[str, list[Resource], type[TeledossierError]]] = [
    ("p08", [], Invalid),
    ("p08", [{"name": "document", "resource": {"resourceType": "DocumentReference"}}], Unprocessable),
    (
        "p08",
        [{"name": "document", "resource": {"resourceType": "DocumentReference", "content": [3]}}],
        Unprocessable,
    ),
    ("p08", [document(b"x", data="%%%")], Unprocessable),
    ("p08", [document(b"x", data="A" * 27_000_000)], TooLarge),
    ("p08", [document(b"x", url="Binary/1")], Invalid),
    ("p09", [document(b"x")], Forbidden),
    ("p08", [reference("exam", "ImagingStudy/none")], Invalid),
    ("p08", [reference("exam", "ImagingStudy/none"), {"name": "accept", "valueBoolean": True}], NotFound),
]


@pytest.mark.parametrize(("by", "given", "error"), WRONG_DOCUMENTS)
async def test_a_wrong_document_writes_nothing(
    region: Engine, by: str, given: list[Resource], error: type[TeledossierError]
) -> None:
    id = await sent(region)
    before = await region.store.latest()
    with pytest.raises(error):
        await call(region, "attach", by, id, *given)
    assert await region.store.latest() == before


@pytest.mark.parametrize(
    ("accept", "status", "belongs"), [(True, "completed", True), (False, "rejected", False)]
)
async def test_a_proposed_exam_is_for_a_person_to_decide(
    region: Engine, accept: bool, status: str, belongs: bool
) -> None:
    id = await sent(region)
    study = {"resourceType": "ImagingStudy", "id": "near", "status": "available", "subject": {"display": "?"}}
    proposal = {
        "resourceType": "Task",
        "id": "near",
        "status": "requested",
        "intent": "proposal",
        "code": {
            "coding": [
                {"system": "https://teledossier.example/fhir/CodeSystem/task", "code": "associate-exam"}
            ]
        },
        "description": "Même date de naissance et nom proche",
        "focus": ref(f"ServiceRequest/{id}"),
        "authoredOn": "2024-08-08T05:22:00+02:00",
        "input": [{"type": concept("task-part", "exam"), "valueReference": ref("ImagingStudy/near")}],
    }
    for resource in (study, proposal):
        await Fhir(region, SYSTEM).update(resource)
    given = [reference("exam", "ImagingStudy/near"), {"name": "accept", "valueBoolean": accept}]
    await call(region, "attach", "p08", id, *given)
    file = await view(region, id)
    assert (len(file.tasks), [key(one) for one in file.of("ImagingStudy")]) == (
        1,
        ["ImagingStudy/near"] * belongs,
    )
    assert (await Fhir(region, SYSTEM).read("Task", "near"))["status"] == status
    with pytest.raises(NotFound):
        await call(region, "attach", "p08", id, *given)
