"""Quantities as FHIRPath has them: an amount and a unit, of UCUM or a calendar duration word.

Weeks to milliseconds are the same as UCUM's. A calendar year or month has no fixed length: those are compared
with one another only, and with UCUM's `a` and `mo` by equivalence alone.

FHIRPath N1 §4.1.7 (time-valued quantities), §6.1
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, DecimalException, localcontext
from types import MappingProxyType

from profiles import quantities

Quantity = tuple[Decimal, str]

CALENDAR: Mapping[str, str] = MappingProxyType({
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "millisecond": "ms",
})  # fmt: skip
MAX_UNIT = 200
"""Characters of a unit that is made by multiplying and dividing."""

_MONTHS: Mapping[str, int] = MappingProxyType({"year": 12, "month": 1})


def canonical(amount: Decimal, unit: str) -> Quantity | None:
    """In the base units of its dimension; None when the unit is unknown."""
    if unit in _MONTHS:
        return amount * _MONTHS[unit], "month"
    return quantities.canonical(amount, CALENDAR.get(unit, unit))


def convert(quantity: Quantity, unit: str) -> Decimal | None:
    """The amount in another unit; None when the two have no common dimension."""
    if quantity[1] == unit:
        return quantity[0]
    if quantity[1] in _MONTHS and unit in _MONTHS:
        months = quantity[0] * _MONTHS[quantity[1]]
        return months if unit == "month" else months / 12
    if quantity[1] in _MONTHS or unit in _MONTHS:
        return None
    return quantities.convert(quantity[0], CALENDAR.get(quantity[1], quantity[1]), CALENDAR.get(unit, unit))


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
    if one is None or other is None or one[1] != other[1]:
        return False
    coarse, fine = (a, b) if one[0] >= other[0] else (b, a)
    converted = convert(fine, coarse[1])
    digits = min(_places(a[0]), _places(b[0]))
    return converted is not None and _rounded(coarse[0], digits) == _rounded(converted, digits)


def same_rounded(a: Decimal, b: Decimal) -> bool:
    """Equal at the precision of the less precise. FHIRPath N1 §6.1.2"""
    digits = min(_places(a), _places(b))
    return _rounded(a, digits) == _rounded(b, digits)


def product(one: str, other: str) -> str | None:
    """The unit of a product; None when it is too long to be one."""
    return _joined(one, ".", other)


def quotient(one: str, other: str) -> str | None:
    """The unit of a quotient; None when it is too long to be one."""
    return "1" if one == other else _joined(one, "/", other)


def _joined(one: str, sign: str, other: str) -> str | None:
    one, other = CALENDAR.get(one, one), CALENDAR.get(other, other)
    if other == "1":
        return one
    if one == "1" and sign == ".":
        return other
    made = f"({one}){sign}({other})"
    return made if len(made) <= MAX_UNIT else None


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _rounded(number: Decimal, digits: int) -> Decimal:
    """The number itself where it is too large or fine to be rounded."""
    try:
        with localcontext(prec=1000):
            return number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    except DecimalException:
        return number
