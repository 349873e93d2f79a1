"""A UCUM code → the unit it stands for: the whole grammar of case-sensitive codes.

    main-term   "/" term | term
    term        component { ("." | "/") component }, from left to right
    component   symbol [exponent] [annotation] | annotation | factor [annotation] | "(" term ")" [annotation]
    symbol      atom | prefix metric-atom;  factor  digits;  annotation  "{" printable ASCII "}"

UCUM §5-13
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType

from profiles.quantities.magnitude import FUNCTIONS, OFFSETS, apply, in_measure

MOST_CHARACTERS = 256
MOST_NESTED = 16
MOST_EXPONENT = 300
Dimension = tuple[tuple[str, int], ...]

_SYMBOL = re.compile(r"(?:[!#-'*+,\-0-9:-Z\\^-z|~]|\[[!-Z\\^-~]*\])+")
_ANNOTATION = re.compile(r"\{[!-z|~]*\}")
_SPLIT = re.compile(r"(.*[^0-9+\-])([+-]?[0-9]{1,3})?", re.DOTALL)
_FACTOR = re.compile(r"[0-9]{1,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` base units of `dimension`. A special unit has its `function`, and `scale` for a prefix:
    value · scale, through the function, · factor. A function "?" is a special unit among others: no
    number can be given for it."""

    factor: Fraction
    dimension: Dimension = ()
    function: str = ""
    scale: Fraction = Fraction(1)

    @property
    def code(self) -> str:
        """The canonical code."""
        return ".".join(f"{name}{'' if power == 1 else power}" for name, power in self.dimension) or "1"

    def to_base(self, value: Fraction) -> Fraction | None:
        """None outside the domain of a special unit."""
        if not self.function:
            return value * self.factor
        if self.function in OFFSETS:
            return (value * self.scale + OFFSETS[self.function]) * self.factor
        if self.function not in FUNCTIONS:
            return None
        found = apply(FUNCTIONS[self.function][0], value * self.scale)
        return None if found is None else found * self.factor

    def from_base(self, value: Fraction) -> Fraction | None:
        """The way back."""
        if not self.function:
            return value / self.factor
        if self.function in OFFSETS:
            return (value / self.factor - OFFSETS[self.function]) / self.scale
        if self.function not in FUNCTIONS:
            return None
        found = apply(FUNCTIONS[self.function][1], value / self.factor)
        return None if found is None else found / self.scale


ONE = Unit(Fraction(1))


class _NoUnit(Exception):
    """Not a UCUM code; never leaves this module."""


@lru_cache(maxsize=8192)
def parse(code: str) -> Unit | None:
    """None where it is no unit."""
    if not 0 < len(code) <= MOST_CHARACTERS:
        return None
    try:
        return _Parser(code).unit()
    except _NoUnit:
        return None


class _Parser:
    """One code, read once from left to right."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.at = 0
        self.depth = 0

    def unit(self) -> Unit:
        found = self.term(_invert(self.component()) if self.took("/") else self.component())
        if self.at < len(self.code):
            raise _NoUnit
        return found

    def took(self, sign: str) -> bool:
        """Past the sign, if it is next."""
        if not self.code.startswith(sign, self.at):
            return False
        self.at += 1
        return True

    def term(self, found: Unit) -> Unit:
        """What follows a first component."""
        while True:
            if self.took("."):
                found = _multiplied(found, self.component())
            elif self.took("/"):
                found = _multiplied(found, _invert(self.component()))
            else:
                return found

    def component(self) -> Unit:
        if self.took("("):
            self.depth += 1
            if self.depth > MOST_NESTED:
                raise _NoUnit
            found = self.term(self.component())
            if not self.took(")"):
                raise _NoUnit
            self.depth -= 1
            self.annotation()
            return found
        symbol = _SYMBOL.match(self.code, self.at)
        if symbol:
            self.at = symbol.end()
        annotated = self.annotation()
        if symbol:
            return _annotatable(symbol[0])
        if annotated:
            return ONE
        raise _NoUnit

    def annotation(self) -> bool:
        """Past one, if it is next."""
        found = _ANNOTATION.match(self.code, self.at)
        if found:
            self.at = found.end()
        return found is not None


def _annotatable(symbol: str) -> Unit:
    if _FACTOR.fullmatch(symbol):
        if not int(symbol):
            raise _NoUnit
        return Unit(Fraction(int(symbol)))
    split = _SPLIT.fullmatch(symbol)
    if split is None:
        raise _NoUnit
    unit = _symbol(split[1])
    return unit if split[2] is None else _raised(unit, int(split[2]))


def _symbol(text: str) -> Unit:
    if text in _units():
        return _atom(text)
    for length in (2, 1):
        scale, name = _prefixes().get(text[:length]), text[length:]
        if scale is not None and name in _units() and "m" in _units()[name][0]:
            unit = _atom(name)
            if unit.function:
                return Unit(unit.factor, unit.dimension, unit.function, scale)
            return Unit(unit.factor * scale, unit.dimension)
    raise _NoUnit


@cache
def _atom(name: str) -> Unit:
    flags, value, of, function = _units()[name]
    if "b" in flags or ("a" in flags and of == "1"):
        return Unit(Fraction(1), ((name, 1),))
    unit = _Parser(of).unit()
    if function in ("100tan", "tanTimes100"):  # of a slope, whose angle is counted in radians
        return Unit(Fraction(1), (("rad", 1),), "tanTimes100")
    return Unit(Fraction(value) * unit.factor, unit.dimension, function)


def _multiplied(left: Unit, right: Unit) -> Unit:
    powers = dict(left.dimension)
    for name, power in right.dimension:
        powers[name] = powers.get(name, 0) + power
    mixed = "?" if left.function or right.function else ""
    return _bounded(Unit(left.factor * right.factor, _dimension(powers), mixed))


def _invert(unit: Unit) -> Unit:
    return _raised(unit, -1)


def _raised(unit: Unit, power: int) -> Unit:
    if abs(power) > MOST_EXPONENT:
        raise _NoUnit
    if power == 1:
        return unit
    dimension = {name: own * power for name, own in unit.dimension}
    return _bounded(Unit(unit.factor**power, _dimension(dimension), "?" if unit.function else ""))


def _bounded(unit: Unit) -> Unit:
    if not in_measure(unit.factor):
        raise _NoUnit
    return unit


def _dimension(powers: Mapping[str, int]) -> Dimension:
    return tuple(sorted((name, power) for name, power in powers.items() if power))


@cache
def _rows() -> tuple[list[str], ...]:
    text = files("profiles.quantities").joinpath("ucum.tsv").read_text("utf-8")
    return tuple(line.split("\t") for line in text.splitlines())


@cache
def _prefixes() -> Mapping[str, Fraction]:
    return MappingProxyType({row[1]: Fraction(row[2]) for row in _rows() if row[0] == "prefix"})


@cache
def _units() -> Mapping[str, tuple[str, str, str, str]]:
    """Code → flags, value, unit, function."""
    return MappingProxyType({r[1]: (r[2], r[3], r[4], r[5]) for r in _rows() if r[0] == "unit"})
