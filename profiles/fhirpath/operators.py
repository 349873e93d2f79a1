"""Operators: equality, comparison, types, collections, Boolean logic; `arithmetic` has the rest. FHIRPath N1
§6"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiles.fhirpath import arithmetic
from profiles.fhirpath.nodes import FALSE, TRUE, Collection, Scope, boolean, is_type, kept_as, truth
from profiles.fhirpath.values import compare, distinct, equal, equivalent, key, single
from profiles.outcomes import Invalid

Run = Callable[[Collection, Scope], Collection]


def build(operator: str, left: Run, right: Run) -> Run:
    """The closure of `left operator right`. Raises Invalid for an operator that is not offered."""
    if operator == "|":
        return lambda focus, scope: union(left(focus, scope), right(focus, scope), scope)
    if operator in _LOGIC:
        return _LOGIC[operator](left, right)
    if operator in _ORDER:
        return _ordered(left, right, _ORDER[operator])
    if operator in _COLLECTIONS:
        test = _COLLECTIONS[operator]
        return lambda focus, scope: boolean(test(left(focus, scope), right(focus, scope), scope))
    if operator in arithmetic.OPERATORS:
        return arithmetic.build(operator, left, right)
    raise Invalid("fhirpath-unsupported", f"FHIRPath operator {operator} is not offered")


def union(left: Collection, right: Collection, scope: Scope) -> Collection:
    """Both, without repeated items."""
    if not right and len(left) < 2:
        return left
    return distinct(left + right, scope.budget)


def type_test(operator: str, of: Run, type: str) -> Run:
    """`is` asks one item's type, `as` keeps those of the type (FHIR R4 search uses `as` on collections)."""
    if operator == "as":
        return lambda focus, scope: [node for node in of(focus, scope) if kept_as(node[1], type)]

    def run(focus: Collection, scope: Scope) -> Collection:
        node = single(of(focus, scope))
        return [] if node is None else [TRUE if is_type(node[1], type) else FALSE]

    return run


def sign(operator: str, of: Run) -> Run:
    """Unary plus and minus on a number or quantity."""

    def run(focus: Collection, scope: Scope) -> Collection:
        node = single(of(focus, scope))
        return [] if node is None else arithmetic.signed(operator, node)

    return run


def _ordered(left: Run, right: Run, test: Callable[[int], bool]) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        order = compare(left(focus, scope), right(focus, scope))
        return [] if order is None else [TRUE if test(order) else FALSE]

    return run


def _equal(left: Collection, right: Collection, scope: Scope) -> bool | None:
    return equal(left, right, scope.budget)


def _not_equal(left: Collection, right: Collection, scope: Scope) -> bool | None:
    same = equal(left, right, scope.budget)
    return None if same is None else not same


def _member(left: Collection, right: Collection, scope: Scope) -> bool | None:
    node = single(left)
    if node is None:
        return None
    scope.budget.spend(len(right))
    wanted = key(node, scope.budget)
    return any(key(other, scope.budget) == wanted for other in right)


def _and(left: Run, right: Run) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        a = truth(left(focus, scope))
        if a is False:
            return [FALSE]
        b = truth(right(focus, scope))
        return [FALSE] if b is False else [] if a is None or b is None else [TRUE]

    return run


def _or(left: Run, right: Run) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        a = truth(left(focus, scope))
        if a is True:
            return [TRUE]
        b = truth(right(focus, scope))
        return [TRUE] if b is True else [] if a is None or b is None else [FALSE]

    return run


def _xor(left: Run, right: Run) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        a, b = truth(left(focus, scope)), truth(right(focus, scope))
        return [] if a is None or b is None else [TRUE if a is not b else FALSE]

    return run


def _implies(left: Run, right: Run) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        a = truth(left(focus, scope))
        if a is False:
            return [TRUE]
        b = truth(right(focus, scope))
        return [TRUE] if b is True else [] if a is None or b is None else [FALSE]

    return run


_LOGIC: Mapping[str, Callable[[Run, Run], Run]] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
}
_ORDER: Mapping[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_COLLECTIONS: Mapping[str, Callable[[Collection, Collection, Scope], bool | None]] = {
    "=": _equal,
    "!=": _not_equal,
    "~": lambda left, right, scope: equivalent(left, right, scope.budget),
    "!~": lambda left, right, scope: not equivalent(left, right, scope.budget),
    "in": _member,
    "contains": lambda left, right, scope: _member(right, left, scope),
}
