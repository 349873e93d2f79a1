"""Code systems and value sets that are whole in themselves: properties are defined, parameters are declared.

FHIR R4 codesystem.html#properties; valueset.html#compositions
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from profiles.schema.report import Message, Where
from profiles.schema.rules.item import Context, Item

Json = dict[str, Any]
EXPRESSION = "http://hl7.org/fhir/StructureDefinition/cqf-expression"
PARAMETER = "http://hl7.org/fhir/tools/StructureDefinition/valueset-parameter"
_VARIABLE = re.compile(r"%([A-Za-z][A-Za-z0-9_-]*)")
UNDEFINED = Message(
    "structure",
    "undefined-property",
    "the code system defines no property with this code; define it in CodeSystem.property",
    "le système de codes ne définit pas de propriété avec ce code ; définissez-la dans CodeSystem.property",
)
NOT_FHIRPATH = Message(
    "value",
    "not-fhirpath",
    "an expression in a value set is FHIRPath (text/fhirpath); write it in that language",
    "une expression dans un jeu de valeurs est du FHIRPath (text/fhirpath) ; écrivez-la dans ce langage",
)
UNDECLARED = Message(
    "value",
    "undeclared-parameter",
    "the expression names a parameter that the value set does not declare; declare it, or correct the name",
    "l'expression nomme un paramètre que le jeu de valeurs ne déclare pas ; déclarez-le ou corrigez le nom",
)
ALWAYS = frozenset(
    {"status", "inactive", "effectiveDate", "deprecationDate", "parent", "child", "notSelectable"}
)
"""Properties that HL7 defines for every code system. FHIR R4 codesystem.html#defined-props"""


def check_code_system(item: Item, context: Context) -> None:
    """The concepts' properties."""
    defined = ALWAYS | {one.get("code") for _n, one in _dicts(item.value.get("property"))}
    pending: list[tuple[Json, Where]] = [(item.value, item.where)]
    while pending:
        holder, where = pending.pop()
        for place, concept in _dicts(holder.get("concept")):
            at: Where = (where, "concept", place)
            pending.append((concept, at))
            for number, one in _dicts(concept.get("property")):
                if one.get("code") not in defined:
                    context.doubt((at, "property", number), UNDEFINED)


def check_value_set(item: Item, context: Context) -> None:
    """The expressions of filters."""
    declared = set(_parameters(item.value))
    compose = item.value.get("compose")
    for name in ("include", "exclude"):
        for place, part in _dicts(compose.get(name) if isinstance(compose, dict) else None):
            for number, filter in _dicts(part.get("filter")):
                at: Where = ((((item.where, "compose", -1), name, place), "filter", number), "value", -1)
                _check_filter(filter, declared, at, context)


def _check_filter(filter: Json, declared: set[str], where: Where, context: Context) -> None:
    beside = filter.get("_value")
    for place, one in _dicts(beside.get("extension") if isinstance(beside, dict) else None):
        expression = one.get("valueExpression")
        if one.get("url") != EXPRESSION or not isinstance(expression, dict):
            continue
        at: Where = (where, "extension", place)
        if expression.get("language") != "text/fhirpath":
            context.doubt(at, NOT_FHIRPATH)
        elif set(_VARIABLE.findall(str(expression.get("expression", "")))) - declared:
            context.doubt(at, UNDECLARED)


def _parameters(value_set: Json) -> Iterator[str]:
    for _n, one in _dicts(value_set.get("extension")):
        if one.get("url") == PARAMETER:
            for _m, part in _dicts(one.get("extension")):
                if part.get("url") == "name" and isinstance(part.get("valueCode"), str):
                    yield part["valueCode"]


def _dicts(value: Any) -> Iterator[tuple[int, Json]]:
    for place, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, dict):
            yield place, one
