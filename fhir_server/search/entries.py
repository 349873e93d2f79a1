"""How one value of one FHIR type becomes index entries, for each kind of search parameter.

`converter` is asked once per branch when a plan is made; what it returns runs for every value. A converter
trusts that the resource was validated, except for what validation does not look into: unparsable dates and
numbers out of measure give no entry.

FHIR R4 search.html#token, #reference, #date, #string, #quantity
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from fhir_server.search import measures
from fhir_server.search.found import Convert, Found, Maker
from fhir_server.search.nodes import EntryKind
from profiles import dates, definitions, references
from profiles.outcomes import Invalid

Json = dict[str, Any]
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
    "number": measures.NUMBER,
    "quantity": measures.QUANTITY,
    "special": measures.SPECIAL,
})  # fmt: skip
