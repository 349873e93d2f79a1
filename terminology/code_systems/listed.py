"""A code system that a CodeSystem resource lists: concepts by code, and the hierarchy of their nesting and of
the properties that name parents and children.

FHIR R4 codesystem.html#hierarchy, #concept-properties
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from terminology.code_systems.concept import Concept, Designation, Property

Json = dict[str, Any]
PARENTS = frozenset({"parent", "subsumedBy", "broader"})
INACTIVE = frozenset({"retired", "inactive"})
STANDARD = frozenset(
    {"concept", "code", "display", "definition", "parent", "child", "inactive", "notSelectable", "status"}
)
"""Properties that a filter may name on any code system."""


class Listed:
    """`Listed(resource)`; the resource was validated, or is of a package. Nothing changes once it is made."""

    def __init__(self, resource: Json) -> None:
        self.url: str = resource["url"]
        self.version: str = resource.get("version", "")
        self.name: str = resource.get("name") or resource.get("title") or self.url
        self.complete: bool = resource.get("content", "complete") == "complete"
        self.properties = STANDARD | {one["code"] for one in resource.get("property", ())}
        self._concepts: dict[str, Concept] = {}
        self._parents: dict[str, list[str]] = {}
        self._children: dict[str, list[str]] = {}
        for row, parent in _rows(resource):
            self._add(row, parent)
        self.properties |= {one.code for each in self._concepts.values() for one in each.properties}
        self._folded: Mapping[str, Concept] = (
            {code.casefold(): concept for code, concept in self._concepts.items()}
            if resource.get("caseSensitive") is False
            else {}
        )

    def _add(self, row: Json, parent: str) -> None:
        code = row["code"]
        concept = _concept(row)
        self._concepts.setdefault(code, concept)
        if parent:
            self._link(parent, code)
        for one in concept.properties:
            if one.member in ("valueCode", "valueString"):
                if one.code in PARENTS:
                    self._link(one.value, code)
                elif one.code == "child":
                    self._link(code, one.value)

    def _link(self, parent: str, child: str) -> None:
        if child not in self._children.setdefault(parent, []):
            self._children[parent].append(child)
            self._parents.setdefault(child, []).append(parent)

    def find(self, code: str) -> Concept | None:
        found = self._concepts.get(code)
        return self._folded.get(code.casefold()) if found is None and self._folded else found

    def concepts(self) -> Iterable[Concept] | None:
        return self._concepts.values() if self._concepts or self.complete else None

    def descendants(self, code: str) -> tuple[str, ...]:
        return self._closure(code, self._children)

    def ancestors(self, code: str) -> tuple[str, ...]:
        return self._closure(code, self._parents)

    def parents(self, code: str) -> tuple[str, ...]:
        return tuple(self._parents.get(code, ()))

    def children(self, code: str) -> tuple[str, ...]:
        return tuple(self._children.get(code, ()))

    def _closure(self, code: str, ways: Mapping[str, list[str]]) -> tuple[str, ...]:
        """A hierarchy written in circles still has an end."""
        concept = self.find(code)
        if concept is None:
            return ()
        found = {concept.code: None}
        pending = [concept.code]
        for one in pending:
            for next in ways.get(one, ()):
                if next not in found and next in self._concepts:
                    found[next] = None
                    pending.append(next)
        return tuple(found)


def _rows(resource: Json) -> Iterator[tuple[Json, str]]:
    """(concept, its parent's code or "") in the resource's order; no recursion, however deep it nests."""
    pending = [iter([(row, "") for row in resource.get("concept", ())])]
    while pending:
        pair = next(pending[-1], None)
        if pair is None:
            pending.pop()
            continue
        yield pair
        row = pair[0]
        pending.append(iter([(below, row["code"]) for below in row.get("concept", ())]))


def _concept(row: Json) -> Concept:
    properties = tuple(
        Property(one["code"], member, value)
        for one in row.get("property", ())
        for member, value in one.items()
        if member.startswith("value")
    )
    said = {one.code: one.value for one in properties}
    return Concept(
        row["code"],
        row.get("display"),
        row.get("definition"),
        tuple(
            Designation(one["value"], one.get("language", ""), one.get("use"))
            for one in row.get("designation", ())
        ),
        properties,
        abstract=bool(said.get("notSelectable") or said.get("abstract")),
        inactive=bool(said.get("inactive")) or said.get("status") in INACTIVE,
    )
