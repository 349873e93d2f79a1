"""The portal's way to FHIR: small, asynchronous, over HTTP like any other client.

The transport is the platform's own ASGI application, so no socket is opened, yet every request passes the
guard with the person's own cookie: the portal has no right of its own. One client per request of the
person: a shared one would carry cookies from one person to the next.
FHIR R4 http.html; operations.html
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from starlette.requests import Request
from starlette.types import ASGIApp

Json = dict[str, Any]
Params = Sequence[tuple[str, str]]
MEDIA_TYPE = "application/fhir+json"
# what the guard needs to know the person and to see that a write comes from our own page
FORWARDED = ("cookie", "origin", "sec-fetch-site", "authorization", "user-agent", "x-request-id")


class FhirError(Exception):
    """The server answered with an error; `outcome` is its OperationOutcome, or empty."""

    def __init__(self, status: int, outcome: Json) -> None:
        super().__init__(f"FHIR answered {status}")
        self.status = status
        self.outcome = outcome

    @property
    def issues(self) -> list[Json]:
        found = self.outcome.get("issue", [])
        return [issue for issue in found if isinstance(issue, dict)] if isinstance(found, list) else []

    @property
    def slugs(self) -> list[str]:
        """The stable names of the issues, in order."""
        codings = (coding for issue in self.issues for coding in issue.get("details", {}).get("coding", []))
        return [coding["code"] for coding in codings if "code" in coding]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search: what matched, what came along, and the cursor of the next page (a query
    string).
    """

    matches: list[Json] = field(default_factory=list)
    included: list[Json] = field(default_factory=list)
    next: str = ""


class Fhir:
    """FHIR for one person's request. Raises FhirError on any status of 400 and above."""

    def __init__(self, app: ASGIApp, base_url: str, headers: Mapping[str, str]) -> None:
        self._app = app
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)

    @classmethod
    def of(cls, request: Request, app_ref: Callable[[], ASGIApp]) -> Fhir:
        """For the person behind this request, at the same host."""
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        return cls(app_ref(), str(request.base_url), headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        content: bytes | AsyncIterable[bytes] | None = None,
        json: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One exchange with a path of this host, such as `/fhir/Patient/1`."""
        if {".", ".."} & set(path.partition("?")[0].split("/")):
            raise FhirError(404, {})  # an id that a person made up; httpx would go up to another address
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        query = tuple(params) or None  # an empty list would take the path's own query away
        # Latin-1 gives the browser's bytes back as they came, whatever they are (RFC 9110 §5.5).
        own = httpx.Headers({"accept": MEDIA_TYPE, **self._headers, **(headers or {})}, encoding="latin-1")
        if json is not None:
            own.setdefault("content-type", MEDIA_TYPE)
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url=self._base_url, trust_env=False
            ) as client:
                if json is not None:
                    response = await client.request(method, path, params=query, json=json, headers=own)
                else:
                    response = await client.request(method, path, params=query, content=content, headers=own)
        except (httpx.InvalidURL, UnicodeError) as error:  # an address or a Host that a person made up
            raise FhirError(400, {}) from error
        if response.status_code >= 400:
            raise FhirError(response.status_code, _json(response))
        return response

    async def read(self, type: str, id: str) -> Json:
        return _json(await self.request("GET", f"/fhir/{type}/{quote(id, safe='')}"))

    async def search(self, type: str, params: Params, *, by_post: bool = False) -> Page:
        """The first page of a search. By POST when a parameter holds patient data: addresses end up in logs.

        FHIR R4 http.html#search
        """
        if not by_post:
            return _page(_json(await self.request("GET", f"/fhir/{type}", params=params)))
        headers = {"content-type": "application/x-www-form-urlencoded"}
        content = urlencode(list(params)).encode()
        answer = await self.request("POST", f"/fhir/{type}/_search", content=content, headers=headers)
        return _page(_json(answer))

    async def follow(self, type: str, cursor: str) -> Page:
        """A later page, by the query string its predecessor gave in `next`."""
        return _page(_json(await self.request("GET", f"/fhir/{type}?{cursor}")))

    async def all(self, type: str, params: Params, *, limit: int = 1000) -> list[Json]:
        """Every match up to `limit`, page after page."""
        page = await self.search(type, params)
        found = page.matches
        while page.next and len(found) < limit:
            page = await self.follow(type, page.next)
            found = found + page.matches
        return found[:limit]

    async def everything(self, id: str) -> list[Json]:
        """The whole télédossier: the resources of `$everything`."""
        bundle = _json(await self.request("GET", f"/fhir/ServiceRequest/{quote(id, safe='')}/$everything"))
        return [entry["resource"] for entry in bundle.get("entry", []) if "resource" in entry]

    async def operation(
        self, path: str, parameters: Sequence[Json], *, headers: Mapping[str, str] | None = None
    ) -> Json:
        """POST `/fhir/<path>` with these Parameters.parameter; the resource of the answer."""
        body: Json = {"resourceType": "Parameters"}
        if parameters:
            body["parameter"] = list(parameters)
        return _json(await self.request("POST", f"/fhir/{path}", json=body, headers=headers))

    async def upload(self, content: AsyncIterable[bytes], media_type: str, dossier: str) -> str:
        """Store a file as a Binary that belongs to a télédossier; its reference `Binary/<id>`.

        FHIR R4 binary.html#rest
        """
        headers = {"content-type": media_type, "x-security-context": f"ServiceRequest/{dossier}"}
        response = await self.request("POST", "/fhir/Binary", content=content, headers=headers)
        parts = urlsplit(response.headers.get("location", "")).path.split("/")
        if "Binary" not in parts:
            raise FhirError(502, {})
        return f"Binary/{parts[parts.index('Binary') + 1]}"


def _json(response: httpx.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _page(bundle: Json) -> Page:
    matches: list[Json] = []
    included: list[Json] = []
    for entry in bundle.get("entry", []):
        resource = entry.get("resource")
        if resource is None or resource.get("resourceType") == "OperationOutcome":
            continue
        mode = entry.get("search", {}).get("mode", "match")
        (matches if mode == "match" else included).append(resource)
    following = next((link["url"] for link in bundle.get("link", []) if link.get("relation") == "next"), "")
    return Page(matches, included, urlsplit(following).query)
