"""Pairs: rows of `cmp` that hold a code together with a date, for what is asked together most often.

A code and a stretch of time are each large sets that hardly meet; here they are one stretch of one index, in
the order of time. A pair's entry name is `code&date`. Its rows hold one current resource's token and its only
date entry, which is at most a day long, so that an end tells where to look for the start. Resources with
several dates, or a longer one, have a row of the token alone under `code&date&`, and are asked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from fhir_server.search.nodes import And, Bounds, Date, Everything, Node, Token
from fhir_server.store.contract import Entries
from fhir_server.store.sqlite.columns import FALSE, Sql, bounded, joined, within
from fhir_server.store.sqlite.compile import Compiler
from fhir_server.store.sqlite.names import Writing

PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Observation": (("code", "date"),),
    "DiagnosticReport": (("code", "date"),),
    "Procedure": (("code", "date"),),
    "Condition": (("code", "onset-date"),),
    "Encounter": (("class", "date"), ("type", "date")),
    "Immunization": (("vaccine-code", "date"),),
    "MedicationRequest": (("code", "authoredon"),),
    "ServiceRequest": (("category", "authored"),),
}
"""Type → (token entry, date entry)."""
DAY = 86_400_000_000  # microseconds
MOST_RANGES = 16


def pair_rows(names: Writing, type: str, rno: int, entries: Entries) -> Iterator[tuple[object, ...]]:
    """The rows of one version."""
    for token, date in PAIRS.get(type, ()):
        dates = [(start, end) for name, start, end in entries.dates if name == date]
        codes = [(system, code) for name, system, code in entries.tokens if name == token]
        if not dates or not codes:
            continue
        start, end = dates[0]
        short = len(dates) == 1 and end - start <= DAY
        pid = names.param_added(type, f"{token}&{date}" if short else f"{token}&{date}&")
        limits = (start, end) if short else (0, 0)
        for system, code in codes:
            yield (pid, rno, names.token_added(system, code), 0, 0, *limits, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Pair:
    """A token and the dates that are asked beside it, and the other conditions."""

    token: Token
    dates: tuple[Date, ...]
    rest: Node
    name: str


def pairs_of(node: Node, type: str) -> Iterator[Pair]:
    """The pairs within an And; `dates` may be empty."""
    if type not in PAIRS:
        return
    nodes = node.nodes if isinstance(node, And) else (node,)
    for token, date in PAIRS[type]:
        dates = tuple(each for each in nodes if isinstance(each, Date) and each.param == date)
        for each in nodes:
            if isinstance(each, Token) and each.param == token:
                others = tuple(other for other in nodes if other is not each and other not in dates)
                yield Pair(each, dates, And(others) if others else Everything(), f"{token}&{date}")


def pair_source(compiler: Compiler, pair: Pair, type: str) -> Sql | None:
    """The resources of a pair, perhaps one twice; None when it cannot be asked so."""
    vids = compiler.exact_tokens(pair.token)
    ranges = together([date.any_of for date in pair.dates])
    if not vids or not pair.dates or ranges is None:
        return None
    parts: list[Sql] = []
    codes = within("n.a1", vids)
    short = compiler.names.param(type, pair.name)
    if short is not None:
        for each in ranges:
            where = bounded(_narrowed(each), "n.b1", "n.b2")
            text = f"SELECT n.rno AS rno FROM cmp n WHERE n.pid=? AND {codes.text} AND {where.text}"
            parts.append(Sql(text, (short, *codes.params, *where.params)))
    long = compiler.names.param(type, pair.name + "&")
    if long is not None:
        where = joined("AND", [compiler.condition(date, type, "n.rno") for date in pair.dates])
        if where != FALSE:
            text = f"SELECT n.rno AS rno FROM cmp n WHERE n.pid=? AND {codes.text} AND {where.text}"
            parts.append(Sql(text, (long, *codes.params, *where.params)))
    if not parts:
        return Sql("SELECT rno FROM res WHERE 0")
    return Sql(
        " UNION ALL ".join(part.text for part in parts), tuple(p for part in parts for p in part.params)
    )


@dataclass(frozen=True, slots=True)
class Walk:
    """The rows of one token in the order of its date; `rest` is what each must still fulfil."""

    pid: int
    vid: int
    rest: Node


def pair_walk(compiler: Compiler, node: Node, type: str, date: str) -> Walk | None:
    """How to walk what has one code by its date, when every resource of that code has one short date."""
    for pair in pairs_of(node, type):
        vids = compiler.exact_tokens(pair.token) or []
        pid = compiler.names.param(type, pair.name)
        if pair.name != f"{pair.token.param}&{date}" or len(vids) != 1 or pid is None:
            continue
        long = compiler.names.param(type, pair.name + "&")
        if long is not None and compiler.rows(
            "SELECT 1 FROM cmp WHERE pid=? AND a1=? LIMIT 1", (long, vids[0])
        ):
            continue
        others = pair.dates if isinstance(pair.rest, Everything) else (pair.rest, *pair.dates)
        return Walk(pid, vids[0], And(others) if others else Everything())
    return None


def together(alternatives: Sequence[Sequence[Bounds]]) -> list[Bounds] | None:
    """The ranges in which one interval lies that is in one of each; None when they are too many."""
    found: list[Bounds] = []
    for number, several in enumerate(product(*alternatives)):
        if number >= MOST_RANGES:
            return None
        found.append(
            Bounds(
                _most([each.start_from for each in several]),
                _least([each.start_before for each in several]),
                _most([each.end_after for each in several]),
                _least([each.end_until for each in several]),
            )
        )
    return found


def _most(limits: Sequence[float | None]) -> float | None:
    return max((limit for limit in limits if limit is not None), default=None)


def _least(limits: Sequence[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _narrowed(bounds: Bounds) -> Bounds:
    """With what an end says of the start: not after it, and not more than a day before."""
    start_from, start_before = bounds.start_from, bounds.start_before
    if bounds.end_after is not None:
        start_from = _most([start_from, bounds.end_after - DAY])
    if bounds.end_until is not None:
        start_before = _least([start_before, bounds.end_until + 1])
    return Bounds(start_from, start_before, bounds.end_after, bounds.end_until)
