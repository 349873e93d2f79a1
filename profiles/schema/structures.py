"""A StructureDefinition: its differential fits over its base, its invariants are FHIRPath.

FHIR R4 profiling.html#snapshot; structuredefinition.html
"""

from __future__ import annotations

from typing import Any

from profiles.fhirpath.parser import parse
from profiles.outcomes import Invalid
from profiles.schema.report import Message, Where
from profiles.schema.rules.item import Context, Item
from profiles.schema.snapshot import snapshot

Json = dict[str, Any]
OTHER_TYPE = Message(
    "structure",
    "other-type",
    "a profile has the type of its base; write that type, or derive by specialization",
    "un profil a le type de sa base ; écrivez ce type, ou dérivez par specialization",
)
NOT_FHIRPATH = Message(
    "value",
    "bad-expression",
    "the expression is not valid FHIRPath; correct it",
    "l'expression n'est pas du FHIRPath valide ; corrigez-la",
)


def check_structure(item: Item, context: Context) -> None:
    """The differential against the base, where that is known."""
    definition, packages = item.value, context.profiles.packages
    base = packages.structure(str(definition.get("baseDefinition", "")))
    constrains = definition.get("derivation") == "constraint"
    if constrains and base is not None and base.get("type") != definition.get("type"):
        context.report.note((item.where, "type", -1), OTHER_TYPE)
        return
    bare = {key: value for key, value in definition.items() if key != "snapshot"}
    tree = snapshot(bare, packages)
    for problem in tree.problems if tree is not None else ():
        context.report.note((item.where, "differential", -1), _misfit(problem))
    for view in ("differential", "snapshot"):
        rows = (definition.get(view) or {}).get("element") or []
        for place, element in enumerate(rows):
            for number, row in enumerate(element.get("constraint") or []):
                at: Where = (((item.where, view, -1), "element", place), "constraint", number)
                check_fhirpath(row.get("expression"), (at, "expression", -1), context)


def check_parameter(item: Item, context: Context) -> None:
    """A SearchParameter's expression."""
    check_fhirpath(item.value.get("expression"), (item.where, "expression", -1), context)


def check_fhirpath(text: Any, where: Where, context: Context) -> None:
    """The syntax alone."""
    if not isinstance(text, str):
        return
    try:
        parse(text)
    except Invalid:
        context.report.note(where, NOT_FHIRPATH)


def _misfit(problem: str) -> Message:
    return Message(
        "structure",
        "bad-differential",
        f"the differential does not fit over its base: {problem[:300]}; correct it",
        f"le différentiel ne s'applique pas à sa base : {problem[:300]} ; corrigez-le",
    )
