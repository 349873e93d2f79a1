"""The two steps of a search: `plan` settles what the parameters mean, `run` asks the store.

`plan` is pure. What it answers with is already narrowed to what the reader may see. The parameters that shape
the answer, not the matches, are read here: `_sort`, `_count`, `_total`, `_summary`, `_elements`, `_include`,
`_revinclude` and our `_cursor`.

FHIR R4 search.html#summary, #sort, #count, #total, #include
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Literal
from urllib.parse import quote, urlencode

from fhir_server.access import Access
from fhir_server.clock import utc_microseconds
from fhir_server.search import include
from fhir_server.search.bind import Binder, Definitions, Unknown
from fhir_server.search.include import Include
from fhir_server.search.nodes import And, Everything, Node, Nothing, Select, Sort
from fhir_server.search.page import Cursor, bound_to, key_of, opened, page_size, sealed
from fhir_server.search.rewrite import simplified
from fhir_server.store.contract import Store, Version
from profiles.codes import CodeChecker
from profiles.definitions import resource_types, search_parameters
from profiles.outcomes import Invalid, Issue, NotFound

COUNT = 20
MOST_PARAMETERS = 200
MOST_TEXT = 200_000  # characters of all values together
CURSOR = "_cursor"
IGNORED_HERE = frozenset({"_format", "_pretty"})  # the edge's own; kept in the links
TOTALS: Mapping[str, Literal["none", "estimate", "accurate"]] = {
    "none": "none",
    "estimate": "estimate",
    "accurate": "accurate",
}
SUMMARIES = ("true", "text", "data", "count", "false")


@dataclass(frozen=True, slots=True)
class Plan:
    """A search, understood. `parameters` is what was, in order, for the links; `ignored` are the issues of a
    lenient search. `place` is the address, as far as its pages are bound to it. `counting`: only the total
    is wanted."""

    select: Select
    includes: tuple[Include, ...] = ()
    total: Literal["none", "estimate", "accurate"] = "accurate"
    summary: str = ""
    elements: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    ignored: tuple[Issue, ...] = ()
    cursor: str = ""
    place: str = ""

    @property
    def counting(self) -> bool:
        return self.select.count == 0 or self.summary == "count"


@dataclass(frozen=True, slots=True)
class Result:
    """One page. `links` are query strings, percent-encoded, by relation; `issues` what a reader should know
    of the page (parameters passed over, included resources left out)."""

    matches: list[Version]
    included: list[Version]
    total: int | None
    links: Mapping[str, str]
    issues: tuple[Issue, ...] = ()


def plan(
    type: str,
    pairs: Sequence[tuple[str, str]],
    access: Access,
    *,
    fhir_base: str,
    zone: tzinfo,
    lenient: bool = False,
    now: int | None = None,
    definitions: Definitions = search_parameters,
    codes: CodeChecker | None = None,
) -> Plan:
    """A search of one type. `pairs` are the decoded parameters in their order; `now` UTC microseconds.
    `lenient` passes over unknown parameters; a wrong value or modifier is never passed over, since that would
    answer with more than was asked for. Raises NotFound (no such type), Invalid."""
    at = utc_microseconds() if now is None else now
    return plan_of(type, pairs, Binder(access, fhir_base, zone, at, definitions, codes), lenient=lenient)


def plan_of(type: str, pairs: Sequence[tuple[str, str]], binder: Binder, *, lenient: bool = False) -> Plan:
    """As `plan`, with a Binder that is there. Raises NotFound, Invalid."""
    if type not in resource_types():
        raise NotFound("unknown-type", "there is no such resource type")
    return plan_over({type: Everything()}, pairs, binder, lenient=lenient)


def plan_over(
    within: Mapping[str, Node], pairs: Sequence[tuple[str, str]], binder: Binder, *, lenient: bool = False
) -> Plan:
    """A search of several types, each narrowed by a condition of its own (a compartment's); what is asked
    must have a meaning for every one of them. Raises Invalid."""
    if len(pairs) > MOST_PARAMETERS or sum(len(value) for _, value in pairs) > MOST_TEXT:
        raise Invalid(
            "search-too-long",
            f"a search takes at most {MOST_PARAMETERS} parameters and {MOST_TEXT} characters of values",
        )
    reading = _Reading(tuple(within), binder)
    used, ignored = [], []
    for name, value in pairs:
        try:
            reading.take(name, value)
        except Unknown as error:
            if not lenient:
                raise
            ignored.append(replace(error.issues[0], severity="warning"))
        else:
            if name != CURSOR:
                used.append((name, value))
    select = _select(within, reading, binder.access)
    return Plan(
        select,
        tuple(reading.includes),
        reading.total,
        reading.summary,
        reading.elements,
        tuple(used),
        tuple(ignored),
        reading.cursor,
    )


def _select(within: Mapping[str, Node], reading: _Reading, access: Access) -> Select:
    """Types of which nothing can be found are left out, as long as one remains."""
    wheres: dict[str, Node] = {
        type: simplified(access.restrict(type, And((narrowed, *reading.nodes[type]))))
        for type, narrowed in within.items()
    }
    found = [(type, where) for type, where in wheres.items() if not isinstance(where, Nothing)]
    (type, where), *beside = found or list(wheres.items())[:1]
    return Select(type, where, reading.sort, reading.count, beside=tuple(beside))


class _Reading:
    """The parameters of one search, taken one by one."""

    def __init__(self, types: tuple[str, ...], binder: Binder) -> None:
        self.types, self.binder = types, binder
        self.nodes: dict[str, list[Node]] = {type: [] for type in types}
        self.includes: list[Include] = []
        self.sort: tuple[Sort, ...] = ()
        self.count = COUNT
        self.total: Literal["none", "estimate", "accurate"] = "accurate"
        self.summary, self.cursor = "", ""
        self.elements: tuple[str, ...] = ()

    def take(self, name: str, value: str) -> None:
        """Raises Unknown, Invalid."""
        match name.partition(":")[0]:
            case "_sort":
                self.sort += self._sort(value)
            case "_count":
                self.count = page_size(value)
            case "_total":
                if value not in TOTALS:
                    raise Invalid("bad-total", f"'_total' takes {', '.join(TOTALS)}")
                self.total = TOTALS[value]
            case "_summary":
                if value not in SUMMARIES:
                    raise Invalid("bad-summary", f"'_summary' takes {', '.join(SUMMARIES)}")
                self.summary = value
            case "_elements":
                self.elements += tuple(part.strip() for part in value.split(",") if part.strip())
            case "_include" | "_revinclude":
                self.includes += include.includes(self.binder, self.types, name, value)
            case "_cursor":
                self.cursor = value
            case code if code in IGNORED_HERE:
                pass
            case _:
                for type in self.types:
                    self.nodes[type].append(self.binder.bind(type, name, value))

    def _sort(self, value: str) -> tuple[Sort, ...]:
        """The keys, which must be of the same kind in every type."""
        first, *others = (self.binder.sort(type, value) for type in self.types)
        if any(other != first for other in others):
            raise Invalid("bad-sort", "'_sort': a key is not of the same kind in all of the types searched")
        return first


async def run(store: Store, plan: Plan, access: Access) -> Result:
    """One page of the search, with what comes along. Raises Invalid for a cursor that is not ours."""
    select = plan.select
    links = {"self": _query(plan.parameters)}
    if plan.counting:
        return Result([], [], await _count_all(store, select), links, plan.ignored)
    searched = "+".join(type for type, _ in select.searched)
    bound = bound_to(f"{plan.place}?{searched}", plan.parameters)
    cursor = opened(plan.cursor, await key_of(store), bound) if plan.cursor else None
    matches, before, after = await _page(store, select, cursor)
    if before or after:
        key = await key_of(store)
        for relation, other in (("next", after), ("prev", before)):
            if other:
                links[relation] = _query((*plan.parameters, (CURSOR, sealed(other, key, bound))))
    if cursor:
        links["self"] = _query((*plan.parameters, (CURSOR, plan.cursor)))
    total = None
    if plan.total != "none":
        whole = not (before or after or cursor)
        total = len(matches) if whole else await _count_all(store, select)
    included = (
        await include.gather(store, access, plan.includes, matches) if plan.includes else include.Included()
    )
    issues = plan.ignored
    if included.cut:
        issues += (
            Issue(
                "warning",
                "too-costly",
                "include-cut",
                f"only the first {include.MOST} included resources of this page are here",
            ),
        )
    return Result(matches, list(included.versions.values()), total, links, issues)


async def _count_all(store: Store, select: Select) -> int:
    return sum([await store.count(type, where) for type, where in select.searched])


async def _page(
    store: Store, select: Select, cursor: Cursor | None
) -> tuple[list[Version], Cursor | None, Cursor | None]:
    """(matches, where the page before ends, where the next begins); one row more is asked for than wanted."""
    backwards = cursor is not None and cursor.backwards
    asked = replace(
        select, count=select.count + 1, after=cursor.position if cursor else None, backwards=backwards
    )
    rows = await store.search(asked)
    more = len(rows) > select.count
    rows = rows[-select.count :] if backwards else rows[: select.count]
    if not rows:
        return [], None, None
    before = Cursor(rows[0].position, backwards=True) if (more if backwards else cursor) else None
    after = Cursor(rows[-1].position) if more or backwards else None
    return [row.version for row in rows], before, after


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    return urlencode(pairs, quote_via=quote, safe=":,|/")
