"""update, also as create under an id of the client's, also of the one resource that a condition matches.

FHIR R4 http.html#update, http.html#upsert, http.html#cond-update
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.condition import the_one
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.entries import ABSENT, PRESENT
from fhir_server.interactions.visibility import check_id, find, require, sees_all, unknown
from fhir_server.store.contract import RaceLost, Unless, Version
from profiles.outcomes import Conflict, Invalid, PreconditionFailed


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
        try:
            return await _stored(engine, access, resource, id, old, ())
        except RaceLost:
            continue
    raise Conflict("lost-race", f"{type}/{id} keeps changing; read it again and retry")


async def update_matching(
    engine: Engine,
    access: Access,
    resource: Resource,
    condition: Sequence[tuple[str, str]],
    *,
    if_match: int | None = None,
) -> Version:
    """Replaces the one resource that matches; creates one if none does. Raises PreconditionFailed when
    several match, Invalid when the resource's id is not that of the match, Conflict when its id is taken by
    one that does not match."""
    type = prepare.type_of(resource)
    require(access, type, "u")
    for _ in range(prepare.ATTEMPTS):
        found = await the_one(engine, access, type, condition)
        old = found.version
        id = matched_id(engine, resource, old)
        if old is None and "id" in resource:
            old = await find(engine, access, type, id)
            check_free(type, old)
        check_match(type, id, old, if_match)
        try:
            return await _stored(engine, access, resource, id, old, [found.unless])
        except RaceLost:
            continue
    raise Conflict("lost-race", f"what the condition says of {type} keeps changing; retry")


def matched_id(engine: Engine, resource: Resource, found: Version | None) -> str:
    """The id under which a conditional update writes: the match's, else the client's, else a new one. Raises
    Invalid."""
    sent = resource.get("id")
    if sent is not None:
        check_id(str(sent))
    if found is None:
        return str(sent) if sent is not None else engine.new_id()
    if sent not in (None, found.id):
        raise Invalid("wrong-id", "the id of the resource is not that of the one that matches")
    return found.id


def check_free(type: str, old: Version | None) -> None:
    """Raises Conflict when a resource is there that the condition did not match."""
    if old is not None and old.body is not None:
        raise Conflict("id-taken", f"nothing matches the condition, and {type}/{old.id} is there already")


async def _stored(
    engine: Engine,
    access: Access,
    resource: Resource,
    id: str,
    old: Version | None,
    unless: Sequence[Unless],
) -> Version:
    type = prepare.type_of(resource)
    if old is None and resource.get("id") is not None and not sees_all(access, type):
        raise unknown(type, id)
    if old is None or old.body is None:
        require(access, type, "c")
    put = await prepare.put(engine, access, resource, id, old=old, at=prepare.moment(engine))
    return await commit.one(engine, access, put, unless=unless)


def check_match(type: str, id: str, old: Version | None, if_match: int | None) -> None:
    """Raises PreconditionFailed when what is demanded of the current version (a number, ABSENT, PRESENT) is
    not so."""
    there = old is not None and old.body is not None
    if if_match is None or (if_match == ABSENT and not there) or (if_match == PRESENT and there):
        return
    if if_match == ABSENT:
        raise PreconditionFailed("already-there", f"If-None-Match is *, and there is a {type}/{id}")
    named = "any version" if if_match == PRESENT else f"version {if_match}"
    if old is None or old.body is None:
        raise PreconditionFailed("stale-version", f"If-Match names {named}, and there is no {type}/{id}")
    if old.version != if_match:
        raise PreconditionFailed("stale-version", f"If-Match names {named}, {type}/{id} is at {old.version}")
