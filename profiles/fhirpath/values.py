"""Nodes as values of FHIRPath's own types, and when two are equal, equivalent, before one another.

A FHIR primitive counts as the System type it maps to, a Quantity with a UCUM unit as a System.Quantity. What
maps to none, or whose JSON is not what its type promises, is compared as the JSON that it is.

FHIRPath N1 §6.1 (equality), §6.2 (comparison); FHIR R4 fhirpath.html#types
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping
from decimal import Context, Decimal, DecimalException, localcontext
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from profiles import definitions
from profiles.fhirpath import temporal, units
from profiles.fhirpath.nodes import SYSTEM_TYPES, Collection, Evaluation, Node
from profiles.outcomes import Invalid

UCUM = "http://unitsofmeasure.org"
MAX_INTEGER = 2**63 - 1
MAX_EXPONENT = 999
MAX_BITS = 3318
"""A whole number of as many digits has no more bits."""
EXACT = Context(prec=100, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT, clamp=0)
"""For arithmetic: a hundred digits, so that no clinical number is ever rounded; beyond 10^999 there is
none."""


class Value(NamedTuple):
    """`kind` is a System type's name, or "" for what is none. `of` is a bool, str, int, Decimal,
    `temporal.Moment`, or for a Quantity (Decimal, unit)."""

    kind: str
    of: Any


_NONE = Value("", None)
_SPACE = re.compile(r"\s")
_KINDS: Mapping[str, str] = MappingProxyType({
    "boolean": "Boolean", "integer": "Integer", "positiveInt": "Integer", "unsignedInt": "Integer",
    "decimal": "Decimal", "date": "Date", "dateTime": "DateTime", "instant": "DateTime", "time": "Time",
})  # fmt: skip
_TEMPORAL = ("Date", "DateTime", "Time")


@cache
def _kinds() -> Mapping[str, str]:
    """Type key → System type."""
    kinds = {name: _KINDS.get(name, "String") for name in definitions.primitives()}
    return kinds | {"System." + name: name for name in SYSTEM_TYPES}


def is_text(node: Node) -> bool:
    """Whether a node counts as a String."""
    return _kinds().get(node[1]) == "String" and isinstance(node[0], str)


def is_whole(node: Node) -> bool:
    """Whether a node is a number without decimals."""
    return type(node[0]) is int and _kinds().get(node[1]) in ("Integer", "Decimal")


def value_of(node: Node) -> Value:
    """What a node is worth among FHIRPath's own types."""
    value, type, _sibling = node
    kind = _kinds().get(type, "")
    if kind == "String":
        return Value(kind, value) if isinstance(value, str) else _NONE
    if kind == "Boolean":
        return Value(kind, value) if isinstance(value, bool) else _NONE
    if kind in ("Integer", "Decimal"):
        return _number(value, kind)
    if kind in _TEMPORAL:
        moment = temporal.parse(value, kind) if isinstance(value, str) else None
        return Value(kind, moment) if moment is not None else _NONE
    if kind == "Quantity":
        return Value(kind, value)
    if isinstance(value, dict) and definitions.is_kind_of(type, "Quantity"):
        return _quantity(value)
    return _NONE


def single(collection: Collection) -> Node | None:
    """The one item, None for none. Raises Invalid for several. FHIRPath N1 §4.5"""
    if len(collection) > 1:
        raise Invalid("fhirpath-singleton", "FHIRPath expects one item here, not several")
    return collection[0] if collection else None


def number_node(value: int | Decimal) -> Collection:
    """A number as a collection; empty when it is out of all measure."""
    if isinstance(value, int):
        return [(value, "System.Integer", None)] if abs(value) <= MAX_INTEGER else []
    return [(value, "System.Decimal", None)] if value.is_finite() else []


