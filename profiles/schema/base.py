"""What the standard's own definitions ask beyond structure: invariants, extensions, bundles, questionnaires.

One walk over the resource, with a table per type that names only the members where something is to be judged.
FHIR R4 conformance-rules.html; extensibility.html; defining-extensions.html#context
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from profiles import definitions
from profiles.definitions import Element
from profiles.schema import extensions
from profiles.schema.bundle import check_bundle
from profiles.schema.compile import JUDGED_ELSEWHERE, Profiles, invariant
from profiles.schema.questionnaire import check_answers, check_expression, check_questionnaire
from profiles.schema.report import Message
from profiles.schema.resolve import index
from profiles.schema.rules.binding import SEVERITY, Binding
from profiles.schema.rules.coding import check_coding, check_quantity
from profiles.schema.rules.identifier import check_identifier
from profiles.schema.rules.invariant import Invariant
from profiles.schema.rules.item import Context, Item, Members, items_of
from profiles.schema.rules.linking import check_canonical, check_reference
from profiles.schema.shapes import holds
from profiles.schema.structures import check_parameter, check_structure
from profiles.schema.terminologies import check_code_system, check_value_set
from profiles.schema.vital_signs import check_vital_sign

Json = dict[str, Any]
REPEATED_ID = Message(
    "business-rule",
    "repeated-id",
    "another element of the resource has this id; ids are unique within a resource",
    "un autre élément de la ressource a cet id ; les id sont uniques dans une ressource",
)
MAX_SHAPES = 256
"""Kept for each member; documents of other people's making have any number."""


