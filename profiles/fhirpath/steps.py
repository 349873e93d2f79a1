"""The step from a node to its children, by the definition tables.

A step is made ready per type when first met: the one JSON member, or the members of a choice. FHIRPath N1 §4
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from profiles import definitions
from profiles.fhirpath.nodes import TYPE_INFO, Collection, Node, actual_type

Find = Callable[[dict[str, Any]], Collection]
Step = Callable[[Node], Collection]


@lru_cache(maxsize=16384)
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


@lru_cache(maxsize=4096)
def child(name: str) -> Step:
    """The step to the children of that name, in order."""
    ready: dict[str, Find] = {}

    def step(node: Node) -> Collection:
        value, type, _sibling = node
        if not isinstance(value, dict):
            return _of_value(node, name)
        find = ready.get(type)
        if find is None:
            if type == TYPE_INFO:
                return [(value[name], "System.String", None)] if name in value else []
            known = actual_type(value, type) if type in definitions.ABSTRACT else type
            find = _find(known, name)
            if known == type:
                ready[type] = find
        return find(value)

    return step


def children(node: Node, name: str) -> Collection:
    """The child nodes of that name, in order."""
    return child(name)(node)


def _find(type: str, name: str) -> Find:
    members = steps(type, name)
    if not members:
        return lambda value: []
    if len(members) > 1:
        return _choice(members)
    member, child_type, is_primitive = members[0]
    if is_primitive:
        return _primitive_member(member, child_type)
    return _resources(member) if child_type == "Resource" else _complex_member(member, child_type)


def _primitive_member(member: str, type: str) -> Find:
    under = "_" + member

    def find(value: dict[str, Any]) -> Collection:
        child = value.get(member)
        extra = value.get(under)
        if extra is None:
            if child is None:
                return []
            if not isinstance(child, list):
                return [(child, type, None)]
        found: Collection = []
        _primitive(child, extra, type, found)
        return found

    return find


def _complex_member(member: str, type: str) -> Find:
    def find(value: dict[str, Any]) -> Collection:
        child = value.get(member)
        if child is None:
            return []
        if isinstance(child, list):
            return [(item, type, None) for item in child if item is not None]
        return [(child, type, None)]

    return find


def _resources(member: str) -> Find:
    def find(value: dict[str, Any]) -> Collection:
        child = value.get(member)
        items = child if isinstance(child, list) else [child]
        return [(item, _actual(item, "Resource"), None) for item in items if item is not None]

    return find


def _choice(members: tuple[tuple[str, str, bool], ...]) -> Find:
    finds: dict[str, tuple[str, Find]] = {}
    for member, type, is_primitive in members:
        finds[member] = (member, (_primitive_member if is_primitive else _complex_member)(member, type))
        if is_primitive:
            finds["_" + member] = finds[member]
    names = frozenset(finds)

    def find(value: dict[str, Any]) -> Collection:
        if names.isdisjoint(value):
            return []
        met = dict(finds[name] for name in value if name in names)
        return [node for of in met.values() for node in of(value)]

    return find


def all_children(node: Node) -> Collection:
    """The child nodes of every name, in the order of the JSON."""
    value, type, sibling = node
    if not isinstance(value, dict):
        if not isinstance(sibling, dict):
            return []
        value, type = sibling, "Element"
    elif type in definitions.ABSTRACT:
        type = actual_type(value, type)
    elif type == TYPE_INFO:
        return []
    members, primitives = definitions.properties(type), definitions.primitives()
    found: Collection = []
    for member in value:
        bare = member.removeprefix("_")
        known = members.get(bare)
        if known is None or (member != bare and bare in value):
            continue
        if known[1] in primitives:
            _primitive(value.get(bare), value.get("_" + bare), known[1], found)
        elif member == bare:
            child = value[member]
            items = child if isinstance(child, list) else [child]
            found += [(item, _actual(item, known[1]), None) for item in items if item is not None]
    return found


def _of_value(node: Node, name: str) -> Collection:
    """The parts of a computed quantity; the id and extensions of a primitive."""
    value, type, sibling = node
    if type == "System.Quantity" and name in ("value", "unit"):
        amount, unit = value
        return [(amount, "System.Decimal", None)] if name == "value" else [(unit, "System.String", None)]
    if not isinstance(sibling, dict) or name not in ("id", "extension"):
        return []
    return child(name)((sibling, "Element", None))


def _primitive(value: Any, siblings: Any, type: str, found: Collection) -> None:
    if not isinstance(value, list) and not isinstance(siblings, list):
        if value is not None or siblings is not None:
            found.append((value, type, siblings))
        return
    values = value if isinstance(value, list) else [value]
    if siblings is None:
        found += [(item, type, None) for item in values if item is not None]
        return
    extras = siblings if isinstance(siblings, list) else [siblings]
    for place in range(max(len(values), len(extras))):
        item = values[place] if place < len(values) else None
        extra = extras[place] if place < len(extras) else None
        if item is not None or extra is not None:
            found.append((item, type, extra))


def _actual(value: Any, type: str) -> str:
    return actual_type(value, type) if type == "Resource" and isinstance(value, dict) else type
