"""history of one resource, of a type or of everything: versions, newest first, deletions included.

One resource's past is visible if its current version is, from the version that `since` names. The past of a
type or of everything is for readers who see all of it: what was once visible to whom cannot be told from a
version that is no longer current. FHIR R4 http.html#history
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.listing import Entry, Listing
from fhir_server.interactions.prepare import instant
from fhir_server.interactions.since import first_version
from fhir_server.interactions.visibility import find, require, sees_all, unknown
from fhir_server.search.page import Cursor, bound_to, key_of, opened, page_size, sealed
from fhir_server.search.plan import CURSOR
from fhir_server.store.contract import Past, Version
from profiles import dates, definitions
from profiles.outcomes import Forbidden, Invalid

PARAMETERS = ("_count", "_since", "_at", CURSOR)
EDGE = ("_format", "_pretty", "_summary", "_elements")
COUNT = 20
_VERBS = {
    "create": ("POST", "201 Created"),
    "update": ("PUT", "200 OK"),
    "delete": ("DELETE", "204 No Content"),
}
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the parameters ask for; `pairs` are those that the links repeat."""

    past: Past
    cursor: str
    pairs: tuple[tuple[str, str], ...]


async def history(engine: Engine, access: Access, type: str = "", id: str = "", pairs: Pairs = ()) -> Listing:
    """One page. Without an id the type's, without a type everything's. Raises NotFound, Forbidden, and
    Invalid for a parameter that is none or a cursor that is not ours."""
    asked = _asked(engine, pairs)
    if id:
        return await _of_one(engine, access, type, id, asked)
    types = _types(access, type)
    return await _page(engine, replace(asked, past=replace(asked.past, types=types)), type, 1)


async def _of_one(engine: Engine, access: Access, type: str, id: str, asked: _Asked) -> Listing:
    require(access, type, "r")
    now = await find(engine, access, type, id)
    if now is None:
        raise unknown(type, id)
    first = await first_version(engine, access, now)
    past = replace(asked.past, types=(type,), id=id)
    listing = await _page(engine, replace(asked, past=past), f"{type}/{id}", first)
    if engine.trail is not None:
        engine.trail.noticed(access, "history-instance", [now])
    whole = past.since is None and past.during is None
    return replace(listing, total=now.version - first + 1 if whole else None)


def _types(access: Access, type: str) -> tuple[str, ...] | None:
    """The types whose whole past this reader may see; None for all there are. Raises NotFound, Forbidden."""
    if type:
        require(access, type, "r")
        if not sees_all(access, type):
            raise Forbidden("partial-view", f"you see a part of {type}; ask for the history of one resource")
        return (type,)
    seen = tuple(
        each
        for each in sorted(definitions.resource_types())
        if access.allows(each, "r") and sees_all(access, each)
    )
    if access.audience is not None or not seen:
        raise Forbidden("partial-view", "the history of everything is for readers who see all of it")
    return None if len(seen) == len(definitions.resource_types()) else seen


def _asked(engine: Engine, pairs: Pairs) -> _Asked:
    past, cursor = Past(count=COUNT), ""
    for name, value in pairs:
        match name:
            case "_count":
                past = replace(past, count=page_size(value))
            case "_since":
                past = replace(past, since=dates.interval(value, engine.settings.zone)[0])
            case "_at":
                past = replace(past, during=dates.interval(value, engine.settings.zone))
            case "_cursor":
                cursor = value
            case _ if name not in EDGE:
                valid = ", ".join((*PARAMETERS[:3], *EDGE))
                raise Invalid(
                    "unknown-parameter", f"{name[:64]} is not a parameter of history; valid: {valid}"
                )
    return _Asked(past, cursor, tuple(pair for pair in pairs if pair[0] != CURSOR))


async def _page(engine: Engine, asked: _Asked, place: str, first: int) -> Listing:
    """The versions from number `first` on, and the links."""
    key, bound = await key_of(engine.store), bound_to(f"{place}/_history", asked.pairs)
    past = asked.past
    if asked.cursor:
        (before,) = opened(asked.cursor, key, bound).position
        assert isinstance(before, int)
        past = replace(past, before=before)
    found = await engine.store.history(replace(past, count=past.count + 1)) if past.count else []
    versions = [version for version in found if version.version >= first]
    page = versions[: past.count]
    base = engine.settings.fhir_base
    address = f"{base}/{place}/_history" if place else f"{base}/_history"
    links = [("self", _link(address, asked.pairs, asked.cursor))]
    if len(versions) > past.count and page:
        links.append(("next", _link(address, asked.pairs, sealed(Cursor((page[-1].seq,)), key, bound))))
    return Listing("history", [_entry(version, base) for version in page], None, links)


def _link(address: str, pairs: Pairs, cursor: str) -> str:
    query = urlencode([*pairs, (CURSOR, cursor)] if cursor else list(pairs), quote_via=quote, safe=":,|/")
    return f"{address}?{query}" if query else address


def _entry(version: Version, base: str) -> Entry:
    verb, status = _VERBS[version.method]
    address = version.type if verb == "POST" else f"{version.type}/{version.id}"
    return Entry(
        version.body,
        f"{base}/{version.type}/{version.id}",
        request={"method": verb, "url": address},
        response={"status": status, "etag": f'W/"{version.version}"', "lastModified": instant(version.at)},
    )