@dataclass(frozen=True, slots=True)
class Member:
    """A JSON member where something may be judged: the element's type key and FHIRPath step, the invariants
    on it, the names by which an extension's context may mean what stands there, and what it is: "complex",
    "primitive", "extension" or "resource". `shapes`: JSON names → the invariants of the element and of its
    type that values decide; `alone` is this member for `items_of`."""

    name: str
    type: str
    step: str
    rules: tuple[Invariant, ...]
    names: tuple[str, ...]
    kind: str
    binding: Binding | None
    alone: Members
    shapes: dict[tuple[str, ...], tuple[Invariant, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A type: the invariants on it, what else is judged of it, and its members by JSON name; a primitive's
    second name is its `_name`."""

    rules: tuple[Invariant, ...]
    also: Also | None
    members: dict[str, Member]


@dataclass(slots=True)
class Base:
    """Walks resources; a type's table is made when first met."""

    profiles: Profiles
    _tables: dict[str, Table] = field(default_factory=dict)

    def check(self, item: Item, context: Context) -> None:
        """A resource and all below it."""
        outer = context.resource, context.root, context.around
        around = index(item.value) if item.type == "Bundle" else context.around
        context.enter(item.value, context.root if item.where[1] == "contained" else item.value, around)
        for rule in self.table(item.type).rules:
            rule.check(item, context)
        self._walk(item, context, (item.type,))
        context.enter(*outer)

    def _shaped(self, member: Member, shape: tuple[str, ...]) -> tuple[Invariant, ...]:
        """The invariants that a shape leaves open."""
        rules = (*member.rules, *self.table(member.type).rules)
        found = tuple(rule for rule in rules if not holds(rule.tree, member.type, shape))
        if len(member.shapes) < MAX_SHAPES:
            member.shapes[shape] = found
        return found

    def table(self, type: str) -> Table:
        """The table of a type key."""
        table = self._tables.get(type)
        if table is None:
            table = self._tables[type] = self._table(type)
        return table

    def _walk(self, item: Item, context: Context, names: tuple[str, ...]) -> None:
        """What is below an element, and what is judged of it beyond invariants."""
        table = self.table(item.type)
        if table.also is not None:
            table.also(item, context)
        id = item.value.get("id")
        if id is not None and len(names) > 1 and item.type != "ElementDefinition":
            if id in context.ids:
                context.report.note((item.where, "id", -1), REPEATED_ID)
            context.ids.add(id)
        where, members = item.where, table.members
        for name, value in item.value.items():
            member = members.get(name)
            if member is None:
                continue
            if member.kind == "primitive":
                done = name != member.name and member.name in members and member.name in item.value
                if not done:  # by its plain name
                    self._primitive(item, member, context)
            elif value.__class__ is list:
                for place, one in enumerate(value):
                    self._complex(
                        Item(one, member.type, None, (where, member.step, place)), member, names, context
                    )
            else:
                self._complex(
                    Item(value, member.type, None, (where, member.step, -1)), member, names, context
                )

    def _complex(self, item: Item, member: Member, names: tuple[str, ...], context: Context) -> None:
        value = item.value
        if value.__class__ is not dict:
            return
        if member.kind != "resource":
            shape = tuple(value)
            rules = member.shapes.get(shape)
            for rule in self._shaped(member, shape) if rules is None else rules:
                rule.check(item, context)
        if member.binding is not None:
            member.binding.check(item, context)
        if member.kind == "complex":
            self._walk(item, context, member.names)
        elif member.kind == "extension":
            known = extensions.check(item, names, context)
            self._walk(item, context, (known, "Extension") if known else ("Extension",))
        else:
            type = item.value.get("resourceType")
            if isinstance(type, str) and type in definitions.resource_types():
                self.check(item._replace(type=type), context)

    def _primitive(self, holder: Item, member: Member, context: Context) -> None:
        for one in items_of(holder, member.alone):
            for rule in member.rules:
                rule.check(one, context)
            if member.binding is not None:
                member.binding.check(one, context)
            if member.type == "canonical" and context.strict:
                check_canonical(one, context)
            if one.sibling.__class__ is dict:
                self._walk(Item(one.sibling, "Element", None, one.where), context, member.names)

    def _table(self, type: str) -> Table:
        constraints = self._constraints(type)
        rules = constraints.get(type, ()) if "." not in type else ()
        members: dict[str, Member] = {}
        primitives = definitions.primitives()
        for name, (element, of) in definitions.properties(type).items():
            choice = element.name + "[x]" if element.choice else element.name
            own = constraints.get(f"{type}.{choice}", ())
            step = f"{element.name}.ofType({of})" if element.choice else element.name
            if of in primitives:
                kind = "primitive"
            elif of in definitions.ABSTRACT or of in definitions.resource_types():
                kind = "resource"
            else:
                kind = "extension" if of == "Extension" else "complex"
            names = (f"{type}.{choice}", f"{type}.{element.name}", of)
            binding = self._binding(type, choice, of, element)
            member = Member(name, of, step, own, names, kind, binding, Members([(name, of, step)]))
            if kind != "primitive" or own or binding is not None or of == "canonical":
                members[name] = member
            if kind == "primitive":
                members["_" + name] = member
        return Table(rules, ALSO.get(type), members)

    def _binding(self, type: str, name: str, of: str, element: Element) -> Binding | None:
        """What an element is bound to, where the structure has not judged it."""
        bound = self.profiles.packages.bindings(type.partition(".")[0]).get(f"{type}.{name}")
        if bound is None or bound[0] not in SEVERITY or of not in BOUND:
            return None
        if bound[0] == "required" and definitions.codes(element.value_set) is not None:
            return None
        return Binding(*bound)

    def _constraints(self, type: str) -> dict[str, tuple[Invariant, ...]]:
        """Path → the invariants that the standard's definition has there."""
        structure = self.profiles.packages.structure(type.partition(".")[0])
        found: dict[str, tuple[Invariant, ...]] = {}
        for element in (structure or {}).get("snapshot", {}).get("element", ()):
            rules = [
                rule
                for row in [*element.get("constraint", ()), *self._of_type_profile(element)]
                if row.get("key") not in JUDGED_ELSEWHERE and "expression" in row
                if not isinstance(rule := invariant(row), Message)
            ]
            if rules:
                found[element["path"]] = tuple(rules)
        return found

    def _of_type_profile(self, element: Json) -> list[Json]:
        """The invariants of the profile that the standard puts on an element's type: SimpleQuantity."""
        types = element.get("type") or [{}]
        urls = types[0].get("profile") or [] if len(types) == 1 else []
        structure = self.profiles.packages.structure(str(urls[0])) if len(urls) == 1 else None
        rows = (structure or {}).get("snapshot", {}).get("element") or [{}]
        found: list[Json] = rows[0].get("constraint") or []
        return found


BOUND = frozenset({"code", "string", "uri", "Coding", "CodeableConcept", "Quantity"})
"""Types that a binding means. FHIR R4 terminologies.html#4.1"""
Also = Callable[[Item, Context], None]
ALSO: Mapping[str, Also] = MappingProxyType(
    {
        "Bundle": check_bundle,
        "QuestionnaireResponse": check_answers,
        "StructureDefinition": check_structure,
        "Extension": check_expression,
        "Coding": check_coding,
        "Identifier": check_identifier,
        "Reference": check_reference,
        "Observation": check_vital_sign,
        "SearchParameter": check_parameter,
        "Questionnaire": check_questionnaire,
        "CodeSystem": check_code_system,
        "ValueSet": check_value_set,
        **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration"), check_quantity),
    }
)
"""What is judged of a type beyond its invariants."""
