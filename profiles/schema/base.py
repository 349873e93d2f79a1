"""What the standard's own definitions ask beyond structure: invariants, extensions, bundles, questionnaires.

One walk over the resource, with a table per type that names only the members where something is to be judged.
FHIR R4 conformance-rules.html; extensibility.html; defining-extensions.html#context
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from profiles import definitions
from profiles.schema import extensions
from profiles.schema.bundle import check_bundle
from profiles.schema.compile import JUDGED_ELSEWHERE, Profiles, invariant
from profiles.schema.questionnaire import check_answers, check_expression
from profiles.schema.report import Message
from profiles.schema.rules.coding import check_coding
from profiles.schema.rules.identifier import check_identifier
from profiles.schema.rules.invariant import Invariant
from profiles.schema.rules.item import Context, Item, items_of
from profiles.schema.structures import check_structure

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """An element of a type where something may be judged: its JSON members, the invariants on it, the names
    by which an extension's context may mean it, and whether it is a primitive."""

    members: tuple[tuple[str, str, str], ...]
    rules: tuple[Invariant, ...]
    names: tuple[str, ...]
    is_primitive: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A type: the invariants on it, and its members by JSON name."""

    rules: tuple[Invariant, ...]
    members: dict[str, Member]


@dataclass(slots=True)
class Base:
    """Walks resources; a type's table is made when first met."""

    profiles: Profiles
    _tables: dict[str, Table] = field(default_factory=dict)

    def check(self, item: Item, context: Context) -> None:
        """A resource and all below it."""
        self._resource(item, context)

    def _resource(self, item: Item, context: Context) -> None:
        outer = context.resource, context.root, context.bundle
        context.resource = item.value
        if item.where[1] != "contained":
            context.root = item.value
        if item.type == "Bundle":
            context.bundle = item.value
            check_bundle(item, context)
        elif item.type == "QuestionnaireResponse":
            check_answers(item, context)
        elif item.type == "StructureDefinition":
            check_structure(item, context)
        self._walk(item, context, (item.type,))
        context.resource, context.root, context.bundle = outer

    def _walk(self, item: Item, context: Context, names: tuple[str, ...]) -> None:
        table = self._tables.get(item.type)
        if table is None:
            table = self._tables[item.type] = self._table(item.type)
        for rule in table.rules:
            rule.check(item, context)
        if item.type == "Extension":
            check_expression(item, context)
        elif item.type == "Coding":
            check_coding(item, context)
        elif item.type == "Identifier":
            check_identifier(item, context)
        done: Member | None = None
        for name in item.value:
            member = table.members.get(name)
            if member is None or member is done:
                continue
            done = member
            for one in items_of(item, member.members):
                self._item(one, member, names, context)

    def _item(self, item: Item, member: Member, names: tuple[str, ...], context: Context) -> None:
        for rule in member.rules:
            rule.check(item, context)
        if member.is_primitive:
            if isinstance(item.sibling, dict):
                self._walk(
                    Item(item.sibling, "Element", None, item.where), context, (*member.names, item.type)
                )
            return
        if not isinstance(item.value, dict):
            return
        if item.type == "Extension":
            extensions.check(item, names, context)
            self._walk(item, context, ("Extension",))
        elif item.type in definitions.resource_types():
            self._resource(item, context)
        else:
            self._walk(item, context, (*member.names, item.type))

    def _table(self, type: str) -> Table:
        constraints = self._constraints(type)
        rules = constraints.get(type, ()) if "." not in type else ()
        members: dict[str, Member] = {}
        primitives = definitions.primitives()
        for name, element in definitions.elements(type).items():
            choice = name + "[x]" if element.choice else name
            own = constraints.get(f"{type}.{choice}", ())
            rows = tuple(
                (member, of, f"{name}.ofType({of})" if element.choice else name)
                for member, (one, of) in definitions.properties(type).items()
                if one.name == name
            )
            for row in rows:
                is_primitive = row[1] in primitives
                made = Member((row,), own, (f"{type}.{choice}", f"{type}.{name}"), is_primitive)
                if not is_primitive or own:
                    members[row[0]] = made
                if is_primitive:
                    members["_" + row[0]] = made
        return Table(rules, members)

    def _constraints(self, type: str) -> dict[str, tuple[Invariant, ...]]:
        """Path → the invariants that the standard's definition has there."""
        structure = self.profiles.packages.structure(type.partition(".")[0])
        found: dict[str, tuple[Invariant, ...]] = {}
        for element in (structure or {}).get("snapshot", {}).get("element", ()):
            rules = [
                rule
                for row in element.get("constraint", ())
                if row.get("key") not in JUDGED_ELSEWHERE and "expression" in row
                if not isinstance(rule := invariant(row), Message)
            ]
            if rules:
                found[element["path"]] = tuple(rules)
        return found
