"""Operators: equality, comparison, types, collections, Boolean logic. FHIRPath N1 §6"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from profiles.fhirpath.nodes import FALSE, TRUE, Collection, Scope, boolean, is_type, truth
from profiles.outcomes import Invalid

Run = Callable[[Collection, Scope], Collection]


def build(operator: str, left: Run, right: Run) -> Run:
    """The closure of `left operator right`. Raises Invalid for an operator that is not offered."""
    if operator == "|":
        return lambda focus, scope: distinct(left(focus, scope) + right(focus, scope))
    if operator in _LOGIC:
        logic = _LOGIC[operator]
        return lambda focus, scope: boolean(logic(truth(left(focus, scope)), truth(right(focus, scope))))
    if operator in _COLLECTIONS:
        compare = _COLLECTIONS[operator]
        return lambda focus, scope: boolean(compare(left(focus, scope), right(focus, scope)))
    raise Invalid("fhirpath-unsupported", f"FHIRPath operator {operator} is not offered")


def type_test(operator: str, of: Run, type: str) -> Run:
    """`is` asks one item's type, `as` keeps those of the type (FHIR R4 search uses `as` on collections)."""
    if operator == "as":
        return lambda focus, scope: [node for node in of(focus, scope) if is_type(node[1], type)]

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return [TRUE if is_type(found[0][1], type) else FALSE] if len(found) == 1 else []

    return run


def sign(operator: str, of: Run) -> Run:
    """Unary plus and minus on a number."""

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        if len(found) != 1 or not _is_number(found[0][0]):
            return []
        value, type, _sibling = found[0]
        return [(-value if operator == "-" else value, type, None)]

    return run


def distinct(collection: Collection) -> Collection:
    """Without repeated items, in order."""
    found: Collection = []
    for node in collection:
        if not any(equal_values(node[0], other[0]) for other in found):
            found.append(node)
    return found


def equal_values(left: Any, right: Any) -> bool:
    """JSON values alike; a Boolean is no number."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def equal(left: Collection, right: Collection) -> bool | None:
    """`=`: empty when either is; else the same items in the same order. FHIRPath N1 §6.1"""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    return all(equal_values(a[0], b[0]) for a, b in zip(left, right, strict=True))


def _not_equal(left: Collection, right: Collection) -> bool | None:
    same = equal(left, right)
    return None if same is None else not same


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Collection, Collection], bool | None]:
    """A comparison of two single numbers or two single texts; empty for all else."""

    def compare(left: Collection, right: Collection) -> bool | None:
        if len(left) != 1 or len(right) != 1:
            return None
        a, b = left[0][0], right[0][0]
        if (_is_number(a) and _is_number(b)) or (isinstance(a, str) and isinstance(b, str)):
            return test(a, b)
        return None

    return compare


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal | float) and not isinstance(value, bool)


def _member(left: Collection, right: Collection) -> bool | None:
    if len(left) != 1:
        return None
    return any(equal_values(left[0][0], node[0]) for node in right)


def _and(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _or(a: bool | None, b: bool | None) -> bool | None:
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


def _xor(a: bool | None, b: bool | None) -> bool | None:
    return None if a is None or b is None else a is not b


def _implies(a: bool | None, b: bool | None) -> bool | None:
    return _or(None if a is None else not a, b)


_LOGIC: Mapping[str, Callable[[bool | None, bool | None], bool | None]] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
}
_COLLECTIONS: Mapping[str, Callable[[Collection, Collection], bool | None]] = {
    "=": equal,
    "!=": _not_equal,
    "<": _ordered(lambda a, b: bool(a < b)),
    "<=": _ordered(lambda a, b: bool(a <= b)),
    ">": _ordered(lambda a, b: bool(a > b)),
    ">=": _ordered(lambda a, b: bool(a >= b)),
    "in": _member,
    "contains": lambda left, right: _member(right, left),
}
