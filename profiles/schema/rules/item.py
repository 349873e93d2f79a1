"""What rules look at: an item of a resource with its place, and the context of the validation.

FHIR R4 profiling.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    """One validation under way. `strict` is for who asks what is wrong, rather than whether to store it;
    identifiers of `refused_systems` are errors; `depth` bounds profiles that lead to profiles. `resource` and
    `root` are %resource and %rootResource, `around` the resources of the Bundle around, `ids` those of the
    elements met; `environment` is what expressions may ask of them."""

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


class Row(NamedTuple):
    """A JSON member of an element: its name, that of its sibling, the type key, the FHIRPath step."""

    name: str
    beside: str
    type: str
    step: str


class Members:
    """The JSON members of an element: one, or one for each type of a choice."""

    __slots__ = ("_by_name", "rows")

    def __init__(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """`rows` are (name, type key, step)."""
        self.rows = tuple(Row(name, "_" + name, type, step) for name, type, step in rows)
        self._by_name = {name: row for row in self.rows for name in (row.name, row.beside)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Members) and self.rows == other.rows

    def __hash__(self) -> int:
        return hash(self.rows)

    def any_of(self, item: Item) -> bool:
        """Whether an item has one of them."""
        holder = item.value if item.value.__class__ is dict else item.sibling
        return holder.__class__ is dict and not self._by_name.keys().isdisjoint(holder)

    def within(self, holder: Json) -> Iterable[Row]:
        """Those that an object may have, found by the shorter way."""
        if len(self.rows) <= len(holder):
            return self.rows
        found = (self._by_name[name] for name in holder if name in self._by_name)
        return tuple(dict.fromkeys(found))


def items_of(parent: Item, members: Members) -> list[Item]:
    """The items of an element."""
    holder = parent.value if isinstance(parent.value, dict) else parent.sibling
    found: list[Item] = []
    if not isinstance(holder, dict):
        return found
    where = parent.where
    for name, beside, type, step in members.within(holder):
        value, sibling = holder.get(name), holder.get(beside)
        if sibling is None and type != "Resource":
            if value.__class__ is list:
                found += [Item(one, type, None, (where, step, place)) for place, one in enumerate(value)]
            elif value is not None:
                found.append(Item(value, type, None, (where, step, -1)))
        else:
            found += _paired(value, sibling, type, (where, step, -1))
    return found


def _paired(value: Any, sibling: Any, type: str, where: Where) -> Iterator[Item]:
    """Values with what stands beside them, and resources, whose type they tell themselves."""
    above, step, _place = where
    if value.__class__ is not list and sibling.__class__ is not list:
        if value is not None or sibling is not None:
            yield Item(value, _actual(value, type), sibling, where)
        return
    values = value if isinstance(value, list) else []
    siblings = sibling if isinstance(sibling, list) else []
    for place in range(max(len(values), len(siblings))):
        one = values[place] if place < len(values) else None
        aside = siblings[place] if place < len(siblings) else None
        if one is not None or aside is not None:
            yield Item(one, _actual(one, type), aside, (above, step, place))


def _actual(value: Any, type: str) -> str:
    if type == "Resource" and isinstance(value, dict):
        named = value.get("resourceType")
        return named if isinstance(named, str) and definitions.is_type(named) else type
    return type
