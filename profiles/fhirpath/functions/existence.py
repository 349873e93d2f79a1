"""FHIRPath N1 §5.1 Existence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiles.fhirpath.functions.calling import Builder, Run, count, each, plain, valued
from profiles.fhirpath.nodes import Collection, Scope, boolean, truth
from profiles.fhirpath.syntax import Expression
from profiles.fhirpath.values import distinct, key
from profiles.outcomes import Invalid


def _exists(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("exists", arguments, 0, 1)
    if not arguments:
        return lambda focus, scope: boolean(bool(of(focus, scope)))
    criterion = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return boolean(any(truth(each(criterion, node, scope, i)) is True for i, node in enumerate(found)))

    return run


def _all(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("all", arguments, 1, 1)
    criterion = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return boolean(all(truth(each(criterion, node, scope, i)) is True for i, node in enumerate(found)))

    return run


def _not(found: Collection) -> Collection:
    value = truth(found)
    return boolean(None if value is None else not value)


def _booleans(found: Collection, name: str) -> list[bool]:
    values = [node[0] for node in found]
    if not all(isinstance(value, bool) for value in values):
        raise Invalid("fhirpath-type", f"FHIRPath {name}() works on Booleans only")
    return values


def _subset(few: Collection, many: Collection, scope: Scope) -> Collection:
    scope.budget.spend(len(few) + len(many))
    marks = {key(node, scope.budget) for node in many}
    return boolean(all(key(node, scope.budget) in marks for node in few))


def _is_distinct(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    return boolean(len(distinct(found, scope.budget)) == len(found))


BUILDERS: Mapping[str, Builder] = {
    "exists": _exists,
    "all": _all,
    "empty": plain(lambda found: boolean(not found), "empty"),
    "not": plain(_not, "not"),
    "count": plain(lambda found: [(len(found), "System.Integer", None)], "count"),
    "allTrue": plain(lambda found: boolean(all(_booleans(found, "allTrue"))), "allTrue"),
    "anyTrue": plain(lambda found: boolean(any(_booleans(found, "anyTrue"))), "anyTrue"),
    "allFalse": plain(lambda found: boolean(not any(_booleans(found, "allFalse"))), "allFalse"),
    "anyFalse": plain(lambda found: boolean(not all(_booleans(found, "anyFalse"))), "anyFalse"),
    "subsetOf": valued("subsetOf", 1, 1, lambda found, rest, scope: _subset(found, rest[0], scope)),
    "supersetOf": valued("supersetOf", 1, 1, lambda found, rest, scope: _subset(rest[0], found, scope)),
    "distinct": valued("distinct", 0, 0, lambda found, rest, scope: distinct(found, scope.budget)),
    "isDistinct": valued("isDistinct", 0, 0, _is_distinct),
}
