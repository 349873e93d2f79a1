"""FHIR's functions of codes: `memberOf`, `subsumes`, `subsumedBy`, as the environment's terminology judges.

What it cannot judge is empty, neither true nor false. FHIR R4 fhirpath.html#functions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiles.fhirpath.functions.calling import TestBuilder, argument, valued_test
from profiles.fhirpath.nodes import Collection, Node, Scope
from profiles.fhirpath.values import named, single
from profiles.outcomes import Invalid


def _member_of(found: Collection, arguments: list[Collection], scope: Scope) -> bool | None:
    node, url, ask = single(found), argument(arguments[0]).of, scope.evaluation.environment.member_of
    if node is None or not isinstance(url, str) or ask is None:
        return None
    scope.evaluation.spend(10)
    return ask(node, url)


def _subsumes(found: Collection, arguments: list[Collection], scope: Scope) -> bool | None:
    return _covers(found, arguments[0], scope)


def _subsumed_by(found: Collection, arguments: list[Collection], scope: Scope) -> bool | None:
    return _covers(arguments[0], found, scope)


def _covers(above: Collection, below: Collection, scope: Scope) -> bool | None:
    """Whether some coding above is or subsumes one below, of the same system."""
    one, other = single(above), single(below)
    if one is None or other is None:
        return None
    result: bool | None = False
    for system, code in _codings(one):
        for other_system, other_code in _codings(other):
            scope.evaluation.spend(1)
            if system != other_system:
                continue
            ask = scope.evaluation.environment.subsumes
            answer = True if code == other_code else None if ask is None else ask(system, code, other_code)
            if answer:
                return True
            result = None if answer is None else result
    return result


def _codings(node: Node) -> list[tuple[str, str]]:
    """System and code of a Coding, or of each of a CodeableConcept. Raises Invalid for what is neither."""
    value, type, _sibling = node
    if not isinstance(value, dict) or type not in ("Coding", "CodeableConcept"):
        raise Invalid("fhirpath-type", f"FHIRPath subsumes() compares codings, not {named(node)}")
    found: Any = value.get("coding") if type == "CodeableConcept" else [value]
    pairs = [
        (coding.get("system"), coding.get("code"))
        for coding in (found if isinstance(found, list) else ())
        if isinstance(coding, dict)
    ]
    return [pair for pair in pairs if isinstance(pair[0], str) and isinstance(pair[1], str)]  # type: ignore[misc]


TESTS: Mapping[str, TestBuilder] = {
    "memberOf": valued_test("memberOf", 1, 1, _member_of),
    "subsumes": valued_test("subsumes", 1, 1, _subsumes),
    "subsumedBy": valued_test("subsumedBy", 1, 1, _subsumed_by),
}
