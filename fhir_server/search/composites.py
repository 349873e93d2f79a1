"""Composite parameters: components taken together from one element, and the values asked of them together.

    code-value-quantity=8480-6$gt120              both of the Observation itself
    component-code-value-quantity=8480-6$gt120    both of one of its components

Each element that the parameter's expression finds gives entries of its own: one per combination of what its
components find there. So systolic 120 and diastolic 80 are never taken for diastolic 120.
FHIR R4 search.html#composite
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from types import MappingProxyType
from typing import Any

from fhir_server.search import units
from fhir_server.search.entries import KIND_OF, converter
from fhir_server.search.found import Convert, Found
from fhir_server.search.nodes import (
    Composite,
    Date,
    EntryKind,
    Node,
    Number,
    Or,
    Part,
    Reference,
    String,
    Token,
)
from fhir_server.search.parse import pieces
from fhir_server.store.contract import Value
from profiles import definitions
from profiles.definitions import SearchParameter
from profiles.fhirpath import compiler, paths
from profiles.fhirpath.nodes import Environment
from profiles.outcomes import Invalid

Json = dict[str, Any]
Reach = Callable[[Json, Json], Iterator[tuple[Any, Convert]]]
Read = tuple[tuple[Value, ...], tuple[Value, ...]]
LONGEST = 3  # components of one composite
MOST = 500  # entries of one composite in one resource

MISPRINTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"http://hl7.org/fhir/SearchParameter/DocumentReference-relationship": ("target", "code")}
)
"""Components' expressions that the standard prints the wrong way round."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component below one kind of element: the values' kind, and how they are reached. `members`: without
    any of these the element has none; None when that cannot be told."""

    kind: EntryKind
    reach: Reach
    members: frozenset[str] | None

    def absent(self, element: Json) -> bool:
        """Whether a glance shows that the element has none."""
        return self.members is not None and self.members.isdisjoint(element)

    def values(self, element: Json, resource: Json, found: Found) -> Read:
        """What it finds, as entries without names: as written, and of quantities also in base units."""
        made = Found if self.kind == "string" else _Wordless
        scratch = made(found.fhir_base, found.zone, amounts=found.amounts)
        for value, convert in self.reach(element, resource):
            convert(value, scratch)
        canonical = scratch.values("number", units.SUFFIX) if self.kind == "number" else ()
        return scratch.values(self.kind), canonical


class _Wordless(Found):
    """Passes over the texts beside tokens and references: no composite looks at them."""

    __slots__ = ()

    def text(self, name: str, text: str | None) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Composed:
    """All composites of a type that take their components from one kind of element: (code, places of its
    components), so that a component of several is read once."""

    focus: paths.Branch
    components: tuple[Component, ...]
    composites: tuple[tuple[str, tuple[int, ...]], ...]

    def extract(self, resource: Json, found: Found) -> None:
        """Adds their entries."""
        if self.focus.member and self.focus.member not in resource:
            return
        for element in self.focus.values(resource):
            if element is not None:
                self._extract(element, resource, found)

    def _extract(self, element: Json, resource: Json, found: Found) -> None:
        there = {place for place, each in enumerate(self.components) if not each.absent(element)}
        read: dict[int, Read] = {}
        for code, places in self.composites:
            if not there.issuperset(places):
                continue
            for place in places:
                if place not in read:
                    read[place] = self.components[place].values(element, resource, found)
            parts = [read[place] for place in places]
            _combine(code, [written for written, _ in parts], found)
            if any(canonical for _, canonical in parts):
                in_base = [canonical or written for written, canonical in parts]
                _combine(code + units.SUFFIX, in_base, found)


def _combine(code: str, parts: Sequence[tuple[Value, ...]], found: Found) -> None:
    """An entry for each combination."""
    if all(len(values) == 1 for values in parts):
        found.composites[code, tuple([values[0] for values in parts])] = None
        return
    for values in islice(product(*parts), MOST):
        found.composites[code, values] = None


def composed(parameters: Iterable[SearchParameter], type: str) -> tuple[Composed, ...]:
    """The ways of a type's composites into its resources; one that cannot be indexed here has none."""
    elements: dict[tuple[object, ...], _Gathered] = {}
    for parameter in parameters:
        expressions = MISPRINTED.get(parameter.url) or [expression for _, expression in parameter.components]
        parts = [definitions.search_parameter(url) for url, _ in parameter.components]
        kinds = [part.type for part in parts if part is not None and part.type in KIND_OF]
        if not 1 <= len(parts) == len(kinds) <= LONGEST:
            continue
        for focus in paths.foci(parameter.expression, type) or ():
            key = (parameter.expression, focus.type) if focus.steps else (focus.member, focus.type)
            gathered = elements.setdefault(key, _Gathered(focus))
            gathered.add(parameter.code, zip(kinds, expressions, strict=True))
    return tuple(gathered.done() for gathered in elements.values())


