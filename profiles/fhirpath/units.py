"""Quantities as FHIRPath has them: an amount and a unit, of UCUM or a calendar duration word.

Weeks to milliseconds are the same as UCUM's. A calendar year or month has no fixed length: those are compared
with one another only, and with UCUM's `a` and `mo` by equivalence alone.

FHIRPath N1 §4.1.7 (time-valued quantities), §6.1
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, DecimalException, localcontext
from types import MappingProxyType

Quantity = tuple[Decimal, str]

CALENDAR: Mapping[str, str] = MappingProxyType({
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "millisecond": "ms",
})  # fmt: skip
_MONTHS: Mapping[str, int] = MappingProxyType({"year": 12, "month": 1})
_SECONDS: Mapping[str, Decimal] = MappingProxyType({
    "wk": Decimal(604_800), "d": Decimal(86_400), "h": Decimal(3600), "min": Decimal(60), "s": Decimal(1),
    "ms": Decimal("0.001"),
})  # fmt: skip
PRECISION = 100


def canonical(amount: Decimal, unit: str) -> Quantity | None:
    """In the base units of its dimension; None when the unit is unknown."""
    if unit in _MONTHS:
        return amount * _MONTHS[unit], "month"
    if unit == "1":
        return amount, "1"
    seconds = _SECONDS.get(CALENDAR.get(unit, unit))
    return None if seconds is None else (amount * seconds, "s")


def compare(a: Quantity, b: Quantity) -> int | None:
    """-1, 0, 1; None when the units have no common dimension."""
    if a[1] == b[1]:
        return (a[0] > b[0]) - (a[0] < b[0])
    one, other = canonical(*a), canonical(*b)
    if one is None or other is None or one[1] != other[1]:
        return None
    return (one[0] > other[0]) - (one[0] < other[0])


def comparable(a: Quantity, b: Quantity) -> bool:
    """Whether the two can be converted into one another."""
    return compare(a, b) is not None


def alike(a: Quantity, b: Quantity) -> bool:
    """Equivalence: in the greater of the two units, rounded to the lesser precision."""
    if a[1] == b[1]:
        return same_rounded(a[0], b[0])
    a, b = (a[0], CALENDAR.get(a[1], a[1])), (b[0], CALENDAR.get(b[1], b[1]))
    one, other = canonical(Decimal(1), a[1]), canonical(Decimal(1), b[1])
    if one is None or other is None or one[1] != other[1] or not one[0] or not other[0]:
        return False
    greater = max(one[0], other[0])
    try:
        with localcontext(prec=PRECISION):
            digits = min(_places(a[0]), _places(b[0]))
            return _rounded(a[0] * one[0] / greater, digits) == _rounded(b[0] * other[0] / greater, digits)
    except DecimalException:
        return False


def same_rounded(a: Decimal, b: Decimal) -> bool:
    """Equal at the precision of the less precise. FHIRPath N1 §6.1.2"""
    digits = min(_places(a), _places(b))
    try:
        with localcontext(prec=1000):
            return _rounded(a, digits) == _rounded(b, digits)
    except DecimalException:
        return a == b


def product(a: Quantity, b: Quantity) -> Quantity:
    """In a unit made of both."""
    return a[0] * b[0], _joined(a[1], ".", b[1])


def quotient(a: Quantity, b: Quantity) -> Quantity:
    """Raises DecimalException when the divisor is 0."""
    return a[0] / b[0], "1" if a[1] == b[1] else _joined(a[1], "/", b[1])


def _joined(one: str, sign: str, other: str) -> str:
    one, other = CALENDAR.get(one, one), CALENDAR.get(other, other)
    if other == "1":
        return one
    if one == "1" and sign == ".":
        return other
    return f"({one}){sign}({other})"[:1000]


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _rounded(number: Decimal, digits: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
