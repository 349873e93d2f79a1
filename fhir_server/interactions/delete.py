"""delete: a tombstone; history keeps what was. FHIR R4 http.html#delete, http.html#cdelete"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.condition import the_one
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.update import check_match
from fhir_server.interactions.visibility import find, require
from fhir_server.store.contract import RaceLost, Version
from profiles.outcomes import Conflict


async def delete(
    engine: Engine, access: Access, type: str, id: str, *, if_match: int | None = None
) -> Version | None:
    """The tombstone; None when nothing was there (or nothing this reader may see), or already deleted:
    deleting is idempotent. Raises Forbidden, PreconditionFailed, Conflict."""
    require(access, type, "d")
    for _ in range(prepare.ATTEMPTS):
        old = await find(engine, access, type, id)
        check_match(type, id, old, if_match)
        if old is None or old.body is None:
            return None
        try:
            return await commit.one(engine, access, prepare.tombstone(old, prepare.moment(engine)), old=old)
        except RaceLost:
            continue
    raise Conflict("lost-race", f"{type}/{id} keeps changing; read it again and retry")


async def delete_matching(
    engine: Engine,
    access: Access,
    type: str,
    condition: Sequence[tuple[str, str]],
    *,
    if_match: int | None = None,
) -> Version | None:
    """Deletes the one resource that matches; None when none does. Raises PreconditionFailed when several do:
    a condition that catches more than was meant must not delete it."""
    require(access, type, "d")
    for _ in range(prepare.ATTEMPTS):
        found = await the_one(engine, access, type, condition)
        if found.version is None:
            return None
        old = found.version
        check_match(type, old.id, old, if_match)
        made = prepare.tombstone(old, prepare.moment(engine))
        try:
            return await commit.one(engine, access, made, old=old, unless=[found.unless])
        except RaceLost:
            continue
    raise Conflict("lost-race", f"what the condition says of {type} keeps changing; retry")
