"""An HTTP answer as a value, and the request as the handlers see it: plain ASGI underneath, nothing per
route."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from fhir_server.access import Access
from profiles.outcomes import Unauthenticated

FHIR_JSON = "application/fhir+json; charset=utf-8"
_JSON_HEADERS = ((b"content-type", FHIR_JSON.encode()), (b"vary", b"Accept"))
_GZIP_FROM = 4096
"""Bytes: below, compressing costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `segments` is the path below the FHIR base; `headers` lower-case, `query` decoded."""

    method: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    scope: Scope
    receive: Receive

    @property
    def access(self) -> Access:
        """The reader's rights. Raises Unauthenticated where the guard put none."""
        access = self.scope.get("access")
        if not isinstance(access, Access):
            raise Unauthenticated("no-token", "this address needs an access token")
        return access

    def first(self, name: str) -> str:
        """The first value of a parameter, or empty."""
        return next((value for key, value in self.query if key == name), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body, headers. Content-Type is FHIR JSON unless the headers say otherwise; none without a
    body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, call: Call, send: Send) -> None:
        """Over ASGI; gzipped for who accepts it and when it is worth it; without body for HEAD."""
        body = self.body
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()
        ]
        if body and "Content-Type" not in self.headers:
            headers += _JSON_HEADERS
        if len(body) >= _GZIP_FROM and "gzip" in call.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1)
            headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
        if self.status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if call.method == "HEAD" else body})
