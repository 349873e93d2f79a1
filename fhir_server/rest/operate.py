"""`$operations` over HTTP, at the three levels. FHIR R4 operations.html#executing"""

from __future__ import annotations

import difflib

from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import check_id
from fhir_server.operations.registry import Level, OperationRequest, parameters_of
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.body import whole
from fhir_server.rest.formats import pretty, read
from fhir_server.rest.negotiation import body_format, check_format
from fhir_server.rest.refusals import not_allowed
from profiles import codec
from profiles.outcomes import NotFound

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
    body = await whole(call, engine.settings.max_body) if call.method == "POST" else b""
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    own = kind if kind in found.reads and body else ""
    parameters = parameters_of(await read(body_format(call), body) if body and not own else None)
    accept = call.first("_format") or call.headers.get("accept", "")
    query = [(key, value) for key, value in call.query if key not in ("_format", "_pretty")]
    request = OperationRequest(
        type,
        id,
        parameters,
        query,
        accept,
        body,
        url=_url(engine, call),
        prefer=call.headers.get("prefer", ""),
        content_type=own,
    )
    result = await found.handler(engine, access, request)
    if isinstance(result.resource, bytes):
        return Answer(result.status, result.resource, dict(result.headers))
    check_format(call)
    answer = codec.dump(result.resource) if result.resource is not None else b""
    return Answer(result.status, pretty(call, answer) if answer else b"", dict(result.headers))


def _url(engine: Engine, call: Call) -> str:
    query = call.scope["query_string"].decode("latin-1")
    path = "/".join((engine.settings.fhir_base, *call.segments))
    return f"{path}?{query}" if query else path
