"""A télédossier before it is sent: opening, filling, discarding, and joining documents at any time.

Pure, like the steps: from what is there and what was given to one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.teledossier.actors import Actor, audience_of
from fhir_server.teledossier.definitions import concepts, display, resources, say
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.patients import Imported
from fhir_server.teledossier.vocabulary import (
    BASE,
    LOINC,
    NUMERO,
    Resource,
    code_of,
    concept,
    extension_url,
    key,
    ref,
    target,
    with_extension,
)
from fhir_server.teledossier.workflows import DRAFT, Workflow
from fhir_server.teledossier.writing import Author, Writing
from profiles.outcomes import Conflict, Forbidden, Invalid, Issue

PRIORITIES = ("routine", "urgent", "stat")
CONSENT_SCOPE = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "treatment"}
CONSENT_RULE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}
CONSENT_KIND = {"system": LOINC, "code": "59284-0", "display": "Patient Consent"}


@dataclass(frozen=True, slots=True)
class Opening:
    """What a draft begins with. `author`, `requester`: PractitionerRole references; `people` resolves
    them."""

    numero: str
    flow: Workflow
    author: str
    requester: str
    title: str
    people: Mapping[str, Resource]
    encounter: Resource | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What `$save` may set; None leaves as it is. `consent`: (state, text)."""

    answers: Resource | None = None
    recipients: tuple[str, ...] | None = None
    exams: tuple[Resource, ...] | None = None
    visibility: str | None = None
    priority: str | None = None
    comment: str | None = None
    requester: str | None = None
    title: str | None = None
    consent: tuple[str, str] | None = None


def start(opening: Opening, imported: Imported, author: Author, writing: Writing) -> Resource:
    """Writes the Patient if it changed, the venue, the draft; returns the ServiceRequest."""
    patient = imported.patient
    if imported.changed:
        patient = writing.replace(patient) if "meta" in patient else writing.create(patient)
    community = target(opening.people.get(opening.requester, {}).get("organization"))
    shared = bool(community) and audience_has(community, opening.people)
    request: Resource = {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": NUMERO, "value": opening.numero}],
        "status": "draft",
        "intent": "order",
        "category": [concept("workflow", opening.flow.code, opening.flow.title)],
        "priority": opening.flow.priority,
        "subject": ref(key(patient)),
        "authoredOn": writing.moment.occurred,
        "requester": ref(opening.requester, _name(opening.people, opening.requester)),
    }
    if opening.id:
        request["id"] = opening.id
    author_ref = {"valueReference": ref(opening.author, _name(opening.people, opening.author))}
    request = with_extension(request, "author", author_ref)
    request = with_extension(request, "visibility", {"valueCode": "community" if shared else "me"})
    if opening.title:
        request = with_extension(request, "title", {"valueString": opening.title})
    notices = ({"valueString": say(slug)} for slug in imported.notices)
    request = with_extension(request, "notice", *notices)
    if opening.encounter is not None:
        encounter = writing.create({**opening.encounter, "subject": ref(key(patient))})
        request["encounter"] = ref(key(encounter))
    made = writing.create(_with_audience(request, opening.people))
    written = [key(made)] + ([key(patient)] if imported.changed else [])
    writing.trace("start", author, written)
    writing.audit("start", author, [key(made), key(patient)])
    return made


def audience_has(organization: str, people: Mapping[str, Resource]) -> bool:
    """Whether the organization is a community, so that a draft is shared with it once sent."""
    return code_of(people.get(organization, {}).get("type"), "organization-type") == "communaute"


def _with_audience(request: Resource, people: Mapping[str, Resource]) -> Resource:
    return with_extension(
        request, "audience", *({"valueReference": ref(one)} for one in audience_of(request, people))
    )


def _name(people: Mapping[str, Resource], reference: str) -> str:
    return Teledossier({}, people=people).name_of(reference)


