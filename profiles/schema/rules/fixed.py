"""`fixed[x]`: the value is exactly this one. FHIR R4 elementdefinition.html#fixed"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Fixed:
    value: Any
    message: Message

    def check(self, item: Item, context: Context) -> None:
        if item.value != self.value or isinstance(item.value, bool) != isinstance(self.value, bool):
            context.report.note(item.where, self.message)
