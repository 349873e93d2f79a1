"""The reference evaluator: does a resource match a tree? Over the same Entries that the engines index.

Slow and plain on purpose: it is the oracle that both engines are tested against, and the matcher of a
subscription, where one resource meets many trees. `ordered` and `page` give the same reference for order and
paging.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

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
    Select,
    Sort,
    String,
    Text,
    Token,
)
from fhir_server.store.contract import Entries

_KIND: Mapping[type[Part], EntryKind] = {
    Token: "token",
    Reference: "reference",
    Date: "date",
    Number: "number",
    String: "string",
}


@dataclass(frozen=True, slots=True)
class View:
    """A current resource as a search sees it."""

    type: str
    id: str
    entries: Entries
    seq: int = 0

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


class World(Protocol):
    """The other current resources, for chains and `_has`."""

    def get(self, reference: str) -> View | None: ...

    def all_of(self, type: str) -> Iterator[View]: ...


@dataclass(slots=True)
class Memory:
    """A World in a dict."""

    views: dict[str, View] = field(default_factory=dict)

    def get(self, reference: str) -> View | None:
        return self.views.get(reference)

    def all_of(self, type: str) -> Iterator[View]:
        return (view for view in list(self.views.values()) if view.type == type)


def matches(node: Node, view: View, world: World) -> bool:
    """Whether the resource matches the tree."""
    entries = view.entries
    match node:
        case Everything():
            return True
        case Nothing():
            return False
        case Ids(ids):
            return view.id in ids
        case Token() | Reference() | Date() | Number() | String():
            return any(
                entry[0] == node.param and _holds(node, entry[1:])
                for entry in _entries(entries, _KIND[type(node)])
            )
        case Below(param, prefix):
            return any(
                name == param and not system and code.startswith(prefix)
                for name, system, code in entries.tokens
            )
        case Differs(part):
            return any(
                entry[0] == part.param and not _holds(part, entry[1:])
                for entry in _entries(entries, _KIND[type(part)])
            )
        case Composite(param, parts):
            return any(
                name == param
                and all(_holds(part, value[1:]) for part, value in zip(parts, found, strict=True))
                for name, found in entries.composites
            )
        case Near():
            return any(name == node.param and node.reaches(*place) for name, *place in entries.positions)
        case Text():
            return any(name == node.param and node.sought in f" {words} " for name, words in entries.texts)
        case Missing(param, kind):
            return all(entry[0] != param for entry in _entries(entries, kind))
        case Chain(param, target, where):
            found = (world.get(target) for name, target in entries.references if name == param)
            return any(
                each is not None and each.type == target and matches(where, each, world) for each in found
            )
        case Has(source, param, where):
            return any(
                (param, view.reference) in each.entries.references and matches(where, each, world)
                for each in world.all_of(source)
            )
        case And(nodes):
            return all(matches(each, view, world) for each in nodes)
        case Or(nodes):
            return any(matches(each, view, world) for each in nodes)
        case Not(inner):
            return not matches(inner, view, world)
        case _:
            assert_never(node)


def page(select: Select, world: World, first: View | None = None) -> list[View]:
    """The rows of a Select; in place of its `after`, the view after which (or before which) to start."""
    found = ordered(
        [
            view
            for type, where in select.searched
            for view in world.all_of(type)
            if matches(where, view, world)
        ],
        select.sort,
    )
    if first is None:
        return found[-select.count :] if select.backwards and select.count else found[: select.count]
    at = found.index(first)
    return (
        found[max(0, at - select.count) : at] if select.backwards else found[at + 1 : at + 1 + select.count]
    )


def ordered(views: Sequence[View], sort: Sequence[Sort]) -> list[View]:
    """In the order that `nodes.Sort` and `nodes.Select` define."""
    newest_first = not sort or sort[0].descending
    keys: list[Sort] = []
    for key in sort:
        if key.param == "_lastUpdated":
            newest_first = key.descending
            break
        keys.append(key)
    result = sorted(views, key=lambda view: view.seq, reverse=newest_first)
    for key in reversed(keys):
        with_value = [view for view in result if _value(view, key) is not None]
        without = [view for view in result if _value(view, key) is None]
        result = (
            sorted(
                with_value,
                key=lambda view, key=key: _value(view, key),  # type: ignore[misc]
                reverse=key.descending,
            )
            + without
        )
    return result


def _value(view: View, key: Sort) -> Any:
    if key.param == "_id":
        return view.id
    column = 2 if key.kind == "token" else 1
    values = [entry[column] for entry in _entries(view.entries, key.kind) if entry[0] == key.param]
    if not values:
        return None
    return max(values) if key.descending else min(values)


def _entries(entries: Entries, kind: EntryKind) -> tuple[tuple[Any, ...], ...]:
    match kind:
        case "token":
            return entries.tokens
        case "reference":
            return entries.references
        case "date":
            return entries.dates
        case "string":
            return entries.strings
        case "number":
            return entries.numbers
        case _:
            assert_never(kind)


def _holds(part: Part, value: tuple[Any, ...]) -> bool:
    """Whether one value, an entry without its name, is what the condition asks for."""
    match part:
        case Token(_, values):
            return any(_fits(pair, value) for pair in values)
        case Reference(_, targets):
            return value[0] in targets
        case Date(_, any_of):
            return _within(value[0], value[1], any_of)
        case Number(_, any_of, unit):
            return _within(value[0], value[1], any_of) and _fits(unit, value[2:])
        case String(_, how, values):
            return any(_reads(how, value[0], value[1], each) for each in values)
        case _:
            assert_never(part)


def _fits(wanted: tuple[str | None, str | None], there: tuple[Any, ...]) -> bool:
    return all(want is None or want == have for want, have in zip(wanted, there, strict=True))


def _within(start: float, end: float, any_of: Sequence[Bounds]) -> bool:
    return any(
        (bounds.start_from is None or start >= bounds.start_from)
        and (bounds.start_before is None or start < bounds.start_before)
        and (bounds.end_after is None or end > bounds.end_after)
        and (bounds.end_until is None or end <= bounds.end_until)
        for bounds in any_of
    )


def _reads(how: str, folded: str, written: str, value: str) -> bool:
    match how:
        case "exact":
            return written == value
        case "starts":
            return folded.startswith(value)
        case "ends":
            return folded.endswith(value)
        case "equals":
            return folded == value
        case "before":
            return folded < value
        case "after":
            return folded > value
        case _:
            return value in folded
