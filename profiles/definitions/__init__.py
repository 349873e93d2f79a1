"""FHIR R4 4.0.1 as tables: types and their elements, primitives, codes, search parameters, compartments.

Each table is read when first asked for (about 10 ms in all) and unfolded type by type. A *type key* names a
type ("Patient", "HumanName", "string") or a backbone by its path ("Patient.contact"). The tables are made by
`generate.py`; our own search parameters come from `profiles.packages`.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import orjson

from profiles import packages

FHIR_VERSION = "4.0.1"
FHIR_STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
SEARCH_BASES = ("Resource", "DomainResource")
NOT_DOMAIN = frozenset({"Binary", "Bundle", "Parameters"})
ABSTRACT = frozenset({"Resource", "DomainResource"})


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type. `max` None is unbounded; `types` holds type keys; a choice `value[x]` has the
    name "value" and `choice`; `value_set` is that of a required binding, else ""; `targets` are a reference's
    or canonical's."""

    name: str
    min: int
    max: int | None
    types: tuple[str, ...]
    choice: bool
    modifier: bool
    summary: bool
    value_set: str
    targets: tuple[str, ...]

    @property
    def repeats(self) -> bool:
        return self.max is None or self.max > 1


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter as it applies to one resource type. `expression` is whole, with the branches of
    other types; `components` are (definition URL, expression). The type "special" marks `_text`, `_content`,
    `_filter`, `_query`."""

    code: str
    type: str
    expression: str
    targets: tuple[str, ...]
    url: str
    components: tuple[tuple[str, str], ...]
    modifiers: tuple[str, ...]
    comparators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Primitive:
    """A primitive type: what it specialises, and the standard's regex ("" for none)."""

    base: str
    regex: str


@cache
def _table(name: str) -> Any:
    data = files("profiles.definitions").joinpath("tables", f"{name}.json.gz").read_bytes()
    return orjson.loads(gzip.decompress(data))


@cache
def resource_types() -> frozenset[str]:
    """What may stand in `resourceType`: every type but the two abstract ones."""
    return frozenset(name for name, row in _table("elements").items() if row[0] == "resource") - ABSTRACT


def is_type(name: str) -> bool:
    """Whether there is such a type: primitive, complex, resource, or abstract."""
    return name in primitives() or ("." not in name and name in _table("elements"))


@cache
def primitives() -> Mapping[str, Primitive]:
    """All primitive types."""
    return MappingProxyType(
        {name: Primitive(base, regex) for name, (base, regex) in _table("primitives").items()}
    )


@cache
def base_type(type: str) -> str:
    """What a type specialises: "Age" → "Quantity", "code" → "string", a backbone → "BackboneElement"; "" at
    the root."""
    if type in primitives():
        return primitives()[type].base
    row = _table("elements").get(type)
    return str(row[1]) if row else ""


@cache
def is_kind_of(type: str, ancestor: str) -> bool:
    """Whether `type` is `ancestor` or specialises it."""
    while type:
        if type == ancestor:
            return True
        type = base_type(type)
    return False


@cache
def elements(type: str) -> Mapping[str, Element]:
    """The elements of a type or backbone in the standard's order, inherited ones included; empty for a
    primitive."""
    row = _table("elements").get(type)
    found = {}
    for name, least, most, types, flags, value_set, targets in row[2] if row else ():
        found[name] = Element(
            name,
            least,
            most or None,
            tuple(types),
            "c" in flags,
            "m" in flags,
            "s" in flags,
            value_set,
            tuple(targets),
        )
    return MappingProxyType(found)


@cache
def properties(type: str) -> Mapping[str, tuple[Element, str]]:
    """JSON member name → (element, type key): `valueQuantity` → (value[x], "Quantity")."""
    found: dict[str, tuple[Element, str]] = {}
    for element in elements(type).values():
        for of_type in element.types:
            name = element.name + of_type[0].upper() + of_type[1:] if element.choice else element.name
            found[name] = (element, of_type)
    return MappingProxyType(found)


@cache
def codes(value_set: str) -> Mapping[str, frozenset[str]] | None:
    """Code system → codes of a value set that some element requires; None where the package cannot enumerate
    it."""
    found = _table("codes").get(value_set)
    return None if found is None else MappingProxyType({system: frozenset(c) for system, c in found.items()})


@cache
def search_parameters(type: str) -> Mapping[str, SearchParameter]:
    """Those of a resource type by code: its own, ours, and those of Resource and DomainResource."""
    bases = [*SEARCH_BASES, type]
    if type in NOT_DOMAIN:
        bases.remove("DomainResource")
    by_base = _search_by_base()
    return MappingProxyType({p.code: p for base in bases for p in by_base.get(base, ())})


@cache
def search_parameter(url: str) -> SearchParameter | None:
    """By canonical URL, as a composite names its components."""
    for of_base in _search_by_base().values():
        for parameter in of_base:
            if parameter.url == url:
                return parameter
    return None


@cache
def compartments() -> frozenset[str]:
    """The names of the compartments, each a resource type."""
    return frozenset(_table("compartments"))


@cache
def compartment(name: str) -> Mapping[str, tuple[str, ...]]:
    """Resource type → codes of the parameters that put it into that compartment. FHIR R4
    compartmentdefinition.html"""
    return MappingProxyType(
        {type: tuple(params) for type, params in _table("compartments").get(name, {}).items()}
    )


@cache
def _search_by_base() -> Mapping[str, tuple[SearchParameter, ...]]:
    by_base: dict[str, list[SearchParameter]] = {}
    for code, bases, type, expression, targets, url, components, modifiers, comparators in _table("search"):
        parameter = SearchParameter(
            code,
            type,
            expression,
            tuple(targets),
            url,
            tuple((d, e) for d, e in components),
            tuple(modifiers),
            tuple(comparators),
        )
        for base in bases:
            by_base.setdefault(base, []).append(parameter)
    for own in packages.search_parameters():
        parameter = search_parameter_of(own)
        for base in own["base"]:
            by_base.setdefault(base, []).append(parameter)
    return {base: tuple(found) for base, found in by_base.items()}


def search_parameter_of(resource: Mapping[str, Any]) -> SearchParameter:
    """What a SearchParameter resource of valid structure says."""
    return SearchParameter(
        resource["code"],
        resource["type"],
        resource.get("expression", ""),
        tuple(resource.get("target", ())),
        resource["url"],
        tuple((part["definition"], part["expression"]) for part in resource.get("component", ())),
        tuple(resource.get("modifier", ())),
        tuple(resource.get("comparator", ())),
    )
