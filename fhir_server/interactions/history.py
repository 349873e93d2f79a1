"""history of one resource, newest first, its deletions included. FHIR R4 http.html#history"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.listing import Entry, Listing
from fhir_server.interactions.prepare import instant
from fhir_server.interactions.since import first_version
from fhir_server.interactions.visibility import find, require, unknown
from fhir_server.store.contract import Version

_VERBS = {
    "create": ("POST", "201 Created"),
    "update": ("PUT", "200 OK"),
    "delete": ("DELETE", "204 No Content"),
}


async def history(
    engine: Engine, access: Access, type: str, id: str, *, count: int = 20, before: int | None = None
) -> Listing:
    """One page; `before` is the seq that the next link carries. Visible if the current version is,
    from the version that `since` names. Raises NotFound, Forbidden."""
    require(access, type, "r")
    now = await find(engine, access, type, id)
    if now is None:
        raise unknown(type, id)
    first = await first_version(engine, access, now)
    past = await engine.store.history(type, id, count=count + 1, before=before) if count else []
    versions = [version for version in past if version.version >= first]
    page = versions[:count]
    base = f"{engine.settings.fhir_base}/{type}/{id}"
    self_link = f"{base}/_history?_count={count}" + (f"&_before={before}" if before is not None else "")
    links = [("self", self_link)]
    if len(versions) > count and page:
        links.append(("next", f"{base}/_history?_count={count}&_before={page[-1].seq}"))
    if engine.trail is not None:
        engine.trail.noticed(access, "history-instance", [now])
    return Listing("history", [_entry(version, base) for version in page], now.version - first + 1, links)


def _entry(version: Version, base: str) -> Entry:
    verb, status = _VERBS[version.method]
    address = version.type if verb == "POST" else f"{version.type}/{version.id}"
    return Entry(
        version.body,
        base,
        request={"method": verb, "url": address},
        response={"status": status, "etag": f'W/"{version.version}"', "lastModified": instant(version.at)},
    )
