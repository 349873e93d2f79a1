"""Composite parameters: components taken together from one element, and the values asked of them together.

    code-value-quantity=8480-6$gt120              both of the Observation itself
    component-code-value-quantity=8480-6$gt120    both of one of its components

Each element that the parameter's expression finds gives entries of its own: one per combination of what its
components find there. So systolic 120 and diastolic 80 are never taken for diastolic 120.
FHIR R4 search.html#composite
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from types import MappingProxyType
from typing import Any

from fhir_server.search.entries import KIND_OF, Convert, Found, converter
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
from profiles.fhirpath.nodes import Budget, Scope, resource_node
from profiles.outcomes import Invalid

Json = dict[str, Any]
Reach = Callable[[Json, Json], Iterator[tuple[Any, Convert]]]
MOST = 500  # entries of one composite in one resource

MISPRINTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"http://hl7.org/fhir/SearchParameter/DocumentReference-relationship": ("target", "code")}
)
"""Components' expressions that the standard prints the wrong way round."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component below one element: how its values are reached there, and which kind they are."""

    kind: EntryKind
    reach: Reach


@dataclass(frozen=True, slots=True)
class Composed:
    """A composite parameter's way into resources of one type."""

    code: str
    focus: paths.Branch
    components: tuple[Component, ...]

    def extract(self, resource: Json, found: Found) -> None:
        """Adds its entries."""
        for element in self.focus.values(resource):
            if element is None:
                continue
            columns: list[tuple[Value, ...]] = []
            for component in self.components:
                column = _values(component, element, resource, found)
                if not column:
                    break
                columns.append(column)
            else:
                for values in islice(product(*columns), MOST):
                    found.composites[self.code, values] = None


def _values(component: Component, element: Json, resource: Json, found: Found) -> tuple[Value, ...]:
    scratch = Found(found.fhir_base, found.zone)
    for value, convert in component.reach(element, resource):
        convert(value, scratch)
    return scratch.values(component.kind)


def composed(parameter: SearchParameter, type: str) -> Iterator[Composed]:
    """The ways of a composite into a type; none for one that cannot be indexed here."""
    expressions = MISPRINTED.get(parameter.url) or [expression for _, expression in parameter.components]
    parts = [definitions.search_parameter(url) for url, _ in parameter.components]
    if not 1 <= len(parts) <= 3 or any(part is None or part.type not in KIND_OF for part in parts):
        return
    for focus in paths.foci(parameter.expression, type) or ():
        yield Composed(
            parameter.code,
            focus,
            tuple(
                Component(KIND_OF[part.type], _reach(part.type, expression, focus.type))
                for part, expression in zip(parts, expressions, strict=True)
                if part is not None
            ),
        )


def _reach(search_type: str, expression: str, type: str) -> Reach:
    branches = paths.branches(expression, type)
    if branches is None:
        return _computed(search_type, expression, type)
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

    return reach


def _computed(search_type: str, expression: str, type: str) -> Reach:
    run = compiler.compile_expression(expression)

    def reach(element: Json, resource: Json) -> Iterator[tuple[Any, Convert]]:
        root = resource_node(resource)
        for value, of_type, _ in run([(element, type, None)], Scope(resource, root, Budget())):
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
            nodes.append(Composite(parameter.code, several))
    return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))


def _alternatives(node: Node) -> tuple[Part, ...]:
    """A value may mean several conditions on one and the same value (a quantity in several units)."""
    match node:
        case Token() | Reference() | Date() | Number() | String():
            return (node,)
        case Or(nodes):
            return tuple(part for each in nodes for part in _alternatives(each))
        case _:
            raise AssertionError(f"a component's value means {node}")
