"""How one value of one FHIR type becomes index entries, for each kind of search parameter.

`converter` is asked once per branch when a plan is made; what it returns runs for every value. A converter
trusts that the resource was validated, except for what validation does not look into: unparsable dates and
numbers out of measure give no entry.

FHIR R4 search.html#token, #reference, #date, #string, #quantity
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any

from fhir_server.search import units
from fhir_server.search.nodes import EntryKind
from fhir_server.store.contract import Entries, Value
from profiles import dates, definitions, references
from profiles.folding import fold
from profiles.outcomes import Invalid

Json = dict[str, Any]
MAX_TEXT = 1000
"""Characters of a string that are indexed."""
FAR = sys.float_info.max
"""An open end of a number interval."""
CURRENCY = "urn:iso:std:iso:4217"
KIND_OF: Mapping[str, EntryKind] = MappingProxyType(
    {
        "token": "token",
        "uri": "token",
        "reference": "reference",
        "date": "date",
        "string": "string",
        "number": "number",
        "quantity": "number",
    }
)
"""Search parameter type → the kind of its entries, for those that have one value each."""
_ADDRESS_PARTS = ("text", "city", "district", "state", "postalCode", "country")


@dataclass(slots=True)
class Found:
    """What is being gathered from one resource; a dict keeps order and drops repeats."""

    fhir_base: str
    zone: tzinfo
    tokens: dict[tuple[str, str, str], None] = field(default_factory=dict)
    references: dict[tuple[str, str], None] = field(default_factory=dict)
    dates: dict[tuple[str, int, int], None] = field(default_factory=dict)
    strings: dict[tuple[str, str, str], None] = field(default_factory=dict)
    numbers: dict[tuple[str, float, float, str, str], None] = field(default_factory=dict)
    composites: dict[tuple[str, tuple[Value, ...]], None] = field(default_factory=dict)
    positions: dict[tuple[str, float, float], None] = field(default_factory=dict)
    folded: dict[str, str] = field(default_factory=dict)
    """A name is found by several parameters and folded once."""
    amounts: dict[int, list[tuple[str, float, float, str, str]]] = field(default_factory=dict)
    """A quantity, by its identity within the resource, likewise."""

    def text(self, name: str, text: str | None) -> None:
        """A string entry, unless empty."""
        if text:
            text = text[:MAX_TEXT]
            folded = self.folded.get(text)
            if folded is None:
                folded = self.folded[text] = fold(text)
            self.strings[name, folded, text] = None

    def interval(self, name: str, start: int, end: int) -> None:
        """A date entry; a period written backwards still has its stretch of time."""
        self.dates[(name, start, end) if start < end else (name, end, start)] = None

    def values(self, kind: EntryKind, name: str = "") -> tuple[Value, ...]:
        """The entries of a kind that have no name (or one that a modifier gave them), as a composite's
        component has them."""
        rows: Iterable[tuple[Any, ...]] = getattr(self, kind + "s")
        return tuple([(kind, *entry[1:]) for entry in rows if entry[0] == name])

    def entries(self, texts: Iterable[tuple[str, str]] = ()) -> Entries:
        return Entries(
            tuple(self.tokens),
            tuple(self.references),
            tuple(self.dates),
            tuple(self.strings),
            tuple(self.numbers),
            tuple(self.composites),
            tuple(self.positions),
            tuple(texts),
        )


Ends = tuple[Decimal | None, Decimal | None]
Convert = Callable[[Any, Found], None]
Maker = Callable[[str], Convert]


def converter(code: str, search_type: str, type: str, value_set: str) -> Convert | None:
    """How values of the FHIR type `type` are indexed under `code`; None when that kind of parameter has no
    use for them. `value_set` is the required binding of the element, or ""."""
    if type == "Extension":
        return _of_extension(code, search_type)
    if search_type == "token" and type == "code":
        return _code(code, value_set)
    makers = _MAKERS.get(search_type, {})
    while type and type not in makers:
        type = definitions.base_type(type)
    return makers[type](code) if type else None


def _of_extension(code: str, search_type: str) -> Convert:
    """An expression that ends at the extension itself means its value."""
    by_member: dict[str, Convert] = {}
    for member, (element, type) in definitions.properties("Extension").items():
        convert = converter(code, search_type, type, "") if element.choice else None
        if convert is not None:
            by_member[member] = convert

    def extension(value: Any, found: Found) -> None:
        for member in value:
            if member in by_member:
                by_member[member](value[member], found)

    return extension


# tokens


def _code(name: str, value_set: str) -> Convert:
    systems = _implied_systems(value_set)

    def code(value: Any, found: Found) -> None:
        found.tokens[name, "", value] = None
        system = systems.get(value)
        if system is not None:
            found.tokens[name, system, value] = None

    return code


@cache
def _implied_systems(value_set: str) -> Mapping[str, str]:
    """Code → the system that a required binding implies; codes of several systems imply none."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for system, codes in (definitions.codes(value_set) or {}).items() if value_set else ():
        several |= codes & found.keys()
        found.update(dict.fromkeys(codes, system))
    return MappingProxyType({code: system for code, system in found.items() if code not in several})


def _coding(name: str) -> Convert:
    text = name + ":text"

    def coding(value: Any, found: Found) -> None:
        system, code = value.get("system", ""), value.get("code", "")
        if system or code:
            found.tokens[name, system, code] = None
        found.text(text, value.get("display"))

    return coding


def _concept(name: str) -> Convert:
    coding, text = _coding(name), name + ":text"

    def concept(value: Any, found: Found) -> None:
        for one in value.get("coding", ()):
            coding(one, found)
        found.text(text, value.get("text"))

    return concept


