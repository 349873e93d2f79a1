"""update, also as create under an id of the client's. FHIR R4 http.html#update, http.html#upsert"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.visibility import check_id, find, require, sees_all, unknown
from fhir_server.store.contract import RaceLost, Version
from profiles.outcomes import Conflict, PreconditionFailed


async def update(
    engine: Engine, access: Access, resource: Resource, *, if_match: int | None = None
) -> Version:
    """Replaces the current version; without one, creates it (method "create" on the Version tells). Who has
    an audience may not choose ids of new resources: the answer would tell which ids are taken. Raises
    PreconditionFailed if `if_match` is not the current version, Conflict after lost races without it."""
    type = prepare.type_of(resource)
    require(access, type, "u")
    id = check_id(str(resource.get("id") or ""))
    for _ in range(prepare.ATTEMPTS):
        old = await find(engine, access, type, id)
        check_match(type, id, old, if_match)
        if old is None and not sees_all(access, type):
            raise unknown(type, id)
        if old is None or old.body is None:
            require(access, type, "c")
        put = await prepare.put(engine, access, resource, id, old=old, at=prepare.moment(engine))
        try:
            return await commit.one(engine, access, put)
        except RaceLost:
            continue
    raise Conflict("lost-race", f"{type}/{id} keeps changing; read it again and retry")


def check_match(type: str, id: str, old: Version | None, if_match: int | None) -> None:
    """Raises PreconditionFailed when If-Match names another version than the current one."""
    if if_match is None:
        return
    if old is None or old.body is None:
        raise PreconditionFailed(
            "stale-version", f"If-Match names version {if_match}, and there is no {type}/{id}"
        )
    if old.version != if_match:
        raise PreconditionFailed(
            "stale-version", f"If-Match names version {if_match}, {type}/{id} is at {old.version}"
        )
