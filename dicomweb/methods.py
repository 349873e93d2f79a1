"""What an address offers: OPTIONS on every one of them, 405 with the whole list for any other method, and 404
where there is none.

A router knows the methods of one route, and an address has several routes. RFC 9110 §9.3.7, §10.2.1, §15.5.6
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Rest:
    """Answers what no route of the address does."""

    allowed: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Allow": ", ".join(self.allowed)}
        if scope["method"] == "OPTIONS":
            await Response(None, 204, headers)(scope, receive, send)
            return
        refused = _refused(405, "method-not-allowed", f"this address takes {headers['Allow']}", headers)
        await refused(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Answers any address that no room has."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _refused(404, "no-such-address", "nothing is at this address")(scope, receive, send)


def _refused(status: int, slug: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps({"status": status, "code": slug, "message": message})
    return Response(body, status, headers, "application/json")


def rest(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """One more route for each address, to stand behind the others."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        if isinstance(route, Route):
            methods.setdefault(route.path, {"OPTIONS"}).update(route.methods or ())
    return [Route(path, Rest(tuple(sorted(allowed)))) for path, allowed in methods.items()]


def nowhere() -> BaseRoute:
    """To stand behind all others."""
    return Route("/{path:path}", Nowhere())
