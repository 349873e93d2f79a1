"""The invariants of the standard's own definitions: all compile, name what there is, and judge.

FHIR R4 conformance-rules.html#constraints
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from profiles import definitions
from profiles.fhirpath import analysis, compiler
from profiles.fhirpath.nodes import Environment, Node, truth
from profiles.outcomes import Invalid
from profiles.schema.packages import standard

Json = dict[str, Any]
Invariants = frozenset[tuple[str, str, str]]
"""Path, key, expression."""


@cache
def invariants() -> tuple[Invariants, Invariants]:
    """Those of the types themselves, and those that profiles add."""
    base: set[tuple[str, str, str]] = set()
    added: set[tuple[str, str, str]] = set()
    for url in standard().urls("StructureDefinition"):
        structure = standard().structure(url) or {}
        found = added if structure.get("derivation") == "constraint" else base
        view = structure.get("snapshot") or structure.get("differential") or {}
        for element in view.get("element", ()):
            for row in element.get("constraint", ()):
                if "expression" in row:
                    found.add((element["path"], row["key"], row["expression"]))
    return frozenset(base), frozenset(added - base)


ON_EVERY_ELEMENT = {
    "hasValue() or (children().count() > id.count())",
    "hasValue() or (children().count() > id.count()) or $this is Parameters",
    "extension.exists() != value.exists()",
}
"""ele-1 and ext-1, which the packages leave out as the structure check judges them."""


def test_every_invariant_compiles() -> None:
    base, added = invariants()
    expressions = {expression for _path, _key, expression in base | added}
    assert len(expressions) > 200
    for expression in expressions | ON_EVERY_ELEMENT:
        compiler.compile(expression)


def types_at(path: str) -> list[str]:
    """The type keys that an element can have."""
    head, *names = path.split(".")
    types = [head]
    for name in names:
        elements = [definitions.elements(type).get(name.removesuffix("[x]")) for type in types]
        types = [type for element in elements if element is not None for type in element.types]
    return types


def test_invariants_name_elements_that_there_are_but_for_two() -> None:
    """Both faults are the standard's: ChargeItemDefinition has no name, and ras-1 meets a decimal."""
    faults, asked = set(), 0
    for path, key, expression in invariants()[0]:
        types = types_at(path) if definitions.is_type(path.partition(".")[0]) else []
        for type in types:
            asked += 1
            try:
                analysis.check(expression, type)
            except Invalid as error:
                faults.add((type, key, error.slug))
    assert asked > 900
    assert {fault for fault in faults if fault[0] not in ("Event", "MetadataResource")} == {
        ("ChargeItemDefinition", "cid-0", "fhirpath-semantic"),
        ("decimal", "ras-1", "fhirpath-semantic"),
    }


def expression_of(key: str) -> str:
    found = {expression for _path, one, expression in invariants()[0] if one == key}
    assert len(found) == 1
    return found.pop()


def node(type: str, /, **members: Any) -> Node:
    return ({k.rstrip("_"): v for k, v in members.items()}, type, None)


SUBJECT = {"resourceType": "Patient", "contained": [{"resourceType": "Practitioner", "id": "a"}]}


@pytest.mark.parametrize(
    ("key", "focus", "holds"),
    [
        ("per-1", node("Period", start="2024-01-01", end="2024"), None),
        ("per-1", node("Period", start="2024-01-01", end="2023-12-31"), False),
        ("per-1", node("Period", start="2024-01-01", end="2024-01-02T00:00:00Z"), None),
        ("per-1", node("Period", start="2024-01-01", end="2024-01-04T00:00:00Z"), True),
        ("pat-1", node("Patient.contact", gender="male"), False),
        ("pat-1", node("Patient.contact", name={"family": "x"}), True),
        ("qty-3", node("Quantity", value=1, code="mg"), False),
        ("qty-3", node("Quantity", value=1, code="mg", system="http://unitsofmeasure.org"), True),
        ("cpt-2", node("ContactPoint", value="1"), False),
        ("rng-2", node("Range", low={"value": 1, "unit": "x"}, high={"value": 2, "unit": "x"}), True),
        ("rng-2", node("Range", low={"value": 3, "unit": "x"}, high={"value": 2, "unit": "x"}), False),
        ("rng-2", node("Range", low={"value": 3, "unit": "x"}, high={"value": 2, "unit": "y"}), None),
        ("obs-6", node("Observation", valueString="x", dataAbsentReason={"text": "x"}), False),
        ("obs-7", node("Observation", valueString="x", code={"coding": [{"code": "c"}]}), True),
        ("obs-7", node("Observation", resourceType="Observation", valueString="x",
                       code={"coding": [{"code": "c", "system": "s"}]},
                       component=[{"code": {"coding": [{"code": "c", "system": "s"}]}}]), False),
        ("sdf-1", node("StructureDefinition", derivation="specialization",
                       snapshot={"element": [{"path": "A"}, {"path": "A"}]}), False),
        ("bdl-7", node("Bundle", type="batch", entry=[{"fullUrl": "a"}, {"fullUrl": "a"}]), False),
        ("bdl-7", node("Bundle", type="batch", entry=[{"fullUrl": "a"}, {"fullUrl": "b"}]), True),
        ("dom-2", (SUBJECT, "Patient", None), True),
        ("dom-3", (SUBJECT, "Patient", None), False),
        ("dom-3", (SUBJECT | {"generalPractitioner": [{"reference": "#a"}]}, "Patient", None), True),
        ("dom-3", (SUBJECT | {"generalPractitioner": [{"reference": "#a"}, {"reference": "#b"}]},
                   "Patient", None), True),
        ("ref-1", node("Reference", reference="#a"), True),
        ("ref-1", node("Reference", reference="#b"), False),
        ("eld-19", node("ElementDefinition", path="Patient.name"), True),
        ("eld-19", node("ElementDefinition", path=" "), False),
        ("que-1", node("Questionnaire.item", linkId="1", type="group"), False),
        ("txt-1", ("<div xmlns='http://www.w3.org/1999/xhtml'>x</div>", "xhtml", None), True),
        ("txt-1", ("<div xmlns='http://www.w3.org/1999/xhtml'><script/></div>", "xhtml", None), False),
    ],
)  # fmt: skip
def test_an_invariant_judges(key: str, focus: Node, holds: bool | None) -> None:
    run = compiler.compile(expression_of(key))
    own = focus[0] if isinstance(focus[0], dict) and "resourceType" in focus[0] else SUBJECT
    assert truth(run(focus, Environment(resource=own))) is holds
