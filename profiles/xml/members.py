"""How the members of a type stand in XML: their order, and whether each is an attribute or what kind of
element.

FHIR R4 xml.html#xml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from profiles import definitions

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

Kind = Literal["attribute", "primitive", "xhtml", "resource", "complex"]


@dataclass(frozen=True, slots=True)
class Member:
    """One JSON member. `place` is its rank in the standard's order, `type` its type key."""

    name: str
    place: int
    kind: Kind
    type: str
    repeats: bool


@cache
def members(type: str) -> Mapping[str, Member]:
    """JSON name → Member, of a resource type, a data type or a backbone."""
    order = {name: place for place, name in enumerate(definitions.elements(type))}
    is_resource = type in definitions.resource_types()
    return MappingProxyType(
        {
            name: Member(name, order[element.name], _kind(type, name, of, is_resource), of, element.repeats)
            for name, (element, of) in definitions.properties(type).items()
        }
    )


def _kind(owner: str, name: str, type: str, is_resource: bool) -> Kind:
    if (name == "id" and not is_resource) or (owner == "Extension" and name == "url"):
        return "attribute"
    if type == "xhtml":
        return "xhtml"
    if type in definitions.primitives():
        return "primitive"
    return "resource" if type in definitions.ABSTRACT else "complex"
