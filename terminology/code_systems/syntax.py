"""Code systems that are a grammar: any code that keeps it is a code, and there is no list of them.

FHIR R4 terminologies-systems.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from terminology.code_systems.concept import Concept


@dataclass(frozen=True, slots=True)
class Syntax:
    """`keeps` answers whether a text is a code. It is flat: no code is above another."""

    url: str
    name: str
    keeps: Callable[[str], bool]
    version: str = ""
    complete: bool = True
    properties: frozenset[str] = frozenset({"concept", "code"})

    def find(self, code: str) -> Concept | None:
        return Concept(code, code) if self.keeps(code) else None

    def concepts(self) -> Iterable[Concept] | None:
        return None

    def descendants(self, code: str) -> tuple[str, ...]:
        return (code,) if self.keeps(code) else ()

    def ancestors(self, code: str) -> tuple[str, ...]:
        return self.descendants(code)

    def parents(self, code: str) -> tuple[str, ...]:
        return ()

    def children(self, code: str) -> tuple[str, ...]:
        return ()
