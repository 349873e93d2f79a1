"""Slicing: each item belongs to the first slice whose discriminators fit; slices have their own rules and
counts, and slices of their own. FHIR R4 profiling.html#slicing"""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles.schema.report import Message, Where
from profiles.schema.rules.item import Context, Item, Predicate, Rule


@dataclass(frozen=True, slots=True)
class Slice:
    """`matches` None: its discriminator could not be compiled, and nothing is said about it."""

    name: str
    matches: Predicate | None
    min: int
    max: int | None
    too_few: Message = field(compare=False)
    too_many: Message = field(compare=False)
    rules: tuple[Rule, ...]
    slicing: Slicing | None


@dataclass(frozen=True, slots=True)
class Slicing:
    slices: tuple[Slice, ...]
    rules: str
    ordered: bool
    closed: Message = field(compare=False)
    at_end: Message = field(compare=False)
    order: Message = field(compare=False)
    needed: tuple[int, ...] = field(init=False, compare=False)
    judged: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Worked out once: the slices that ask something even without items, and whether all can be told."""
        needed = tuple(place for place, one in enumerate(self.slices) if one.min)
        object.__setattr__(self, "needed", needed)
        object.__setattr__(self, "judged", all(one.matches is not None for one in self.slices))

    def check_all(self, items: list[Item], where: Where, context: Context) -> None:
        """`where` is the place of the whole element."""
        sorted_out: dict[int, list[Item]] = {place: [] for place in self.needed}
        last, open_seen = -1, False
        for item in items:
            place = self._place(item, context)
            if place < 0:
                open_seen = True
                if self.rules == "closed" and self.judged:
                    context.report.note(item.where, self.closed)
                continue
            sorted_out.setdefault(place, []).append(item)
            if open_seen and self.rules == "openAtEnd":
                context.report.note(item.where, self.at_end)
            if self.ordered and place < last:
                context.report.note(item.where, self.order)
            last = max(last, place)
        for place, members in sorted_out.items():
            _check_slice(self.slices[place], members, where, context)

    def _place(self, item: Item, context: Context) -> int:
        for place, slice in enumerate(self.slices):
            if slice.matches is not None and slice.matches(item, context):
                return place
        return -1


def _check_slice(slice: Slice, items: list[Item], where: Where, context: Context) -> None:
    if slice.matches is None:
        return
    if len(items) < slice.min:
        context.report.note(where, slice.too_few)
    if slice.max is not None and len(items) > slice.max:
        context.report.note(where, slice.too_many)
    for item in items:
        for rule in slice.rules:
            rule.check(item, context)
    if slice.slicing is not None:
        slice.slicing.check_all(items, where, context)
