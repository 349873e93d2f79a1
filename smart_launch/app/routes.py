"""The portal's addresses, for the roof to mount: `routes(app_ref, zone=…)`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from smart_launch.app.rendering import STATIC, render

__all__ = ["render", "routes"]


async def home(request: Request) -> Response:
    return RedirectResponse("/dossiers", 303)


def routes(app_ref: Callable[[], ASGIApp], *, zone: tzinfo = ZoneInfo("Europe/Paris")) -> list[BaseRoute]:
    """Every page. `app_ref` gives the whole platform, once it is built: pages speak to it over HTTP."""
    return [
        Route("/", home),
        Mount("/static", StaticFiles(directory=STATIC), name="static"),
    ]
