"""$attach: a document joins the télédossier for good, or a proposed exam is accepted or turned down. R083,
R095, R096"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from fhir_server.access import Access
from fhir_server.interactions.content import content_of, decoded
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.teledossier import drafts
from fhir_server.teledossier.actors import Actor, actor
from fhir_server.teledossier.callers import Caller, caller, moment
from fhir_server.teledossier.calling import again, answer, new_id, opened, with_people, write
from fhir_server.teledossier.definitions import say
from fhir_server.teledossier.file import Teledossier
from fhir_server.teledossier.membership import read_all
from fhir_server.teledossier.parameters import Parameters
from fhir_server.teledossier.vocabulary import key, ref, target
from fhir_server.teledossier.writing import Author, Writing
from profiles.outcomes import Conflict, Forbidden, Invalid, Issue, NotFound, TooLarge

MOST_DATA = 20_000_000
"""Bytes of a document inside the call; a larger one is posted as a Binary before."""
ATTACHMENT = ("contentType", "url", "size", "hash", "title")
MAY_JOIN = frozenset({"requester", "author", "expert", "secretary"})
MAY_DECIDE = frozenset({"requester", "author", "radiographer", "expert"})


async def attach(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """The ServiceRequest; for a document 201 and its DocumentReference. Raises NotFound, Forbidden, Conflict
    (the file is closed), Invalid, TooLarge."""
    given = Parameters.of(request.parameters, ("document", "exam", "accept", "occurred", "who"))
    if given.has("document") == given.has("exam"):
        raise Invalid("bad-attach", "give either 'document' or 'exam' with 'accept'")
    who = await caller(engine, access, given)
    await opened(engine, access, request.id)
    if given.has("document"):
        made = await _document(engine, access, request.id, given, who)
        return OperationResult(201, made, {"Location": f"{engine.settings.fhir_base}/{key(made)}"})
    await _exam(engine, access, request.id, given, who)
    return await answer(engine, request.id)


async def _view(engine: Engine, access: Access, id: str, who: Caller) -> tuple[Teledossier, Actor]:
    file = await opened(engine, access, id)
    file = await with_people(engine, file, [who.practitioner, *map(key, who.roles)])
    return file, actor(file, who.practitioner, who.roles)


def _author(file: Teledossier, person: Actor, able: frozenset[str]) -> Author:
    """In what position the person does it. Raises Forbidden, Conflict."""
    if file.request.get("status") not in ("draft", "active"):
        issue = Issue(
            "error", "conflict", "file-closed", "the télédossier has ended", text=say("file-closed")
        )
        raise Conflict("file-closed", issue.diagnostics, issues=[issue])
    positions = [person.sender, *person.recipients.values()]
    role = next((one.role for one in positions if one.qualities & able), "")
    if not role:
        raise Forbidden("not-your-step", "this person's role in the télédossier does not allow that")
    return Author(role, file.name_of(person.practitioner), person.practitioner)


async def _document(engine: Engine, access: Access, id: str, given: Parameters, who: Caller) -> Resource:
    when = moment(engine, given)
    sent = given.resource("document", "DocumentReference", status="current") or {}
    attachment = _attachment(sent)
    binary = await _binary(engine, id, attachment)

    async def attempt() -> Resource:
        file, person = await _view(engine, access, id, who)
        author = _author(file, person, MAY_JOIN)
        writing = Writing(when, new_id)
        fields: Resource = {name: attachment[name] for name in ATTACHMENT if name in attachment}
        fields["creation"] = when.occurred
        document = drafts.document_of(file, sent, fields, author, when.occurred)
        made = drafts.join(file, document, binary, author, writing)
        await write(engine, writing.bundle())
        return made

    return await again(attempt)


def _attachment(document: Resource) -> dict[str, Any]:
    """The one attachment. Raises Invalid."""
    content = document.get("content")
    attachment = content[0].get("attachment") if isinstance(content, list) and len(content) == 1 else None
    if not isinstance(attachment, dict) or not isinstance(attachment.get("contentType"), str):
        raise Invalid("bad-document", "a document has one content.attachment with a contentType")
    if ("data" in attachment) == ("url" in attachment):
        raise Invalid("bad-document", "the attachment has 'data', or the 'url' of a Binary posted before")
    return dict(attachment)


async def _binary(engine: Engine, id: str, attachment: dict[str, Any]) -> Resource | None:
    """The Binary to write for inline data, None for one that is there. Completes `attachment` with url, size
    and hash. Raises Invalid, TooLarge, NotFound."""
    if "url" in attachment:
        await _posted(engine, id, attachment)
        return None
    encoded = str(attachment.pop("data"))
    if len(encoded) * 3 // 4 > MOST_DATA:
        raise TooLarge(
            "document-too-large", f"data holds at most {MOST_DATA} bytes: post a Binary, then give its url"
        )
    data = decoded(encoded)
    binary = {
        "resourceType": "Binary",
        "id": new_id(),
        "contentType": attachment["contentType"],
        "securityContext": ref(f"ServiceRequest/{id}"),
        "data": base64.b64encode(data).decode("ascii"),
    }
    digest = hashlib.sha1(data).digest()  # noqa: S324 (Attachment.hash is SHA-1)
    attachment.update(url=key(binary), size=len(data), hash=base64.b64encode(digest).decode("ascii"))
    return binary


async def _posted(engine: Engine, id: str, attachment: dict[str, Any]) -> None:
    """A Binary posted before belongs to this télédossier already: its securityContext says so. Raises
    NotFound."""
    reference = "/".join(str(attachment["url"]).rsplit("/", 2)[-2:])
    binary = (await read_all(engine.store, [reference])).get(reference, {})
    if (
        binary.get("resourceType") != "Binary"
        or target(binary.get("securityContext")) != f"ServiceRequest/{id}"
    ):
        raise NotFound(
            "no-such-binary", "attachment.url is a Binary posted with this télédossier as securityContext"
        )
    content = content_of(binary)
    attachment.update(url=reference, size=content.size, contentType=content.content_type)
    attachment.pop("hash", None)


async def _exam(engine: Engine, access: Access, id: str, given: Parameters, who: Caller) -> None:
    exam, accept = given.reference("exam"), given.boolean("accept")
    if accept is None:
        raise Invalid("missing-accept", "parameter 'accept' says whether the exam belongs to the télédossier")
    when = moment(engine, given)

    async def attempt() -> None:
        file, person = await _view(engine, access, id, who)
        author = _author(file, person, MAY_DECIDE)
        task = drafts.proposal_of(file, exam)
        study = (await read_all(engine.store, [exam])).get(exam)
        if task is None or study is None:
            raise NotFound("no-such-proposal", "this exam is not proposed for the télédossier")
        writing = Writing(when, new_id)
        drafts.decide_exam(file, task, study, author, writing, "accepted" if accept else "rejected")
        await write(engine, writing.bundle())

    await again(attempt)
