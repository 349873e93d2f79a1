"""Who is asking: pure ASGI middleware that turns a bearer token or a session cookie into `scope["access"]`.

Every request that is not on the open list below has an Access when it reaches its handler, or is answered
here: 401 as an OperationOutcome under /fhir, as text under /dicom-web, as OAuth JSON under /oauth, and a
redirect to the sign-in page for a browser that wants a page. A request that changes something on the
strength of a cookie must prove that it comes from this site's own pages. The client's or account's record is
read at each request, so that disabling is immediate. `scope["session"]` is the person's Session, None for
machines; `scope["still"]` of a WebSocket tells who it belongs to now.

FHIR R4 security.html; RFC 6750 §3; Fetch metadata (Sec-Fetch-Site)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_server import access as rights
from fhir_server.access import SYSTEM, Access
from fhir_server.settings import Settings, is_loopback
from fhir_server.store.contract import Store
from profiles import xml
from profiles.outcomes import Forbidden, TeledossierError, Unauthenticated, operation_outcome
from smart_launch import cors, outbound
from smart_launch.authorization import clients, tokens
from smart_launch.authorization.keys import BadToken, Keys
from smart_launch.clock import seconds
from smart_launch.signin import local
from smart_launch.signin.session import Session, Sessions

Audience = Callable[[str], Awaitable[frozenset[str]]]
"""Practitioner id → the Organizations and the Practitioner whose télédossiers that person sees."""
Dialect = Literal["fhir", "dicom", "oauth", "page"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset(
    {
        "/healthz",
        "/readyz",
        "/metrics",
        "/fhir/metadata",
        "/fhir/openapi.json",
        "/connexion",
        "/deconnexion",
        "/launch",
        "/favicon.ico",
        "/guide",
    }
)
TELLS_MORE = "/metrics"
OPEN_BELOW = ("/.well-known/", "/fhir/.well-known/", "/oauth/", "/launch/", "/static/", "/guide/")
PEOPLE = (rights.Scope("*", "rs"), rights.Scope("Binary", "c"))
"""What a signed-in person may do by plain FHIR; everything else goes through the domain's operations."""
PRIVATE = ((b"cache-control", b"private, no-cache"), (b"x-content-type-options", b"nosniff"))
REMEMBERED = 4096
"""Verified tokens and audiences kept in memory."""


@dataclass(frozen=True, slots=True)
class Known:
    """Who asks."""

    access: Access
    session: Session | None = None


