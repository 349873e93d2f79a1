"""`$operations` over HTTP, at the three levels. FHIR R4 operations.html#executing"""

from __future__ import annotations

import difflib
from typing import Any

from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import check_id
from fhir_server.operations.registry import Level, OperationRequest
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.body import whole
from fhir_server.rest.formats import pretty, read
from fhir_server.rest.negotiation import body_format, check_format
from fhir_server.rest.refusals import not_allowed
from profiles import codec
from profiles.outcomes import Invalid, NotFound

_LEVELS: dict[int, Level] = {1: "system", 2: "type", 3: "instance"}


async def operate(engine: Engine, call: Call) -> Answer:
    """Finds the operation, reads its Parameters, calls it. Raises NotFound naming what is offered there."""
    access = call.access
    level = _LEVELS[len(call.segments)]
    name = call.segments[-1][1:]
    type = call.segments[0] if level != "system" else ""
    id = check_id(call.segments[1]) if level == "instance" else ""
    found = engine.operations.find(name, level, type)
    if found is None:
        offered = sorted(operation.name for operation in engine.operations.at(level, type))
        near = difflib.get_close_matches(name, offered, 3) or offered
        tail = f"; offered there: {', '.join('$' + n for n in near)}" if near else ""
        raise NotFound("unknown-operation", f"no such operation at this {level}{tail}")
    if call.method != "POST" and (found.affects_state or call.method not in ("GET", "HEAD")):
        raise not_allowed("POST" if found.affects_state else "GET, HEAD, POST")
    parameters = await _parameters(engine, call) if call.method == "POST" else {"resourceType": "Parameters"}
    accept = call.first("_format") or call.headers.get("accept", "")
    query = [(key, value) for key, value in call.query if key not in ("_format", "_pretty")]
    result = await found.handler(engine, access, OperationRequest(type, id, parameters, query, accept))
    if isinstance(result.resource, bytes):
        return Answer(result.status, result.resource, dict(result.headers))
    check_format(call)
    body = codec.dump(result.resource) if result.resource is not None else b""
    return Answer(result.status, pretty(call, body) if body else b"", dict(result.headers))


async def _parameters(engine: Engine, call: Call) -> dict[str, Any]:
    """The body's Parameters; empty for no body. A resource by itself is taken as `resource`."""
    body = await whole(call, engine.settings.max_body)
    if not body:
        return {"resourceType": "Parameters"}
    sent = await read(body_format(call), body)
    if sent.get("resourceType") == "Parameters":
        _check_shape(sent)
        return sent
    if not isinstance(sent.get("resourceType"), str):
        raise Invalid("no-resource-type", "an operation takes a Parameters resource")
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": sent}]}


def _check_shape(parameters: dict[str, Any]) -> None:
    """So far as every operation relies on it: a list of objects that have a name. Raises Invalid."""
    pending = [(parameters.get("parameter", []), "Parameters.parameter")]
    while pending:
        items, path = pending.pop()
        if not isinstance(items, list):
            raise Invalid("bad-parameters", f"{path} is not an array", expression=path)
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise Invalid("bad-parameters", f"{path}[{index}] has no name", expression=f"{path}[{index}]")
            if "part" in item:
                pending.append((item["part"], f"{path}[{index}].part"))