class _Gathered:
    """A Composed in the making."""

    def __init__(self, focus: paths.Branch) -> None:
        self.focus = focus
        self.places: dict[tuple[str, str], int] = {}
        self.composites: list[tuple[str, tuple[int, ...]]] = []

    def add(self, code: str, components: Iterable[tuple[str, str]]) -> None:
        places = tuple(self.places.setdefault(each, len(self.places)) for each in components)
        self.composites.append((code, places))

    def done(self) -> Composed:
        made = tuple(_component(kind, expression, self.focus.type) for kind, expression in self.places)
        return Composed(self.focus, made, tuple(self.composites))


def _component(search_type: str, expression: str, type: str) -> Component:
    branches = paths.branches(expression, type)
    if branches is None:
        return Component(KIND_OF[search_type], _computed(search_type, expression, type), None)
    ways: list[tuple[paths.Branch, Convert]] = []
    for branch in branches:
        owner, name = branch.element
        element = definitions.elements(owner).get(name)
        convert = converter("", search_type, branch.type, element.value_set if element else "")
        if convert is not None:
            ways.append((branch, convert))

    def reach(element: Json, resource: Json) -> Iterator[tuple[Any, Convert]]:
        for branch, convert in ways:
            for value in branch.values(element):
                if value is not None:
                    yield value, convert

    return Component(KIND_OF[search_type], reach, frozenset(branch.member for branch, _ in ways))


def _computed(search_type: str, expression: str, type: str) -> Reach:
    run = compiler.compile(expression)

    def reach(element: Json, resource: Json) -> Iterator[tuple[Any, Convert]]:
        for value, of_type, _ in run((element, type, None), Environment(resource=resource)):
            convert = converter("", search_type, of_type.removeprefix("System."), "")
            if convert is not None and value is not None:
                yield value, convert

    return reach


def asked(
    parameter: SearchParameter, written: Sequence[str], bind: Callable[[SearchParameter, str], Node]
) -> Node:
    """The node of a composite's values; `bind` gives one component's value its meaning. Raises Invalid."""
    parts = [definitions.search_parameter(url) for url, _ in parameter.components]
    names = [part.code for part in parts if part is not None]
    nodes: list[Node] = []
    for value in written:
        values = pieces(value, "$")
        if len(values) != len(parts) or not all(values):
            form = "$".join(f"[{name}]" for name in names)
            raise Invalid(
                "bad-composite", f"'{parameter.code}' takes {form}; a $ that is meant itself is \\$"
            )
        means = [_alternatives(bind(part, each)) for part, each in zip(parts, values, strict=True) if part]
        for several in product(*means):
            nodes.append(Composite(parameter.code + _scale(parameter.code, several), several))
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))


def _scale(code: str, parts: Sequence[Part]) -> str:
    """In base units, or as written: an entry has all of its amounts in one way."""
    amounts = {part.param.endswith(units.SUFFIX) for part in parts if isinstance(part, Number)}
    if len(amounts) == 2:
        raise Invalid("bad-composite", f"'{code}': give a UCUM unit with each amount, or with none")
    return units.SUFFIX if True in amounts else ""


def _alternatives(node: Node) -> tuple[Part, ...]:
    """A value may mean several conditions on one and the same value (a quantity in several units)."""
    match node:
        case Token() | Reference() | Date() | Number() | String():
            return (node,)
        case Or(nodes):
            return tuple(part for each in nodes for part in _alternatives(each))
        case _:
            raise AssertionError(f"a component's value means {node}")
