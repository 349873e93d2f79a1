"""Compartments: what belongs to a patient, an encounter, a practitioner, a related person or a device.

FHIR R4 compartmentdefinition.html, search.html#3.1.1.2
"""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.search.nodes import Ids, Node, Or, Reference
from profiles.definitions import compartment, compartments
from profiles.outcomes import NotFound


def members(name: str, id: str) -> Mapping[str, Node]:
    """Type → what makes one of it a member of that compartment: a parameter of the definition that refers to
    the compartment's own resource, or being it. Raises NotFound."""
    if name not in compartments():
        raise NotFound(
            "unknown-compartment", f"{name} has no compartment; there are {', '.join(sorted(compartments()))}"
        )
    found: dict[str, Node] = {}
    for type, params in {name: (), **compartment(name)}.items():
        ways: tuple[Node, ...] = tuple(Reference(param, (f"{name}/{id}",)) for param in params)
        if type == name:
            ways = (Ids((id,)), *ways)
        found[type] = ways[0] if len(ways) == 1 else Or(ways)
    return found
