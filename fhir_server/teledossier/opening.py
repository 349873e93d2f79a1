"""$start: a new télédossier, with the patient the DPI names. FHIR R4 operations.html"""

from __future__ import annotations

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.search.nodes import Token
from fhir_server.teledossier import drafts
from fhir_server.teledossier.actors import role_codes
from fhir_server.teledossier.callers import Caller, caller, is_machine, moment
from fhir_server.teledossier.calling import again, answer, new_id, write
from fhir_server.teledossier.definitions import properties
from fhir_server.teledossier.file import Teledossier, directory
from fhir_server.teledossier.membership import roles
from fhir_server.teledossier.parameters import Parameters
from fhir_server.teledossier.patients import import_patient
from fhir_server.teledossier.vocabulary import NUMERO, extension_url, extensions, key, target
from fhir_server.teledossier.workflows import workflow, workflow_codes
from fhir_server.teledossier.writing import Author, Writing
from profiles.outcomes import Conflict, Forbidden, Invalid

START = ("workflow", "patient", "encounter", "author", "requester", "title", "occurred", "numero", "who")


ENCOUNTER = ("identifier", "status", "class", "period", "serviceProvider")
"""What is taken of an Encounter from outside."""
VENUE = extension_url("teledossier-encounter")
"""Nothing in a venue says that it is a télédossier's: it declares its profile."""


async def start(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Opens a draft: 201 and the ServiceRequest. Raises Invalid, Forbidden, Conflict (a numero already
    given)."""
    given = Parameters.of(request.parameters, START)
    who = await caller(engine, access, given)
    flow = workflow(given.code("workflow", workflow_codes()) or "")
    author = _author_role(who, given.reference("author"))
    requester = given.reference("requester") or _delegating(who, author) or author
    people = await directory(engine.store, [author, requester])
    requester = await check_requester(engine, who, author, requester)
    people |= await directory(engine.store, [requester])
    when = moment(engine, given)
    numero = await _numero(engine, given.text("numero"), when.occurred)
    opening = drafts.Opening(
        numero=numero,
        flow=flow,
        author=author,
        requester=requester,
        title=given.text("title").strip()[:200],
        people=people,
        encounter=_encounter(given),
        id=str(uuid5(NAMESPACE_URL, f"{NUMERO}|{numero}")),
    )
    sent = given.resource("patient", "Patient")
    issuers = None if is_machine(access) else await _establishments(engine, who)

    async def attempt() -> str:
        writing = Writing(when, new_id)
        imported = await import_patient(engine.store, sent, issuers)
        name = Teledossier({}, people=people).name_of(author)
        made = drafts.start(opening, imported, Author(author, name, who.practitioner), writing)
        await write(engine, writing.bundle())
        return str(made["id"])

    return await answer(engine, await again(attempt), 201)


async def _establishments(engine: Engine, who: Caller) -> frozenset[str]:
    """Every Organization that the person's active roles lead to: community, service, establishment."""
    people = await directory(engine.store, map(key, who.roles))
    return frozenset(one for one in people if one.startswith("Organization/"))


def _author_role(who: Caller, asked: str) -> str:
    """The caller's own PractitionerRole that may open a télédossier. Raises Forbidden, Invalid."""
    able = [key(role) for role in who.roles if _as_sender(role) & {"requester", "author"}]
    if asked:
        if who.role(asked) is None:
            raise Invalid(
                "not-your-role", "parameter 'author' is an active PractitionerRole of the person who types"
            )
        able = [one for one in able if one == asked]
    if not able:
        raise Forbidden("may-not-start", "this person has no role that opens a télédossier")
    return able[0]


def _as_sender(role: Resource) -> set[str]:
    return {str(properties("role", code).get("as-sender", "")) for code in role_codes(role)}


def _delegating(who: Caller, author: str) -> str:
    """The Practitioner that the author types for, "" if none."""
    role = who.role(author) or {}
    return next((target(one.get("valueReference")) for one in extensions(role, "delegate-of")), "")


async def check_requester(engine: Engine, who: Caller, author: str, requester: str) -> str:
    """The requester's PractitionerRole: the author's own, or one of a doctor they type for or share the
    community with. Raises Invalid."""
    if requester == author:
        return requester
    mine = who.role(author) or {}
    community = target(mine.get("organization"))
    people = await directory(engine.store, [requester])
    if requester.startswith("Practitioner/"):
        candidates = await roles(engine.store, requester.partition("/")[2])
        same = [one for one in candidates if target(one.get("organization")) == community]
        chosen = same or candidates
        if not chosen:
            raise Invalid("unknown-requester", "parameter 'requester' names nobody with a role here")
        requester = key(chosen[0])
        people |= await directory(engine.store, [requester])
    role = people.get(requester)
    if role is None or role.get("resourceType") != "PractitionerRole":
        raise Invalid("unknown-requester", "parameter 'requester' is the PractitionerRole of a doctor")
    delegated = {target(one.get("valueReference")) for one in extensions(mine, "delegate-of")}
    shared = bool(community) and target(role.get("organization")) == community
    if target(role.get("practitioner")) not in delegated and not shared:
        raise Forbidden("not-delegated", "the author types neither for this doctor nor in their community")
    if "requester" not in _as_sender(role):
        raise Invalid("not-a-doctor", "parameter 'requester' is the PractitionerRole of a doctor")
    return requester


def _encounter(given: Parameters) -> Resource | None:
    """The venue at the requesting site, as far as it is taken."""
    sent = given.resource("encounter", "Encounter", status="in-progress")
    if sent is None:
        return None
    kept: Resource = {"resourceType": "Encounter", "meta": {"profile": [VENUE]}, "status": "in-progress"}
    kept.update({field: sent[field] for field in ENCOUNTER if field in sent})
    return kept


async def _numero(engine: Engine, asked: str, occurred: str) -> str:
    """The next free number, or one that a machine takes over. Raises Conflict."""
    if asked:
        if await _is_given(engine, asked):
            raise Conflict("numero-taken", f"{asked} is another télédossier's number")
        return asked
    return await free_numero(engine, occurred)


async def free_numero(engine: Engine, occurred: str) -> str:
    """`TD-<year>-<six digits>`: the next free one of that year."""
    moment = datetime.fromisoformat(occurred)
    try:
        year = moment.astimezone(engine.settings.zone).year
    except OverflowError:  # the very end or beginning of the calendar has no local time
        year = moment.year
    while True:
        numero = f"TD-{year}-{await engine.store.next_number(f'numero-{year}'):06d}"
        if not await _is_given(engine, numero):
            return numero


async def _is_given(engine: Engine, numero: str) -> bool:
    return await engine.store.count("ServiceRequest", Token("identifier", ((NUMERO, numero),))) > 0
