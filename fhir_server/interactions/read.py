"""read: the current version, its stored bytes unparsed. FHIR R4 http.html#read, http.html#cread"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import current, require
from fhir_server.store.contract import Version


async def read(engine: Engine, access: Access, type: str, id: str) -> Version:
    """Raises NotFound (also for what this reader may not see), Gone, Forbidden."""
    require(access, type, "r")
    version = await current(engine, access, type, id)
    if engine.trail is not None:
        engine.trail.noticed(access, "read", [version])
    return version


def not_modified(version: Version, tags: str | None, since: str | None) -> bool:
    """Whether the client has this version already. If-None-Match goes before If-Modified-Since, which is an
    HTTP date, in a bundle an instant. RFC 9110 §13.2.2; FHIR R4 bundle.html#Bundle.entry.request"""
    if tags is not None:
        return any(tag.strip().removeprefix("W/") in (f'"{version.version}"', "*") for tag in tags.split(","))
    moment = None if since is None else _moment(since)
    return moment is not None and version.at // 1_000_000 <= moment.timestamp()


def _moment(text: str) -> datetime | None:
    for read_as in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read_as(text)
        except (TypeError, ValueError):
            continue
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return None
