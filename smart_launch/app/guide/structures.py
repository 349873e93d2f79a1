"""A profile's differential as rows that a person can read: what each element is, how often it stands, of
which type, and what is asked of it.

FHIR R4 elementdefinition.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from profiles import definitions
from smart_launch.app.guide.artefacts import address, named

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """Words that lead somewhere; no `address`: plain words."""

    words: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An invariant: `says` in French, `expression` in FHIRPath, `where` the element it is on."""

    key: str
    says: str
    expression: str
    where: str
    severity: str


@dataclass(frozen=True, slots=True)
class Row:
    """One element. `depth` counts from 0; `card` is the effective cardinality; `narrowed`: the profile
    changes it."""

    depth: int
    name: str
    slice: str
    card: str
    narrowed: bool
    must_support: bool
    types: tuple[Link, ...]
    sliced_by: str
    short: str
    value: str
    pattern: bool
    strength: str
    value_set: Link | None
    rules: tuple[Rule, ...]


def rows(structure: Json) -> list[Row]:
    """The elements of the differential below its root, in their order; what they are below of gets a row of
    its own where the differential passes it over."""
    made: list[Row] = []
    shown: set[str] = set()
    for element in structure["differential"]["element"][1:]:
        steps = element["id"].split(".")
        for depth in range(2, len(steps)):
            above = ".".join(steps[:depth])
            if above not in shown:
                shown.add(above)
                made.append(_row(structure["type"], {"id": above}))
        shown.add(element["id"])
        made.append(_row(structure["type"], element))
    return made


def _row(type: str, element: Json) -> Row:
    steps = element["id"].split(".")[1:]
    base = _base(type, steps)
    slice = element.get("sliceName", "")
    least = element.get("min", 0 if slice or base is None else base.min)
    most = element.get("max") or ("*" if base is None or base.max is None else str(base.max))
    pattern = any(name.startswith("pattern") for name in element)
    binding = element.get("binding", {})
    return Row(
        depth=len(steps) - 1,
        name=steps[-1].partition(":")[0],
        slice=slice,
        card=f"{least}..{most}",
        narrowed="min" in element or "max" in element,
        must_support=element.get("mustSupport", False),
        types=tuple(_types(element, base)),
        sliced_by=element.get("slicing", {}).get("discriminator", [{}])[0].get("path", ""),
        short=element.get("short", ""),
        value=_fixed(element),
        pattern=pattern,
        strength=binding.get("strength", ""),
        value_set=link(binding["valueSet"]) if binding else None,
        rules=tuple(_rule(one, element["id"].partition(".")[2]) for one in element.get("constraint", ())),
    )


def _base(type: str, steps: list[str]) -> definitions.Element | None:
    """The element of the base type that a path leads to."""
    key, found = type, None
    for step in steps:
        name = step.partition(":")[0]
        key = "Element" if key in definitions.primitives() else key
        elements = definitions.elements(key)
        found = elements.get(name.removesuffix("[x]"))
        if found is None:
            return None
        key = definitions.properties(key)[name][1] if name in definitions.properties(key) else found.types[0]
    return found


def _types(element: Json, base: definitions.Element | None) -> list[Link]:
    """The types that the profile leaves; those of the base where it says nothing."""
    said = element.get("type")
    if not said:
        names = base.types if base is not None else ()
        return [Link(name) for name in names if "." not in name][:3]
    made = []
    for one in said:
        targets = [link(url) for url in (*one.get("profile", ()), *one.get("targetProfile", ()))]
        made += targets or [Link(one["code"])]
    return made


def link(url: str) -> Link:
    """A canonical URL by the title of what it names."""
    found = named(url)
    return Link(found.title if found else url.rpartition("/")[2], address(url))


def _fixed(element: Json) -> str:
    """The value that is fixed or asked for, in short: a coding as `system#code`."""
    for name, value in element.items():
        if name.startswith(("fixed", "pattern")):
            if isinstance(value, dict):
                codings = value.get("coding") or []
                if codings:
                    return f"{codings[0]['system'].rpartition('/')[2]}#{codings[0]['code']}"
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return ""


def rules(structure: Json) -> list[Rule]:
    """Every invariant of a profile, each once, with the elements it is on."""
    found: dict[str, Rule] = {}
    for element in structure["differential"]["element"]:
        where = element["id"].partition(".")[2]
        for one in element.get("constraint", ()):
            rule = _rule(one, where)
            before = found.get(rule.key)
            if before is not None:
                rule = Rule(*_parts(before)[:3], f"{before.where}, {where}", before.severity)
            found[rule.key] = rule
    return list(found.values())


def _parts(rule: Rule) -> tuple[str, str, str]:
    return rule.key, rule.says, rule.expression


def _rule(constraint: Json, where: str) -> Rule:
    translation = constraint["_human"]["extension"][0]["extension"]
    says = next(one["valueString"] for one in translation if one["url"] == "content")
    return Rule(constraint["key"], says, constraint["expression"], where, constraint["severity"])


def contexts(structure: Json) -> list[Link]:
    """Where an extension may stand."""
    found = [str(one["expression"]) for one in structure.get("context", ())]
    return [Link(one, address(f"{definitions.FHIR_STRUCTURE}{one.partition('.')[0]}")) for one in found]
