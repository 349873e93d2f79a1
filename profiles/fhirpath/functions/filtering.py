"""FHIRPath N1 §5.2 Filtering and projection, §7 Aggregates, with the functional forms of `is` and `as`
(§6.3)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cmp_to_key

from profiles.fhirpath import operators
from profiles.fhirpath.functions.calling import (
    Builder,
    Compile,
    Run,
    Test,
    TestBuilder,
    count,
    each,
    inner,
    is_true,
    named_type,
    weight,
)
from profiles.fhirpath.nodes import Collection, Scope, kept_as
from profiles.fhirpath.syntax import Expression, Member, Sign
from profiles.fhirpath.values import compare, key, single
from profiles.outcomes import Invalid


def _where(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    count("where", arguments, 1, 1)
    criterion, cost = compile.test(arguments[0]), weight(arguments)

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        if not found:
            return found
        own = inner(scope, len(found) * cost)
        return [node for i, node in enumerate(found) if is_true(criterion, node, own, i)]

    return run


def _select(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    count("select", arguments, 1, 1)
    projection, cost = compile.run(arguments[0]), weight(arguments)
    if _is_path(arguments[0]):
        return lambda focus, scope: projection(of(focus, scope), scope)

    def run(focus: Collection, scope: Scope) -> Collection:
        made: Collection = []
        found = of(focus, scope)
        own = inner(scope, len(found) * cost)
        for i, node in enumerate(found):
            items = each(projection, node, own, i)
            scope.evaluation.spend(len(items))
            made += items
        return made

    return run


def _is_path(tree: Expression) -> bool:
    """Whether a tree is steps alone, which find the same from all items at once as from each in turn."""
    while isinstance(tree, Member) and tree.of is not None:
        tree = tree.of
    return isinstance(tree, Member)


def _repeat(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """Every item once, so that a projection that comes back to itself ends."""
    count("repeat", arguments, 1, 1)
    projection, cost = compile.run(arguments[0]), weight(arguments)

    def run(focus: Collection, scope: Scope) -> Collection:
        todo = of(focus, scope)
        made: Collection = []
        seen: set[Hashable] = set()
        while todo:
            new: Collection = []
            own = inner(scope, len(todo) * cost)
            for i, node in enumerate(todo):
                for item in each(projection, node, own, i):
                    scope.evaluation.spend(3)
                    mark = key(item, scope.evaluation)
                    if mark not in seen:
                        seen.add(mark)
                        new.append(item)
            made += new
            todo = new
        return made

    return run


def _aggregate(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    count("aggregate", arguments, 1, 2)
    aggregator, cost = compile.run(arguments[0]), weight(arguments)
    start = compile.run(arguments[1]) if len(arguments) == 2 else None

    def run(focus: Collection, scope: Scope) -> Collection:
        total = start(focus, scope) if start is not None else []
        found = of(focus, scope)
        own = inner(scope, len(found) * cost)
        for i, node in enumerate(found):
            own.total = total
            total = each(aggregator, node, own, i)
            scope.evaluation.spend(len(total))
        return total

    return run


def _sort(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """By the keys given, or the items themselves; a minus before a key turns its order; empty keys come
    first in either order."""
    keys = [
        (compile.run(tree.of), -1)
        if isinstance(tree, Sign) and tree.operator == "-"
        else (compile.run(tree), 1)
        for tree in arguments
    ] or [(lambda focus, scope: focus, 1)]
    cost = weight(arguments)

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        own = inner(scope, len(found) * cost)
        rows = [
            (node, [each(of_key, node, own, i) for of_key, _direction in keys])
            for i, node in enumerate(found)
        ]
        scope.evaluation.spend(len(rows) * len(rows).bit_length())

        def compared(a: tuple[object, list[Collection]], b: tuple[object, list[Collection]]) -> int:
            for (_run, direction), one, other in zip(keys, a[1], b[1], strict=True):
                if not one or not other:
                    order = bool(one) - bool(other)
                else:
                    order = (compare(one, other) or 0) * direction
                if order:
                    return order
            return 0

        return [node for node, _keys in sorted(rows, key=cmp_to_key(compared))]

    return run


def _of_type(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    type = named_type("ofType", arguments)
    return lambda focus, scope: [node for node in of(focus, scope) if kept_as(node[1], type)]


def _as(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    type = named_type("as", arguments)

    def run(focus: Collection, scope: Scope) -> Collection:
        node = single(of(focus, scope))
        return [node] if node is not None and kept_as(node[1], type) else []

    return run


def _is(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
    return operators.is_of_type(of, named_type("is", arguments))


def _iif(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """Only the branch that is chosen is evaluated. FHIRPath N1 §5.5.1"""
    count("iif", arguments, 2, 3)
    criterion = compile.judging(arguments[0]) or _boolean(compile.run(arguments[0]))
    branches = [compile.run(tree) for tree in arguments[1:]]

    def run(focus: Collection, scope: Scope) -> Collection:
        node = single(of(focus, scope))
        items = [] if node is None else [node]
        if node is not None:
            place, scope = scope.place, inner(scope, 1)
            scope.this, scope.place = node, place
        if criterion(items, scope):
            return branches[0](items, scope)
        return branches[1](items, scope) if len(branches) == 2 else []

    return run


def _boolean(run: Run) -> Test:
    """The truth of what may be none. Raises Invalid when it is none."""

    def test(focus: Collection, scope: Scope) -> bool | None:
        answer = single(run(focus, scope))
        if answer is None or isinstance(answer[0], bool):
            return None if answer is None else answer[0]
        raise Invalid("fhirpath-type", "FHIRPath iif() takes a Boolean criterion")

    return test


BUILDERS: Mapping[str, Builder] = {
    "where": _where,
    "select": _select,
    "repeat": _repeat,
    "aggregate": _aggregate,
    "sort": _sort,
    "ofType": _of_type,
    "as": _as,
    "iif": _iif,
}
TESTS: Mapping[str, TestBuilder] = {"is": _is}