def check_draft(file: Teledossier, actor: Actor) -> None:
    """Only author and requester write a draft, and only while it is one. Raises Forbidden, Conflict."""
    if not actor.own:
        raise Forbidden("not-your-draft", "only author and requester change a draft")
    if file.state != DRAFT:
        issue = Issue(
            "error", "conflict", "not-a-draft", "the télédossier was sent already", text=say("not-a-draft")
        )
        raise Conflict("not-a-draft", issue.diagnostics, issues=[issue])


def save(file: Teledossier, content: Content, actor: Actor, writing: Writing) -> None:
    """The next version of a draft and what hangs on it. `file.people` holds everyone `content` names.
    Raises Forbidden, Conflict, Invalid."""
    check_draft(file, actor)
    request = dict(file.request)
    if content.recipients is not None:
        request["performer"] = [ref(one, file.name_of(one)) for one in dict.fromkeys(content.recipients)]
        if not request["performer"]:
            del request["performer"]
    if content.visibility is not None:
        request = with_extension(request, "visibility", {"valueCode": content.visibility})
    if content.priority is not None:
        request["priority"] = content.priority
    if content.title is not None:
        request = with_extension(
            request, "title", *([{"valueString": content.title}] if content.title else [])
        )
    if content.comment is not None:
        request.pop("note", None)
        if content.comment.strip():
            request["note"] = [{"text": content.comment.strip()}]
    if content.requester is not None:
        request["requester"] = ref(content.requester, file.name_of(content.requester))
    form = _form(file, content, writing) if content.answers is not None else None
    request = _with_supporting(request, form, content.exams)
    writing.replace(_with_audience(request, file.people))
    if content.consent is not None:
        _consent(file, content.consent, actor, writing)
    author = Author(actor.sender.role, file.name_of(actor.practitioner), actor.practitioner)
    writing.audit("save", author, [file.reference, target(request["subject"])])


def _with_supporting(request: Resource, form: str | None, exams: Sequence[Resource] | None) -> Resource:
    """supportingInfo: the form, the exams announced (logical references by accession number), then what was
    there besides."""
    kept = list(request.get("supportingInfo", ()))
    if form is not None:
        kept = [ref(form), *(one for one in kept if target(one) != form)]
    if exams is not None:
        kept = [one for one in kept if not is_announced(one)] + list(exams)
    return {**request, "supportingInfo": kept} if kept else request


def is_announced(reference: Resource) -> bool:
    """An exam that is to come: a logical reference to an ImagingStudy."""
    return reference.get("type") == "ImagingStudy" and "reference" not in reference


def _form(file: Teledossier, content: Content, writing: Writing) -> str:
    """The QuestionnaireResponse, checked against its form so far as an unfinished one can be."""
    form = f"Questionnaire/{file.workflow}"
    assert content.answers is not None
    items = content.answers.get("item", [])
    known = {item["linkId"] for item in resources()[form]["item"]}
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise Invalid("bad-answers", "QuestionnaireResponse.item is a list of objects")
    strange = sorted({str(one.get("linkId")) for one in items} - known)
    if strange:
        raise Invalid(
            "unknown-item",
            f"the form has no item {', '.join(strange)}; its items: {', '.join(sorted(known))}",
        )
    response: Resource = {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{BASE}/{form}",
        "basedOn": [ref(file.reference)],
        "status": "in-progress",
        "subject": file.request["subject"],
        "authored": writing.moment.occurred,
        "author": file.request["requester"] if file.author == file.requester else ref(file.author),
    }
    if items:  # FHIR has no empty list: a form without answers has no item
        response["item"] = items
    if file.answers:
        kept = {"id": file.answers["id"], "meta": file.answers["meta"]}
        return key(writing.replace({**response, **kept}))
    return key(writing.create(response))


