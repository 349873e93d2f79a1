"""create, and create only if nothing matches. FHIR R4 http.html#create, http.html#ccreate"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.search import matches
from fhir_server.interactions.visibility import require
from fhir_server.store.contract import Version
from fhir_server.store.files import Stored
from profiles.outcomes import PreconditionFailed


async def create(
    engine: Engine, access: Access, resource: Resource, *, stored: Stored | None = None
) -> Version:
    """Stores it under a new id; an id it carries is ignored, as the standard demands. `stored`: a Binary's
    bytes. Raises Unprocessable, Forbidden, NotFound (a télédossier the writer may not see)."""
    type = prepare.type_of(resource)
    require(access, type, "c")
    at = prepare.moment(engine)
    put = await prepare.put(engine, access, resource, str(uuid4()), old=None, at=at, stored=stored)
    return await commit.one(engine, access, put)


async def create_unless(
    engine: Engine, access: Access, resource: Resource, condition: Sequence[tuple[str, str]]
) -> tuple[Version, bool]:
    """If-None-Exist: nothing matches, create (True); one does, that one (False); several: PreconditionFailed.
    Two such requests at the same moment may both create: the store knows no uniqueness beyond ids."""
    type = prepare.type_of(resource)
    require(access, type, "c")
    found = await matches(engine, access, type, condition, count=2)
    if len(found) > 1:
        raise PreconditionFailed("several-match", f"the condition matches several {type}")
    if found:
        return found[0], False
    return await create(engine, access, resource), True
