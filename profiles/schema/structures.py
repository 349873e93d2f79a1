"""A StructureDefinition's differential can be laid over its base. FHIR R4 profiling.html#snapshot"""

from __future__ import annotations

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item
from profiles.schema.snapshot import snapshot

UNPLACED = Message(
    "structure",
    "bad-differential",
    "the differential names an element that its base has not; correct the path or the type",
    "le différentiel désigne un élément que sa base n'a pas ; corrigez le chemin ou le type",
)


def check_structure(item: Item, context: Context) -> None:
    """Paths of the differential, where the base is known."""
    differential = item.value.get("differential")
    elements = differential.get("element") if isinstance(differential, dict) else None
    if not isinstance(elements, list) or not all(
        isinstance(one, dict) and isinstance(one.get("path"), str) for one in elements
    ):
        return
    bare = {key: value for key, value in item.value.items() if key != "snapshot"}
    tree = snapshot(bare, context.profiles.packages)
    if tree is not None and tree.problems:
        context.report.note((item.where, "differential", -1), UNPLACED)
