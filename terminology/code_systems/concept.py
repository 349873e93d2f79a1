"""What a code system is to the rest: its concepts, one by one or all, and their hierarchy.

FHIR R4 codesystem.html; terminologies.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Designation:
    """Another name of a concept. `use` is a Coding as FHIR writes it, or None."""

    value: str
    language: str = ""
    use: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a concept: its code, FHIR's member name (`valueCode`, `valueString`, …), its value."""

    code: str
    member: str
    value: Any


@dataclass(frozen=True, slots=True)
class Concept:
    """A code and what its system says of it. `abstract`: for grouping alone, not to be chosen."""

    code: str
    display: str | None = None
    definition: str | None = None
    designations: tuple[Designation, ...] = ()
    properties: tuple[Property, ...] = ()
    abstract: bool = False
    inactive: bool = False


class System(Protocol):
    """A code system that is loaded. `complete` says that a code not found in it does not exist; without, the
    code cannot be judged. `properties` are the codes of those a filter may name."""

    @property
    def url(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def complete(self) -> bool: ...
    @property
    def properties(self) -> frozenset[str]: ...

    def find(self, code: str) -> Concept | None:
        """By its code, in any case where the system is not case-sensitive."""

    def concepts(self) -> Iterable[Concept] | None:
        """All in the system's order; None where they cannot be listed."""

    def descendants(self, code: str) -> tuple[str, ...]:
        """The code and all below it, nearest first; empty for an unknown code."""

    def ancestors(self, code: str) -> tuple[str, ...]:
        """The code and all above it, nearest first; empty for an unknown code."""

    def parents(self, code: str) -> tuple[str, ...]:
        """Directly above."""

    def children(self, code: str) -> tuple[str, ...]:
        """Directly below."""
