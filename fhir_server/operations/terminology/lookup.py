"""What a code means. FHIR R4 codesystem-operation-lookup.html"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.operations.terminology.asked import Asked, Json, coding_of
from fhir_server.operations.terminology.sources import code_system, parameters
from profiles.outcomes import Invalid, NotFound
from terminology.code_systems.concept import Concept, System
from terminology.displays import shown

_TEXTS = ("code", "system", "version", "date", "displayLanguage", "property")


async def lookup(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Raises NotFound for a code or system that is not known, Invalid."""
    asked = Asked.of(request, _TEXTS, {"coding": "Coding"})
    system, code = _code(asked)
    source = await code_system(engine, access, request, asked, system)
    concept = source.find(code)
    if concept is None:
        raise NotFound("unknown-code", f"{source.url} has no such code here")
    wanted = asked.all("property")
    language = asked.text("displayLanguage") or ""
    display = shown(concept.display, concept.designations, language)
    rows: list[Json] = [{"name": "name", "valueString": source.name}]
    if source.version:
        rows.append({"name": "version", "valueString": source.version})
    rows.append({"name": "display", "valueString": display or concept.code})
    rows += [row for name, row in _details(source, concept) if not wanted or name in wanted]
    return OperationResult(200, parameters(*rows))


def _code(asked: Asked) -> tuple[str | None, str]:
    if "coding" in asked.objects:
        if asked.text("code") is not None:
            raise Invalid("two-codes", "give a code with its system, or a coding, not both")
        system, code, _display = coding_of(asked.objects["coding"])
        return system, code
    code_text = asked.text("code")
    if not code_text:
        raise Invalid("no-code", "the operation takes a code with its system, or a coding")
    return asked.text("system"), code_text


def _details(source: System, concept: Concept) -> Iterator[tuple[str, Json]]:
    """(the name it is asked for by, the row)."""
    for one in concept.designations:
        parts: list[Json] = [{"name": "value", "valueString": one.value}]
        if one.use:
            parts.insert(0, {"name": "use", "valueCoding": dict(one.use)})
        if one.language:
            parts.insert(0, {"name": "language", "valueCode": one.language})
        yield "designation", {"name": "designation", "part": parts}
    if concept.definition:
        yield "definition", _property("definition", "valueString", concept.definition)
    yield "inactive", _property("inactive", "valueBoolean", concept.inactive)
    if concept.abstract:
        yield "notSelectable", _property("notSelectable", "valueBoolean", True)
    for code in source.parents(concept.code):
        yield "parent", _property("parent", "valueCode", code)
    for code in source.children(concept.code):
        yield "child", _property("child", "valueCode", code)
    for own in concept.properties:
        if own.code not in ("inactive", "notSelectable", "parent", "child"):
            yield own.code, _property(own.code, own.member, own.value)


def _property(code: str, member: str, value: object) -> Json:
    return {
        "name": "property",
        "part": [{"name": "code", "valueCode": code}, {"name": "value", member: value}],
    }
