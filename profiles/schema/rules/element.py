"""An element below an item: how many there are, what each must keep, how they are sliced.

FHIR R4 elementdefinition.html#min
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item, Members, Rule, items_of

if TYPE_CHECKING:
    from profiles.schema.rules.slicing import Slicing


@dataclass(frozen=True, slots=True)
class ElementRule:
    """`step` is the FHIRPath step of the element; `max` None is
    unbounded."""

    step: str
    members: Members
    min: int
    max: int | None
    too_few: Message = field(compare=False)
    too_many: Message = field(compare=False)
    rules: tuple[Rule, ...]
    slicing: Slicing | None

    def check(self, item: Item, context: Context) -> None:
        if not self.members.any_of(item):
            if self.min:
                context.report.note((item.where, self.step, -1), self.too_few)
            if self.slicing is not None and self.slicing.needed:
                self.slicing.check_all([], (item.where, self.step, -1), context)
            return
        items = items_of(item, self.members)
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


def beyond(rules: Iterable[Rule], given: Iterable[Rule]) -> tuple[Rule, ...]:
    """What rules ask beyond others that the same item has to keep anyway: a slice repeats what its element
    asks."""
    known = list(given)
    elements = {rule.step: rule for rule in known if isinstance(rule, ElementRule)}
    found: list[Rule] = []
    for rule in rules:
        if rule in known:
            continue
        other = elements.get(rule.step) if isinstance(rule, ElementRule) else None
        if isinstance(rule, ElementRule) and other is not None:
            slicing = None if rule.slicing == other.slicing else rule.slicing
            rule = replace(rule, rules=beyond(rule.rules, other.rules), slicing=slicing)
            if not rule.rules and slicing is None and (rule.min, rule.max) == (other.min, other.max):
                continue
        found.append(rule)
    return tuple(found)
