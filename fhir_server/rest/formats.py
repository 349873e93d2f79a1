"""Bodies in and out in the format that was negotiated.

Handlers work on JSON alone, the form in which resources are stored; an answer becomes XML in one place, on
its way out. Large bodies are turned in a worker thread, so that other requests get their turn.
FHIR R4 http.html#mime-type
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fhir_server.interactions.engine import Engine, Resource
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.body import whole
from fhir_server.rest.errors import outcome_of
from fhir_server.rest.negotiation import Format, body_format, format_of, wants_pretty
from profiles import codec, patch, xml
from profiles.outcomes import Invalid, TeledossierError, Unprocessable
from profiles.patch import Patch
from profiles.positions import located

FHIR_XML = "application/fhir+xml; charset=utf-8"
_SENT = "teledossier.sent"
"""Of the scope: the JSON body and what was read in it, for who tells where something is wrong."""
_THREAD_FROM = 100_000
"""Bytes: about 10 ms of work."""
_PARSERS: Mapping[Format, Callable[[bytes], Resource]] = {"json": codec.parse, "xml": xml.parse}


async def resource_in(engine: Engine, call: Call) -> Resource:
    """The body as a resource. Raises UnsupportedMedia, TooLarge, Invalid (with line and column)."""
    format, body = body_format(call), await whole(call, engine.settings.max_body)
    resource = await read(format, body)
    if format == "json":
        call.scope[_SENT] = (body, resource)
    return resource


def with_places(call: Call, error: Exception) -> Exception:
    """A refusal of a JSON body tells line and column of every finding."""
    sent = call.scope.get(_SENT)
    if sent is None or not isinstance(error, Unprocessable):
        return error
    return Unprocessable(error.slug, str(error), issues=located(sent[0], sent[1], error.issues))


async def read(format: Format, body: bytes) -> Resource:
    """One resource. Raises Invalid (with line and column)."""
    if format == "xml" and len(body) >= _THREAD_FROM:
        return await asyncio.to_thread(xml.parse, body)
    return _PARSERS[format](body)


async def patch_in(engine: Engine, call: Call) -> Patch:
    """The body as a patch. Raises UnsupportedMedia, TooLarge, Invalid (with line and column)."""
    body = await whole(call, engine.settings.max_body)
    return patch.read(call.headers.get("content-type", ""), body)


def pretty(call: Call, body: bytes) -> bytes:
    """JSON, indented if `_pretty=true` and it is to stay JSON. Raises Invalid for another value than true and
    false."""
    if not wants_pretty(call) or format_of(call) == "xml":
        return body
    return codec.dump_indented(codec.parse(body))


async def rendered(call: Call, answer: Answer) -> Answer:
    """The answer as it goes out: FHIR JSON as XML where the client wants that. What XML cannot hold is a 406
    for a read; a write that is done already, and an error, then answer in JSON."""
    if not answer.body or format_of(call) != "xml" or "Content-Type" in answer.headers:
        return answer
    try:
        body = await _as_xml(answer.body, _pretty(call))
    except TeledossierError as error:
        if answer.status >= 400 or call.method not in ("GET", "HEAD"):
            return answer
        return outcome_of(error)
    return Answer(answer.status, body, {**answer.headers, "Content-Type": FHIR_XML, "Vary": "Accept"})


def _pretty(call: Call) -> bool:
    try:
        return wants_pretty(call)
    except Invalid:
        return False


async def _as_xml(body: bytes, indented: bool) -> bytes:
    def turn() -> bytes:
        resource: dict[str, Any] = codec.parse(body)
        return xml.dump_indented(resource) if indented else xml.dump(resource)

    return await asyncio.to_thread(turn) if len(body) >= _THREAD_FROM else turn()
