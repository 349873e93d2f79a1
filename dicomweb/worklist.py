"""UPS-RS endpoints. Reading and changing need the scopes of Task; a person sees the steps of the studies
that he may see. PS3.18 §11"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response

from dicomweb import dicom_xml, keys, media, ups
from dicomweb.attributes import first, is_dataset
from dicomweb.dataset import is_uid
from dicomweb.dicom_xml import XML
from dicomweb.images import Images
from dicomweb.index.steps import WorkItem
from dicomweb.matching import matches
from dicomweb.media import JSON, Part
from dicomweb.multipart import content_type
from dicomweb.ups_events import cancel_requested
from dicomweb.visibility import visible
from dicomweb.web import (
    DATASET_TYPES,
    PRIVATE,
    Endpoint,
    accept_of,
    access_of,
    dataset_answer,
    from_json,
    multipart_answer,
)
from fhir_server.access import Access
from profiles.outcomes import Conflict, Forbidden, Invalid, NotFound, TooLarge, UnsupportedMedia

MAX_BODY = 4_000_000
MAXIMUM = 1000
_UNIVERSAL = frozenset({"limit", "offset", "includefield", "fuzzymatching", "accept", "charset"})
_NOWHERE = WorkItem("", "SCHEDULED", "", ("2.25.0",), {})


def _absent() -> NotFound:
    return NotFound("no-such-workitem", "no such workitem")


async def _body(request: Request) -> Mapping[str, Any]:
    """One dataset in JSON (bare or in an array) or XML; {} when there is none. Raises Invalid,
    UnsupportedMedia, TooLarge."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise TooLarge("too-large", "a workitem has at most 4 MB")
    if not data:
        return {}
    found = _read(bytes(data), request.headers.get("content-type", ""))
    if not is_dataset(found):
        raise Invalid("bad-workitem", "the body is not one dataset")
    return found


def _read(data: bytes, header: str) -> Any:
    kind, _parameters = content_type(header)
    if kind in (XML, "application/xml"):
        return dicom_xml.parse(data)
    if kind not in (JSON, "application/json"):
        raise UnsupportedMedia("unsupported-media", f"taken here: {JSON}, {XML}")
    found = from_json(data)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def allowed(request: Request, letter: str) -> Access:
    """Raises Forbidden. Writing is a system's business: people work through the télédossier."""
    access = access_of(request)
    if not access.allows("Task", letter) or (letter not in "rs" and access.audience is not None):
        raise Forbidden("not-allowed", f"this needs a token with the scope Task.{letter}")
    return access


async def seen(images: Images, access: Access, items: list[WorkItem]) -> list[WorkItem]:
    if access.audience is None:
        return items
    wanted = {study for item in items for study in item.studies}
    return ups.visible(items, await visible(images.store, access, wanted))


async def item_of(images: Images, request: Request, access: Access) -> WorkItem:
    """The one of the address, if the reader may see it. Raises NotFound."""
    uid = str(request.path_params["workitem"])
    found = await anyio.to_thread.run_sync(images.index.workitem, uid) if is_uid(uid) else None
    shown = await seen(images, access, [found or _NOWHERE])  # asked either way: an answer takes as long
    if found is None or not shown:
        raise _absent()
    return found


async def _put(images: Images, item: WorkItem) -> None:
    if not await anyio.to_thread.run_sync(images.index.put_workitem, item):
        raise Conflict("changed", "the workitem was changed at the same moment, or exists already")


