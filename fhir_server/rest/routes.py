"""/fhir: one ASGI endpoint that looks at the path once and calls one handler.

A router with a pattern for each address would try them in turn for every request; here a read by id costs
one split of the path. FHIR R4 http.html#summary
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_server.conformance.search_parameters import OwnParameters
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.entries import parse_query
from fhir_server.rest import binary, capability, jobs, openapi, operate, resources
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.errors import outcome_of
from fhir_server.rest.formats import pretty, rendered, with_places
from fhir_server.rest.negotiation import check_format, format_of
from fhir_server.rest.refusals import not_allowed, unknown_address, unknown_type
from profiles import definitions
from profiles.outcomes import TeledossierError

Handler = Callable[[Engine, Call], Awaitable[Answer | binary.FileAnswer]]

_TYPE: Mapping[str, Handler] = {
    "GET": resources.search_type,
    "HEAD": resources.search_type,
    "POST": resources.create_type,
    "PUT": resources.update_type,
    "PATCH": resources.patch_type,
    "DELETE": resources.delete_type,
}
_INSTANCE: Mapping[str, Handler] = {
    "GET": resources.read_instance,
    "HEAD": resources.read_instance,
    "PUT": resources.update_instance,
    "PATCH": resources.patch_instance,
    "DELETE": resources.delete_instance,
}
_BINARY_TYPE: Mapping[str, Handler] = {**_TYPE, "POST": binary.create_binary}
_BINARY_INSTANCE: Mapping[str, Handler] = {**_INSTANCE, "GET": binary.read_binary, "HEAD": binary.read_binary}
_HISTORY: Mapping[str, Handler] = {"GET": resources.history_of, "HEAD": resources.history_of}
_VERSION: Mapping[str, Handler] = {"GET": resources.read_version, "HEAD": resources.read_version}
_BINARY_VERSION: Mapping[str, Handler] = {"GET": binary.read_binary, "HEAD": binary.read_binary}
_SEARCH: Mapping[str, Handler] = {"POST": resources.search_type}
_SEARCH_ALL: Mapping[str, Handler] = {"POST": resources.search_all}
_WITHIN: Mapping[str, Handler] = {"GET": resources.search_within, "HEAD": resources.search_within}
_SEARCH_WITHIN: Mapping[str, Handler] = {"POST": resources.search_within}
_JOB: Mapping[str, Handler] = {"GET": jobs.status, "DELETE": jobs.cancel}
_JOB_FILE: Mapping[str, Handler] = {"GET": jobs.file, "HEAD": jobs.file}
_BASE: Mapping[str, Handler] = {
    "GET": resources.search_all,
    "HEAD": resources.search_all,
    "POST": resources.post_bundle,
}


def before(app: ASGIApp, engine: Engine, *, oauth_uris: Mapping[str, str] | None = None) -> ASGIApp:
    """`app` with /fhir in front of it, all but `/fhir/.well-known`, which is the authorization server's.
    `oauth_uris` (authorize, token, …) go into the CapabilityStatement; None says that no authorization
    server is there."""
    return Before(app, FhirEndpoint(engine, oauth_uris))


@dataclass(frozen=True, slots=True)
class Before:
    """Sends what is FHIR's straight to its endpoint: a route among others costs a read by id as much as the
    reading does."""

    app: ASGIApp
    endpoint: FhirEndpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """By prefix, for HTTP only."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if (path.startswith("/fhir/") or path == "/fhir") and not path.startswith("/fhir/.well-known/"):
                await self.endpoint(scope, receive, send)
                return
        await self.app(scope, receive, send)


