"""search of one type: parameters in, one page out. The meaning is settled in `fhir_server.search`.

FHIR R4 http.html#search, search.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.listing import Entry, Listing
from fhir_server.interactions.subset import Subset, subset_of
from fhir_server.interactions.visibility import require
from fhir_server.search.plan import plan, run
from fhir_server.store.contract import Version
from profiles import codec
from profiles.outcomes import operation_outcome

Params = Sequence[tuple[str, str]]


async def search_listing(
    engine: Engine, access: Access, type: str, params: Params, *, lenient: bool = False
) -> Listing:
    """One page as a searchset. `lenient` ignores unknown parameters and says so in an outcome entry.
    Raises Invalid naming the valid parameters, Forbidden, NotFound for an unknown type."""
    require(access, type, "s")
    settings = engine.settings
    planned = plan(
        type, list(params), access, fhir_base=settings.fhir_base, zone=settings.zone, lenient=lenient
    )
    subset = subset_of(params)
    result = await run(engine.store, planned, access)
    base = settings.fhir_base
    entries = [_entry(base, version, "match", subset) for version in result.matches]
    entries += [_entry(base, version, "include", subset) for version in result.included]
    if result.issues:
        outcome = codec.dump(operation_outcome(result.issues))
        entries.append(Entry(outcome, search={"mode": "outcome"}))
    links = [
        (name, f"{base}/{type}?{query}" if query else f"{base}/{type}")
        for name, query in result.links.items()
    ]
    if engine.trail is not None:
        query = f"{type}?{urlencode(list(params))}"
        engine.trail.noticed(access, "search-type", [*result.matches, *result.included], query)
    return Listing("searchset", entries, result.total, links)


def _entry(base: str, version: Version, mode: str, subset: Subset) -> Entry:
    assert version.body is not None
    return Entry(subset.apply(version.body), f"{base}/{version.type}/{version.id}", search={"mode": mode})


async def search(engine: Engine, access: Access, type: str, params: Params) -> dict[str, Any]:
    """One page as a searchset Bundle, for callers in the process."""
    return (await search_listing(engine, access, type, params)).parsed()
