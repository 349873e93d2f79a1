"""FHIRPath N1 §5.5 Conversion: `toX()` gives the value or nothing, `convertsToX()` says which."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from profiles.fhirpath import temporal
from profiles.fhirpath.functions.calling import Builder, TestBuilder, plain, plain_test, valued, valued_test
from profiles.fhirpath.nodes import Collection, Scope
from profiles.fhirpath.units import CALENDAR
from profiles.fhirpath.values import MAX_INTEGER, Value, argument_unit, single, value_of

Convert = Callable[[Value], Any]

_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,400}(?:\.\d{1,400})?", re.ASCII)
_QUANTITY = re.compile(
    r"(?P<amount>[+-]?\d{1,400}(?:\.\d{1,400})?)\s*(?:'(?P<unit>[^']+)'|(?P<word>[a-z]+))?", re.ASCII
)


def _boolean(value: Value) -> bool | None:
    kind, of = value
    if kind == "Boolean":
        return bool(of)
    if kind in ("Integer", "Decimal"):
        return bool(of) if of in (0, 1) else None
    if kind == "String":
        text = of.lower()
        return True if text in _TRUE else False if text in _FALSE else None
    return None


def _integer(value: Value) -> int | None:
    kind, of = value
    if kind == "String":
        if len(of) < 19 and of.isdecimal() and of.isascii():
            return int(of)
        of = int(of) if _INTEGER.fullmatch(of) else None
    elif kind not in ("Integer", "Boolean"):
        return None
    return int(of) if of is not None and abs(of) <= MAX_INTEGER else None


def _decimal(value: Value) -> Decimal | None:
    kind, of = value
    if kind in ("Integer", "Decimal", "Boolean"):
        return Decimal(of)
    return Decimal(of) if kind == "String" and _DECIMAL.fullmatch(of) else None


def _temporal(target: str) -> Convert:
    def convert(value: Value) -> str | None:
        kind, of = value
        if kind == "String":
            moment = temporal.parse(of, target)
            if moment is None and target == "Date":
                moment = temporal.parse(of, "DateTime")
        elif kind == target or (kind in ("Date", "DateTime") and target in ("Date", "DateTime")):
            moment = of
        else:
            return None
        if moment is None:
            return None
        if target == "Date":
            return str(temporal.Moment("Date", moment.parts[:3]))
        return str(moment)

    return convert


def _quantity(value: Value) -> tuple[Decimal, str] | None:
    kind, of = value
    if kind == "Quantity":
        return (of[0], of[1])
    if kind in ("Integer", "Decimal", "Boolean"):
        return (Decimal(of), "1")
    match = _QUANTITY.fullmatch(of) if kind == "String" else None
    if match is None:
        return None
    word = match["word"]
    if word is not None and word.removesuffix("s") not in CALENDAR:
        return None
    unit = word.removesuffix("s") if word is not None else (match["unit"] or "1")
    return Decimal(match["amount"]), unit


def text(value: Value) -> str | None:
    """A value written out; None for what is no value of FHIRPath's."""
    kind, of = value
    if not kind:
        return None
    if kind == "Boolean":
        return "true" if of else "false"
    if kind == "Decimal":
        return format(of, "f")
    if kind == "Quantity":
        amount, unit = of
        return f"{amount:f} {unit}" if unit in CALENDAR else f"{amount:f} '{unit}'"
    return str(of)


def _to(kind: str, convert: Convert) -> Builder:
    type = "System." + kind

    def to(found: Collection) -> Collection:
        node = single(found)
        made = None if node is None else convert(value_of(node))
        return [] if made is None else [(made, type, None)]

    return plain(to, "to" + kind)


def _test(kind: str, convert: Convert) -> TestBuilder:
    def converts(found: Collection) -> bool | None:
        node = single(found)
        return None if node is None else convert(value_of(node)) is not None

    return plain_test("convertsTo" + kind, converts)


def _in_unit(found: Collection, arguments: list[Collection]) -> tuple[Decimal, str] | None:
    node = single(found)
    made = None if node is None else _quantity(value_of(node))
    return argument_unit(made, arguments[0]) if made is not None and arguments else made


def _to_quantity(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    made = _in_unit(found, arguments)
    return [] if made is None else [(made, "System.Quantity", None)]


def _converts_to_quantity(found: Collection, arguments: list[Collection], scope: Scope) -> bool | None:
    return None if not found else _in_unit(found, arguments) is not None


_CONVERT: Mapping[str, Convert] = {
    "Boolean": _boolean,
    "Integer": _integer,
    "Decimal": _decimal,
    "Date": _temporal("Date"),
    "DateTime": _temporal("DateTime"),
    "Time": _temporal("Time"),
    "String": text,
}
BUILDERS: Mapping[str, Builder] = {
    **{"to" + kind: _to(kind, convert) for kind, convert in _CONVERT.items()},
    "toQuantity": valued("toQuantity", 0, 1, _to_quantity),
}
TESTS: Mapping[str, TestBuilder] = {
    **{"convertsTo" + kind: _test(kind, convert) for kind, convert in _CONVERT.items()},
    "convertsToQuantity": valued_test("convertsToQuantity", 0, 1, _converts_to_quantity),
}
