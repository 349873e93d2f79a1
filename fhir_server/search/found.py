"""What is gathered of one resource for the index: its entries, kind by kind, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from fhir_server.search.nodes import EntryKind
from fhir_server.store.contract import Entries, Value
from profiles.folding import fold

MAX_TEXT = 1000
"""Characters of a string that are indexed."""


@dataclass(slots=True)
class Found:
    """What is being gathered from one resource; a dict keeps order and drops repeats."""

    fhir_base: str
    zone: tzinfo
    tokens: dict[tuple[str, str, str], None] = field(default_factory=dict)
    references: dict[tuple[str, str], None] = field(default_factory=dict)
    dates: dict[tuple[str, int, int], None] = field(default_factory=dict)
    strings: dict[tuple[str, str, str], None] = field(default_factory=dict)
    numbers: dict[tuple[str, float, float, str, str], None] = field(default_factory=dict)
    composites: dict[tuple[str, tuple[Value, ...]], None] = field(default_factory=dict)
    positions: dict[tuple[str, float, float], None] = field(default_factory=dict)
    folded: dict[str, str] = field(default_factory=dict)
    """A name is found by several parameters and folded once."""
    amounts: dict[int, list[tuple[str, float, float, str, str]]] = field(default_factory=dict)
    """A quantity, by its identity within the resource, likewise."""

    def text(self, name: str, text: str | None) -> None:
        """A string entry, unless empty."""
        if text:
            text = text[:MAX_TEXT]
            folded = self.folded.get(text)
            if folded is None:
                folded = self.folded[text] = fold(text)
            self.strings[name, folded, text] = None

    def interval(self, name: str, start: int, end: int) -> None:
        """A date entry; a period written backwards still has its stretch of time."""
        self.dates[(name, start, end) if start < end else (name, end, start)] = None

    def values(self, kind: EntryKind, name: str = "") -> tuple[Value, ...]:
        """The entries of a kind that have no name (or one that a modifier gave them), as a composite's
        component has them."""
        rows: Iterable[tuple[Any, ...]] = getattr(self, kind + "s")
        return tuple([(kind, *entry[1:]) for entry in rows if entry[0] == name])

    def entries(self, texts: Iterable[tuple[str, str]] = ()) -> Entries:
        return Entries(
            tuple(self.tokens),
            tuple(self.references),
            tuple(self.dates),
            tuple(self.strings),
            tuple(self.numbers),
            tuple(self.composites),
            tuple(self.positions),
            tuple(texts),
        )


Convert = Callable[[Any, Found], None]
Maker = Callable[[str], Convert]
