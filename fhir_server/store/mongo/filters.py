"""A search tree → a filter, made only of comparisons that every server of the protocol judges alike.

Some nodes a filter cannot say: hops to other resources, circles, and conditions on both ends of an interval
or on both parts of a composite where a resource has several of them. Those are `unknowns`; whoever runs the
search finds out which resources match them and passes that in `known`. While one is not known, the tree
still has two filters: one that holds wherever the tree may hold (MOST), one that holds only where it must
(LEAST).
https://www.mongodb.com/docs/manual/reference/operator/query/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never

from fhir_server.search.nodes import (
    And,
    Below,
    Bounds,
    Chain,
    Composite,
    Date,
    Differs,
    EntryKind,
    Everything,
    Has,
    Ids,
    Missing,
    Near,
    Node,
    Not,
    Nothing,
    Number,
    Or,
    Part,
    Reference,
    String,
    Text,
    Token,
)
from fhir_server.store.mongo.documents import (
    LETTERS,
    SEPARATOR,
    component,
    field,
    key,
    pairs_path,
    safe,
    unit_path,
    word,
)

Filter = dict[str, Any]
Known = Mapping[Node, Filter]
Side = Literal["MOST", "LEAST"]

KIND_OF: Mapping[type[Part], EntryKind] = {
    Token: "token",
    Reference: "reference",
    Date: "date",
    Number: "number",
    String: "string",
}
Condition = Token | Reference | Date | Number | String | Missing | Below | Composite | Differs | Near | Text

NONE: Filter = {"_id": {"$in": []}}
PATTERN = 1_000  # characters of a searched text that go into a pattern; the server's limit is 32,764 bytes
WORDS = 50  # of a searched text that are looked up each; the rest is left to its pattern
PATTERNS = 4_000  # characters of one pattern of alternatives
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
        case Date() | Number() | String() | Below() | Composite() | Differs() | Near() | Text():
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
        case _:
            said = leaf(node)
            if said.doubt is None:
                return said.sure
            return {"$or": [said.sure, known.get(node, said.doubt if side == "MOST" else NONE)]}


def leaf(node: Condition) -> Leaf:
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
        case Below(param, prefix):
            said: Filter = {"x": {"$regex": "^" + re.escape(word("t", param, "", prefix[:PATTERN]))}}
            return Leaf(NONE, said) if len(prefix) > PATTERN else Leaf(said)
        case Composite():
            return _composite(node)
        case Differs(part):
            return _differs(part)
        case Near(param):
            path, (south, north) = f"k.p.{field(param)}", node.band
            return Leaf(NONE, {f"{path}.z": {"$gte": south}, f"{path}.a": {"$lte": north}})
        case Text():
            return _text(node)
        case _:
            assert_never(node)


def _composite(node: Composite) -> Leaf:
    """Where all values of the components pair freely, each part can be asked for itself."""
    parts = [leaf(replace(part, param=component(node.param, at))) for at, part in enumerate(node.parts)]
    paired = {"x": word("m", *pairs_path(node.param))}
    doubts = [part.doubt for part in parts if part.doubt is not None]
    most = [{"$or": [part.sure, part.doubt]} if part.doubt else part.sure for part in parts]
    return Leaf(
        {"$and": [*(part.sure for part in parts), {"$nor": [paired]}]},
        {"$and": [*most, {"$or": [paired, *doubts]}]},
    )


def _differs(part: Part) -> Leaf:
    """An entry is there, and the part holds for none; or for the one of several that need not be all."""
    said = leaf(part)
    most = {"$or": [said.sure, said.doubt]} if said.doubt else said.sure
    letter = LETTERS[KIND_OF[type(part)]]
    there = {"x": word("p" + letter, part.param)}
    several: Filter = {"x": word("m", "k", letter, field(part.param))}
    return Leaf(
        {"$and": [there, {"$nor": [most]}]},
        {"$and": [most, {"$or": [several, said.doubt]} if said.doubt else several]},
    )


def _text(node: Text) -> Leaf:
    """Its words are all there, and, in the text, one after the other."""
    words = node.words.split(" ")
    whole = words[:-1] if node.starts else words
    pattern = re.escape(node.sought[:PATTERN])
    said: list[Filter] = [{"x": word("f", node.param, each)} for each in whole[:WORDS]]
    said.append({f"text.{field(node.param)}": {"$regex": pattern}})
    return Leaf(NONE, {"$and": said}) if len(node.sought) > PATTERN else Leaf({"$and": said})


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
    path = f"k.s.{field(node.param)}"
    match node.how:
        case "exact" | "equals":
            kind = "w" if node.how == "exact" else "s"
            return Leaf({"x": {"$in": [word(kind, node.param, value) for value in node.values]}})
        case "before":
            said: list[Filter] = [{f"{path}.a": {"$lt": value}} for value in node.values]
        case "after":
            said = [{f"{path}.z": {"$gt": value}} for value in node.values]
        case _:
            said = [{"x": {"$regex": pattern}} for pattern in _patterns(node)]
            if any(len(value) > PATTERN for value in node.values):
                return Leaf(NONE, {"$or": said})
    return Leaf({"$or": said} if said else NONE)


def _patterns(node: String) -> Iterator[str]:
    """A beginning alone, so that an index is walked from there on; other texts as alternatives, a pattern
    full at a time. Of a long text only a piece."""
    beginning = "^" + re.escape(word("s", node.param) + SEPARATOR)
    if node.how == "starts":
        yield from (beginning + re.escape(safe(value[:PATTERN])) for value in node.values)
        return
    end = r"\z" if node.how == "ends" else ""
    pieces = (value[-PATTERN:] if end else value[:PATTERN] for value in node.values)
    waiting: list[str] = []
    for part in (re.escape(safe(piece)) for piece in pieces):
        if waiting and sum(map(len, waiting)) + len(part) > PATTERNS:
            yield f"{beginning}[^{SEPARATOR}]*(?:{'|'.join(waiting)}){end}"
            waiting = []
        waiting.append(part)
    if waiting:
        yield f"{beginning}[^{SEPARATOR}]*(?:{'|'.join(waiting)}){end}"
