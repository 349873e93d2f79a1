"""What expressions work on: nodes with their types, and the step from a node to its children.

A node is a tuple (value, type key, sibling). The value is plain JSON; the type key is FHIR's ("HumanName",
"Patient.contact", "code") or "System.String" and the like for what an expression computes; the sibling is the
`_name` member of a primitive, which holds its id and extensions.

A primitive that has only extensions is a node with the value None. FHIRPath N1 §4; FHIR R4 fhirpath.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from profiles import definitions

Node = tuple[Any, str, "dict[str, Any] | None"]
Collection = list[Node]

TRUE: Node = (True, "System.Boolean", None)
FALSE: Node = (False, "System.Boolean", None)


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may look at beside its focus: the whole resource, `$this`, `$index`, `%name`
    values."""

    root: dict[str, Any]
    this: Node
    index: int = 0
    constants: Mapping[str, Collection] = field(default_factory=dict)


def resource_node(resource: dict[str, Any]) -> Node:
    """The node of a whole resource."""
    return (resource, str(resource.get("resourceType", "Resource")), None)


def truth(collection: Collection) -> bool | None:
    """A collection as a Boolean: None when empty; any single item that is no Boolean is true. FHIRPath N1
    §4.5"""
    if not collection:
        return None
    value = collection[0][0]
    return value if isinstance(value, bool) else True


def boolean(value: bool | None) -> Collection:
    """Three-valued truth as a collection."""
    return [] if value is None else [TRUE if value else FALSE]


@cache
def steps(type: str, name: str) -> tuple[tuple[str, str, bool], ...]:
    """The JSON members that an element name leads to: (member, type key, is primitive), one per type of a
    choice."""
    element = definitions.elements(type).get(name)
    if element is None:
        return ()
    primitives = definitions.primitives()
    if not element.choice:
        return ((name, element.types[0], element.types[0] in primitives),)
    return tuple((name + t[0].upper() + t[1:], t, t in primitives) for t in element.types)


def children(node: Node, name: str) -> Collection:
    """The child nodes of that name, in order."""
    value, type, sibling = node
    if not isinstance(value, dict):
        return _of_primitive(sibling, name)
    if type in ("Resource", "DomainResource"):
        type = str(value.get("resourceType", type))
    found: Collection = []
    for member, child_type, is_primitive in steps(type, name):
        child = value.get(member)
        if is_primitive:
            _primitive(child, value.get("_" + member), child_type, found)
        elif isinstance(child, list):
            found.extend((item, _actual(item, child_type), None) for item in child)
        elif child is not None:
            found.append((child, _actual(child, child_type), None))
    return found


def _of_primitive(sibling: dict[str, Any] | None, name: str) -> Collection:
    if not sibling or name not in ("id", "extension"):
        return []
    return children((sibling, "Element", None), name)


def _primitive(value: Any, siblings: Any, type: str, found: Collection) -> None:
    if not isinstance(value, list) and not isinstance(siblings, list):
        if value is not None or siblings is not None:
            found.append((value, type, siblings))
        return
    values, extras = value or [], siblings or []
    for place in range(max(len(values), len(extras))):
        item = values[place] if place < len(values) else None
        extra = extras[place] if place < len(extras) else None
        if item is not None or extra is not None:
            found.append((item, type, extra))


def _actual(value: Any, type: str) -> str:
    return str(value.get("resourceType", type)) if type == "Resource" and isinstance(value, dict) else type


def is_type(type: str, asked: str) -> bool:
    """Whether a node of `type` is of the type named in an expression, with or without its namespace."""
    namespace, _, name = asked.rpartition(".")
    if type.startswith("System."):
        return namespace in ("", "System") and type == "System." + name
    if namespace == "System":
        return False
    return definitions.is_kind_of(type, fhir_type(name))


@cache
def fhir_type(name: str) -> str:
    """A FHIR type by its name; `DateTime` is taken for `dateTime`, as R4's own search expressions write
    it."""
    lower = name[:1].lower() + name[1:]
    return lower if lower in definitions.primitives() and not definitions.is_type(name) else name
