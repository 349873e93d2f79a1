"""The operations on a télédossier: they judge the person's right, then the platform writes, in one
transaction.

A step computed from a view that was overtaken meanwhile is computed again from the new one: of two experts
who take a file at once one wins, and the other is told who.
FHIR R4 operations.html
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.visibility import current
from fhir_server.operations.registry import Operation, OperationRequest, OperationResult
from fhir_server.teledossier import drafts
from fhir_server.teledossier.activation import activate
from fhir_server.teledossier.actors import Actor, actor
from fhir_server.teledossier.attachments import attach
from fhir_server.teledossier.callers import Caller, caller, is_machine, moment
from fhir_server.teledossier.calling import again, answer, new_id, opened, recipients, with_people, write
from fhir_server.teledossier.definitions import concepts, display
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.judgement import possible
from fhir_server.teledossier.membership import read_all, roles
from fhir_server.teledossier.opening import check_requester, start
from fhir_server.teledossier.parameters import Parameters
from fhir_server.teledossier.steps import Given, take_step
from fhir_server.teledossier.vocabulary import concept, key, target
from fhir_server.teledossier.workflows import Workflow, workflow, workflow_codes
from fhir_server.teledossier.writing import Writing
from profiles.outcomes import Invalid

LONGEST_CALL = 24 * 60  # minutes
SAVE = (
    "answers",
    "recipient",
    "exam",
    "visibility",
    "priority",
    "comment",
    "requester",
    "title",
    "consent",
    "occurred",
    "who",
)


async def save(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """A draft's content. Raises NotFound, Forbidden, Conflict (sent already), Invalid, Unprocessable."""
    given = Parameters.of(request.parameters, SAVE)
    who = await caller(engine, access, given)
    when = moment(engine, given)

    async def attempt() -> None:
        file = await opened(engine, access, request.id)
        person = actor(file, who.practitioner, who.roles)
        drafts.check_draft(file, person)
        content = await _content(engine, given, file, who)
        named = [*(content.recipients or ()), content.requester or ""]
        file = await with_people(engine, file, [*named, *map(key, who.roles)])
        writing = Writing(when, new_id)
        drafts.save(file, content, person, writing)
        await write(engine, writing.bundle())

    await again(attempt)
    return await answer(engine, request.id)


async def _content(engine: Engine, given: Parameters, file: Teledossier, who: Caller) -> drafts.Content:
    consent = given.parts("consent", ("state", "text"))
    requester = given.reference("requester")
    if requester:
        requester = await check_requester(engine, who, file.author, requester)
    return drafts.Content(
        answers=given.resource("answers", "QuestionnaireResponse", status="in-progress"),
        recipients=await recipients(engine, given.references("recipient"))
        if given.has("recipient")
        else None,
        exams=tuple(_announced(one) for one in given.all("exam", ("valueReference",), dict))
        if given.has("exam")
        else None,
        visibility=given.code("visibility", ("me", "community")),
        priority=given.code("priority", drafts.PRIORITIES),
        comment=given.text("comment") if given.has("comment") else None,
        requester=requester or None,
        title=given.text("title").strip()[:200] if given.has("title") else None,
        consent=(consent.code("state") or "", consent.text("text").strip()) if consent else None,
    )


def _announced(reference: Resource) -> Resource:
    """A logical reference to an exam that is to come. Raises Invalid."""
    identifier = reference.get("identifier")
    if (
        not isinstance(identifier, dict)
        or not isinstance(identifier.get("value"), str)
        or "reference" in reference
    ):
        raise Invalid("bad-exam", "an announced exam is a Reference with an identifier: its accession number")
    made: Resource = {"type": "ImagingStudy", "identifier": identifier}
    if isinstance(reference.get("display"), str):
        made["display"] = reference["display"]
    return made


