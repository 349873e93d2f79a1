"""search of one type, of several, of a compartment: parameters in, one page out.

`fhir_server.search` settles what they mean.

FHIR R4 http.html#search, search.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from fhir_server.access import Access
from fhir_server.interactions.binding import binder
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.listing import Entry, Listing
from fhir_server.interactions.subset import Subset, subset_of
from fhir_server.interactions.visibility import check_id, current, require
from fhir_server.search import compartments
from fhir_server.search.nodes import Everything, Node
from fhir_server.search.plan import Plan, plan_of, plan_over, run
from fhir_server.store.contract import Version
from profiles import codec, definitions
from profiles.outcomes import Forbidden, Invalid, NotFound, operation_outcome

Params = Sequence[tuple[str, str]]


async def search_listing(
    engine: Engine, access: Access, type: str, params: Params, *, lenient: bool = False
) -> Listing:
    """One page of a type as a searchset. `lenient` ignores unknown parameters and says so in an outcome
    entry. Raises Invalid naming the valid parameters, Forbidden, NotFound for an unknown type."""
    require(access, type, "s")
    planned = plan_of(type, list(params), await binder(engine, access), lenient=lenient)
    return await _listing(engine, access, planned, type, params)


async def search_system(engine: Engine, access: Access, params: Params, *, lenient: bool = False) -> Listing:
    """One page of several types: those of `_type`, or all that the scopes allow to search. A parameter must
    have a meaning for each of them. Raises Invalid, Forbidden, NotFound. FHIR R4 http.html#search"""
    if not params:
        raise Invalid("empty-search", "a search over types takes _type, or a parameter that all types have")
    within: dict[str, Node] = dict.fromkeys(sorted(definitions.resource_types()), Everything())
    return await _search_over(engine, access, "", within, params, lenient=lenient)


async def search_compartment(
    engine: Engine, access: Access, path: tuple[str, str, str], params: Params, *, lenient: bool = False
) -> Listing:
    """One page of what a compartment holds: `path` is its type, its id, and a member type or "*". Whose
    compartment it is must be visible to the reader. Raises as `search_system`."""
    name, id, type = path
    within = dict(compartments.members(name, id))
    await current(engine, access, name, check_id(id))
    if type != "*":
        if type not in within:
            raise NotFound("not-in-compartment", f"{type} is in no compartment of a {name}")
        require(access, type, "s")
        within = {type: within[type]}
    return await _search_over(engine, access, f"{name}/{id}/{type}", within, params, lenient=lenient)


async def _search_over(
    engine: Engine, access: Access, path: str, within: Mapping[str, Node], params: Params, *, lenient: bool
) -> Listing:
    asked = [value for name, value in params if name == "_type"]
    types = [type.strip() for value in asked for type in value.split(",")]
    for type in types:
        require(access, type, "s")
        if type not in within:
            raise Invalid("bad-type", f"'_type': {type} is not among what is searched here")
    chosen = {
        type: where
        for type, where in within.items()
        if (type in types if asked else access.allows(type, "s"))
    }
    if not chosen:
        raise Forbidden("scope", "no granted scope allows to search any of the types")
    rest = [(name, value) for name, value in params if name != "_type"]
    planned = plan_over(chosen, rest, await binder(engine, access), lenient=lenient)
    if asked:
        planned = replace(planned, parameters=(("_type", ",".join(types)), *planned.parameters))
    return await _listing(engine, access, planned, path, params)


async def _listing(engine: Engine, access: Access, planned: Plan, path: str, params: Params) -> Listing:
    subset = subset_of(params)
    result = await run(engine.store, replace(planned, place=path), access)
    base = engine.settings.fhir_base
    entries = [_entry(base, version, "match", subset) for version in result.matches]
    entries += [_entry(base, version, "include", subset) for version in result.included]
    if result.issues:
        outcome = codec.dump(operation_outcome(result.issues))
        entries.append(Entry(outcome, search={"mode": "outcome"}))
    address = f"{base}/{path}" if path else base
    links = [(name, f"{address}?{query}" if query else address) for name, query in result.links.items()]
    if engine.trail is not None:
        query = f"{path}?{urlencode(list(params))}"
        interaction = "search-type" if path else "search-system"
        engine.trail.noticed(access, interaction, [*result.matches, *result.included], query)
    return Listing("searchset", entries, result.total, links)


def _entry(base: str, version: Version, mode: str, subset: Subset) -> Entry:
    assert version.body is not None
    return Entry(subset.apply(version.body), f"{base}/{version.type}/{version.id}", search={"mode": mode})


async def search(engine: Engine, access: Access, type: str, params: Params) -> dict[str, Any]:
    """One page as a searchset Bundle, for callers in the process."""
    return (await search_listing(engine, access, type, params)).parsed()
