"""Quantities as FHIRPath has them: an amount and a unit, of UCUM or a calendar duration word.

Weeks to milliseconds are the same as UCUM's. A calendar year or month has no fixed length: those are compared
with one another only, and with UCUM's `a` and `mo` by equivalence alone.

FHIRPath N1 §4.1.7 (time-valued quantities), §6.1
"""

from __future__ import annotations

import re
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

_FACTOR = re.compile(r"([./]?)([A-Za-z]+)(-?\d{1,3})?", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z]+(?:-?\d{1,3})?(?:[./][A-Za-z]+(?:-?\d{1,3})?)*", re.ASCII)
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


def in_finer(a: Quantity, b: Quantity) -> tuple[Quantity, Quantity] | None:
    """Both in the finer of their units; None when they have no common dimension."""
    if a[1] == b[1]:
        return a, b
    one, other = canonical(Decimal(1), a[1]), canonical(Decimal(1), b[1])
    if one is None or other is None:
        return None
    if one[0] <= other[0]:
        converted = convert(b, a[1])
        return None if converted is None else (a, (converted, a[1]))
    converted = convert(a, b[1])
    return None if converted is None else ((converted, b[1]), b)


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
    return other if one == "1" else _joined(one, ".", other)


def quotient(one: str, other: str) -> str | None:
    """The unit of a quotient; None when it is too long to be one."""
    return _joined(one, "/", other)


def _joined(one: str, sign: str, other: str) -> str | None:
    if other == "1":
        return one
    one, other = CALENDAR.get(one, one), CALENDAR.get(other, other)
    left, right = _factors(one), _factors(other)
    if left is None or right is None:
        made = f"({one}){sign}({other})"
    else:
        for atom, exponent in right.items():
            left[atom] = left.get(atom, 0) + (exponent if sign == "." else -exponent)
        made = _written(left)
    return made if len(made) <= MAX_UNIT else None


def _factors(unit: str) -> dict[str, int] | None:
    """Atom → exponent of a plain unit ("g.m/s2"); None for one with brackets, numbers or annotations."""
    if unit == "1":
        return {}
    if not _PLAIN.fullmatch(unit):
        return None
    found: dict[str, int] = {}
    for sign, atom, exponent in _FACTOR.findall(unit):
        found[atom] = found.get(atom, 0) + int(exponent or 1) * (-1 if sign == "/" else 1)
    return found


def _written(factors: Mapping[str, int]) -> str:
    above = [atom + (str(n) if n != 1 else "") for atom, n in factors.items() if n > 0]
    below = [(atom, -n) for atom, n in factors.items() if n < 0]
    if not above:
        return ".".join(f"{atom}-{n}" for atom, n in below) or "1"
    return ".".join(above) + "".join(f"/{atom}{n if n != 1 else ''}" for atom, n in below)


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
