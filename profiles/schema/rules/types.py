"""The types that a profile leaves of a choice. FHIR R4 profiling.html#cardinality"""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles import definitions
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Types:
    types: frozenset[str]
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        if not fits(item.type, self.types):
            context.report.note(item.where, self.message)


def fits(type: str, types: frozenset[str]) -> bool:
    """Whether a type is one of these or specialises one."""
    return type in types or any(definitions.is_kind_of(type, allowed) for allowed in types)
