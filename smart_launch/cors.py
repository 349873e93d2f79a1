"""Which other web origins may read what. Never with cookies: a page elsewhere brings its own bearer token.

Any origin: the discovery documents, the public keys, the capability statement. Registered origins of a
client: the token endpoint, FHIR and DICOMweb. Fetch standard §3.2; SMART App Launch 2.2 app-launch.html,
considerations for CORS support
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Send

EXPOSED = (
    "Accept-Ranges, Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, Warning, "
    "WWW-Authenticate"
)
_MAX_AGE = "600"


def for_all(path: str) -> bool:
    """Whether any origin may read this path."""
    return path in ("/fhir/metadata", "/fhir/openapi.json", "/oauth/jwks") or path.startswith(
        ("/.well-known/", "/fhir/.well-known/")
    )


def for_registered(path: str) -> bool:
    """Whether an origin registered with some client may use this path."""
    return path in (
        "/oauth/token",
        "/oauth/introspect",
        "/oauth/revoke",
        "/fhir",
        "/dicom-web",
    ) or path.startswith(("/fhir/", "/dicom-web/"))


def for_any(path: str) -> bool:
    """Whether the path is shared with any other origin at all."""
    return for_all(path) or for_registered(path)


def answer_to(path: str, origin: str, registered: Iterable[str]) -> str | None:
    """The Access-Control-Allow-Origin value, or None."""
    if for_all(path):
        return "*"
    return origin if for_registered(path) and origin in registered else None


def is_preflight(method: str, headers: Headers) -> bool:
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def preflight(allowed: str | None, headers: Headers) -> Response:
    """The answer to a preflight; without the allowing header the browser refuses by itself."""
    response = Response(status_code=204, headers={"Vary": "Origin"})
    if allowed is not None:
        response.headers["Access-Control-Allow-Origin"] = allowed
        response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, PATCH, DELETE"
        asked = headers.get("access-control-request-headers", "")
        if asked and all(letter.isalnum() or letter in "-, " for letter in asked):
            response.headers["Access-Control-Allow-Headers"] = asked
        response.headers["Access-Control-Max-Age"] = _MAX_AGE
    return response


def adding(send: Send, allowed: str) -> Send:
    """A `send` that puts the headers onto the response's start."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = EXPOSED
            headers.add_vary_header("Origin")
        await send(message)

    return wrapped
