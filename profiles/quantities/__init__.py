"""Quantities in UCUM units, case-sensitive codes: what is comparable, and what it is in base units.

    canonical(Decimal("1"), "[lb_av]")    → (Decimal("453.59237"), "g")
    canonical(Decimal("37"), "Cel")       → (Decimal("310.15"), "K")
    convert(Decimal("98.6"), "[degF]", "Cel") → Decimal("37")
    valid("mm[Hg]{sitting}")              → True

Units of one dimension have one canonical code: base units by exponent, always in the same order
("g.m-1.s-2"), "1" without any; an arbitrary unit ([IU], [CFU]) is a dimension of its own. Factors are exact
fractions, so equal quantities give equal Decimals; a result that no Decimal holds is rounded to 28 digits.
Codes come from outside: what is too long, nested or out of measure is no unit, and no call raises.

The Unified Code for Units of Measure 2.2, https://ucum.org/ucum
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from profiles.quantities.expression import Unit, parse
from profiles.quantities.magnitude import exact, rounded

__all__ = ["SYSTEM", "canonical", "convert", "in_base_units", "valid"]

SYSTEM = "http://unitsofmeasure.org"


def valid(code: str) -> bool:
    """Whether the code keeps UCUM's grammar and names units there are."""
    return parse(code) is not None


def canonical(value: Decimal, code: str) -> tuple[Decimal, str] | None:
    """The value in base units, and their code. None where the code is no UCUM unit, or the unit has no place
    on a ratio scale (`Cel/min`), or the value is out of measure."""
    unit = parse(code)
    amount = _amount(value, unit)
    if unit is None or amount is None:
        return None
    return rounded(amount), unit.code


def in_base_units(value: Decimal, code: str) -> Fraction | None:
    """The exact value in base units; None as of `canonical`."""
    return _amount(value, parse(code))


def convert(value: Decimal, from_code: str, to_code: str) -> Decimal | None:
    """The same quantity in another unit. None where they are not comparable or not UCUM."""
    source, target = parse(from_code), parse(to_code)
    amount = _amount(value, source)
    if source is None or target is None or amount is None or source.dimension != target.dimension:
        return None
    found = target.from_base(amount)
    return None if found is None else rounded(found)


def _amount(value: Decimal, unit: Unit | None) -> Fraction | None:
    number = exact(value)
    return None if unit is None or number is None else unit.to_base(number)
