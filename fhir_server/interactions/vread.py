"""vread: one version, visible if the current one is, from where `since` says. FHIR R4 http.html#vread"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.since import first_version
from fhir_server.interactions.visibility import find, require, unknown
from fhir_server.store.contract import Version
from profiles.outcomes import Gone


async def vread(engine: Engine, access: Access, type: str, id: str, version: int) -> Version:
    """Raises NotFound, Forbidden, and Gone for the version that is the deletion. A reader with an audience
    gets no old version of what was deleted: nothing leads to its télédossier any more."""
    require(access, type, "r")
    now = await find(engine, access, type, id)
    if now is None:
        raise unknown(type, id)
    if version < await first_version(engine, access, now):
        raise unknown(type, id)
    found = now if now.version == version else await engine.store.vread(type, id, version)
    if found is None:
        raise unknown(type, id)
    if found.body is None:
        raise Gone("deleted", f"version {version} of {type}/{id} is its deletion")
    if engine.trail is not None:
        engine.trail.noticed(access, "vread", [found])
    return found
