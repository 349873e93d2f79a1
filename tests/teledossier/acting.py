"""Acting as a professional: short ways to call the operations in tests."""

from __future__ import annotations

import base64
from typing import Any

from fhir_server.access import Access, Scope
from fhir_server.demo.directory import patients
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.file import load as load_file
from fhir_server.teledossier.membership import audience
from fhir_server.teledossier.operations import OPERATIONS
from fhir_server.teledossier.vocabulary import ref
from tests.teledossier.made import FORM

Resource = dict[str, Any]
HANDLERS = {operation.name: operation.handler for operation in OPERATIONS}
PATIENT = next(one for one in patients() if one["id"] == "pat03")
MACHINE = Access("Client/history", (Scope("*", "cruds"),), None)
READER = Access("Client/reader", (Scope("*", "rs"),), None)


async def who(engine: Engine, id: str) -> Access:
    """A signed-in professional."""
    scopes = (Scope("*", "rs"), Scope("Binary", "c"))
    return Access(f"Practitioner/{id}", scopes, await audience(engine.store, id))


async def call(
    engine: Engine, name: str, access: Access | str, id: str = "", *given: Resource
) -> OperationResult:
    """One operation as a professional (by id) or with an Access."""
    reader = await who(engine, access) if isinstance(access, str) else access
    parameters = {"resourceType": "Parameters", "parameter": list(given)}
    return await HANDLERS[name](engine, reader, OperationRequest("ServiceRequest", id, parameters))


def code(name: str, said: str) -> Resource:
    return {"name": name, "valueCode": said}


def text(name: str, said: str) -> Resource:
    return {"name": name, "valueString": said}


def reference(name: str, to: str) -> Resource:
    return {"name": name, "valueReference": ref(to)}


def patient(**changes: Any) -> Resource:
    return {"name": "patient", "resource": {**PATIENT, **changes}}


async def started(engine: Engine, by: str = "p08", flow: str = "avis-avc-aigu") -> str:
    """The id of a fresh draft."""
    made = await call(engine, "start", by, "", code("workflow", flow), patient())
    assert isinstance(made.resource, dict)
    return str(made.resource["id"])


async def sent(engine: Engine, *recipients: str) -> str:
    """The id of an AVC télédossier sent by p08."""
    id = await filled(engine, *recipients)
    await call(engine, "step", "p08", id, code("step", "send"))
    return id


async def filled(engine: Engine, *recipients: str) -> str:
    """The id of an AVC draft of p08's that lacks nothing."""
    id = await started(engine)
    answers = {
        "resourceType": "QuestionnaireResponse",
        "status": "in-progress",
        "item": FORM["avis-avc-aigu"],
    }
    to = [reference("recipient", one) for one in recipients or ("Organization/neurovasc-tls",)]
    await call(engine, "save", "p08", id, {"name": "answers", "resource": answers}, *to)
    return id


async def view(engine: Engine, id: str) -> Teledossier:
    return await load_file(engine.store, id)


def document(content: bytes, **attachment: Any) -> Resource:
    encoded = base64.b64encode(content).decode()
    made = {"contentType": "application/pdf", "title": "Biologie.pdf", "data": encoded, **attachment}
    return {
        "name": "document",
        "resource": {"resourceType": "DocumentReference", "content": [{"attachment": made}]},
    }
