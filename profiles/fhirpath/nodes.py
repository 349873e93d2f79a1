"""What expressions work on: nodes with their types, and the step from a node to its children.

A node is a tuple (value, type key, sibling). The value is plain JSON; the type key is FHIR's ("HumanName",
"Patient.contact", "code") or "System.String" and the like for what an expression computes; the sibling is the
`_name` member of a primitive, which holds its id and extensions.

A primitive that has only extensions is a node with the value None. FHIRPath N1 §4; FHIR R4 fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from profiles import definitions
from profiles.outcomes import Invalid

Node = tuple[Any, str, "dict[str, Any] | None"]
Collection = list[Node]

TRUE: Node = (True, "System.Boolean", None)
TYPE_INFO = "System.TypeInfo"
"""The type of what `type()` gives."""
FALSE: Node = (False, "System.Boolean", None)


COST_LIMIT = 500_000
"""Items that one evaluation may make or visit; hundreds of times what the largest R4 example needs."""


class Budget:
    """What is left of the work that one evaluation may do, so that no expression can run or grow without end,
    whatever it nests; and the moment that all of its `now()` mean."""

    __slots__ = ("left", "moment")

    def __init__(self, left: int = COST_LIMIT) -> None:
        self.left = left
        self.moment: datetime | None = None

    def spend(self, items: int) -> None:
        """Raises Invalid (`fhirpath-too-costly`) when the work is over the limit."""
        self.left -= items
        if self.left < 0:
            raise Invalid("fhirpath-too-costly", "this FHIRPath evaluation takes more work than is allowed")


@dataclass(frozen=True, slots=True)
class Environment:
    """What an evaluation may ask of the world around the resource, as pure functions over what is loaded.

    `resource` is `%resource` (the resource or contained resource that holds the focus; None: the focus's
    own), `root` is `%rootResource` (its container; None: the same). `resolve` gives the resource that a
    reference text leads to, None when it is not to be had. `member_of` and `conforms_to` answer None for
    "cannot be judged". `now` is the moment of the evaluation; without it, the clock is read.
    """

    resource: dict[str, Any] | None = None
    root: dict[str, Any] | None = None
    constants: Mapping[str, Collection] = field(default_factory=lambda: MappingProxyType({}))
    resolve: Callable[[str], dict[str, Any] | None] | None = None
    member_of: Callable[[Node, str], bool | None] | None = None
    conforms_to: Callable[[dict[str, Any], str], bool | None] | None = None
    trace: Callable[[str, Collection], None] | None = None
    now: datetime | None = None
    cost_limit: int = COST_LIMIT


PLAIN = Environment()


class Scope(NamedTuple):
    """What an expression may look at beside its focus: the root resource, `$this`, `$index`, `$total`,
    `%resource`, `%context`, and the environment. A NamedTuple, as one is made for every item that a
    criterion is asked about."""

    root: dict[str, Any]
    this: Node
    budget: Budget
    place: int = 0
    total: Collection | None = None
    resource: dict[str, Any] | None = None
    context: Node | None = None
    environment: Environment = PLAIN


def scope_of(node: Node, environment: Environment) -> Scope:
    """The scope of an evaluation that starts at `node`."""
    own = node[0] if isinstance(node[0], dict) else {}
    resource = environment.resource if environment.resource is not None else own
    root = environment.root if environment.root is not None else resource
    return Scope(root, node, Budget(environment.cost_limit), 0, None, resource, node, environment)


def resource_node(resource: dict[str, Any]) -> Node:
    """The node of a whole resource."""
    return (resource, actual_type(resource, "Resource"), None)


def actual_type(value: dict[str, Any], otherwise: str) -> str:
    """The `resourceType` of a resource, when there is such a type."""
    stated = value.get("resourceType")
    return stated if isinstance(stated, str) and stated in definitions.resource_types() else otherwise


def truth(collection: Collection) -> bool | None:
    """A collection as a Boolean: None when empty; one item that is no Boolean is true. Raises Invalid for
    several. FHIRPath N1 §4.5"""
    if not collection:
        return None
    if len(collection) > 1:
        raise Invalid("fhirpath-singleton", "FHIRPath expects one item here, not several")
    value, type, _sibling = collection[0]
    if isinstance(value, bool):
        return value
    return None if value is None and type == "boolean" else True


def boolean(value: bool | None) -> Collection:
    """Three-valued truth as a collection."""
    return [] if value is None else [TRUE if value else FALSE]


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


def children(node: Node, name: str) -> Collection:
    """The child nodes of that name, in order."""
    value, type, sibling = node
    if not isinstance(value, dict):
        return _of_primitive(sibling, name)
    if type in ("Resource", "DomainResource"):
        type = actual_type(value, type)
    elif type == TYPE_INFO:
        return [(value[name], "System.String", None)] if name in value else []
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


def all_children(node: Node) -> Collection:
    """The child nodes of every name, in the order of the JSON."""
    value, type, sibling = node
    if not isinstance(value, dict):
        if not isinstance(sibling, dict):
            return []
        value, type = sibling, "Element"
    elif type in ("Resource", "DomainResource"):
        type = actual_type(value, type)
    elif type == TYPE_INFO:
        return []
    members, found, seen = definitions.properties(type), list[Node](), set[str]()
    for member in value:
        bare = member.removeprefix("_")
        known = members.get(bare)
        if known is None or bare in seen:
            continue
        seen.add(bare)
        if known[1] in definitions.primitives():
            _primitive(value.get(bare), value.get("_" + bare), known[1], found)
        elif member == bare:
            child = value[member]
            items = child if isinstance(child, list) else [child]
            found.extend((item, _actual(item, known[1]), None) for item in items if item is not None)
    return found


def _of_primitive(sibling: dict[str, Any] | None, name: str) -> Collection:
    if not isinstance(sibling, dict) or name not in ("id", "extension"):
        return []
    return children((sibling, "Element", None), name)


def _primitive(value: Any, siblings: Any, type: str, found: Collection) -> None:
    if not isinstance(value, list) and not isinstance(siblings, list):
        if value is not None or siblings is not None:
            found.append((value, type, siblings))
        return
    values = value if isinstance(value, list) else [value]
    extras = siblings if isinstance(siblings, list) else [siblings]
    for place in range(max(len(values), len(extras))):
        item = values[place] if place < len(values) else None
        extra = extras[place] if place < len(extras) else None
        if item is not None or extra is not None:
            found.append((item, type, extra))


def _actual(value: Any, type: str) -> str:
    return actual_type(value, type) if type == "Resource" and isinstance(value, dict) else type


def is_type(type: str, asked: str) -> bool:
    """Whether a node of `type` is of the type named in an expression, with or without its namespace."""
    namespace, _, name = asked.rpartition(".")
    if type.startswith("System."):
        return namespace in ("", "System") and type == "System." + name
    return namespace != "System" and definitions.is_type(name) and definitions.is_kind_of(type, name)


def kept_as(type: str, asked: str) -> bool:
    """Whether `as` and `ofType` keep a node of `type`: primitives of that very type only (a `code` is no
    `string` to them), others with what specialises them."""
    namespace, _, name = asked.rpartition(".")
    if type.startswith("System."):
        return namespace in ("", "System") and type == "System." + name
    name = fhir_type(name)
    if namespace == "System" or type in definitions.primitives():
        return namespace != "System" and type == name
    return definitions.is_type(name) and definitions.is_kind_of(type, name)


def known_type(name: str) -> bool:
    """Whether an expression can name this type, with or without its namespace."""
    namespace, _, bare = name.rpartition(".")
    if namespace == "System" or (not namespace and bare in SYSTEM_TYPES):
        return True
    return namespace in ("", "FHIR") and definitions.is_type(fhir_type(bare))


SYSTEM_TYPES = frozenset({
    "Any", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity"
})  # fmt: skip


def fhir_type(name: str) -> str:
    """A FHIR type by its name; `DateTime` is taken for `dateTime`, as R4's own search expressions write
    it."""
    lower = name[:1].lower() + name[1:]
    return lower if lower in definitions.primitives() and not definitions.is_type(name) else name
