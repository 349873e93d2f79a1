"""Plain JSON in and out, for the addresses beside DICOMweb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb.web import PRIVATE
from profiles.outcomes import Invalid

MOST_BODY = 20_000


async def small_object(request: Request) -> dict[str, Any]:
    """The body, a small JSON object. Raises Invalid."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MOST_BODY:
            raise Invalid("too-long", f"a JSON object of at most {MOST_BODY} bytes")
    try:
        found = orjson.loads(bytes(read))
    except orjson.JSONDecodeError as error:
        raise Invalid("bad-json", "the body is no JSON object") from error
    if not isinstance(found, dict):
        raise Invalid("bad-json", "the body is no JSON object")
    return found


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Not kept by any cache but the reader's own."""
    return Response(
        orjson.dumps(value), status, {"Cache-Control": PRIVATE, **(headers or {})}, "application/json"
    )