def _consent(file: Teledossier, consent: tuple[str, str], actor: Actor, writing: Writing) -> None:
    """Information and consent as it was obtained, or why it could not be (CSP L1111-2)."""
    state, text = consent
    if state not in concepts("consent-state"):
        raise Invalid(
            "unknown-consent", f"no consent state {state!r}; known: {', '.join(concepts('consent-state'))}"
        )
    made: Resource = {
        "resourceType": "Consent",
        "status": "rejected" if state == "refuse" else "active",
        "scope": {"coding": [CONSENT_SCOPE]},
        "category": [{"coding": [CONSENT_KIND]}],
        "patient": file.request["subject"],
        "dateTime": writing.moment.occurred,
        "performer": [ref(actor.sender.role or actor.practitioner, file.name_of(actor.practitioner))],
        "policyRule": {"coding": [CONSENT_RULE], "text": display("consent-state", state)},
        "provision": {
            "type": "deny" if state == "refuse" else "permit",
            "data": [{"meaning": "related", "reference": ref(file.reference)}],
        },
    }
    made = with_extension(made, "consent-state", {"valueCode": state})
    made = with_extension(made, "consent-text", *([{"valueString": text}] if text else []))
    existing = file.of("Consent")
    if existing:
        writing.replace({**made, "id": existing[-1]["id"], "meta": existing[-1]["meta"]})
    else:
        writing.create(made)


def discard(file: Teledossier, actor: Actor, writing: Writing) -> None:
    """Removes a draft and everything that hangs on it but its traces. Raises Forbidden, Conflict."""
    check_draft(file, actor)
    for type in ("QuestionnaireResponse", "Consent", "Communication", "DocumentReference"):
        for one in file.of(type):
            for binary in _binaries(one):
                writing.delete(binary)
            writing.delete(key(one))
    writing.delete(file.reference)
    author = Author(actor.sender.role, file.name_of(actor.practitioner), actor.practitioner)
    writing.audit("discard", author, [file.reference])


def _binaries(document: Resource) -> list[str]:
    urls = (str(one.get("attachment", {}).get("url", "")) for one in document.get("content", ()))
    return [url for url in urls if url.startswith("Binary/")]


def join(
    file: Teledossier, document: Resource, binary: Resource | None, author: Author, writing: Writing
) -> Resource:
    """A document becomes part of the télédossier, for good (R094). `binary` None: it is there already.
    The request gets a new version, so that nothing joins a file that closes at the same time."""
    if binary is not None:
        writing.create(binary)
    made = writing.create(document)
    writing.replace(file.request)
    written = [key(made)] + ([key(binary)] if binary is not None else [])
    writing.trace("attach", author, [file.reference, *written])
    writing.audit("attach", author, [file.reference, target(file.request.get("subject"))])
    return made


def proposal_of(file: Teledossier, exam: str) -> Resource | None:
    """The open Task that proposes this exam for the télédossier."""
    for task in file.of("Task"):
        is_proposal = (
            code_of(task.get("code"), "task") == "associate-exam" and task.get("status") == "requested"
        )
        if is_proposal and exam in (target(one.get("valueReference")) for one in task.get("input", ())):
            return task
    return None


def decide_exam(
    file: Teledossier, task: Resource, study: Resource, author: Author, writing: Writing, verdict: str
) -> None:
    """`verdict` accepted: the exam belongs to the télédossier and to its patient; rejected: the proposal
    ends."""
    if verdict == "accepted":
        others = [one for one in study.get("basedOn", ()) if target(one) != file.reference]
        writing.replace(
            {**study, "basedOn": [*others, ref(file.reference)], "subject": file.request["subject"]}
        )
    writing.replace({**task, "status": "completed" if verdict == "accepted" else "rejected"})
    writing.replace(file.request)
    targets = [file.reference, key(task)] + ([key(study)] if verdict == "accepted" else [])
    writing.trace("attach", author, targets)
    writing.audit("attach", author, [file.reference, target(file.request.get("subject"))])


def document_of(
    file: Teledossier, sent: Any, attachment: Resource, author: Author, occurred: str
) -> Resource:
    """The DocumentReference as it is stored: title, type and category of the sender, the rest ours."""
    made: Resource = {
        "resourceType": "DocumentReference",
        "meta": {"profile": [extension_url("teledossier-document-reference")]},
        "status": "current",
        "subject": file.request["subject"],
        "date": occurred,
        "author": [ref(author.who, author.name)],
        "content": [{"attachment": attachment}],
        "context": {"related": [ref(file.reference)]},
    }
    for field in ("type", "category", "description"):
        if sent.get(field):
            made[field] = sent[field]
    return made
