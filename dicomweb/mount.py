"""The image routes, imported when they are first asked for.

Reading and drawing pixels needs libraries that take a third of the web tier's start-up time; a restart in the
night must answer at once. The images themselves are opened at start-up, so a wrong index stops the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute, Match, NoMatchFound, Router
from starlette.types import Receive, Scope, Send

from dicomweb.images import Images

BASES = ("/dicom-web", "/gateway")


class DicomWeb(BaseRoute):
    """Everything below BASES. `warm` imports ahead of the first request, in a worker thread."""

    def __init__(self, images: Images) -> None:
        self._make: Callable[[], Sequence[BaseRoute]] = lambda: every_route(images)
        self._router: Router | None = None

    async def warm(self) -> None:
        """Make the routes now; a second call changes nothing."""
        if self._router is None:
            made = await asyncio.to_thread(self._make)
            self._router = self._router or Router(made)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope.get("path", "")
        here = scope["type"] in ("http", "websocket") and any(
            path == base or path.startswith(base + "/") for base in BASES
        )
        return (Match.FULL if here else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.warm()
        assert self._router is not None
        await self._router(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> object:  # type: ignore[override]
        raise NoMatchFound(name, path_params)


def every_route(images: Images) -> Sequence[BaseRoute]:
    """Of all rooms; what none of them answers is refused in their own words."""
    from dicomweb import adding, conflicts, medium, methods, routes
    from dicomweb.gateway.region import commitments, sites, steps
    from dicomweb.gateway.region import routes as gateways
    from dicomweb.priors import routes as priors
    from dicomweb.transfers import orders, selection
    from dicomweb.transfers import routes as transfers

    rooms = (
        transfers,
        orders,
        selection,
        adding,
        medium,
        gateways,
        commitments,
        sites,
        steps,
        priors,
        conflicts,
    )
    made = [route for room in rooms for route in room.routes(images)]
    return [*routes.routes(images), *made, *methods.rest(made), methods.nowhere()]
