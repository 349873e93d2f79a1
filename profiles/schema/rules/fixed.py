"""`fixed[x]`: the value is exactly this one. FHIR R4 elementdefinition.html#fixed"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Fixed:
    value: Any
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        if not same(item.value, self.value):
            context.report.note(item.where, self.message)


def same(value: Any, fixed: Any) -> bool:
    """Whether a value is exactly this one; true is not 1."""
    return bool(value == fixed) and isinstance(value, bool) == isinstance(fixed, bool)
