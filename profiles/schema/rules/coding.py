"""A Coding's system is an absolute URI, and a code system's, not a value set's.

FHIR R4 datatypes.html#Coding"""

from __future__ import annotations

from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item

RELATIVE = Message(
    "value",
    "relative-system",
    "the system of a coding is an absolute URI; write the code system's URL in full",
    "le système d'un codage est une URI absolue ; écrivez l'URL complète du système de codes",
)
VALUE_SET = Message(
    "value",
    "system-is-value-set",
    "this names a value set; write the URL of the code system that the code is of",
    "ceci désigne un jeu de valeurs ; écrivez l'URL du système de codes dont vient le code",
)


def check_coding(item: Item, context: Context) -> None:
    """What can be told without a terminology service."""
    system = item.value.get("system")
    if not isinstance(system, str):
        return
    if ":" not in system:
        context.report.note((item.where, "system", -1), RELATIVE)
    elif system.startswith("http://hl7.org/fhir/ValueSet/"):
        context.report.note((item.where, "system", -1), VALUE_SET)
