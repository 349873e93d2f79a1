"""patch: part of a resource changed, by its id or by a condition; judged and stored as an update.

FHIR R4 http.html#patch
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fhir_server.access import Access
from fhir_server.interactions import commit, prepare
from fhir_server.interactions.condition import the_one
from fhir_server.interactions.content import content_of
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.update import check_match
from fhir_server.interactions.visibility import current, require
from fhir_server.store.contract import RaceLost, Unless, Version
from fhir_server.store.files import Stored
from profiles import codec
from profiles.outcomes import Conflict, NotFound
from profiles.patch import Patch, patched

_THREAD_FROM = 30_000
"""Bytes of a resource from which patching it would keep other requests waiting."""


async def patch(
    engine: Engine, access: Access, type: str, id: str, document: Patch, *, if_match: int | None = None
) -> Version:
    """The new version. What update refuses is refused here. Raises NotFound, Gone, Forbidden; Unprocessable
    when the patch fails or leaves no valid resource; PreconditionFailed if `if_match` is not the current
    version, Conflict after lost races without it."""
    require(access, type, "u")
    for _ in range(prepare.ATTEMPTS):
        old = await current(engine, access, type, id)
        check_match(type, id, old, if_match)
        try:
            return await _stored(engine, access, document, old, ())
        except RaceLost:
            continue
    raise Conflict("lost-race", f"{type}/{id} keeps changing; read it again and retry")


async def patch_matching(
    engine: Engine,
    access: Access,
    type: str,
    condition: Sequence[tuple[str, str]],
    document: Patch,
    *,
    if_match: int | None = None,
) -> Version:
    """The same for the one resource that matches. Raises NotFound when none does, PreconditionFailed when
    several do."""
    require(access, type, "u")
    for _ in range(prepare.ATTEMPTS):
        found = await the_one(engine, access, type, condition)
        old = the_match(type, found.version)
        check_match(type, old.id, old, if_match)
        try:
            return await _stored(engine, access, document, old, [found.unless])
        except RaceLost:
            continue
    raise Conflict("lost-race", f"what the condition says of {type} keeps changing; retry")


def the_match(type: str, found: Version | None) -> Version:
    """What a condition found. Raises NotFound when that is nothing."""
    if found is None:
        raise NotFound("no-match", f"the condition matches no {type}")
    return found


async def changed(document: Patch, old: Version) -> tuple[Resource, Stored | None]:
    """What the patch makes of a stored version; of a Binary whose bytes are in a file, that file. Raises
    Unprocessable."""
    assert old.body is not None
    before = codec.parse(old.body)
    if len(old.body) < _THREAD_FROM:
        after = patched(document, before)
    else:
        after = await asyncio.to_thread(patched, document, before)
    if old.type != "Binary" or "_data" not in before or after.get("_data") != before["_data"]:
        return after, None
    content = content_of(before)
    if content.data is not None:
        return after, None
    rest = {name: value for name, value in after.items() if name != "_data"}
    return rest, Stored(content.sha256, content.size)


async def _stored(
    engine: Engine, access: Access, document: Patch, old: Version, unless: Sequence[Unless]
) -> Version:
    resource, stored = await changed(document, old)
    at = prepare.moment(engine)
    put = await prepare.put(engine, access, resource, old.id, old=old, at=at, stored=stored)
    return await commit.one(engine, access, put, unless=unless)
