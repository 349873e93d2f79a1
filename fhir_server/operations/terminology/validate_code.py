"""Is a code in a code system, or in a value set?

A wrong display makes the result false, and the right one is returned; `lenient-display-validation` makes it a
message. An abstract code counts unless `abstract` is false. What cannot be judged is false with a
message that names the missing system, which also stands in `x-caused-by-unknown-system`.

FHIR R4 codesystem-operation-validate-code.html, valueset-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.operations.terminology.asked import Asked, Json, coding_of
from fhir_server.operations.terminology.sources import code_system, parameters, terminology, value_set
from profiles.codes import Verdict
from profiles.outcomes import Invalid
from terminology.code_systems.concept import Concept
from terminology.displays import shown
from terminology.service import judge_in

Coded = tuple[str | None, str, str | None]
"""system, code, display"""
Judge = Callable[[Coded], Verdict]
Find = Callable[[str, str], Concept | None]

_CODED = {"coding": "Coding", "codeableConcept": "CodeableConcept"}
_COMMON = ("code", "display", "date", "abstract", "displayLanguage", "lenient-display-validation")


async def in_code_system(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Raises NotFound, Invalid, Unprocessable."""
    texts = ("url", "version", *_COMMON)
    asked = Asked.of(request, texts, {"codeSystem": "CodeSystem", **_CODED})
    codes = _codes(asked, asked.text("url"))
    url = asked.text("url") or next((system for system, _, _ in codes if system), None)
    source = await code_system(engine, access, request, asked, url)

    def judge(coded: Coded) -> Verdict:
        system, code, display = coded
        if system and system != source.url:
            return Verdict("no", f"the coding is of {system}, not of {source.url}", system)
        return judge_in(source, code, display)

    return _answer(asked, codes, judge, lambda _system, code: source.find(code))


async def in_value_set(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Raises NotFound, Invalid, Unprocessable."""
    texts = ("url", "valueSetVersion", "system", "systemVersion", "inferSystem", *_COMMON)
    asked = Asked.of(request, texts, {"valueSet": "ValueSet", **_CODED})
    codes = _codes(asked, asked.text("system"))
    known = await terminology(engine, access, "ValueSet")
    compiled, _said = await value_set(engine, access, request, asked)

    def judge(coded: Coded) -> Verdict:
        system, code, display = coded
        if system is None and sum(compiled.has(each, code) is True for each in compiled.systems) > 1:
            return Verdict("no", "several code systems of the value set have the code: give its system")
        return known.judge(compiled, system, code, display)

    return _answer(asked, codes, judge, known.concept)


def _codes(asked: Asked, system: str | None) -> list[Coded]:
    """What is to be judged. Raises Invalid unless exactly one way of saying it is used."""
    code = asked.text("code")
    ways = [code is not None, *(name in asked.objects for name in _CODED)]
    if sum(ways) != 1:
        raise Invalid("no-code", "the operation takes one of code, coding, codeableConcept")
    if code is not None:
        return [(system, code, asked.text("display"))]
    if "coding" in asked.objects:
        return [_named(asked.objects["coding"])]
    rows = asked.objects["codeableConcept"].get("coding")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Invalid("no-code", "the codeableConcept has no coding")
    return [_named(row) for row in rows]


def _named(coding: Json) -> Coded:
    """A Coding without a system is of none: nothing is guessed for it."""
    system, code, display = coding_of(coding)
    return system or "", code, display


def _answer(asked: Asked, codes: list[Coded], judge: Judge, find: Find) -> OperationResult:
    """The first coding that is in, else the first that is not."""
    allowed = {"lenient-display-validation"} if asked.flag("lenient-display-validation") else set()
    allowed |= {"abstract"} if asked.flag("abstract") is not False else set()
    judged = [(_strict(judge(coded), coded, find, allowed), coded) for coded in codes]
    verdict, coded = next((pair for pair in judged if pair[0].result == "yes"), judged[0])
    rows: list[Json] = [{"name": "result", "valueBoolean": verdict.result == "yes"}]
    if verdict.message:
        rows.append({"name": "message", "valueString": verdict.message})
    concept = find(verdict.system, coded[1]) if verdict.system else None
    language = asked.text("displayLanguage") or ""
    display = shown(verdict.display, concept.designations if concept else (), language)
    if display:
        rows.append({"name": "display", "valueString": display})
    rows.append({"name": "code", "valueCode": coded[1]})
    if verdict.system:
        rows.append({"name": "system", "valueUri": verdict.system})
    rows += [{"name": "x-caused-by-unknown-system", "valueUri": name} for name in verdict.unknown_systems]
    return OperationResult(200, parameters(*rows))


def _strict(verdict: Verdict, coded: Coded, find: Find, allowed: Collection[str]) -> Verdict:
    """`no` for a wrong display, and for an abstract code, where those are not allowed."""
    if verdict.result != "yes":
        return verdict
    concept = find(verdict.system, coded[1]) if verdict.system else None
    if concept is not None and concept.abstract and "abstract" not in allowed:
        return Verdict(
            "no", "the code is abstract: it groups others and is not chosen", verdict.system, verdict.display
        )
    if verdict.message and "lenient-display-validation" not in allowed:
        return Verdict("no", verdict.message, verdict.system, verdict.display)
    return verdict
