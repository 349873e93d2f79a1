"""`lowBoundary`, `highBoundary`, `precision`, `comparable`: what an inexact value can stand for. FHIRPath 2.1
§5.10"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from profiles.fhirpath import temporal, units
from profiles.fhirpath.functions.calling import Builder, TestBuilder, argument, valued, valued_test
from profiles.fhirpath.nodes import Collection, Scope
from profiles.fhirpath.values import as_quantity, calculate, named, number_node, single, value_of
from profiles.outcomes import Invalid

MAX_DIGITS = 28
_DEFAULTS: Mapping[str, int] = {"Date": 8, "DateTime": 17, "Time": 9}


def _boundary(name: str, direction: int, move: Callable[[Any, int], temporal.Moment | None]) -> Builder:
    rounding = ROUND_FLOOR if direction < 0 else ROUND_CEILING

    def of_number(number: Decimal, digits: int) -> Decimal | None:
        half = Decimal(direction).scaleb(-_places(number) - 1) * 5
        return calculate(lambda: (number + half).quantize(Decimal(1).scaleb(-digits), rounding))

    def run(found: Collection, given: list[Collection], scope: Scope) -> Collection:
        node = single(found)
        if node is None or node[0] is None:
            return []
        kind, of = value_of(node)
        digits = argument(given[0]).of if given else _DEFAULTS.get(kind, 8)
        if type(digits) is not int or not 0 <= digits <= MAX_DIGITS:
            return []
        if kind in _DEFAULTS:
            moved = move(of, digits)
            return [] if moved is None else [(str(moved), "System." + moved.kind, None)]
        if kind in ("Integer", "Decimal"):
            number = of_number(Decimal(of), digits)
            return [] if number is None else number_node(number)
        if kind == "Quantity":
            number = of_number(of[0], digits)
            return [] if number is None else [((number, of[1]), "System.Quantity", None)]
        raise Invalid("fhirpath-type", f"FHIRPath {name}() has no meaning for {named(node)}")

    return valued(name, 0, 1, run)


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _precision(found: Collection, given: list[Collection], scope: Scope) -> Collection:
    node = single(found)
    if node is None or node[0] is None:
        return []
    kind, of = value_of(node)
    if kind in _DEFAULTS:
        return number_node(temporal.precision(of))
    if kind in ("Integer", "Decimal"):
        return number_node(_places(Decimal(of)))
    raise Invalid("fhirpath-type", f"FHIRPath precision() has no meaning for {named(node)}")


def _comparable(found: Collection, given: list[Collection], scope: Scope) -> bool | None:
    one, other = single(found), single(given[0])
    if one is None or other is None:
        return None
    first, second = as_quantity(*value_of(one)), as_quantity(*value_of(other))
    return first is not None and second is not None and units.comparable(first, second)


BUILDERS: Mapping[str, Builder] = {
    "lowBoundary": _boundary("lowBoundary", -1, temporal.low),
    "highBoundary": _boundary("highBoundary", 1, temporal.high),
    "precision": valued("precision", 0, 0, _precision),
}
TESTS: Mapping[str, TestBuilder] = {"comparable": valued_test("comparable", 1, 1, _comparable)}
