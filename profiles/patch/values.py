"""The `value` of a FHIRPath Patch operation as JSON that fits an element.

A value is a data type (`value[x]`), a resource, or, for a backbone, parts named like its elements.
FHIR R4 fhirpatch.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from profiles import definitions
from profiles.definitions import Element
from profiles.outcomes import Unprocessable

Json = dict[str, Any]
_KINDS = {
    "boolean": "boolean",
    "integer": "number",
    "unsignedInt": "number",
    "positiveInt": "number",
    "decimal": "number",
}


@dataclass(frozen=True, slots=True)
class Target:
    """An element that a value is for: `element` of `owner` (a type key); `name` as the patch has it, with the
    type of a choice or without."""

    owner: str
    name: str
    element: Element


@dataclass(frozen=True, slots=True)
class Value:
    """What is to stand there: the member's name, its value and the primitive's `_name` object."""

    name: str
    value: Any
    sibling: Json | None = None


def target(owner: str, name: str) -> Target | None:
    """The element of that name, `deceased` and `deceasedBoolean` alike; None when there is none."""
    element = definitions.elements(owner).get(name)
    if element is None and (found := definitions.properties(owner).get(name)) is not None:
        element = found[0]
    return None if element is None else Target(owner, name, element)


def value_for(at: Target, part: Json) -> Value:
    """The value in one part. Raises Unprocessable when its type is not the element's."""
    element = at.element
    if "resource" in part:
        if not definitions.ABSTRACT.isdisjoint(element.types):
            return Value(element.name, part["resource"])
        _unfit(at, "a resource")
    if "part" in part:
        backbones = [type for type in element.types if type not in definitions.primitives()]
        if len(backbones) != 1 or backbones[0] in definitions.ABSTRACT:
            _unfit(at, "parts")
        return Value(element.name, _parts(backbones[0], part["part"]))
    choices = definitions.properties("Parameters.parameter")
    for name in (name.removeprefix("_") for name in part):
        if name in choices and choices[name][0].choice:
            return _typed(at, choices[name][1], part.get(name), part.get("_" + name))
    return _unfit(at, "nothing")


def _typed(at: Target, type: str, value: Any, sibling: Json | None) -> Value:
    element = at.element
    if element.choice:
        name = element.name + type[0].upper() + type[1:]
        if type not in element.types or at.name not in (element.name, name):
            _unfit(at, type)
        return Value(name, value, sibling)
    primitives = definitions.primitives()
    for of in element.types:
        if of in primitives and type in primitives and _kind(of) == _kind(type):
            return Value(element.name, value, sibling)
        if of not in primitives and (definitions.is_kind_of(type, of) or definitions.is_kind_of(of, type)):
            return Value(element.name, value)
    return _unfit(at, type)


def _kind(type: str) -> str:
    return _KINDS.get(type, "text")


def _parts(type: str, parts: list[Json]) -> Json:
    made: Json = {}
    for part in parts:
        name = part.get("name", "")
        inner = target(type, name)
        if inner is None:
            raise Unprocessable(
                "patch-failed", f"a value has the part {name[:64]!r}; {type} has no such element"
            )
        given = value_for(inner, part)
        if inner.element.repeats:
            items = made.setdefault(given.name, [])
            items.append(given.value)
            if given.sibling is not None or "_" + given.name in made:
                gaps = made.setdefault("_" + given.name, [])
                gaps.extend([None] * (len(items) - 1 - len(gaps)))
                gaps.append(given.sibling)
        elif given.name in made:
            raise Unprocessable(
                "patch-failed", f"a value has the part {name[:64]!r} twice; {type} has it once"
            )
        else:
            made[given.name] = given.value
            if given.sibling is not None:
                made["_" + given.name] = given.sibling
    return made


def _unfit(at: Target, given: str) -> NoReturn:
    expected = " or ".join(at.element.types[:8])
    raise Unprocessable(
        "patch-failed", f"{given} is given as the value of {at.owner}.{at.element.name}; expected {expected}"
    )
