"""Requests that this server makes to others: bounded in time and size, never redirected, never to a
plain-text host.

An address that came from outside is only used after its owner was registered; this module adds the limits
that hold for registered partners too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

LIMIT = 2_000_000
"""Bytes of one answer; a Patient, an Encounter, a key set are far below."""
TIMEOUT = httpx.Timeout(8.0, connect=4.0)
_LOCAL = {"localhost", "127.0.0.1", "::1"}


class Unreachable(Exception):
    """The partner did not answer, or not within the limits; the text is for the log, without any content."""


class Refused(Exception):
    """The partner answered with an error status; `status` and, for OAuth, its `error` code."""

    def __init__(self, status: int, error: str = "") -> None:
        super().__init__(f"HTTP {status} {error}".strip())
        self.status, self.error = status, error


def client(**options: Any) -> httpx.AsyncClient:
    """An HTTP client with the limits set; it reads no proxy or credential from the environment."""
    return httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False, **options)


def origin(url: str) -> str:
    """Scheme, host and port, lower case; the empty string for anything that is not an absolute http(s)
    address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default) else "")


def host(url: str) -> str:
    """The host name of an absolute address; "" when it has none."""
    return urlsplit(origin(url)).hostname or ""


def secure(url: str) -> bool:
    """https, or http on this very machine (trials, the demonstration)."""
    where = origin(url)
    return where.startswith("https://") or host(url) in _LOCAL


async def request_json(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    limit: int = LIMIT,
) -> dict[str, Any]:
    """One JSON object. Raises Unreachable (no answer, too slow, too large, a redirect, not JSON) or
    Refused."""
    if not secure(url):
        raise Unreachable("the address is not https")
    wanted = {"Accept": "application/json, application/fhir+json;q=0.9", **(headers or {})}
    try:
        async with http.stream(method, url, headers=wanted, data=dict(form) if form else None) as answer:
            if 300 <= answer.status_code < 400:
                raise Unreachable("it answered with a redirect, which is not followed")
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    raise Unreachable(f"its answer exceeds {limit} bytes")
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(type(error).__name__) from error
    return _object(bytes(body), status)


def _object(body: bytes, status: int) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        if status >= 400:
            raise Refused(status) from error
        raise Unreachable("its answer is not JSON") from error
    if status >= 400:
        code = value.get("error") if isinstance(value, dict) else None
        raise Refused(status, code[:40] if isinstance(code, str) else "")
    if not isinstance(value, dict):
        raise Unreachable("its answer is not a JSON object")
    return value
