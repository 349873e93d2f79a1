"""The portal's addresses, for the roof to mount: `routes(app_ref, zone=…)`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from smart_launch.app.desk import Desk
from smart_launch.app.guide import pages as guide
from smart_launch.app.pages import conflicts, dossier, exams, form, sending, sites, viewer, worklist
from smart_launch.app.rendering import STATIC, failure, render

__all__ = ["render", "routes"]


WRITING = ["POST", "PUT", "PATCH", "DELETE"]


class Static(StaticFiles):
    """Static files: a fingerprinted address may be kept for good, any other is asked again (scripts import
    one another by plain names)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        fingerprinted = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if fingerprinted else "no-cache"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


async def nowhere(request: Request) -> Response:
    """Any other address of this host: a French page, as for what one may not see."""
    return failure(404)


async def not_so(request: Request) -> Response:
    """A method that no page takes: not FastAPI's English."""
    page = failure(405)
    page.headers["Allow"] = "GET, HEAD"  # RFC 9110 §15.5.6
    return page


async def home(request: Request) -> Response:
    return RedirectResponse("/dossiers", 303)


def routes(app_ref: Callable[[], ASGIApp], *, zone: tzinfo = ZoneInfo("Europe/Paris")) -> list[BaseRoute]:
    """Every page. `app_ref` gives the whole platform, once it is built: pages speak to it over HTTP."""
    desk = Desk(app_ref, zone)
    return [
        Route("/", home),
        *worklist.routes(desk),
        *form.routes(desk),
        *viewer.routes(desk),
        *conflicts.routes(desk),
        *exams.routes(desk),
        *sending.routes(desk),
        *sites.routes(desk),
        *dossier.routes(desk),
        *guide.routes(),
        Mount("/static", Static(directory=STATIC), name="static"),
        *(Route(below + "{path:path}", not_so, methods=WRITING) for below in ("/dossiers", "/sites")),
        Route("/{path:path}", nowhere),  # last: what no other room answers
    ]
