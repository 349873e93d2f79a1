"""From which version on a reader with an audience sees a resource's past.

A télédossier is its author's alone while it is a draft. Sent, it opens to others, and what they open is what
was sent: not the wording, the recipients and the answers that were thought better of. So the past begins,
for the request and for all that hangs on it, with the version that was current when the reader came into the
audience. Patients and Encounters belong to several télédossiers and keep their whole past.
FHIR R4 http.html#history
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from fhir_server.access import BELONGS_BY, Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import find, sees_all
from fhir_server.search.index import extract
from fhir_server.store.contract import Past, Version
from profiles import codec

_PAGE = 100


async def first_version(engine: Engine, access: Access, now: Version) -> int:
    """The lowest version number that this reader may see of a resource; `now` is its current version, which
    they may see."""
    dated = now.type == "ServiceRequest" or now.type in BELONGS_BY
    if now.version == 1 or not dated or sees_all(access, now.type):
        return 1
    opened = await _opened(engine, access, now)
    first = now.version
    async for version in _past(engine, now):
        first = version.version
        if version.at <= opened:
            break
    return first


async def _opened(engine: Engine, access: Access, now: Version) -> int:
    """When the first télédossier that shows them `now` opened to this reader. UTC microseconds."""
    if now.type == "ServiceRequest":
        return await _came_in(engine, access, now)
    ways = BELONGS_BY[now.type]
    requests = {to for name, to in _references(engine, now) if name in ways}
    moments = [now.at]
    for reference in sorted(requests):
        type, _, id = reference.partition("/")
        request = await find(engine, access, type, id) if type == "ServiceRequest" else None
        if request is not None:
            moments.append(await _came_in(engine, access, request))
    return min(moments)


async def _came_in(engine: Engine, access: Access, request: Version) -> int:
    """The moment of the first version whose audience names the reader."""
    at = request.at
    async for version in _past(engine, request):
        if any(
            name == "audience" and who in (access.audience or ())
            for name, who in _references(engine, version)
        ):
            at = version.at
    return at


async def _past(engine: Engine, now: Version) -> AsyncIterator[Version]:
    """Every version, newest first."""
    before: int | None = None
    while versions := await engine.store.history(Past((now.type,), now.id, _PAGE, before)):
        for version in versions:
            yield version
        before = versions[-1].seq


def _references(engine: Engine, version: Version) -> tuple[tuple[str, str], ...]:
    if version.body is None:
        return ()
    resource = codec.parse(version.body)
    return tuple(extract(resource, engine.settings.fhir_base, engine.settings.zone).references)
