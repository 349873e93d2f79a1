"""What every DICOMweb endpoint shares: who asks, which study, which media type, and errors as answers.

Errors are a status with a small JSON body; no patient data in them. PS3.18 §8.3 (query parameters), §8.5
(status codes)
"""

from __future__ import annotations

import hashlib
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from dicomweb import dicom_xml, media
from dicomweb.dataset import is_uid
from dicomweb.dicom_xml import XML
from dicomweb.images import Images
from dicomweb.media import JSON
from dicomweb.visibility import may_see
from fhir_server.access import Access
from profiles.outcomes import (
    Invalid,
    NotFound,
    PreconditionFailed,
    TeledossierError,
    TooLarge,
    Unauthenticated,
)

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]
PRIVATE = "private, no-cache"
BASE = "/dicom-web"
MOST_BODY = 20_000  # bytes of a JSON object that says what is wanted
MOST_DEPTH = 150  # of objects and arrays in one another; a sequence of DICOM JSON takes three
DATASET_TYPES = (JSON, "application/json", XML, "application/xml")


def answered(endpoint: Endpoint) -> Endpoint:
    """The error family as DICOMweb answers."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(None, 400)  # nobody reads it
        except TeledossierError as error:
            return _refused(error.status, error.slug, error.issues[0].diagnostics)
        except Exception as error:
            # the error's text may hold patient data: only its type and the code's places are logged
            log.error("a request failed: %s at %s", type(error).__name__, _places(error))
            return _refused(500, "internal-error", "an unexpected error; the operator's log knows more")

    return answered


def _places(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames))


def _refused(status: int, slug: str, message: str) -> Response:
    body = {"status": status, "code": slug, "message": message}
    return Response(orjson.dumps(body), status, {"Cache-Control": PRIVATE}, "application/json")


def access_of(request: Request) -> Access:
    """Raises Unauthenticated."""
    access = request.scope.get("access")
    if not isinstance(access, Access):
        raise Unauthenticated("no-access", "a token or a session is needed")
    return access


def absent() -> NotFound:
    """The one answer for what is not there and for what may not be seen."""
    return NotFound("no-such-images", "no such study, series, instance or frame")


def names_of(request: Request) -> dict[str, str]:
    """The route's names."""
    return {str(name): str(value) for name, value in request.path_params.items()}


async def admit(images: Images, request: Request) -> dict[str, str]:
    """The path's names, once the reader may see the study. Raises NotFound."""
    path = names_of(request)
    if not all(is_uid(path[name]) for name in ("study", "series", "instance") if name in path):
        raise absent()
    if not await may_see(images.store, access_of(request), path["study"]):
        raise absent()
    return path


def accept_of(request: Request) -> list[media.Range]:
    """The `accept` query parameter goes before the header. PS3.18 §8.3.3.1"""
    return media.parse_accept(request.query_params.get("accept") or request.headers.get("accept", ""))


def etag_of(*what: str) -> str:
    """A strong tag: the same words, the same bytes."""
    return f'"{hashlib.sha256("|".join(what).encode()).hexdigest()[:32]}"'


def unchanged(request: Request, etag: str) -> bool:
    """Whether the client has it already. Raises PreconditionFailed when it wants another. RFC 9110 §13"""
    wanted = request.headers.get("if-match", "")
    if wanted and wanted.strip() != "*" and etag not in _tags(wanted):
        raise PreconditionFailed("changed", "this is no longer what If-Match names")
    asked = request.headers.get("if-none-match", "")
    return asked.strip() == "*" or etag in _tags(asked)


def _tags(header: str) -> list[str]:
    return [one.strip().removeprefix("W/") for one in header.split(",")]


def not_modified(headers: Mapping[str, str]) -> Response:
    return Response(None, 304, headers)


def single(request: Request, part: media.Part, headers: Mapping[str, str], start: int = 0) -> Response:
    """One bare part, or the byte range of it that is asked for. `start`: where it begins in its content.
    RFC 9110 §14 (one range; several are answered with the whole)"""
    headers = {**headers, "Accept-Ranges": "bytes"}
    if part.location:
        headers["Content-Location"] = part.location
    asked = request.headers.get("range", "")
    if asked and request.headers.get("if-range", headers.get("ETag")) == headers.get("ETag"):
        try:
            wanted = _range(asked, part.length)
        except ValueError:
            headers["Content-Range"] = f"bytes */{part.length}"
            return Response(None, 416, headers)
        if wanted:
            first, last = wanted
            headers["Content-Range"] = f"bytes {first}-{last}/{part.length}"
            headers["Content-Length"] = str(last - first + 1)
            body = media.pieces(part.content, start + first, last - first + 1)
            return StreamingResponse(body, 206, headers, part.content_type)
    headers["Content-Length"] = str(part.length)
    return StreamingResponse(media.pieces(part.content, start, part.length), 200, headers, part.content_type)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte; None for what is answered with the whole. Raises ValueError when there is no such
    byte."""
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header, re.ASCII | re.IGNORECASE)
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
        if not int(found[2]):
            raise ValueError("nothing")
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first >= size:
        raise ValueError("beyond the end")
    return first, last


def eager(parts: Iterator[media.Part]) -> Iterator[media.Part]:
    """The same, its first part made already: what cannot be answered is said before the answer begins.
    Blocking."""
    first = next(parts, None)
    return iter(()) if first is None else chain((first,), parts)


async def small_body(request: Request, most: int = MOST_BODY) -> dict[str, Any]:
    """A small JSON object. Raises Invalid, TooLarge."""
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > most:
            raise TooLarge("too-long", f"a JSON object of at most {most} bytes")
    found = from_json(bytes(read))
    if not isinstance(found, dict):
        raise Invalid("bad-json", "the body is no JSON object")
    return found


def from_json(data: bytes) -> Any:
    """What somebody sent. It is not nested so deeply that Python or orjson could not walk or write it again.
    Raises Invalid."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Invalid("bad-json", "the body cannot be read as JSON") from error
    level = [found]
    for _ in range(MOST_DEPTH):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
        if not level:
            return found
    raise Invalid("bad-json", f"the JSON is nested more than {MOST_DEPTH} times")


def _inside(one: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return one.values() if isinstance(one, dict) else one


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(value), status, {"Cache-Control": PRIVATE, **(headers or {})}, "application/json"
    )


def dataset_type(request: Request) -> str:
    """How one dataset is answered: JSON unless XML is preferred. Raises NotAcceptable."""
    return media.choose(accept_of(request), DATASET_TYPES)


def dataset_answer(
    attributes: Mapping[str, Any], media_type: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """One dataset in the chosen form."""
    is_xml = media_type.endswith("xml")
    body = dicom_xml.dump(attributes) if is_xml else orjson.dumps(attributes)
    return Response(body, status, {"Cache-Control": PRIVATE, **(headers or {})}, media_type)


def multipart_answer(parts: Iterable[media.Part], part_type: str, headers: Mapping[str, str]) -> Response:
    """A multipart/related answer, streamed."""
    boundary = media.new_boundary()
    body = media.multipart(parts, boundary)
    return StreamingResponse(
        body, 200, {**headers, "Content-Type": media.multipart_type(part_type, boundary)}
    )


def sequence(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """An SQ element in DICOM JSON."""
    return {"vr": "SQ", "Value": list(items)}


def one(vr: str, value: object) -> dict[str, Any]:
    """An element with one value."""
    return {"vr": vr, "Value": [value]}
