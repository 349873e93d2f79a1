"""What gateways call. Each sees its own errands alone; anything else is not there.

    GET  /gateway/errands?wait=25&hand=a,b        long poll; `hand`: what it has in hand. 200, or 204 for none
    POST /gateway/errands/{errand}/answers        {attempt, start, answers, over?} → 204; 404: let it be
    GET  /gateway/errands/{errand}/instances      the files of a `send`, one after another, whole or by Range
    POST /gateway/health                          a report → 204

Instances that a gateway brings come by STOW-RS, like anybody's. RFC 9110 §14 (Range); §6 of the reports is
in `gateway.report`
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dicomweb import media
from dicomweb.gateway import report
from dicomweb.gateway.errand import checked_answers, checked_outcome
from dicomweb.gateway.region.board import Told
from dicomweb.gateway.region.health import note
from dicomweb.gateway.region.registry import Gateway, gateway_of
from dicomweb.images import Images
from dicomweb.web import PRIVATE, Endpoint, access_of, answered, etag_of, single, small_body, unchanged
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Invalid, NotFound

BASE = "/gateway"
LONGEST_WAIT = 25.0
MOST_IN_HAND = 64
MOST_BODY = 8_000_000  # bytes of a page of answers
MOST_NUMBERED = 2_000  # answers of one errand: 50,000 rows of a search have 500
MOST_REPORT = 20_000
MOST_ATTEMPTS = 2**31


def routes(images: Images) -> list[BaseRoute]:
    """`request.scope["access"]` is there (smart_launch.guard)."""
    errand = BASE + "/errands/{errand}"
    return [
        Route(BASE + "/errands", answered(_poll(images)), methods=["GET"]),
        Route(errand + "/answers", answered(_answer(images)), methods=["POST"]),
        Route(errand + "/instances", answered(_instances(images)), methods=["GET"]),
        Route(BASE + "/health", answered(_health(images)), methods=["POST"]),
    ]


async def _gateway(images: Images, request: Request) -> Gateway:
    return await gateway_of(images.store, access_of(request))


def _poll(images: Images) -> Endpoint:
    async def poll(request: Request) -> Response:
        gateway, board = await _gateway(images, request), images.board
        until = asyncio.get_running_loop().time() + _wait(request.query_params.get("wait", "0"))
        in_hand = list(filter(None, request.query_params.get("hand", "").split(",")))
        if len(in_hand) > MOST_IN_HAND:
            raise Invalid("bad-poll", f"at most {MOST_IN_HAND} errands are in hand")
        mine = await asyncio.to_thread(board.poll, gateway.id, in_hand, utc_microseconds())
        while True:
            taken = await asyncio.to_thread(board.take, gateway.id, mine, utc_microseconds())
            if taken is not None and (taken.errands or taken.gone):
                return _json({"errands": [one.as_json() for one in taken.errands], "gone": taken.gone})
            left = until - asyncio.get_running_loop().time()
            if taken is None or left <= 0 or images.bell.ended or await request.is_disconnected():
                return Response(None, 204)
            await images.bell.wait(gateway.id, left)

    return poll


def _wait(text: str) -> float:
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise Invalid("bad-poll", "wait is a number of seconds")
    return min(float(text), LONGEST_WAIT)


def _answer(images: Images) -> Endpoint:
    async def answer(request: Request) -> Response:
        gateway, id = await _gateway(images, request), str(request.path_params["errand"])
        kind = await asyncio.to_thread(images.board.kind_of, gateway.id, id)
        if kind is None:
            raise _absent()
        body = await small_body(request, MOST_BODY)
        attempt, start = body.get("attempt"), body.get("start", 0)
        if type(attempt) is not int or not 0 <= attempt < MOST_ATTEMPTS:
            raise Invalid("bad-answer", f"attempt is a number below {MOST_ATTEMPTS}")
        if type(start) is not int or not 0 <= start < MOST_NUMBERED:
            raise Invalid("bad-answer", f"start is a number below {MOST_NUMBERED}")
        over = checked_outcome(body["over"]) if "over" in body else None
        told = Told(id, attempt, start, checked_answers(kind, body.get("answers", [])), over)
        if not await asyncio.to_thread(images.board.report, gateway.id, told, utc_microseconds()):
            raise _absent()
        return Response(None, 204)

    return answer


def _instances(images: Images) -> Endpoint:
    async def instances(request: Request) -> Response:
        gateway, id = await _gateway(images, request), str(request.path_params["errand"])
        paths = await asyncio.to_thread(images.board.files, gateway.id, id)
        content = await asyncio.to_thread(_joined, images.files.root, paths)
        headers = {"Cache-Control": PRIVATE, "ETag": etag_of(id, *(path.name for path in paths))}
        unchanged(request, headers["ETag"])
        size = sum(one for _path, one in content.files)
        return single(request, media.Part(media.OCTETS, content, size), headers)

    return instances


def _joined(root: Path, paths: Sequence[Path]) -> media.Joined:
    """Only what is in our files folder, whatever a row says. Raises NotFound."""
    folder = root.resolve()
    if not paths or not all(path.resolve().is_relative_to(folder) and path.is_file() for path in paths):
        raise _absent()
    return media.Joined(tuple((path, path.stat().st_size) for path in paths))


def _health(images: Images) -> Endpoint:
    async def health(request: Request) -> Response:
        gateway = await _gateway(images, request)
        told = report.of_json(await small_body(request, MOST_REPORT))
        await asyncio.to_thread(note, images.board, gateway.id, told, utc_microseconds())
        return Response(None, 204)

    return health


def _absent() -> NotFound:
    return NotFound("no-such-errand", "no such errand in this gateway's hands")


def _json(value: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(value), 200, {"Cache-Control": "no-store"}, "application/json")