async def discard(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Removes a draft of one's own: 204. Raises NotFound, Forbidden, Conflict."""
    given = Parameters.of(request.parameters, ("who", "occurred"))
    who = await caller(engine, access, given)
    when = moment(engine, given)

    async def attempt() -> None:
        file = await opened(engine, access, request.id)
        writing = Writing(when, new_id)
        drafts.discard(file, actor(file, who.practitioner, who.roles), writing)
        await write(engine, writing.bundle())

    await again(attempt)
    return OperationResult(204)


STEP = ("step", "text", "reason", "recipient", "minutes", "closes", "occurred", "who")


async def step(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """One step of the workflow. Raises NotFound, Invalid, Forbidden, Conflict (illegal now, and what is
    possible), Unprocessable (something is missing)."""
    given = Parameters.of(request.parameters, STEP)
    who = await caller(engine, access, given)
    code = given.code("step")
    if not code:
        raise Invalid("missing-step", "parameter 'step' is a code of CodeSystem/step")
    when = moment(engine, given)
    details = Given(
        text=given.text("text"),
        reason=_reason(given),
        minutes=given.integer("minutes", LONGEST_CALL),
        closes=given.boolean("closes"),
        recipients=await recipients(engine, given.references("recipient")),
    )

    async def attempt() -> None:
        file = await opened(engine, access, request.id)
        file = await with_people(engine, file, [*details.recipients, who.practitioner, *map(key, who.roles)])
        person, flow = actor(file, who.practitioner, who.roles), _flow(file)
        # a thread: signing draws a PDF, which would hold up the others' requests
        bundle = await asyncio.to_thread(take_step, file, flow, code, person, details, when, new_id)
        await write(engine, bundle)

    await again(attempt)
    return await answer(engine, request.id)


def _reason(given: Parameters) -> Resource | None:
    """A motive in the person's words, or a code of CodeSystem `refusal-reason` in its own. Raises Invalid for
    a code that is none."""
    if given.is_code("reason"):
        code = given.code("reason", tuple(concepts("refusal-reason"))) or ""
        words = display("refusal-reason", code)
        return {**concept("refusal-reason", code, words), "text": words}
    text = given.text("reason").strip()
    return {"text": text} if text else None


def _flow(file: Teledossier) -> Workflow:
    """The workflow's table; a file of an older kind (`autre`) has none and takes no steps."""
    if file.workflow not in workflow_codes():
        return Workflow(file.workflow, "", "routine", "", ())
    return workflow(file.workflow)


async def everything(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The whole télédossier as a collection Bundle: the request first, what hangs on it oldest first, the
    people it names, of the types that the scopes allow to read; for a person also a Parameters `possible`
    with the steps they can make now. Raises NotFound, Forbidden."""
    file = await opened(engine, access, request.id)
    base = engine.settings.fhir_base
    entries = [file.request, *([file.patient] if file.patient else [])]
    encounter = target(file.request.get("encounter"))
    entries += (await read_all(engine.store, [encounter])).values() if encounter else []
    entries += [one for type in file.hanging for one in _in_order(file, type)]
    entries += list(file.people.values())
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": f"{base}/{key(one)}", "resource": one}
            for one in entries
            if access.allows(one["resourceType"], "r")
        ],
    }
    if not is_machine(access):
        bundle["entry"].append({"resource": await _possible(engine, access, file)})
    if engine.trail is not None:
        engine.trail.noticed(access, "read", [await current(engine, access, "ServiceRequest", request.id)])
    return OperationResult(200, bundle)


def _in_order(file: Teledossier, type: str) -> list[Resource]:
    """Provenances by when it happened, the rest as written."""
    if type != "Provenance":
        return list(file.of(type))
    return sorted(file.of(type), key=lambda one: datetime.fromisoformat(str(one["occurredDateTime"])))


async def _possible(engine: Engine, access: Access, file: Teledossier) -> Resource:
    person = await _person(engine, access, file)
    steps = possible(file, _flow(file), person) if person else ()
    return {
        "resourceType": "Parameters",
        "id": "possible",
        "parameter": [{"name": "step", "valueCode": one} for one in steps],
    }


async def _person(engine: Engine, access: Access, file: Teledossier) -> Actor | None:
    type, _, id = access.subject.partition("/")
    return actor(file, access.subject, await roles(engine.store, id)) if type == "Practitioner" else None


ON = frozenset({"ServiceRequest"})
OPERATIONS: tuple[Operation, ...] = (
    Operation("start", "type", ON, start, affects_state=True),
    Operation("save", "instance", ON, save, affects_state=True),
    Operation("attach", "instance", ON, attach, affects_state=True),
    Operation("discard", "instance", ON, discard, affects_state=True),
    Operation("step", "instance", ON, step, affects_state=True),
    Operation("everything", "instance", ON, everything, affects_state=False),
    Operation("activate", "instance", frozenset({"Endpoint"}), activate, affects_state=True),
)
