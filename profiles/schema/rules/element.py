"""An element below an item: how many there are, what each must keep, how they are sliced.

FHIR R4 elementdefinition.html#min
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item, Rule, items_of

if TYPE_CHECKING:
    from profiles.schema.rules.slicing import Slicing


@dataclass(frozen=True, slots=True)
class ElementRule:
    """`members` as `items_of` takes them; `step` is the FHIRPath step of the element; `max` None is
    unbounded."""

    step: str
    members: tuple[tuple[str, str, str], ...]
    min: int
    max: int | None
    too_few: Message
    too_many: Message
    rules: tuple[Rule, ...]
    slicing: Slicing | None

    def check(self, item: Item, context: Context) -> None:
        items = list(items_of(item, self.members))
        count = len(items)
        if count < self.min:
            context.report.note((item.where, self.step, -1), self.too_few)
        if self.max is not None and count > self.max:
            context.report.note((item.where, self.step, -1), self.too_many)
        for one in items:
            for rule in self.rules:
                rule.check(one, context)
        if self.slicing is not None:
            self.slicing.check_all(items, (item.where, self.step, -1), context)
