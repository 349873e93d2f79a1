"""The codes of a value set, filtered by what a person types, page by page.

The answer is flat, in the order of the definition. FHIR R4 valueset-operation-expand.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.operations.terminology.asked import Asked, Json
from fhir_server.operations.terminology.sources import value_set
from profiles.folding import fold
from profiles.outcomes import Unprocessable
from terminology.displays import shown
from terminology.value_sets.filters import CannotJudge
from terminology.value_sets.value_set import Member, ValueSet

MOST = 10_000
"""Codes in one answer; more are to be asked for in pages."""
_USED = (
    "filter",
    "offset",
    "count",
    "activeOnly",
    "displayLanguage",
    "includeDesignations",
    "exclude-system",
)
_TEXTS = (
    "url", "valueSetVersion", "date", "includeDefinition", "excludeNested", "excludeNotForUI",
    "excludePostCoordinated", *_USED,
)  # fmt: skip
_KEPT = ("url", "version", "name", "title", "status", "experimental", "id")
Wanted = Callable[[Member], bool]


async def expand(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Raises NotFound, Invalid, and Unprocessable for one that cannot be listed here, or is too large for one
    answer."""
    asked = Asked.of(request, _TEXTS, {"valueSet": "ValueSet"})
    count, offset = asked.number("count"), asked.number("offset") or 0
    compiled, said = await value_set(engine, access, request, asked)
    members = await asyncio.to_thread(_members, compiled, _wanted(asked))
    if (count is None and len(members) - offset > MOST) or (count is not None and count > MOST):
        raise Unprocessable("too-costly", f"an answer has at most {MOST} codes: ask with count and offset")
    page = members[offset : offset + (MOST if count is None else count)]
    kept = {name: said[name] for name in _KEPT if name in said}
    resource: Json = {"resourceType": "ValueSet", "status": "active", **kept}
    if asked.flag("includeDefinition") and "compose" in said:
        resource["compose"] = said["compose"]
    resource["expansion"] = {
        "identifier": f"urn:uuid:{uuid4()}",
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "total": len(members),
        "offset": offset,
    }
    told = [_told(name, asked) for name in _USED if asked.all(name)]
    if told:
        resource["expansion"]["parameter"] = told
    if page:
        resource["expansion"]["contains"] = [_contains(member, asked) for member in page]
    return OperationResult(200, resource)


def _members(compiled: ValueSet, wanted: Wanted) -> list[Member]:
    try:
        return [member for member in compiled.members() if wanted(member)]
    except CannotJudge as error:
        raise Unprocessable("cannot-expand", f"this value set cannot be listed here: {error}") from None


def _wanted(asked: Asked) -> Wanted:
    words = fold(asked.text("filter") or "").split()
    active, chosen = asked.flag("activeOnly"), asked.flag("excludeNotForUI")
    left_out = {system.partition("|")[0] for system in asked.all("exclude-system")}

    def wanted(member: Member) -> bool:
        concept = member.concept
        if concept is not None and ((active and concept.inactive) or (chosen and concept.abstract)):
            return False
        return member.system not in left_out and (not words or _reads(member, words))

    return wanted


def _reads(member: Member, words: list[str]) -> bool:
    """Each word typed begins a word of one of the code's names, or the code itself."""
    names = [member.code, member.display or "", *(one.value for one in member.designations)]
    for name in names:
        folded = fold(name)
        parts = folded.replace("-", " ").replace("/", " ").split()
        if all(folded.startswith(word) or any(part.startswith(word) for part in parts) for word in words):
            return True
    return False


def _contains(member: Member, asked: Asked) -> Json:
    row: Json = {"system": member.system}
    concept = member.concept
    if concept is not None and concept.abstract:
        row["abstract"] = True
    if concept is not None and concept.inactive:
        row["inactive"] = True
    row["code"] = member.code
    display = shown(member.display, member.designations, asked.text("displayLanguage") or "")
    if display:
        row["display"] = display
    if asked.flag("includeDesignations") and member.designations:
        row["designation"] = [
            {
                **({"language": one.language} if one.language else {}),
                **({"use": dict(one.use)} if one.use else {}),
                "value": one.value,
            }
            for one in member.designations
        ]
    return row


def _told(name: str, asked: Asked) -> Json:
    """What shaped the expansion. FHIR R4 valueset.html#expansion"""
    if name in ("offset", "count"):
        return {"name": name, "valueInteger": asked.number(name)}
    if name in ("activeOnly", "includeDesignations"):
        return {"name": name, "valueBoolean": asked.flag(name)}
    return {"name": name, "valueString": asked.all(name)[0]}
