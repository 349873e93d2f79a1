"""FHIRPath N1 §5.7 Math. What has no real result (√-1, ln 0, an overflow) is empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from profiles.fhirpath.functions.calling import Builder, argument, valued
from profiles.fhirpath.nodes import Collection, Scope
from profiles.fhirpath.values import Value, calculate, named, number_node, single, value_of
from profiles.outcomes import Invalid

MAX_DIGITS = 28
_NUMBERS = ("Integer", "Decimal")


def _number(found: Collection, name: str) -> Value | None:
    node = single(found)
    if node is None or node[0] is None:
        return None
    value = value_of(node)
    if value.kind not in (*_NUMBERS, "Quantity"):
        raise Invalid("fhirpath-type", f"FHIRPath {name}() works on a number, not on {named(node)}")
    return value


def _computed(name: str, compute: Callable[[Decimal, list[Decimal]], Decimal], arguments: int) -> Builder:
    """A function with a Decimal result, to 28 significant digits."""

    def run(found: Collection, given: list[Collection], scope: Scope) -> Collection:
        value, others = _number(found, name), [_number(item, name) for item in given]
        numbers = [other.of for other in others if other is not None]
        if value is None or len(numbers) < len(others):
            return []
        if value.kind == "Quantity" or any(isinstance(number, tuple) for number in numbers):
            raise Invalid("fhirpath-type", f"FHIRPath {name}() works on plain numbers")
        result = calculate(lambda: compute(Decimal(value.of), [Decimal(number) for number in numbers]))
        return [] if result is None else number_node(_shortened(result))

    return valued(name, arguments, arguments, run)


def _shortened(number: Decimal) -> Decimal:
    if len(number.as_tuple().digits) <= MAX_DIGITS:
        return number
    short = calculate(lambda: number.quantize(Decimal(1).scaleb(number.adjusted() - MAX_DIGITS + 1)))
    return number if short is None else short.normalize()


def _to_integer(name: str, rounding: str) -> Builder:
    def run(found: Collection, given: list[Collection], scope: Scope) -> Collection:
        value = _number(found, name)
        if value is None:
            return []
        amount, unit = value.of if value.kind == "Quantity" else (value.of, "")
        result = calculate(lambda: Decimal(amount).to_integral_value(rounding))
        if result is None:
            return []
        return [((result, unit), "System.Quantity", None)] if unit else number_node(int(result))

    return valued(name, 0, 0, run)


def _round(found: Collection, given: list[Collection], scope: Scope) -> Collection:
    value = _number(found, "round")
    digits = argument(given[0]).of if given else 0
    if value is None or digits is None:
        return []
    if type(digits) is not int or digits < 0:
        raise Invalid("fhirpath-type", "FHIRPath round() takes a precision of 0 or more")
    amount, unit = value.of if value.kind == "Quantity" else (value.of, "")
    result = calculate(lambda: Decimal(amount).quantize(Decimal(1).scaleb(-min(digits, 400)), ROUND_HALF_UP))
    if result is None:
        result = Decimal(amount)
    return [((result, unit), "System.Quantity", None)] if unit else number_node(result)


def _abs(found: Collection, given: list[Collection], scope: Scope) -> Collection:
    value = _number(found, "abs")
    if value is None:
        return []
    if value.kind == "Quantity":
        return [((abs(value.of[0]), value.of[1]), "System.Quantity", None)]
    return number_node(abs(value.of))


def _power(found: Collection, given: list[Collection], scope: Scope) -> Collection:
    base, exponent = _number(found, "power"), _number(given[0], "power")
    if base is None or exponent is None:
        return []
    if "Quantity" in (base.kind, exponent.kind):
        raise Invalid("fhirpath-type", "FHIRPath power() works on plain numbers")
    result = calculate(lambda: Decimal(base.of) ** Decimal(exponent.of))
    if result is None:
        return []
    if base.kind == exponent.kind == "Integer" and exponent.of >= 0:
        return number_node(int(result))
    return number_node(_shortened(result))


BUILDERS: Mapping[str, Builder] = {
    "abs": valued("abs", 0, 0, _abs),
    "ceiling": _to_integer("ceiling", ROUND_CEILING),
    "floor": _to_integer("floor", ROUND_FLOOR),
    "truncate": _to_integer("truncate", ROUND_DOWN),
    "round": valued("round", 0, 1, _round),
    "exp": _computed("exp", lambda number, rest: number.exp(), 0),
    "ln": _computed("ln", lambda number, rest: number.ln(), 0),
    "log": _computed("log", lambda number, rest: number.ln() / rest[0].ln(), 1),
    "sqrt": _computed("sqrt", lambda number, rest: number.sqrt(), 0),
    "power": valued("power", 1, 1, _power),
}
