"""`minValue[x]` and `maxValue[x]`, compared as FHIRPath compares. FHIR R4 elementdefinition.html#minValue"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Limit:
    """`sign` is 1 for the least value, -1 for the greatest."""

    value: Any
    sign: int
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        order = compared(item.value, self.value)
        if order is not None and order * self.sign < 0:
            context.report.note(item.where, self.message)


def compared(value: Any, limit: Any) -> int | None:
    """-1, 0, 1; None for what cannot be compared. Dates of the same precision and zone compare as text."""
    if isinstance(limit, dict) and isinstance(value, dict):
        if value.get("code") != limit.get("code") or value.get("system") != limit.get("system"):
            return None
        return compared(value.get("value"), limit.get("value"))
    number: Callable[[Any], bool] = lambda one: (  # noqa: E731
        isinstance(one, int | float | Decimal) and not isinstance(one, bool)
    )
    if number(value) and number(limit):
        left, right = Decimal(str(value)), Decimal(str(limit))
        return (left > right) - (left < right)
    if isinstance(value, str) and isinstance(limit, str):
        shortest = min(len(value), len(limit))
        left_text, right_text = value[:shortest], limit[:shortest]
        return (left_text > right_text) - (left_text < right_text)
    return None
