"""create, and create only if nothing matches. FHIR R4 http.html#create, http.html#ccreate"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.condition import the_one
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.visibility import require
from fhir_server.store.contract import RaceLost, Version
from fhir_server.store.files import Stored
from profiles.outcomes import Conflict


async def create(
    engine: Engine, access: Access, resource: Resource, *, stored: Stored | None = None
) -> Version:
    """Stores it under a new id; an id it carries is ignored, as the standard demands. `stored`: a Binary's
    bytes. Raises Unprocessable, Forbidden, NotFound (a télédossier the writer may not see)."""
    require(access, prepare.type_of(resource), "c")
    at = prepare.moment(engine)
    put = await prepare.put(engine, access, resource, engine.new_id(), old=None, at=at, stored=stored)
    return await commit.one(engine, access, put)


async def create_unless(
    engine: Engine, access: Access, resource: Resource, condition: Sequence[tuple[str, str]]
) -> tuple[Version, bool]:
    """If-None-Exist: nothing matches, create (True); one does, that one (False); several: PreconditionFailed.
    Of simultaneous requests with the same condition one creates. Raises Conflict after lost races."""
    type = prepare.type_of(resource)
    require(access, type, "c")
    for _ in range(prepare.ATTEMPTS):
        found = await the_one(engine, access, type, condition)
        if found.version is not None:
            return found.version, False
        at = prepare.moment(engine)
        put = await prepare.put(engine, access, resource, engine.new_id(), old=None, at=at)
        try:
            return await commit.one(engine, access, put, unless=[found.unless]), True
        except RaceLost:
            continue
    raise Conflict("lost-race", f"what the condition says of {type} keeps changing; retry")
