"""`type.targetProfile`: what a reference may lead to, as far as its text tells, or the resource or
Bundle around.

FHIR R4 references.html#Reference
"""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles import definitions, references
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Targets:
    types: frozenset[str]
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        text = item.value.get("reference") if isinstance(item.value, dict) else None
        if not isinstance(text, str):
            return
        found = references.parse(text)
        resolve = context.environment.resolve
        target = resolve(text) if resolve is not None else None
        type = found.type if target is None else str(target.get("resourceType", ""))
        if type in definitions.resource_types() and type not in self.types:
            context.report.note(item.where, self.message)
