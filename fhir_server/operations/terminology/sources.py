"""Which code system or value set an operation is about: an instance, one sent along, or a canonical URL."""

from __future__ import annotations

from typing import Any

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import current, require
from fhir_server.operations.registry import OperationRequest
from fhir_server.operations.terminology.asked import Asked
from profiles import codec
from profiles.outcomes import Invalid, NotFound
from terminology.code_systems.concept import System
from terminology.code_systems.listed import Listed
from terminology.service import Terminology
from terminology.value_sets.value_set import ValueSet

Json = dict[str, Any]


async def terminology(engine: Engine, access: Access, type: str) -> Terminology:
    """As it is now. Raises Forbidden for who may not read that type."""
    require(access, type, "r")
    return (await engine.held.current()).terminology


async def value_set(
    engine: Engine, access: Access, request: OperationRequest, asked: Asked
) -> tuple[ValueSet, Json]:
    """Compiled, and what the resource says of itself. Raises NotFound, Invalid, Unprocessable."""
    known = await terminology(engine, access, "ValueSet")
    resource = await _stored(engine, access, request) or asked.resource("valueSet", "ValueSet")
    if resource is not None:
        return known.compiled(resource), resource
    url = asked.text("url")
    if not url:
        raise Invalid("no-value-set", "say which value set: by url, by valueSet, or on an instance")
    version = asked.text("valueSetVersion")
    found = known.value_set(f"{url}|{version}" if version and "|" not in url else url)
    if found is None:
        raise NotFound("unknown-value-set", f"the value set {url} is not known here")
    said = {"url": found.url, "version": found.version, "name": found.name}
    return found, {key: text for key, text in said.items() if text}


async def code_system(
    engine: Engine, access: Access, request: OperationRequest, asked: Asked, url: str | None
) -> System:
    """The instance's, the one sent along, or that of the URL. Raises NotFound, Invalid, Unprocessable."""
    known = await terminology(engine, access, "CodeSystem")
    resource = await _stored(engine, access, request) or asked.resource("codeSystem", "CodeSystem")
    if resource is not None:
        if resource.get("content") in ("not-present", "supplement"):
            raise NotFound("no-content", "this CodeSystem lists no codes of its own")
        return Listed({"url": "", **resource})
    if not url:
        raise Invalid("no-code-system", "say which code system, by its URL or on an instance")
    version = asked.text("version")
    found = known.system(f"{url}|{version}" if version and "|" not in url else url)
    if found is None:
        raise NotFound("unknown-code-system", f"the code system {url} is not loaded here")
    return found


async def _stored(engine: Engine, access: Access, request: OperationRequest) -> Json | None:
    if not request.id:
        return None
    version = await current(engine, access, request.type, request.id)
    assert version.body is not None
    return codec.parse(version.body)


def parameters(*rows: Json) -> Json:
    """A Parameters resource."""
    return {"resourceType": "Parameters", "parameter": list(rows)}
