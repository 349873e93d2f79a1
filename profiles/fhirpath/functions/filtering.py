"""FHIRPath N1 §5.2 Filtering and projection, with the functional forms of `is` and `as` (§6.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiles.fhirpath import operators
from profiles.fhirpath.functions.calling import Builder, Run, count, each, named_type
from profiles.fhirpath.nodes import Collection, Scope, is_type, truth
from profiles.fhirpath.syntax import Expression


def _where(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("where", arguments, 1, 1)
    criterion = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return [node for i, node in enumerate(found) if truth(each(criterion, node, scope, i)) is True]

    return run


def _select(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("select", arguments, 1, 1)
    projection = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return [item for i, node in enumerate(found) for item in each(projection, node, scope, i)]

    return run


def _of_type(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    type = named_type("ofType", arguments)
    return lambda focus, scope: [node for node in of(focus, scope) if is_type(node[1], type)]


def _as(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    return operators.type_test("as", of, named_type("as", arguments))


def _is(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    return operators.type_test("is", of, named_type("is", arguments))


BUILDERS: Mapping[str, Builder] = {
    "where": _where,
    "select": _select,
    "ofType": _of_type,
    "as": _as,
    "is": _is,
}
