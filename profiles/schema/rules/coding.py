"""Codings and quantities by themselves: a system is an absolute URI and a code system's, and it has the code.

A code system that is not loaded tells nothing. A display that is none of the concept's is a warning: it may
be a translation. FHIR R4 datatypes.html#Coding; datatypes.html#Quantity
"""

from __future__ import annotations

from profiles import quantities
from profiles.schema.report import Message
from profiles.schema.rules.item import Context, Item

UCUM = "http://unitsofmeasure.org"
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
NOT_UCUM = Message(
    "code-invalid",
    "bad-unit",
    "the code is no unit of UCUM; write one, or leave system and code away",
    "le code n'est pas une unité UCUM ; écrivez-en une, ou retirez système et code",
)


def check_coding(item: Item, context: Context) -> None:
    """A Coding."""
    system, code, display = (item.value.get(name) for name in ("system", "code", "display"))
    if not isinstance(system, str):
        return
    if ":" not in system:
        context.report.note((item.where, "system", -1), RELATIVE)
    elif system.startswith("http://hl7.org/fhir/ValueSet/"):
        context.report.note((item.where, "system", -1), VALUE_SET)
    elif context.strict and context.codes is not None and isinstance(code, str):
        named = display if isinstance(display, str) else None
        verdict = context.codes.validate_in_system(system, code, named)
        if verdict.result == "no":
            context.report.note((item.where, "code", -1), _no_such_code(system))
        elif verdict.result == "yes" and verdict.message and verdict.display not in (None, code):
            context.report.note((item.where, "display", -1), _other_display(verdict.display))


def check_quantity(item: Item, context: Context) -> None:
    """A Quantity's unit."""
    code = item.value.get("code")
    if item.value.get("system") == UCUM and isinstance(code, str) and not quantities.valid(code):
        context.doubt((item.where, "code", -1), NOT_UCUM)


def _no_such_code(system: str) -> Message:
    return Message(
        "code-invalid",
        "unknown-code",
        f"{system[:200]} has no such code; use one of its codes",
        f"{system[:200]} n'a pas ce code ; utilisez l'un de ses codes",
    )


def _other_display(display: str | None) -> Message:
    return Message(
        "code-invalid",
        "bad-display",
        f"the display is none of the concept's; expected {display or 'that of the code system'}",
        f"le libellé n'est pas celui du concept ; attendu : {display or 'celui du système'}",
        "warning",
    )
