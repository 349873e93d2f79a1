"""read: the current version, its stored bytes unparsed. FHIR R4 http.html#read"""

from __future__ import annotations

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