class Guard:
    """The middleware. `audience` is `fhir_server.teledossier.membership.audience` bound to the store."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: Store,
        settings: Settings,
        keys: Keys,
        sessions: Sessions,
        audience: Audience,
    ) -> None:
        self._app, self._store, self._settings = app, store, settings
        self._keys, self._sessions, self._audience = keys, sessions, audience
        self._tokens: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._audiences: OrderedDict[str, tuple[int, frozenset[str]]] = OrderedDict()
        self._own_origin = outbound.origin(settings.url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        method = scope.get("method", "CONNECT")  # a WebSocket: a page from elsewhere must not open one
        allowed = await self._cors(path, headers)
        if cors.is_preflight(method, headers) and cors.for_any(path):
            await cors.preflight(allowed, headers)(scope, receive, send)
            return
        if allowed is not None:
            send = cors.adding(send, allowed)
        try:
            known = await self._admit(scope, headers, method, path)
        except TeledossierError as error:
            await self._refuse(error, scope, headers)(scope, receive, send)
            return
        scope["access"] = known.access if known else None
        scope["session"] = known.session if known else None
        if scope["type"] == "websocket":
            scope["still"] = partial(self._still, scope["access"], headers)
        await self._app(scope, receive, send if known is None else _private(send))

    async def _admit(self, scope: Scope, headers: Headers, method: str, path: str) -> Known | None:
        """Who asks; None on an open path. Raises Unauthenticated, Forbidden."""
        authorization = headers.get("authorization")
        if is_open(path) and not (authorization and path == TELLS_MORE):
            if method not in SAFE and dialect(path) == "page" and self._from_elsewhere(headers):
                raise Forbidden("foreign-origin", "this form was not sent by a page of this site")
            return None
        if authorization:
            return await self._by_token(authorization)
        cookie = _cookie(headers, self._sessions.cookie)
        if cookie:
            known = await self._by_session(cookie)
            if known is not None:
                if method not in SAFE and not self._from_here(headers):
                    raise Forbidden("foreign-origin", "this request was not sent by a page of this site")
                return known
        if (
            self._settings.auth == "open"
            and dialect(path) != "page"
            and self._is_trial(scope, headers, method)
        ):
            return Known(SYSTEM)
        raise Unauthenticated("sign-in-needed", "a bearer token or a session is needed")

    async def _by_token(self, authorization: str) -> Known:
        """RFC 6750 §2.1. Raises Unauthenticated."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("invalid-token", "only bearer tokens are accepted")
        try:
            found = await self._claims(token.strip())
            if not await tokens.alive(self._store, found):
                raise BadToken("revoked, or its client is gone")
            return Known(tokens.access(found))
        except BadToken as error:
            raise Unauthenticated(
                "invalid-token", "the access token is not valid here or no longer valid"
            ) from error

    async def _claims(self, token: str) -> dict[str, Any]:
        """The claims of a well signed token; a signature is checked once, its time at each request. Raises
        BadToken."""
        signing = await self._keys.load()
        found = self._tokens.get(token)
        if found is None:
            found = tokens.check(signing, self._settings, token)
            _remember(self._tokens, token, found)
        elif found["exp"] <= seconds(signing.clock()):
            del self._tokens[token]
            raise BadToken("expired")
        return found

    async def _by_session(self, cookie: str) -> Known | None:
        return await self._of(await self._sessions.find(cookie))

    async def _of(self, session: Session | None) -> Known | None:
        account = await local.get(self._store, session.account) if session else None
        if session is None or account is None or account.disabled:
            return None
        audience = await self._audience_of(session.practitioner)
        return Known(Access(session.subject, PEOPLE, audience | {session.subject}), session)

    async def _still(self, admitted: Access | None, headers: Headers) -> Access | None:
        """Who a socket that stays open belongs to by now; None once the token or session that opened it is no
        longer in force."""
        authorization, cookie = headers.get("authorization"), _cookie(headers, self._sessions.cookie)
        try:
            if authorization:
                return (await self._by_token(authorization)).access
        except Unauthenticated:
            return None
        if not cookie:
            return admitted  # a trial on this very machine
        known = await self._of(await self._sessions.standing(cookie))
        return known.access if known else None

    async def _audience_of(self, practitioner: str) -> frozenset[str]:
        """Kept until anything is written: a membership that ends is without effect at the next request."""
        seq = await self._store.latest()
        kept = self._audiences.get(practitioner)
        if kept is not None and kept[0] == seq:
            return kept[1]
        audience = await self._audience(practitioner)
        _remember(self._audiences, practitioner, (seq, audience))
        return audience

    def _from_here(self, headers: Headers) -> bool:
        """The browser says that a page of this very site sent it; Sec-Fetch-Site cannot be set by a page."""
        site = headers.get("sec-fetch-site")
        return site == "same-origin" if site is not None else headers.get("origin") == self._own_origin

    def _from_elsewhere(self, headers: Headers) -> bool:
        """The browser says that another site sent it."""
        return ("sec-fetch-site" in headers or "origin" in headers) and not self._from_here(headers)

    def _is_trial(self, scope: Scope, headers: Headers, method: str) -> bool:
        """Open mode serves this machine alone: the peer and the name it calls must both be loopback, and no
        page from elsewhere may write."""
        peer = scope.get("client")
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        local_host = is_loopback(host) or host == outbound.host(self._settings.url)
        local_peer = peer is None or is_loopback(peer[0])
        return local_host and local_peer and (method in SAFE or not self._from_elsewhere(headers))

    async def _cors(self, path: str, headers: Headers) -> str | None:
        origin = headers.get("origin")
        if origin is None or origin == self._own_origin or not cors.for_any(path):
            return None
        if cors.for_all(path):
            return "*"
        if self._settings.auth == "open" and is_loopback(outbound.host(origin)):
            return cors.answer_to(path, origin, (origin,))  # a viewer under development, on this very machine
        registered = {one for client in await clients.list_all(self._store) for one in client.origins}
        return cors.answer_to(path, origin, registered)

    def _refuse(self, error: TeledossierError, scope: Scope, headers: Headers) -> Response:
        """The answer in the dialect of the path."""
        if scope["type"] == "websocket":
            return PlainTextResponse("", error.status)
        path, slug, text = scope["path"], error.slug, str(error)
        challenge = {} if error.status != 401 else {"WWW-Authenticate": self._challenge(slug)}
        extra = {"Cache-Control": "no-store", **challenge}
        match dialect(path):
            case "fhir":
                body, accept = operation_outcome(error.issues), headers.get("accept", "")
                if "xml" in accept and "json" not in accept:
                    return Response(xml.dump(body), error.status, extra, media_type="application/fhir+xml")
                return JSONResponse(body, error.status, extra, media_type="application/fhir+json")
            case "oauth":
                return JSONResponse(
                    {"error": slug.replace("-", "_"), "error_description": text}, error.status, extra
                )
            case "page" if error.status == 401 and _wants_page(scope, headers):
                query = scope.get("query_string", b"").decode("latin-1")
                suite = path + (f"?{query}" if query else "")
                return RedirectResponse("/connexion?suite=" + quote(suite, safe="/"), 303, extra)
            case "page" if error.status == 403:
                return PlainTextResponse("Cette demande ne vient pas d'une page de ce site.", 403, extra)
            case _:
                return PlainTextResponse(text, error.status, extra)

    def _challenge(self, slug: str) -> str:
        return 'Bearer realm="teledossier"' + (', error="invalid_token"' if slug == "invalid-token" else "")


def is_open(path: str) -> bool:
    """Whether a path is served without an Access."""
    return path in OPEN or path.startswith(OPEN_BELOW)


def dialect(path: str) -> Dialect:
    """In which form an error under this path is told."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    match first:
        case "fhir":
            return "fhir"
        case "dicom-web" | "gateway":
            return "dicom"
        case "oauth" | ".well-known":
            return "oauth"
        case _:
            return "page"


def _wants_page(scope: Scope, headers: Headers) -> bool:
    return scope.get("method") in ("GET", "HEAD") and "text/html" in headers.get("accept", "")


def _cookie(headers: Headers, name: str) -> str:
    """The value of one cookie; "" when there is none or the header cannot be read."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _private(send: Send) -> Send:
    """What is for one reader is kept by no shared cache, asked again by his own, and never taken for another
    type than it says; a room that says so itself keeps its word. RFC 9111 §5.2.2; Fetch (nosniff)"""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            named = {name.lower() for name, _value in headers}
            message["headers"] = headers + [one for one in PRIVATE if one[0] not in named]
        await send(message)

    return sending


def _remember(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    """Note, and forget the oldest over the limit."""
    kept[key] = value
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)