def _identifier(name: str) -> Convert:
    text, of_type = name + ":text", name + ":of-type"

    def identifier(value: Any, found: Found) -> None:
        system, number = value.get("system", ""), value.get("value", "")
        if system or number:
            found.tokens[name, system, number] = None
        type = value.get("type")
        if type:
            found.text(text, type.get("text"))
            for coding in type.get("coding", ()):
                found.text(text, coding.get("display"))
                if number and "code" in coding:
                    found.tokens[of_type, coding.get("system", ""), f"{coding['code']}|{number}"] = None

    return identifier


def _token_text(name: str) -> Convert:
    def token(value: Any, found: Found) -> None:
        found.tokens[name, "", str(value)] = None

    return token


def _boolean(name: str) -> Convert:
    def boolean(value: Any, found: Found) -> None:
        found.tokens[name, "", "true" if value else "false"] = None

    return boolean


def _contact_point(name: str) -> Convert:
    def contact_point(value: Any, found: Found) -> None:
        if "value" in value:
            found.tokens[name, "", value["value"]] = None

    return contact_point


def _canonical_token(name: str) -> Convert:
    def canonical(value: Any, found: Found) -> None:
        found.tokens[name, "", value] = None
        if "|" in value:
            found.tokens[name, "", value.partition("|")[0]] = None

    return canonical


# references


def _reference(name: str) -> Convert:
    text, identifier = name + ":text", _identifier(name + ":identifier")

    def reference(value: Any, found: Found) -> None:
        link = value.get("reference")
        if link:
            parsed = references.parse(link, found.fhir_base)
            if parsed.kind != "fragment":
                found.references[name, parsed.target] = None
        if "identifier" in value:
            identifier(value["identifier"], found)
        found.text(text, value.get("display"))

    return reference


def _canonical(name: str) -> Convert:
    def canonical(value: Any, found: Found) -> None:
        if value.startswith("#"):
            return
        bare = value.partition("|")[0]
        found.references[name, value] = None
        found.references[name, references.parse(bare, found.fhir_base).target] = None

    return canonical


def _resource(name: str) -> Convert:
    """A Bundle's first entry, as `Bundle.composition` has it."""

    def resource(value: Any, found: Found) -> None:
        if "id" in value:
            found.references[name, f"{value['resourceType']}/{value['id']}"] = None

    return resource


# dates


def _date(name: str) -> Convert:
    def date(value: Any, found: Found) -> None:
        try:
            start, end = dates.interval(value, found.zone)
        except Invalid:
            return
        found.interval(name, start, end)

    return date


def _period(name: str) -> Convert:
    def period(value: Any, found: Found) -> None:
        if "start" in value or "end" in value:
            try:
                start, end = dates.period(value, found.zone)
            except Invalid:
                return
            found.interval(name, start, end)

    return period


def _timing(name: str) -> Convert:
    def timing(value: Any, found: Found) -> None:
        bounds = value.get("repeat", {}).get("boundsPeriod")
        try:
            ends = [
                dates.interval(event, found.zone) for event in value.get("event", ()) if event is not None
            ]
            if bounds and ("start" in bounds or "end" in bounds):
                ends.append(dates.period(bounds, found.zone))
        except Invalid:
            return
        if ends:
            found.interval(name, min(start for start, _end in ends), max(end for _start, end in ends))

    return timing


# strings


def _string(name: str) -> Convert:
    def string(value: Any, found: Found) -> None:
        found.text(name, value)

    return string


def _human_name(name: str) -> Convert:
    def human_name(value: Any, found: Found) -> None:
        found.text(name, value.get("text"))
        found.text(name, value.get("family"))
        for part in ("given", "prefix", "suffix"):
            for one in value.get(part, ()):
                found.text(name, one)

    return human_name


def _address(name: str) -> Convert:
    def address(value: Any, found: Found) -> None:
        for part in _ADDRESS_PARTS:
            found.text(name, value.get(part))
        for line in value.get("line", ()):
            found.text(name, line)

    return address


def _concept_text(name: str) -> Convert:
    def concept(value: Any, found: Found) -> None:
        found.text(name, value.get("text"))
        for coding in value.get("coding", ()):
            found.text(name, coding.get("display"))

    return concept


# numbers and quantities


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


_MAKERS: Mapping[str, Mapping[str, Maker]] = MappingProxyType({
    "token": {
        "Coding": _coding, "CodeableConcept": _concept, "Identifier": _identifier,
        "ContactPoint": _contact_point, "boolean": _boolean, "string": _token_text, "uri": _token_text,
        "integer": _token_text, "date": _token_text, "dateTime": _token_text, "canonical": _canonical_token,
        "Boolean": _boolean, "String": _token_text, "Integer": _token_text,
    },
    "uri": {"canonical": _canonical_token, "uri": _token_text},
    "reference": {"Reference": _reference, "canonical": _canonical, "uri": _canonical, "Resource": _resource},
    "date": {"date": _date, "dateTime": _date, "instant": _date, "Period": _period, "Timing": _timing},
    "string": {
        "string": _string, "HumanName": _human_name, "Address": _address, "CodeableConcept": _concept_text,
        "String": _string,
    },
    "number": {"decimal": _number, "integer": _number, "Integer": _number, "Decimal": _number},
    "quantity": {"Quantity": _quantity, "Range": _range, "Money": _money, "SampledData": _sampled},
    "special": {"BackboneElement": _position},
})  # fmt: skip
