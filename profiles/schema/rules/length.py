"""`maxLength`, in characters. FHIR R4 elementdefinition.html#maxLength"""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Length:
    most: int
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        if isinstance(item.value, str) and len(item.value) > self.most:
            context.report.note(item.where, self.message)