def text_node(text: str, evaluation: Evaluation) -> Collection:
    """A text as a collection, paid for by its length. Raises Invalid when it is too long."""
    evaluation.spend(1 + len(text) // 64)
    if len(text) > MAX_TEXT:
        raise too_long()
    return [(text, "System.String", None)]


MAX_TEXT = 1_000_000


def too_long() -> Invalid:
    """For a text that would be longer than MAX_TEXT characters."""
    return Invalid("fhirpath-too-costly", f"FHIRPath makes no text of more than {MAX_TEXT} characters")


def key(node: Node, evaluation: Evaluation) -> Hashable:
    """Equal for nodes that are equal, and only for those."""
    kind, of = value_of(node)
    if kind in ("Integer", "Decimal"):
        return ("number", of)
    if kind in _TEMPORAL:
        return temporal.key(of)
    if kind == "Quantity":
        amount, unit = units.canonical(*of) or of
        return ("number", amount) if unit == "1" else ("quantity", amount, unit)
    if kind:
        return (kind, of)
    if node[0] is None and node[2] is not None:
        return ("only extensions", _json_key(node[2], evaluation))
    return _json_key(node[0], evaluation)


def distinct(collection: Collection, evaluation: Evaluation) -> Collection:
    """Without repeated items, in order."""
    if len(collection) < 2:
        return collection
    evaluation.spend(len(collection))
    if all(map(is_text, collection)):
        texts: dict[str, Node] = {}
        for node in collection:
            texts.setdefault(node[0], node)
        return list(texts.values())
    outlines = [_outline(node, evaluation) for node in collection]
    if len(set(outlines)) == len(outlines):
        return collection
    seen: set[Hashable] = set()
    found: Collection = []
    for node in collection:
        mark = key(node, evaluation)
        if mark not in seen:
            seen.add(mark)
            found.append(node)
    return found


def _outline(node: Node, evaluation: Evaluation) -> Hashable:
    """Equal for nodes that are equal, and seldom for others: of an object only its own texts and lengths, so
    that telling large elements apart does not mean to read them whole."""
    value = node[0]
    if not isinstance(value, dict) or value_of(node).kind:
        return key(node, evaluation)
    evaluation.spend(len(value))
    return frozenset(
        (name, of if isinstance(of, str) else len(of) if isinstance(of, list) else None)
        for name, of in value.items()
    )


def equal(left: Collection, right: Collection, evaluation: Evaluation) -> bool | None:
    """`=`: empty when either is; else the same items in the same order. FHIRPath N1 §6.1.1"""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    evaluation.spend(len(left))
    result: bool | None = True
    for a, b in zip(left, right, strict=True):
        same = _equal(a, b, evaluation)
        if same is False:
            return False
        if same is None:
            result = None
    return result


def _equal(a: Node, b: Node, evaluation: Evaluation) -> bool | None:
    if is_text(a) and is_text(b):
        return bool(a[0] == b[0])
    (kind, one), (other_kind, other) = value_of(a), value_of(b)
    if kind in _TEMPORAL and other_kind in _TEMPORAL:
        if (kind == "Time") != (other_kind == "Time"):
            return False
        order = temporal.compare(one, other)
        return None if order is None else order == 0
    if "Quantity" in (kind, other_kind):
        first, second = quantities_of(a, b)
        if first is None or second is None:
            return False
        order = units.compare(first, second)
        return None if order is None else order == 0
    if not kind and not other_kind and (a[0] is None or b[0] is None):
        return None
    return key(a, evaluation) == key(b, evaluation)


def compare(left: Collection, right: Collection) -> int | None:
    """-1, 0, 1; None when either is empty or it stays open. Raises Invalid (`fhirpath-type`) for what has no
    order. FHIRPath N1 §6.2"""
    a, b = single(left), single(right)
    if a is None or b is None or a[0] is None or b[0] is None:
        return None
    (kind, one), (other_kind, other) = value_of(a), value_of(b)
    numbers = ("Integer", "Decimal")
    if (kind in numbers and other_kind in numbers) or kind == other_kind == "String":
        return int(one > other) - int(one < other)
    if kind in _TEMPORAL and other_kind in _TEMPORAL and (kind == "Time") == (other_kind == "Time"):
        return temporal.compare(one, other)
    if "Quantity" in (kind, other_kind):
        first, second = quantities_of(a, b)
        if first is not None and second is not None:
            return units.compare(first, second)
    if _is_quantity(a) and _is_quantity(b):
        return _compare_as_written(a[0], b[0])
    raise Invalid("fhirpath-type", f"FHIRPath cannot order {named(a)} and {named(b)}")


def _is_quantity(node: Node) -> bool:
    return isinstance(node[0], dict) and definitions.is_kind_of(node[1], "Quantity")


def _compare_as_written(a: dict[str, Any], b: dict[str, Any]) -> int | None:
    """Two FHIR Quantities that are none of UCUM: by amount when their units are written alike."""
    unit = "unit" if a.get("code") is None and b.get("code") is None else "code"
    if any(a.get(name) != b.get(name) for name in ("system", unit)) or "comparator" in a or "comparator" in b:
        return None
    one, other = _number(a.get("value"), "Decimal").of, _number(b.get("value"), "Decimal").of
    return None if one is None or other is None else int(one > other) - int(one < other)


def quantities_of(a: Node, b: Node) -> tuple[units.Quantity | None, units.Quantity | None]:
    """Two nodes as quantities. A FHIR Quantity in UCUM years or months is one of calendar durations beside a
    calendar duration, as dates are moved by it. FHIR R4 fhirpath.html#types"""
    one, other = as_quantity(*value_of(a)), as_quantity(*value_of(b))
    if one is not None and other is not None:
        if isinstance(a[0], dict) and other[1] in units.CALENDAR:
            one = in_calendar(one)
        elif isinstance(b[0], dict) and one[1] in units.CALENDAR:
            other = in_calendar(other)
    return one, other


def in_calendar(quantity: units.Quantity) -> units.Quantity:
    """With UCUM's `a` and `mo` as calendar years and months."""
    return quantity[0], {"a": "year", "mo": "month"}.get(quantity[1], quantity[1])


def as_quantity(kind: str, of: Any) -> tuple[Decimal, str] | None:
    """A Quantity, or a number as one without unit."""
    if kind == "Quantity":
        return (of[0], of[1])
    return (Decimal(of), "1") if kind in ("Integer", "Decimal") else None


def equivalent(left: Collection, right: Collection, evaluation: Evaluation) -> bool:
    """`~`: as many items, each with its like in any order; text without regard to case and white space,
    decimals to the lesser precision. FHIRPath N1 §6.1.2"""
    if len(left) != len(right):
        return False
    rest = list(right)
    for a in left:
        evaluation.spend(1 + len(rest))
        place = next((i for i, b in enumerate(rest) if _alike(a, b, evaluation)), None)
        if place is None:
            return False
        del rest[place]
    return True


def _alike(a: Node, b: Node, evaluation: Evaluation) -> bool:
    (kind, one), (other_kind, other) = value_of(a), value_of(b)
    numbers = ("Integer", "Decimal")
    if kind in numbers and other_kind in numbers:
        return units.same_rounded(Decimal(one), Decimal(other))
    if "Quantity" in (kind, other_kind):
        first, second = quantities_of(a, b)
        return first is not None and second is not None and units.alike(first, second)
    if kind in _TEMPORAL and other_kind in _TEMPORAL:
        return temporal.key(one) == temporal.key(other)
    if kind == other_kind == "String":
        return _folded(one) == _folded(other)
    if kind or other_kind:
        return kind == other_kind and bool(one == other)
    return _loose_key(a[0], evaluation) == _loose_key(b[0], evaluation)


def named(node: Node) -> str:
    """A node's type for an error message; never its content."""
    return node[1].removeprefix("System.")


def _number(value: Any, kind: str) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _NONE
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            return _NONE
        return Value(kind, value if kind == "Integer" else Decimal(value))
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    in_measure = number.is_finite() and abs(number.adjusted()) <= MAX_EXPONENT
    return Value("Decimal", number) if in_measure else _NONE


def _quantity(value: dict[str, Any]) -> Value:
    amount = _number(value.get("value"), "Decimal").of
    if amount is None or value.get("comparator") is not None:
        return _NONE
    code, system = value.get("code"), value.get("system")
    if system is None and code is None and value.get("unit") is None:
        return Value("Quantity", (Decimal(amount), "1"))
    if system != UCUM or not isinstance(code, str):
        return _NONE
    return Value("Quantity", (Decimal(amount), code))


def _json_key(value: Any, evaluation: Evaluation) -> Hashable:
    """JSON as a hashable thing: numbers by value, Booleans apart from them."""
    if isinstance(value, dict):
        evaluation.spend(len(value))
        return ("{", frozenset((name, _json_key(item, evaluation)) for name, item in value.items()))
    if isinstance(value, list):
        evaluation.spend(len(value))
        return ("[", tuple(_json_key(item, evaluation) for item in value))
    if isinstance(value, str):
        return ("String", value)
    if isinstance(value, bool) or value is None:
        return ("Boolean", value)
    return ("number", _number(value, "Decimal").of)


def _loose_key(value: Any, evaluation: Evaluation) -> Hashable:
    if isinstance(value, dict):
        evaluation.spend(len(value))
        return ("{", frozenset((name, _loose_key(item, evaluation)) for name, item in value.items()))
    if isinstance(value, list):
        evaluation.spend(len(value))
        return ("[", frozenset(Counter(_loose_key(item, evaluation) for item in value).items()))
    return ("String", _folded(value)) if isinstance(value, str) else _json_key(value, evaluation)


def _folded(text: str) -> str:
    return _SPACE.sub(" ", text.casefold())


def calculate(run: Any) -> Decimal | None:
    """What `run` computes in `EXACT`; None where the result is no number (overflow, 0/0, √-1)."""
    try:
        with localcontext(EXACT):
            result: Decimal = run()
    except (DecimalException, ValueError, OverflowError):
        return None
    return result if result.is_finite() else None


def argument_unit(quantity: tuple[Decimal, str], unit: Collection) -> tuple[Decimal, str] | None:
    """The quantity in the unit that an argument names; None when it cannot be."""
    node = single(unit)
    if node is None or not isinstance(node[0], str):
        return None
    word = node[0].removesuffix("s")
    name = word if word in units.CALENDAR else node[0]
    amount = units.convert(quantity, name)
    if amount is None:
        # asked for by name, a calendar year or month is UCUM's
        amount = units.convert((quantity[0], units.CALENDAR.get(quantity[1], quantity[1])), name)
    return None if amount is None else (amount, name)
