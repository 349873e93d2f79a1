"""`Patient/[id]/$everything`, `Encounter/[id]/$everything`: a compartment in pages, and what it refers to.

FHIR R4 patient-operation-everything.html, encounter-operation-everything.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.listing import Entry, Listing
from fhir_server.interactions.visibility import current, require
from fhir_server.operations.registry import Operation, OperationRequest, OperationResult
from fhir_server.search import compartments
from fhir_server.search.nodes import And, Bounds, Date, Ids, Missing, Node, Or, Select
from fhir_server.search.page import page_size
from fhir_server.search.plan import CURSOR, Plan, run
from fhir_server.search.rewrite import simplified
from fhir_server.store.contract import Version
from profiles import codec, dates, definitions, references
from profiles.outcomes import Forbidden, Invalid

COUNT = 50
PARAMETERS = ("start", "end", "_since", "_type", "_count", CURSOR)
_NO_CARE = frozenset(("_lastUpdated", "birthdate", "death-date"))
"""Date parameters that say nothing of when care was given."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Moments in UTC microseconds; `pairs` are what the links repeat."""

    start: int | None = None
    end: int | None = None
    since: int | None = None
    types: tuple[str, ...] = ()
    count: int = COUNT
    cursor: str = ""
    pairs: tuple[tuple[str, str], ...] = ()


async def everything(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """One page as a searchset. Raises NotFound, Gone, Forbidden, Invalid."""
    type, id = request.type, request.id
    require(access, type, "r")
    await current(engine, access, type, id)
    asked = _asked(engine, request)
    within = _within(access, type, id, asked)
    (first, where), *rest = within.items()
    planned = Plan(
        Select(first, where, (), asked.count, beside=tuple(rest)),
        total="accurate",
        parameters=asked.pairs,
        cursor=asked.cursor,
        place=f"{type}/{id}",
    )
    result = await run(engine.store, planned, access)
    outside = await _referred(engine, access, result.matches, within) if result.matches else []
    base = engine.settings.fhir_base
    address = f"{base}/{type}/{id}/$everything"
    entries = [_entry(base, version, "match") for version in result.matches]
    entries += [_entry(base, version, "include") for version in outside]
    links = [(name, f"{address}?{query}" if query else address) for name, query in result.links.items()]
    if engine.trail is not None:
        engine.trail.noticed(access, "search-type", [*result.matches, *outside], f"{type}/{id}/$everything")
    listing = Listing("searchset", entries, result.total, links)
    return OperationResult(200, listing.dump(), {})


def _within(access: Access, name: str, id: str, asked: _Asked) -> dict[str, Node]:
    """Type → what of it is asked for and visible; the types that the scopes do not allow are left out.
    Raises Forbidden for one that was named."""
    members = compartments.members(name, id)
    for type in asked.types:
        if type not in members:
            raise Invalid("bad-type", f"_type: {type[:64]} is in no compartment of a {name}")
        require(access, type, "r")
    chosen = {
        type: simplified(access.restrict(type, And((where, *_narrowed(type, name, asked)))))
        for type, where in members.items()
        if (type in asked.types if asked.types else access.allows(type, "r"))
    }
    if not chosen:
        raise Forbidden("scope", "no granted scope allows to read any of the types")
    return chosen


def _narrowed(type: str, name: str, asked: _Asked) -> Sequence[Node]:
    nodes: list[Node] = []
    if asked.since is not None:
        nodes.append(Date("_lastUpdated", (Bounds(start_from=asked.since),)))
    if (asked.start is not None or asked.end is not None) and type != name:
        codes = [
            parameter.code
            for parameter in definitions.search_parameters(type).values()
            if parameter.type == "date" and parameter.code not in _NO_CARE
        ]
        if codes:
            bounds = (Bounds(end_after=asked.start, start_before=asked.end),)
            undated = And(tuple(Missing(code, "date") for code in codes))
            nodes.append(Or((*(Date(code, bounds) for code in codes), undated)))
    return nodes


def _asked(engine: Engine, request: OperationRequest) -> _Asked:
    """From the address or the Parameters. Raises Invalid."""
    zone = engine.settings.zone
    pairs = [*request.query, *_given(request)]
    found: dict[str, object] = {}
    for name, value in pairs:
        match name:
            case "start":
                found["start"] = dates.interval(value, zone)[0]
            case "end":
                found["end"] = dates.interval(value, zone)[1]
            case "_since":
                found["since"] = dates.interval(value, zone)[0]
            case "_type":
                found["types"] = tuple(type for type in value.split(",") if type)
            case "_count":
                found["count"] = page_size(value)
            case "_cursor":
                found["cursor"] = value
            case _:
                raise Invalid(
                    "unknown-parameter",
                    f"{name[:64]} is not a parameter here; valid: {', '.join(PARAMETERS[:-1])}",
                )
    repeated = tuple(pair for pair in pairs if pair[0] != CURSOR)
    return _Asked(**found, pairs=repeated)  # type: ignore[arg-type]


def _given(request: OperationRequest) -> list[tuple[str, str]]:
    """The parameters of a POST, as the address would have them."""
    found = []
    for parameter in request.parameters.get("parameter", ()):
        values = [value for key, value in parameter.items() if key.startswith("value")]
        if len(values) != 1 or isinstance(values[0], dict | list | bool):
            raise Invalid("bad-parameter", f"{str(parameter.get('name'))[:64]} has no value of its type")
        found.append((str(parameter.get("name")), str(values[0])))
    return found


async def _referred(
    engine: Engine, access: Access, matches: Sequence[Version], within: dict[str, Node]
) -> list[Version]:
    """What this page refers to outside the compartment, as far as the reader sees it: practitioners, places,
    medications."""
    wanted: dict[str, dict[str, None]] = {}
    for version in matches:
        for _, holder in references.walk(codec.parse(version.body or b"{}")):
            link = references.parse(holder["reference"], engine.settings.fhir_base)
            if link.kind == "local" and link.type not in within and access.allows(link.type, "r"):
                wanted.setdefault(link.type, {})[link.id] = None
    found: list[Version] = []
    for type, ids in wanted.items():
        where = simplified(access.restrict(type, Ids(tuple(ids))))
        rows = await engine.store.search(Select(type, where, count=len(ids)))
        found += [row.version for row in rows]
    return found


def _entry(base: str, version: Version, mode: str) -> Entry:
    return Entry(version.body, f"{base}/{version.type}/{version.id}", search={"mode": mode})


OPERATIONS: tuple[Operation, ...] = tuple(
    Operation(
        "everything",
        "instance",
        frozenset({type}),
        everything,
        affects_state=False,
        definition=f"http://hl7.org/fhir/OperationDefinition/{type}-everything",
    )
    for type in ("Patient", "Encounter")
)
