"""What a gateway passes on of the performed procedure steps of its site's modalities.

    POST /gateway/steps   {name, ae, uid, kind, syntax, body} → {status, error}

Judged and kept as if the modality had called the node here. Told twice under one name it counts once.
PS3.4 §F.7.2
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb.gateway.region.registry import Gateway, gateway_of
from dicomweb.gateway.saying import unpacked
from dicomweb.images import Images
from dicomweb.performed import NotTaken
from dicomweb.steps.taking import Sayer, take
from dicomweb.web import Endpoint, access_of, answered, small_body
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Invalid

MOST_BODY = 16_000_000  # bytes
_NAME = re.compile(r"[0-9a-f]{32}")
_TITLE = re.compile(r"[ -\[\]-~]{1,16}")


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    return [Route("/gateway/steps", answered(_said(images)), methods=["POST"])]


def _said(images: Images) -> Endpoint:
    async def said(request: Request) -> Response:
        gateway = await gateway_of(images.store, access_of(request))
        body = await small_body(request, MOST_BODY)
        status, error = await asyncio.to_thread(_taken, images, gateway, body)
        return Response(orjson.dumps({"status": status, "error": error}), 200, {"Cache-Control": "no-store"},
                        "application/json")  # fmt: skip

    return said


def _taken(images: Images, gateway: Gateway, body: dict[str, Any]) -> tuple[int, int]:
    """The status and the Error ID that the modality would have been answered. Raises Invalid."""
    name, title = body.get("name"), body.get("ae")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid("bad-step", "name is 32 hexadecimal digits")
    if not isinstance(title, str) or not _TITLE.fullmatch(title):
        raise Invalid("bad-step", "ae is an AE title")
    source = f"{gateway.id}:{name}"
    message = unpacked(body, utc_microseconds(), source)
    if images.index.tellings.knows(source):
        return 0, 0
    try:
        take(images.index, message, Sayer(title, gateway.organization.removeprefix("Organization/")))
    except NotTaken as refused:
        return refused.status, refused.error_id
    return 0, 0
