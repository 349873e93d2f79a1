"""What rules look at: an item of a resource with its place, and the context of the validation.

FHIR R4 profiling.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from profiles import definitions
from profiles.codes import CodeChecker
from profiles.schema.report import Report, Where

if TYPE_CHECKING:
    from profiles.schema.compile import Profile, Profiles

Json = dict[str, Any]


class Item(NamedTuple):
    """A value with its type key and, for a primitive, its sibling `_name` member (as FHIRPath's nodes), and
    its place."""

    value: Any
    type: str
    sibling: Any
    where: Where


@dataclass(slots=True)
class Context:
    """One validation under way. `resource` and `root` are %resource and %rootResource; `bundle` the entries
    around, for references; `depth` bounds profiles that lead to profiles; `strict` makes an unknown extension
    an error; identifiers of `refused_systems` are errors."""

    report: Report
    profiles: Profiles
    codes: CodeChecker | None = None
    resource: Json = field(default_factory=dict)
    root: Json = field(default_factory=dict)
    bundle: Json | None = None
    depth: int = 0
    strict: bool = False
    refused_systems: frozenset[str] = frozenset()

    def silent(self) -> Context:
        """The same with a report of its own: to ask whether something fits."""
        return replace(self, report=Report(), depth=self.depth + 1)

    def conforms(self, item: Item, profile: Profile) -> bool:
        """Whether an item keeps a profile."""
        asked = self.silent()
        profile.check(item, asked)
        return not asked.report.failed


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
