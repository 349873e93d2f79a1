"""What an address offers: OPTIONS on every one of them, and 405 with the whole list for any other method.

A router knows the methods of one route, and an address has several routes. RFC 9110 §9.3.7, §10.2.1, §15.5.6
"""

from __future__ import annotations

from collections.abc import Sequence
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
        message = f"this address takes {headers['Allow']}"
        body = orjson.dumps({"status": 405, "code": "method-not-allowed", "message": message})
        await Response(body, 405, headers, "application/json")(scope, receive, send)


def rest(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    """One more route for each address, to stand behind the others."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        if isinstance(route, Route):
            methods.setdefault(route.path, {"OPTIONS"}).update(route.methods or ())
    return [Route(path, Rest(tuple(sorted(allowed)))) for path, allowed in methods.items()]
