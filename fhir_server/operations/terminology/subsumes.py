"""How two codes of one system stand to each other. FHIR R4 codesystem-operation-subsumes.html"""

from __future__ import annotations

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import OperationRequest, OperationResult
from fhir_server.operations.terminology.asked import Asked, coding_of
from fhir_server.operations.terminology.sources import code_system, parameters
from profiles.outcomes import Invalid, NotFound
from terminology.service import relation_in

_OBJECTS = {"codingA": "Coding", "codingB": "Coding"}


async def subsumes(engine: Engine, access: Access, request: OperationRequest) -> OperationResult:
    """Raises NotFound for a code or system that is not known, Invalid."""
    asked = Asked.of(request, ("codeA", "codeB", "system", "version"), _OBJECTS)
    (system_a, a), (system_b, b) = (_code(asked, letter) for letter in "AB")
    if (system_a or "") != (system_b or ""):
        raise Invalid("two-systems", "the two codes are of one code system")
    source = await code_system(engine, access, request, asked, system_a)
    found = relation_in(source, a, b)
    if found is None:
        raise NotFound("unknown-code", f"{source.url} does not have both codes here")
    return OperationResult(200, parameters({"name": "outcome", "valueCode": found}))


def _code(asked: Asked, letter: str) -> tuple[str | None, str]:
    coding, code = asked.objects.get(f"coding{letter}"), asked.text(f"code{letter}")
    if coding is not None and code is None:
        system, found, _display = coding_of(coding)
        return system or asked.text("system"), found
    if coding is None and code:
        return asked.text("system"), code
    raise Invalid("no-code", "the operation takes codeA and codeB with their system, or codingA and codingB")
