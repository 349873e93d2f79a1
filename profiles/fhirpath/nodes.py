"""What expressions work on: nodes with their types, and what surrounds an evaluation.

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
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Environment:
    """What an evaluation may ask of the world around the resource, as pure functions over what is loaded.

    `resource` is `%resource` (the resource or contained resource that holds the focus; None: the focus's
    own), `root` is `%rootResource` (its container; None: the same). `resolve` gives the resource that a
    reference text leads to, None when it is not to be had. `member_of`, `subsumes` (system, code above, code
    below) and `conforms_to` answer None for "cannot be judged". `now` is the moment of the evaluation;
    without it, the clock is read.
    """

    resource: dict[str, Any] | None = None
    root: dict[str, Any] | None = None
    constants: Mapping[str, Collection] = field(default_factory=lambda: MappingProxyType({}))
    resolve: Callable[[str], dict[str, Any] | None] | None = None
    member_of: Callable[[Node, str], bool | None] | None = None
    subsumes: Callable[[str, str, str], bool | None] | None = None
    conforms_to: Callable[[dict[str, Any], str], bool | None] | None = None
    trace: Callable[[str, Collection], None] | None = None
    now: datetime | None = None
    cost_limit: int = COST_LIMIT


class Evaluation:
    """One evaluation of a whole expression: what it starts from, and what is left of the work that it may do,
    so that no expression can run or grow without end, whatever it nests.

    `root` and `resource` are `%rootResource` and `%resource`; `moment` is what all of its `now()` mean, and
    `memory` holds what the parts that depend on no item have come to.
    """

    __slots__ = ("context", "environment", "left", "memory", "moment", "resource", "root")

    def __init__(self, context: Node, environment: Environment) -> None:
        resource = environment.resource
        if resource is None:
            resource = context[0] if isinstance(context[0], dict) else {}
        self.context = context
        self.environment = environment
        self.left = environment.cost_limit
        self.resource = resource
        self.root = resource if environment.root is None else environment.root
        self.moment: datetime | None = None
        self.memory: dict[object, Collection] | None = None

    def spend(self, items: int) -> None:
        """Raises Invalid (`fhirpath-too-costly`) when the work is over the limit."""
        self.left -= items
        if self.left < 0:
            raise Invalid("fhirpath-too-costly", "this FHIRPath evaluation takes more work than is allowed")


class Scope:
    """What an expression may look at beside its focus: `$this`, `$index`, `$total`, the variables that it has
    defined so far, and the evaluation. A function that asks a criterion of many items moves one scope of its
    own from item to item."""

    __slots__ = ("evaluation", "place", "this", "total", "variables")

    def __init__(
        self, evaluation: Evaluation, this: Node, place: int = 0, total: Collection | None = None
    ) -> None:
        self.evaluation = evaluation
        self.this = this
        self.place = place
        self.total = total
        self.variables: Mapping[str, Collection] | None = None


CODE_SYSTEMS: Mapping[str, str] = MappingProxyType({
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "ucum": "http://unitsofmeasure.org",
})  # fmt: skip
"""`%sct` and the like. FHIR R4 fhirpath.html#vars"""


def is_given(name: str) -> bool:
    """Whether `%name` means something in every FHIRPath of FHIR."""
    return (
        name in CODE_SYSTEMS
        or name in ("context", "resource", "rootResource")
        or name.startswith(("vs-", "ext-"))
    )


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
def is_type(type: str, asked: str) -> bool:
    """Whether a node of `type` is of the type named in an expression, with or without its namespace."""
    namespace, _, name = asked.rpartition(".")
    if type.startswith("System."):
        return namespace in ("", "System") and type == "System." + name
    return namespace != "System" and definitions.is_type(name) and definitions.is_kind_of(type, name)


@lru_cache(maxsize=16384)
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
