"""What rules look at: an item of a resource with its place, and the context of the validation.

FHIR R4 profiling.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from profiles import definitions
from profiles.codes import CodeChecker
from profiles.fhirpath.nodes import Environment, Node
from profiles.schema.report import Message, Report, Where
from profiles.schema.resolve import resolver

if TYPE_CHECKING:
    from profiles.schema.compile import Profile, Profiles

Json = dict[str, Any]
MAX_DEPTH = 12
"""Profiles that lead to profiles; a real one goes four or five deep."""


class Item(NamedTuple):
    """A value with its type key and, for a primitive, its sibling `_name` member (as FHIRPath's nodes), and
    its place."""

    value: Any
    type: str
    sibling: Any
    where: Where


@dataclass(slots=True)
class Context:
    """One validation under way. `depth` bounds profiles that lead to profiles; `strict` makes an unknown
    extension an error; identifiers of `refused_systems` are errors. `resource` and `root` are %resource and
    %rootResource, `around` the resources of the Bundle around, `ids` those of the
    elements met; `environment` is what expressions may ask of
    them."""

    report: Report
    profiles: Profiles
    codes: CodeChecker | None = None
    strict: bool = False
    refused_systems: frozenset[str] = frozenset()
    depth: int = 0
    resource: Json = field(default_factory=dict)
    root: Json = field(default_factory=dict)
    around: Mapping[str, Json] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    environment: Environment = field(default_factory=Environment)

    def enter(self, resource: Json, root: Json, around: Mapping[str, Json]) -> None:
        """From here on, this resource is judged."""
        self.resource, self.root, self.around, self.ids = resource, root, around, set()
        self.environment = Environment(
            resource=resource,
            root=root,
            resolve=resolver(root, around),
            member_of=self._member_of,
            conforms_to=self._conforms_to,
        )

    def doubt(self, where: Where, message: Message) -> None:
        """What is wrong but does no harm to who stores it: an error where validation is asked for, else a
        warning."""
        self.report.note(where, message if self.strict else replace(message, severity="warning"))

    def silent(self) -> Context:
        """The same with a report of its own: to ask whether something fits."""
        return replace(self, report=Report(), depth=self.depth + 1)

    def conforms(self, item: Item, profile: Profile) -> bool:
        """Whether an item keeps a profile."""
        asked = self.silent()
        profile.check(item, asked)
        return not asked.report.failed

    def _member_of(self, node: Node, value_set: str) -> bool | None:
        """One of its codes is in the value set. FHIR R4 fhirpath.html#functions"""
        results = set()
        for system, code, display in codings(node[0], node[1]):
            if self.codes is None:
                return None
            results.add(self.codes.validate_code(value_set, system, code, display).result)
        if "yes" in results:
            return True
        return None if "unknown" in results or not results else False

    def _conforms_to(self, resource: Json, url: str) -> bool | None:
        profile = self.profiles.get(url)
        type = resource.get("resourceType")
        if profile is None or not isinstance(type, str) or self.depth > MAX_DEPTH:
            return None
        asked = self.silent()
        asked.enter(resource, resource, self.around)
        item = Item(resource, type, None, (None, type, -1))
        return profile.suits(type) and asked.conforms(item, profile)


def codings(value: Any, type: str) -> Iterator[tuple[str | None, str, str | None]]:
    """(system, code, display) of a code, Coding, CodeableConcept or Quantity."""
    if isinstance(value, str):
        yield None, value, None
        return
    if not isinstance(value, dict):
        return
    found: Any = value.get("coding") if type == "CodeableConcept" else [value]
    for coding in found if isinstance(found, list) else ():
        if isinstance(coding, dict) and isinstance(coding.get("code"), str):
            system, display = coding.get("system"), coding.get("display")
            yield (
                system if isinstance(system, str) else "",
                coding["code"],
                display if isinstance(display, str) else None,
            )


class Rule(Protocol):
    """A rule of one item."""

    def check(self, item: Item, context: Context) -> None: ...


Predicate = Callable[[Item, Context], bool]


def items_of(parent: Item, members: tuple[tuple[str, str, str], ...]) -> Iterator[Item]:
    """The items of an element: `members` are (JSON member, type key, FHIRPath step), one per type of a
    choice."""
    holder = parent.value if isinstance(parent.value, dict) else parent.sibling
    if not isinstance(holder, dict):
        return
    for name, type, step in members:
        value, sibling = holder.get(name), holder.get("_" + name)
        if value is None and sibling is None:
            continue
        if not isinstance(value, list) and not isinstance(sibling, list):
            yield Item(value, _actual(value, type), sibling, (parent.where, step, -1))
            continue
        values = value if isinstance(value, list) else []
        siblings = sibling if isinstance(sibling, list) else []
        for place in range(max(len(values), len(siblings))):
            one = values[place] if place < len(values) else None
            beside = siblings[place] if place < len(siblings) else None
            if one is not None or beside is not None:
                yield Item(one, _actual(one, type), beside, (parent.where, step, place))


def _actual(value: Any, type: str) -> str:
    if type == "Resource" and isinstance(value, dict):
        named = value.get("resourceType")
        return named if isinstance(named, str) and definitions.is_type(named) else type
    return type
