"""A search tree → a filter, made only of comparisons that every server of the protocol judges alike.

Some nodes a filter cannot say: hops to other resources, and conditions on both ends of an interval where a
resource has several of them. Those are `unknowns`; whoever runs the search finds out which resources match
them and passes that in `known`. While one is not known, the tree still has two filters: one that holds
wherever the tree may hold (MOST), one that holds only where it must (LEAST).
https://www.mongodb.com/docs/manual/reference/operator/query/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from fhir_server.search.nodes import (
    And,
    Bounds,
    Chain,
    Date,
    Everything,
    Has,
    Ids,
    Missing,
    Node,
    Not,
    Nothing,
    Number,
    Or,
    Reference,
    String,
    Token,
)
from fhir_server.store.mongo.documents import LETTERS, SEPARATOR, field, key, safe, unit_path, word

Filter = dict[str, Any]
Known = Mapping[Node, Filter]
Side = Literal["MOST", "LEAST"]

NONE: Filter = {"_id": {"$in": []}}
PATTERN = 2_000  # characters of a searched text that go into a pattern; the server's limit is 32,764 bytes
PATTERNS = 8_000  # characters of one pattern of alternatives
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """`sure` matches; `doubt`, if any, may match, and its resources must be judged one by one."""

    sure: Filter
    doubt: Filter | None = None


def live(type: str, *filters: Filter) -> Filter:
    """Current, undeleted resources of the type for which all filters hold."""
    return {"type": type, "live": True, **({"$and": list(filters)} if filters else {})}


def ids(type: str, wanted: Sequence[str]) -> Filter:
    return {"_id": {"$in": [key(type, id) for id in wanted]}}


def unknowns(node: Node) -> Iterator[Node]:
    """The nodes of the tree that a filter cannot say; what lies behind a hop is that hop's affair."""
    match node:
        case Chain() | Has():
            yield node
        case And(nodes) | Or(nodes):
            for each in nodes:
                yield from unknowns(each)
        case Not(inner):
            yield from unknowns(inner)
        case Date() | Number() | String():
            if leaf(node).doubt is not None:
                yield node
        case _:
            return


def compiled(type: str, node: Node, known: Known, side: Side = "MOST") -> Filter:
    """The filter of the tree for resources of `type`; exact when all unknowns are known."""
    match node:
        case Everything():
            return {}
        case Nothing():
            return NONE
        case Ids(wanted):
            return ids(type, wanted)
        case And(nodes):
            parts = [compiled(type, each, known, side) for each in nodes]
            return {"$and": parts} if parts else {}
        case Or(nodes):
            parts = [compiled(type, each, known, side) for each in nodes]
            return {"$or": parts} if parts else NONE
        case Not(inner):
            return {"$nor": [compiled(type, inner, known, "LEAST" if side == "MOST" else "MOST")]}
        case Chain() | Has():
            return known.get(node, {} if side == "MOST" else NONE)
        case Token() | Reference() | Date() | Number() | String() | Missing():
            said = leaf(node)
            if said.doubt is None:
                return said.sure
            return {"$or": [said.sure, known.get(node, said.doubt if side == "MOST" else NONE)]}
        case _:
            assert_never(node)


def leaf(node: Token | Reference | Date | Number | String | Missing) -> Leaf:
    """The filter of a condition on the resource itself."""
    match node:
        case Token(param, values):
            return Leaf({"x": {"$in": [_token(param, *pair) for pair in values]}})
        case Reference(param, targets):
            return Leaf({"x": {"$in": [word("r", param, target) for target in targets]}})
        case Date(param, any_of):
            return _interval(("k", "d", field(param)), any_of)
        case Number(param, any_of, unit):
            return _interval(unit_path(param, *unit), any_of)
        case String():
            return _string(node)
        case Missing(param, kind):
            return Leaf({"x": {"$ne": word("p" + LETTERS[kind], param)}})
        case _:
            assert_never(node)


def _token(param: str, system: str | None, code: str | None) -> str:
    if code is None:
        return word("pt", param) if system is None else word("y", param, system)
    return word("c", param, code) if system is None else word("t", param, system, code)


def _interval(path: tuple[str, str, str], any_of: Sequence[Bounds]) -> Leaf:
    """With one value under the path its limits are that value; with several they say the truth of one end,
    and of both ends only that it may be."""
    either = {"$or": [_within(".".join(path), bounds) for bounds in any_of]} if any_of else NONE
    if all(_ends(bounds) <= 1 for bounds in any_of):
        return Leaf(either)
    several = word("m", *path)
    return Leaf({"$and": [either, {"x": {"$ne": several}}]}, {"$and": [either, {"x": several}]})


def _ends(bounds: Bounds) -> int:
    ends = (bounds.start_from, bounds.start_before, bounds.end_after, bounds.end_until)
    return sum(end is not None for end in ends)


def _within(path: str, bounds: Bounds) -> Filter:
    asked = (
        ("z", "$gte", bounds.start_from),
        ("a", "$lt", bounds.start_before),
        ("y", "$gt", bounds.end_after),
        ("b", "$lte", bounds.end_until),
    )
    said = {f"{path}.{limit}": {how: _number(value)} for limit, how, value in asked if value is not None}
    return said or {f"{path}.h": 1}


def _number(value: float) -> float:
    """BSON's integers have 64 bits."""
    return max(-_LARGEST, min(_LARGEST, value)) if isinstance(value, int) else value


def _string(node: String) -> Leaf:
    if node.how == "exact":
        return Leaf({"x": {"$in": [word("w", node.param, value) for value in node.values]}})
    parts = [re.escape(safe(value[:PATTERN])) for value in node.values]
    said = {"$or": [{"x": {"$regex": pattern}} for pattern in _patterns(node, parts)]} if parts else NONE
    return Leaf(NONE, said) if any(len(value) > PATTERN for value in node.values) else Leaf(said)


def _patterns(node: String, parts: Sequence[str]) -> Iterator[str]:
    """A beginning alone, so that an index is walked from there on; inner texts as alternatives, a pattern
    full at a time."""
    beginning = "^" + re.escape(word("s", node.param) + SEPARATOR)
    if node.how == "starts":
        yield from (beginning + part for part in parts)
        return
    waiting: list[str] = []
    for part in parts:
        if waiting and sum(map(len, waiting)) + len(part) > PATTERNS:
            yield f"{beginning}[^{SEPARATOR}]*(?:{'|'.join(waiting)})"
            waiting = []
        waiting.append(part)
    yield f"{beginning}[^{SEPARATOR}]*(?:{'|'.join(waiting)})"
