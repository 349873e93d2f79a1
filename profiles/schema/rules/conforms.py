"""`type.profile`: the value keeps one of these profiles. FHIR R4 elementdefinition.html#type"""

from __future__ import annotations

from dataclasses import dataclass, field

from profiles.schema.report import Message
from profiles.schema.rules.item import MAX_DEPTH, Context, Item


@dataclass(frozen=True, slots=True)
class Conforms:
    urls: tuple[str, ...]
    message: Message = field(compare=False)

    def check(self, item: Item, context: Context) -> None:
        if len(self.urls) == 1:
            only = context.profiles.get(self.urls[0])
            if only is not None and only.suits(item.type) and context.depth <= MAX_DEPTH:
                context.depth += 1
                only.check(item, context)
                context.depth -= 1
            return
        known = [one for url in self.urls if (one := context.profiles.get(url)) is not None]
        fitting = [one for one in known if one.suits(item.type)]
        if len(known) < len(self.urls) or not fitting or context.depth > MAX_DEPTH:
            return  # a profile that is not here cannot be judged; compiling has said so
        if len(fitting) == 1:
            context.depth += 1
            fitting[0].check(item, context)
            context.depth -= 1
        elif not any(context.conforms(item, one) for one in fitting):
            context.report.note(item.where, self.message)
