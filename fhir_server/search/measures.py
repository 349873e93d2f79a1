"""How numbers, quantities, ranges, money, samples and places become index entries.

An amount is what it says; what a searched number may be rounded from is that number's affair. A quantity has
an entry for each way in which its unit can be asked for. FHIR R4 search.html#number, #quantity
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from fhir_server.search import units
from fhir_server.search.found import Convert, Found, Maker

Json = dict[str, Any]
FAR = sys.float_info.max
"""An open end of a number interval."""
CURRENCY = "urn:iso:std:iso:4217"
Ends = tuple[Decimal | None, Decimal | None]


def exact(number: Decimal | float) -> Decimal | None:
    """The value itself: what it may be rounded from is the searched number's affair. None when no float can
    hold it. FHIR R4 search.html#number"""
    value = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    return value if value.is_finite() and value.adjusted() <= 300 else None


def number_of(number: Decimal | float) -> float | None:
    """The same as a float."""
    value = exact(number)
    return None if value is None else float(value)


def _number(name: str) -> Convert:
    def number(value: Any, found: Found) -> None:
        amount = exact(value)
        if amount is not None:
            point = float(amount)
            found.numbers[name, point, point, "", ""] = None

    return number


def _add(name: str, ends: Ends, unit: Json, found: Found) -> None:
    """A quantity's interval under each way its unit can be asked for; None is an open end."""
    for suffix, low, high, system, code in _rows(ends, unit):
        found.numbers[name + suffix, low, high, system, code] = None


def _rows(ends: Ends, unit: Json) -> list[tuple[str, float, float, str, str]]:
    """(suffix of the name, low, high, system, code)"""
    system, code, text = unit.get("system", ""), unit.get("code", ""), unit.get("unit", "")
    low, high = ends
    between = (-FAR if low is None else float(low), FAR if high is None else float(high))
    rows = []
    if code:
        rows.append(("", *between, system, code))
    if not code or (text and text != code):
        rows.append(("", *between, "", text))
    canonical = units.scale_of(system, code)
    if canonical is not None:
        least = -FAR if low is None else units.in_base_units(low, code)
        most = FAR if high is None else units.in_base_units(high, code)
        if least is not None and most is not None:
            rows.append((units.SUFFIX, least, most, "", canonical))
    return rows


def _quantity(name: str) -> Convert:
    def quantity(value: Any, found: Found) -> None:
        rows = found.amounts.get(id(value))
        if rows is None:
            rows = found.amounts[id(value)] = _quantity_rows(value)
        for suffix, low, high, system, code in rows:
            found.numbers[name + suffix, low, high, system, code] = None

    return quantity


def _quantity_rows(value: Json) -> list[tuple[str, float, float, str, str]]:
    point = exact(value["value"]) if "value" in value else None
    if point is None:
        return []
    comparator = value.get("comparator", "")
    low = None if comparator in ("<", "<=") else point
    high = None if comparator in (">", ">=") else point
    return _rows((low, high), value)


def _range(name: str) -> Convert:
    def range(value: Any, found: Found) -> None:
        ends = [value.get("low", {}), value.get("high", {})]
        low, high = (exact(end["value"]) if "value" in end else None for end in ends)
        if low is not None or high is not None:
            _add(name, (low, high), ends[0] or ends[1], found)

    return range


def _money(name: str) -> Convert:
    def money(value: Any, found: Found) -> None:
        amount = exact(value["value"]) if "value" in value else None
        if amount is not None:
            point = float(amount)
            found.numbers[name, point, point, CURRENCY, value.get("currency", "")] = None

    return money


def _sampled(name: str) -> Convert:
    """From the lowest to the highest sample. FHIR R4 datatypes.html#SampledData"""

    def sampled(value: Any, found: Found) -> None:
        origin, factor = value["origin"], value.get("factor", 1)
        try:
            samples = [
                Decimal(sample) for sample in value.get("data", "").split() if sample not in ("E", "U", "L")
            ]
            if not samples:
                return
            ends = [
                Decimal(origin.get("value", 0)) + Decimal(factor) * end
                for end in (min(samples), max(samples))
            ]
        except (ArithmeticError, TypeError):
            return
        low, high = (exact(end) for end in ends)
        if low is not None and high is not None:
            _add(name, (low, high), origin, found)

    return sampled


def _position(name: str) -> Convert:
    def position(value: Any, found: Found) -> None:
        latitude, longitude = value.get("latitude"), value.get("longitude")
        if latitude is None or longitude is None:
            return
        north, east = number_of(latitude), number_of(longitude)
        if north is not None and east is not None and abs(north) <= 90:
            found.positions[name, north, east] = None

    return position


NUMBER: Mapping[str, Maker] = MappingProxyType(
    {"decimal": _number, "integer": _number, "Integer": _number, "Decimal": _number}
)
QUANTITY: Mapping[str, Maker] = MappingProxyType(
    {"Quantity": _quantity, "Range": _range, "Money": _money, "SampledData": _sampled}
)
SPECIAL: Mapping[str, Maker] = MappingProxyType({"BackboneElement": _position})
"""FHIR type → what makes its converter, by kind of search parameter."""
