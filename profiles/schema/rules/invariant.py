"""`constraint`: a FHIRPath expression that is true of the element.

FHIR R4 conformance-rules.html#constraints"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiles.fhirpath.nodes import Environment, Node, truth
from profiles.outcomes import Invalid
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item


@dataclass(frozen=True, slots=True)
class Invariant:
    """`run` is the compiled expression; `unjudged` is said when it cannot be worked out here."""

    run: Callable[[Node, Environment], list[Any]]
    message: Message
    unjudged: Message

    def check(self, item: Item, context: Context) -> None:
        environment = Environment(
            resource=context.resource, root=context.root, resolve=context.profiles.resolver(context)
        )
        try:
            held = truth(self.run((item.value, item.type, item.sibling), environment))
        except Invalid:
            context.report.note(item.where, self.unjudged)
            return
        if held is False:
            context.report.note(item.where, self.message)
