"""delete: a tombstone; history keeps what was. FHIR R4 http.html#delete"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
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
