"""A Binder for one request: what its search may mean, with the definitions as they are now."""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.search.bind import Binder


async def binder(engine: Engine, access: Access) -> Binder:
    """Everything committed before this was called counts."""
    snapshot = await engine.held.current()
    settings = engine.settings
    own = snapshot.search_parameters
    return Binder(
        access,
        settings.fhir_base,
        settings.zone,
        engine.now(),
        own.searchable,
        snapshot.terminology,
        own.pending,
    )