class FhirEndpoint:
    """The ASGI application behind the route."""

    def __init__(self, engine: Engine, oauth_uris: Mapping[str, str] | None) -> None:
        self._engine, self._oauth_uris = engine, oauth_uris
        self._told = (OwnParameters(), engine.store.atomic_commits)
        self._metadata = capability.statement(engine, oauth_uris, self._told[0])
        self._described: tuple[OwnParameters, bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        try:
            call = Call(scope["method"], _segments(scope), _query(scope), headers, scope, receive)
        except Exception as error:
            call = Call(scope["method"], (), (), headers, scope, receive)
            answer: Answer | binary.FileAnswer = _problem(call, error)
        else:
            try:
                answer = await self._handle(call)
            except Exception as error:
                answer = _problem(call, error)
        if isinstance(answer, Answer) and format_of(call) == "xml":
            answer = await rendered(call, answer)
        await answer.send(call, send)

    async def _handle(self, call: Call) -> Answer | binary.FileAnswer:
        if call.segments == ("metadata",):
            return await self._capability(call)
        if call.segments == ("openapi.json",):
            return await self._openapi(call)
        handlers = _find(call)
        handler = handlers.get(call.method)
        if handler is None:
            raise not_allowed(", ".join(handlers))
        return await handler(self._engine, call)

    async def _capability(self, call: Call) -> Answer:
        """Made at the start, and again when search parameters of one's own have changed, or when the store,
        now open, can do something else than it was thought to."""
        if call.method not in ("GET", "HEAD"):
            raise not_allowed("GET, HEAD")
        check_format(call)
        own = (await self._engine.held.current()).search_parameters
        told = (own, self._engine.store.atomic_commits)
        if told != self._told:
            self._metadata = await to_thread(capability.statement, self._engine, self._oauth_uris, own)
            self._told = told
        return Answer(200, pretty(call, self._metadata))

    async def _openapi(self, call: Call) -> Answer:
        if call.method not in ("GET", "HEAD"):
            raise not_allowed("GET, HEAD")
        own = (await self._engine.held.current()).search_parameters
        if self._described is None or self._described[0] != own:
            self._described = (own, await to_thread(openapi.document, self._engine, own))
        return Answer(200, self._described[1], {"Content-Type": "application/json"})


def _find(call: Call) -> Mapping[str, Handler]:
    """The handlers of the address by method. Raises NotFound, NotSupported."""
    segments = call.segments
    if segments and len(segments) <= 3 and segments[-1].startswith("$"):
        if len(segments) > 1:
            _check_type(segments[0])
        return dict.fromkeys(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), operate.operate)
    if not segments or segments[0] in ("_history", "_search"):
        return _system(call)
    if segments[0] == "_job" and len(segments) in (2, 3):
        return _JOB if len(segments) == 2 else _JOB_FILE
    _check_type(segments[0])
    raw = segments[0] == "Binary"
    match segments:
        case (_,):
            return _BINARY_TYPE if raw else _TYPE
        case (_, "_search"):
            return _SEARCH
        case (_, "_history"):
            return _HISTORY
        case (_, _):
            return _BINARY_INSTANCE if raw else _INSTANCE
        case (_, _, "_history"):
            return _HISTORY
        case (_, _, "_history", _):
            return _BINARY_VERSION if raw else _VERSION
        case (_, _, other) if other == "*" or other in definitions.resource_types():
            return _WITHIN
        case (_, _, "_search") | (_, _, _, "_search"):
            return _SEARCH_WITHIN
    raise unknown_address()


def _system(call: Call) -> Mapping[str, Handler]:
    if len(call.segments) > 1:
        raise unknown_address()
    match call.segments:
        case ("_history",):
            return _HISTORY
        case ("_search",):
            return _SEARCH_ALL
        case _:
            return _BASE


def _check_type(name: str) -> None:
    if name not in definitions.resource_types():
        raise unknown_type(name)


def _problem(call: Call, error: Exception) -> Answer:
    """Errors are pretty too, but never fail for a bad `_pretty`."""
    answer = outcome_of(with_places(call, error))
    try:
        return Answer(answer.status, pretty(call, answer.body), answer.headers)
    except TeledossierError:
        return answer


def _headers(scope: Scope) -> dict[str, str]:
    """Lower-case names; a repeated one is joined by commas, as RFC 9110 §5.3 allows."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _segments(scope: Scope) -> tuple[str, ...]:
    """The path below /fhir. Split before decoding, so that an encoded slash stays inside its segment."""
    raw: bytes | None = scope.get("raw_path")
    path = raw.partition(b"?")[0].decode("latin-1") if raw else scope["path"]
    parts = path.split("/")[2:]
    if parts and not parts[-1]:
        parts.pop()
    return tuple(unquote(part) if "%" in part else part for part in parts)


def _query(scope: Scope) -> tuple[tuple[str, str], ...]:
    text: bytes = scope["query_string"]
    return parse_query(text.decode("latin-1")) if text else ()
