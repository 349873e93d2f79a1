"""References and canonical URLs by themselves.

FHIR R4 references.html#Reference; references.html#canonical; bundle.html#references
"""

from __future__ import annotations

from profiles import references
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item

OTHER_TYPE = Message(
    "value",
    "other-type",
    "the reference leads to another type than it says; make type and reference agree",
    "la référence mène à un autre type que celui annoncé ; accordez type et référence",
)
NOT_IN_BUNDLE = Message(
    "not-found",
    "not-in-bundle",
    "no entry of the Bundle has this URN as its fullUrl; add the entry, or correct the reference",
    "aucune entrée du Bundle n'a cet URN pour fullUrl ; ajoutez l'entrée, ou corrigez la référence",
)
RELATIVE = Message(
    "value",
    "relative-canonical",
    "a canonical URL is absolute, or a fragment #id; write it in full",
    "une URL canonique est absolue, ou un fragment #id ; écrivez-la en entier",
    "warning",
)


def check_reference(item: Item, context: Context) -> None:
    """A Reference's text against its type, and an URN against the Bundle around."""
    text, type = item.value.get("reference"), item.value.get("type")
    if not isinstance(text, str):
        return
    if isinstance(type, str):
        found = references.parse(text).type
        target = context.environment.resolve(text) if not found and context.environment.resolve else None
        named = found or str((target or {}).get("resourceType", ""))
        if named and named != type.removeprefix("http://hl7.org/fhir/StructureDefinition/"):
            context.report.note((item.where, "type", -1), OTHER_TYPE)
    if context.strict and context.around and text.startswith("urn:") and text not in context.around:
        context.report.note((item.where, "reference", -1), NOT_IN_BUNDLE)


def check_canonical(item: Item, context: Context) -> None:
    """A canonical's text."""
    if isinstance(item.value, str) and ":" not in item.value and not item.value.startswith("#"):
        context.report.note(item.where, RELATIVE)
