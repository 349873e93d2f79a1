"""`:above` and `:below` on references: through the hierarchies that the standard marks as such.

`location:below=Location/42` finds what refers to that place or to any within it, `:above` to it or to any
that it is within. The reader's Access narrows each level.

FHIR R4 search.html#recursive; StructureDefinition/structuredefinition-hierarchy
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from fhir_server.access import Access
from fhir_server.search.nodes import Chain, Has, Ids, Node, Or, Reference
from profiles.outcomes import Invalid

PARENT: Mapping[str, str] = MappingProxyType(
    {"CarePlan": "part-of", "Encounter": "part-of", "Location": "partof", "Organization": "partof"}
)
"""Type → the parameter that leads to what it is a part of."""
CIRCULAR = frozenset({("CarePlan", "based-on"), ("CarePlan", "replaces")})
"""(type, parameter) that are hierarchies of their own."""
LEVELS = 8
"""Steps up or down that are followed."""

Resolve = Callable[[Sequence[str], Sequence[str]], Reference]
"""(types, values) → the references they are."""


def asked(
    type: str,
    code: str,
    modifier: str,
    written: Sequence[str],
    targets: Sequence[str],
    access: Access,
    resolve: Resolve,
) -> Node:
    """Raises Invalid for a parameter, or a value, without such a hierarchy."""
    known = [target for target in targets if target in PARENT]
    if not known:
        raise Invalid(
            "unknown-modifier", f"{type}.{code} refers to nothing that has a hierarchy: no ':{modifier}' here"
        )
    wanted = resolve(known, written).targets
    nodes: list[Node] = [Reference(code, wanted)]
    for target in known:
        ids = tuple(each.partition("/")[2] for each in wanted if each.startswith(target + "/"))
        if ids:
            parent = code if (type, code) in CIRCULAR else PARENT[target]
            step = _Hierarchy(target, parent, ids, access)
            nodes.append(
                Chain(code, target, step.below(LEVELS) if modifier == "below" else step.above(LEVELS))
            )
    if len(nodes) == 1:
        raise Invalid("bad-reference", f"'{code}:{modifier}' takes one of {', '.join(known)}")
    return Or(tuple(nodes))


class _Hierarchy:
    """The conditions on one level, from `ids` of `type`."""

    def __init__(self, type: str, parent: str, ids: tuple[str, ...], access: Access) -> None:
        self.type, self.parent, self.ids, self.access = type, parent, ids, access

    def below(self, levels: int) -> Node:
        """Is within one of them."""
        node: Node = Reference(self.parent, tuple(f"{self.type}/{id}" for id in self.ids))
        if levels > 1:
            node = Or((node, Chain(self.parent, self.type, self.below(levels - 1))))
        return self.access.restrict(self.type, node)

    def above(self, levels: int) -> Node:
        """Has one of them within."""
        inner: Node = Ids(self.ids)
        if levels > 1:
            inner = Or((inner, self.above(levels - 1)))
        return self.access.restrict(
            self.type, Has(self.type, self.parent, self.access.restrict(self.type, inner))
        )
