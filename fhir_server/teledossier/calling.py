"""What the operations share: reading the file a caller may see, computing again after a lost race, writing,
answering."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import uuid4

from fhir_server.access import SYSTEM, Access
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.fhir import Fhir
from fhir_server.interactions.visibility import current
from fhir_server.operations.registry import OperationResult
from fhir_server.teledossier.definitions import say
from fhir_server.teledossier.file import Teledossier, directory, load
from fhir_server.teledossier.membership import is_community
from profiles import codec
from profiles.outcomes import Conflict, Issue, PreconditionFailed, Unprocessable

T = TypeVar("T")

ATTEMPTS = 8
"""How often a call is computed again after a lost race before the caller gets a 409."""


def new_id() -> str:
    return str(uuid4())


async def again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Runs `attempt`, again when it was overtaken. Raises Conflict after ATTEMPTS."""
    for _ in range(ATTEMPTS):
        try:
            return await attempt()
        except PreconditionFailed:
            continue
        except Conflict as error:
            if error.slug != "lost-race":
                raise
    issue = Issue("error", "conflict", "race", "the télédossier keeps changing; retry", text=say("race"))
    raise Conflict("race", issue.diagnostics, issues=[issue])


async def opened(engine: Engine, access: Access, id: str) -> Teledossier:
    """The télédossier, if this reader may see it. Raises NotFound, Gone."""
    await current(engine, access, "ServiceRequest", id)
    return await load(engine.store, id)


async def answer(engine: Engine, id: str, status: int = 200) -> OperationResult:
    """The ServiceRequest as it stands, with its version and address."""
    version = await engine.store.read("ServiceRequest", id)
    body = version.body if version is not None else None
    if version is None or body is None:
        return OperationResult(204)
    headers = {"ETag": f'W/"{version.version}"'}
    if status == 201:
        headers["Location"] = f"{engine.settings.fhir_base}/ServiceRequest/{id}/_history/{version.version}"
    return OperationResult(status, codec.parse(body), headers)


async def write(engine: Engine, bundle: Resource) -> None:
    """Commits what a step made, in the platform's own name."""
    await Fhir(engine, SYSTEM).transaction(bundle)


async def recipients(engine: Engine, references: Sequence[str]) -> tuple[str, ...]:
    """Communities and PractitionerRoles, each once. Raises Unprocessable for one that is neither."""
    found = await directory(engine.store, references)
    for place, reference in enumerate(references):
        one = found.get(reference)
        fits = one is not None and (one["resourceType"] == "PractitionerRole" or is_community(one))
        if not fits:
            issue = Issue(
                "error",
                "value",
                "unknown-recipient",
                f"recipient {place + 1} is no community and no PractitionerRole",
                text=say("unknown-recipient"),
            )
            raise Unprocessable(issue.slug, issue.diagnostics, issues=[issue])
    return tuple(dict.fromkeys(references))


async def with_people(engine: Engine, file: Teledossier, references: Sequence[str]) -> Teledossier:
    """The view, with these people resolved too."""
    more = await directory(engine.store, references)
    return Teledossier(file.request, file.patient, file.hanging, {**file.people, **more})
