"""Exact numbers of bounded size: Decimal ↔ Fraction, and the functions of UCUM's special units.

FHIR's decimals come from outside: one of `1E999999999` must not become a number with a billion digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow, Underflow
from fractions import Fraction
from types import MappingProxyType

MOST_DIGITS = 200
MOST_MAGNITUDE = 400
"""Powers of ten, either way."""
_REAL = Context(prec=34, traps=[Overflow, Underflow, InvalidOperation, DivisionByZero])
_RESULT = Context(prec=28)

Real = Callable[[Decimal], Decimal]


def exact(value: Decimal) -> Fraction | None:
    """The number itself; None for NaN, infinities, and what is out of measure."""
    if (
        not value.is_finite()
        or abs(value.adjusted()) > MOST_MAGNITUDE
        or len(value.as_tuple().digits) > MOST_DIGITS
    ):
        return None
    return Fraction(value)


def in_measure(number: Fraction) -> bool:
    """Whether it is small enough, both ways, to go on calculating with."""
    return max(abs(number.numerator), number.denominator).bit_length() <= MOST_MAGNITUDE * 4


def rounded(number: Fraction) -> Decimal:
    """To 28 digits, without zeros at the end: equal numbers give the same Decimal, digit for digit."""
    quotient = _RESULT.divide(Decimal(number.numerator), Decimal(number.denominator)).normalize(_RESULT)
    _sign, digits, exponent = quotient.as_tuple()
    if isinstance(exponent, int) and 0 < exponent <= 28 - len(digits):
        return quotient.quantize(Decimal(1), context=_RESULT)
    return quotient


def apply(function: Real, number: Fraction) -> Fraction | None:
    """A real function at 34 digits; None outside its domain or measure."""
    try:
        ratio = _REAL.divide(Decimal(number.numerator), Decimal(number.denominator))
        return exact(function(ratio))
    except (ArithmeticError, ValueError):
        return None


def _power(base: int, sign: int = 1) -> Real:
    return lambda x: _REAL.power(Decimal(base), x * sign)


def _logarithm(base: int, sign: int = 1) -> Real:
    return lambda x: _REAL.divide(_REAL.ln(x), _REAL.ln(Decimal(base))) * sign


def _float(function: Callable[[float], float]) -> Real:
    return lambda x: Decimal(repr(function(float(x))))


FUNCTIONS: Mapping[str, tuple[Real, Real]] = MappingProxyType({
    "ln": (_REAL.exp, _REAL.ln),
    "lg": (_power(10), _REAL.log10),
    "lgTimes2": (lambda x: _REAL.power(Decimal(10), x / 2), lambda x: _REAL.log10(x) * 2),
    "ld": (_power(2), _logarithm(2)),
    "sqrt": (lambda x: _REAL.multiply(x, x), _REAL.sqrt),
    "pH": (_power(10, -1), lambda x: -_REAL.log10(x)),
    "hpX": (_power(10, -1), lambda x: -_REAL.log10(x)),
    "hpC": (_power(100, -1), _logarithm(100, -1)),
    "hpM": (_power(1000, -1), _logarithm(1000, -1)),
    "hpQ": (_power(50000, -1), _logarithm(50000, -1)),
    "tanTimes100": (_float(lambda x: math.atan(x / 100)), _float(lambda x: math.tan(x) * 100)),
})  # fmt: skip
"""Special unit → (to the ratio scale, back). UCUM §21, §43-46"""

OFFSETS: Mapping[str, Fraction] = MappingProxyType({
    "Cel": Fraction("273.15"),
    "degF": Fraction("459.67"),
    "degRe": Fraction("218.52"),
})  # fmt: skip
"""Temperature scale → what its degrees are from absolute zero; these stay exact."""
