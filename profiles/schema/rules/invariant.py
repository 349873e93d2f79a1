"""`constraint`: a FHIRPath expression that is true of the element.

FHIR R4 conformance-rules.html#constraints"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from profiles.fhirpath.nodes import Environment, Node
from profiles.fhirpath.syntax import Expression
from profiles.outcomes import Invalid
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Invariant:
    """`judge` is the compiled expression, `tree` what it says; `unjudged` is said when it cannot be worked
    out here. An expression that is empty does not hold."""

    tree: Expression
    judge: Callable[[Node, Environment], bool | None]
    message: Message = field(compare=False)
    unjudged: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        if self.message.severity == "warning" and not context.strict:
            return  # a write is not refused for it
        try:
            held = self.judge((item.value, item.type, item.sibling), context.environment)
        except Invalid:
            context.report.note(item.where, self.unjudged)
            return
        if not held:
            context.report.note(item.where, self.message)