def create(images: Images) -> Endpoint:
    """POST /workitems[?UID] and /workitems/{uid} where the body has no state yet. 201 with Location."""

    async def create(request: Request) -> Response:
        allowed(request, "c")
        body = await _body(request)
        if not body:
            raise Invalid("bad-workitem", "the request has no workitem")
        names = [name for name, value in request.query_params.multi_items() if not value]
        uid = request.query_params.get("workitem") or request.query_params.get("AffectedSOPInstanceUID") or ""
        item = ups.create(body, uid or next(iter(names), ""), datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000"))
        await _put(images, item)
        return Response(None, 201, {"Location": f"{images.base}/workitems/{item.uid}"})

    return create


def retrieve(images: Images) -> Endpoint:
    """GET /workitems/{uid}"""

    async def retrieve(request: Request) -> Response:
        access = allowed(request, "r")
        media_type = media.choose(accept_of(request), DATASET_TYPES)
        item = await item_of(images, request, access)
        shown = ups.shown(item)
        if media_type.endswith("xml"):
            return dataset_answer(shown, media_type, 200)
        return Response(orjson.dumps([shown]), 200, {"Cache-Control": PRIVATE}, media_type)

    return retrieve


def update(images: Images) -> Endpoint:
    """POST /workitems/{uid}[?transaction]"""

    async def update(request: Request) -> Response:
        access = allowed(request, "u")
        item = await item_of(images, request, access)
        params = request.query_params
        transaction = (
            params.get("transaction-uid")
            or params.get("transaction")
            or next((name for name, value in params.multi_items() if not value), "")
        )
        await _put(images, ups.update(item, await _body(request), transaction))
        return Response(None, 200, {"Content-Location": f"{images.base}/workitems/{item.uid}"})

    return update


def change_state(images: Images) -> Endpoint:
    """PUT /workitems/{uid}/state"""

    async def change_state(request: Request) -> Response:
        access = allowed(request, "u")
        item = await item_of(images, request, access)
        body = await _body(request)
        changed, warning = ups.change_state(item, first(body, ups.STATE), first(body, ups.TRANSACTION))
        if not warning:
            await _put(images, changed)
        return Response(None, 200, _warned(images, warning))

    return change_state


def cancel(images: Images) -> Endpoint:
    """POST /workitems/{uid}/cancelrequest"""

    async def cancel(request: Request) -> Response:
        access = allowed(request, "u")
        item = await item_of(images, request, access)
        reason = await _body(request)
        if item.state == "IN PROGRESS":
            event = cancel_requested(item, reason, access.subject.rpartition("/")[2])
            told = images.index.subscriptions.request_cancel
            if not await anyio.to_thread.run_sync(told, item, event):
                raise Conflict(
                    "performer-not-reached", "the performer holds the workitem and cannot be contacted"
                )
            return Response(None, 202)
        changed, warning = ups.cancel(item, reason)
        if changed:
            await _put(images, changed)
        return Response(None, 202, _warned(images, warning))

    return cancel


def _warned(images: Images, warning: str) -> dict[str, str]:
    return {"Warning": f'299 {images.base} "{warning}"'} if warning else {}


def search(images: Images) -> Endpoint:
    """GET /workitems?…: any attribute, as in QIDO-RS. 204 when there is none."""

    async def search(request: Request) -> Response:
        access = allowed(request, "s")
        media_type = media.choose(accept_of(request), DATASET_TYPES)
        limit, offset = (
            _count(request, name, default) for name, default in (("limit", MAXIMUM), ("offset", 0))
        )
        wanted = []
        for name, value in request.query_params.multi_items():
            path = None if name.lower() in _UNIVERSAL else keys.path_of(name)
            if path is not None:
                wanted += keys.plain_matches(name, *path, value)
        every = await seen(images, access, await anyio.to_thread.run_sync(images.index.workitems))
        found = [item for item in every if all(matches(item.attributes, match) for match in wanted)]
        page = [ups.shown(item) for item in found[offset : offset + min(limit, MAXIMUM)]]
        left = len(found) - offset - len(page)
        text = f"There are {left} additional results that can be requested" if left > 0 else ""
        headers = {"Cache-Control": PRIVATE, **_warned(images, text)}
        if not page:
            return Response(None, 204, headers)
        if media_type.endswith("xml"):
            documents = map(dicom_xml.dump, page)
            return multipart_answer((Part(XML, one, len(one)) for one in documents), XML, headers)
        return Response(orjson.dumps(page), 200, headers, media_type)

    return search


def _count(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise Invalid("bad-parameter", f"{name} takes a number, zero or more")
    return int(value)
