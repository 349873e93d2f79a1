"""`pattern[x]`: the value has at least this content; in a list, each item of the pattern is somewhere.

FHIR R4 elementdefinition.html#pattern
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Pattern:
    value: Any
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        if not contains(item.value, self.value):
            context.report.note(item.where, self.message)


def contains(value: Any, pattern: Any) -> bool:
    """Whether a value has all that a pattern has."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            contains(value.get(k), wanted) for k, wanted in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(contains(one, wanted) for one in value) for wanted in pattern
        )
    return bool(value == pattern) and isinstance(value, bool) == isinstance(pattern, bool)
