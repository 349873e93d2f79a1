"""Operators: equality, comparison, types, collections, Boolean logic; `arithmetic` has the rest. FHIRPath N1
§6"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiles.fhirpath import arithmetic
from profiles.fhirpath.nodes import Collection, Scope, is_type, kept_as
from profiles.fhirpath.values import compare, distinct, equal, equivalent, is_text, is_whole, key, single

Run = Callable[[Collection, Scope], Collection]
Test = Callable[[Collection, Scope], bool | None]


def build(operator: str, left: Run, right: Run) -> Run:
    """The closure of `left operator right`, for the operators that are none of TESTS."""
    if operator == "|":
        return lambda focus, scope: union(left(focus, scope), right(focus, scope), scope)
    return arithmetic.build(operator, left, right)


def build_test(operator: str, left: Run, right: Run) -> Test:
    """The closure of `left operator right`, for a comparison or membership."""
    if operator in _ORDER:
        return _ordered(left, right, _ORDER[operator])
    judge = _COLLECTIONS[operator]
    return lambda focus, scope: judge(left(focus, scope), right(focus, scope), scope)


def build_logic(operator: str, left: Test, right: Test) -> Test:
    """The closure of `left operator right`, for an operator of LOGIC."""
    return LOGIC[operator](left, right)


def equals_text(of: Run, text: str) -> Test:
    """`of = 'text'`, the commonest of all criteria."""
    constant: Collection = [(text, "System.String", None)]

    def test(focus: Collection, scope: Scope) -> bool | None:
        found = of(focus, scope)
        if not found:
            return None
        if len(found) == 1 and is_text(found[0]):
            return bool(found[0][0] == text)
        return equal(found, constant, scope.evaluation)

    return test


def union(left: Collection, right: Collection, scope: Scope) -> Collection:
    """Both, without repeated items."""
    if not right and len(left) < 2:
        return left
    return distinct(left + right, scope.evaluation)


def is_of_type(of: Run, type: str) -> Test:
    """`of is type`: one item's type."""

    def test(focus: Collection, scope: Scope) -> bool | None:
        node = single(of(focus, scope))
        return None if node is None else is_type(node[1], type)

    return test


def as_type(of: Run, type: str) -> Run:
    """`of as type`: keeps those of the type (FHIR R4 search uses it on collections)."""
    return lambda focus, scope: [node for node in of(focus, scope) if kept_as(node[1], type)]


def sign(operator: str, of: Run) -> Run:
    """Unary plus and minus on a number or quantity."""

    def run(focus: Collection, scope: Scope) -> Collection:
        node = single(of(focus, scope))
        return [] if node is None else arithmetic.signed(operator, node)

    return run


def _ordered(left: Run, right: Run, judge: Callable[[int], bool]) -> Test:
    def test(focus: Collection, scope: Scope) -> bool | None:
        one, other = left(focus, scope), right(focus, scope)
        if len(one) == 1 and len(other) == 1 and is_whole(one[0]) and is_whole(other[0]):
            return judge(one[0][0] - other[0][0])
        order = compare(one, other)
        return None if order is None else judge(order)

    return test


def _equal(left: Collection, right: Collection, scope: Scope) -> bool | None:
    return equal(left, right, scope.evaluation)


def _not_equal(left: Collection, right: Collection, scope: Scope) -> bool | None:
    same = equal(left, right, scope.evaluation)
    return None if same is None else not same


def _member(left: Collection, right: Collection, scope: Scope) -> bool | None:
    node = single(left)
    if node is None:
        return None
    scope.evaluation.spend(len(right))
    wanted = key(node, scope.evaluation)
    return any(key(other, scope.evaluation) == wanted for other in right)


def _and(left: Test, right: Test) -> Test:
    def test(focus: Collection, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is False:
            return False
        b = right(focus, scope)
        return b if a is True or b is False else None

    return test


def _or(left: Test, right: Test) -> Test:
    def test(focus: Collection, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is True:
            return True
        b = right(focus, scope)
        return b if a is False or b is True else None

    return test


def _xor(left: Test, right: Test) -> Test:
    def test(focus: Collection, scope: Scope) -> bool | None:
        a, b = left(focus, scope), right(focus, scope)
        return None if a is None or b is None else a is not b

    return test


def _implies(left: Test, right: Test) -> Test:
    def test(focus: Collection, scope: Scope) -> bool | None:
        a = left(focus, scope)
        if a is False:
            return True
        b = right(focus, scope)
        return b if a is True or b is True else None

    return test


LOGIC: Mapping[str, Callable[[Test, Test], Test]] = {
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
    "~": lambda left, right, scope: equivalent(left, right, scope.evaluation),
    "!~": lambda left, right, scope: not equivalent(left, right, scope.evaluation),
    "in": _member,
    "contains": lambda left, right, scope: _member(right, left, scope),
}
TESTS = frozenset({*_ORDER, *_COLLECTIONS})
