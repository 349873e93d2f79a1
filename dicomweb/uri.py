"""WADO-URI: one instance by query parameters, for viewers and links older than WADO-RS. PS3.18 §9"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from dicomweb import documents, frames, media, rendered, showing, wado
from dicomweb.attributes import integer
from dicomweb.dataset import is_uid
from dicomweb.dicom_xml import XML
from dicomweb.frames import Framed
from dicomweb.images import Images
from dicomweb.media import DICOM, JSON, Range
from dicomweb.rendered import Rendering, Viewport, Window
from dicomweb.visibility import may_see
from dicomweb.web import (
    PRIVATE,
    Endpoint,
    absent,
    accept_of,
    access_of,
    etag_of,
    not_modified,
    single,
    unchanged,
)
from profiles.outcomes import Invalid

UIDS = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
METADATA = (JSON, XML)
MAX_SIDE = rendered.MAX_VIEWPORT


def retrieve(images: Images) -> Endpoint:
    """`…/wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…`"""

    async def retrieve(request: Request) -> Response:
        params = dict(request.query_params)
        access = access_of(request)
        path = _path(params)
        if not await may_see(images.store, access, path["study"]):
            raise absent()
        one = await anyio.to_thread.run_sync(lambda: frames.framed(images, next(wado.found(images, path))))
        shown = await anyio.to_thread.run_sync(showing.offered, images, one)
        chosen = _chosen(shown, params, one, accept_of(request))
        if chosen == DICOM:
            return await _file(images, request, one, params)
        if chosen in METADATA:
            return await _metadata(images, path, chosen)
        return await _picture(images, request, one, params, chosen)

    return retrieve


def _path(params: Mapping[str, str]) -> dict[str, str]:
    """Raises Invalid for a request that is none, NotFound for UIDs that cannot be."""
    if params.get("requestType") != "WADO":
        raise Invalid("bad-parameter", "requestType must be WADO")
    missing = [name for name in UIDS if not params.get(name)]
    if missing:
        raise Invalid("bad-parameter", f"{missing[0]} is needed")
    if params.get("anonymize", "no") != "no":
        raise Invalid("bad-parameter", "anonymize is not offered")
    path = {place: params[name] for name, place in UIDS.items()}
    if not all(map(is_uid, path.values())):
        raise Invalid("bad-parameter", "studyUID, seriesUID and objectUID are UIDs")
    return path


def _chosen(shown: tuple[str, ...], params: Mapping[str, str], one: Framed, accept: list[Range]) -> str:
    """`contentType` goes before `Accept`; without both, what fits the instance. Raises NotAcceptable.
    PS3.18 §9.1.2.2.1"""
    is_single = one.frames == 1 or "frameNumber" in params or documents.is_report(one.attributes)
    is_picture = shown[: len(showing.PICTURES)] == showing.PICTURES
    first = shown[0] if shown and (one.frames or not is_picture) else DICOM
    default = first if is_single or not is_picture else DICOM
    possible = dict.fromkeys((default, *shown, DICOM, *METADATA))
    asked = params.get("contentType")
    wanted = [Range(one.strip().lower()) for one in asked.split(",")] if asked else accept
    return media.choose(wanted, tuple(possible))


async def _file(images: Images, request: Request, one: Framed, params: Mapping[str, str]) -> Response:
    asked = params.get("transferSyntax", "")
    if asked and not wado.possible(one.file.transfer_syntax, asked):
        refused = [Range(DICOM, 1.0, {"transfer-syntax": asked})]
        wado.way(refused, [one.file.transfer_syntax], single=True)  # raises, naming what is possible
    tag = etag_of(one.file.sha256, wado.target(one.file.transfer_syntax, asked), "uri")
    headers = {"Cache-Control": PRIVATE, "ETag": tag}
    if unchanged(request, tag):
        return not_modified(headers)
    part = await anyio.to_thread.run_sync(wado.part, images, one.file, asked)
    return single(request, replace(part, content_type=DICOM), headers)


async def _metadata(images: Images, path: Mapping[str, str], chosen: str) -> Response:
    if chosen == XML:
        parts = await anyio.to_thread.run_sync(lambda: list(wado.metadata_xml(images, path)))
        return Response(parts[0].content, 200, {"Cache-Control": PRIVATE}, XML)
    found = await anyio.to_thread.run_sync(lambda: b"".join(wado.metadata(images, path)))
    return Response(found, 200, {"Cache-Control": PRIVATE}, JSON)


async def _picture(
    images: Images, request: Request, one: Framed, params: Mapping[str, str], chosen: str
) -> Response:
    rendering = _rendering(params, chosen, one)
    wanted = frames.numbers(params.get("frameNumber") or "1")
    if len(wanted) > 1:
        raise Invalid("bad-parameter", "frameNumber is one number")
    if one.frames:
        frames.check(one, wanted)
    if chosen in showing.MOVING and "frameNumber" not in params:
        wanted = list(range(1, one.frames + 1))
    tag = etag_of(one.file.sha256, repr(wanted), repr(rendering), "uri")
    headers = {"Cache-Control": showing.KEPT, "Vary": "Accept, Cookie, Authorization", "ETag": tag}
    headers |= documents.sealed(chosen)
    if unchanged(request, tag):
        return not_modified(headers)
    part = await anyio.to_thread.run_sync(showing.shown, images, one, wanted, rendering)
    return single(request, part, headers)


def _rendering(params: Mapping[str, str], chosen: str, one: Framed) -> Rendering:
    """PS3.18 §9.1.2.2: windowCenter with windowWidth, rows, columns, region, imageQuality, annotation. Raises
    Invalid."""
    try:
        known = {
            name: params[key]
            for name, key in (("quality", "imageQuality"), ("annotation", "annotation"))
            if key in params
        }
        rendering = rendered.parse(known, chosen)
        return replace(rendering, window=_window(params), viewport=_viewport(params, one))
    except ValueError as error:
        raise Invalid(
            "bad-parameter",
            "windowCenter and windowWidth go together; rows, columns and imageQuality are whole numbers; "
            "region is xmin,ymin,xmax,ymax between 0 and 1",
        ) from error


def _window(params: Mapping[str, str]) -> Window | None:
    if "windowCenter" not in params and "windowWidth" not in params:
        return None
    if "windowCenter" not in params or "windowWidth" not in params:
        raise ValueError("window")
    found = rendered.parse({"window": f"{params['windowCenter']},{params['windowWidth']}"}, "")
    return found.window


def _viewport(params: Mapping[str, str], one: Framed) -> Viewport | None:
    sides = [params.get(name) for name in ("columns", "rows")]
    lengths = [int(side) if side is not None else MAX_SIDE for side in sides]
    if not all(0 < number <= MAX_SIDE for number in lengths):
        raise ValueError("side")
    region = [float(part) for part in params["region"].split(",")] if "region" in params else None
    if region is None:
        return Viewport(lengths[0], lengths[1]) if any(sides) else None
    if len(region) != 4 or not (0 <= region[0] < region[2] <= 1 and 0 <= region[1] < region[3] <= 1):
        raise ValueError("region")
    wide = integer(one.attributes, "00280011") or 1
    high = integer(one.attributes, "00280010") or 1
    box = (region[0] * wide, region[1] * high, (region[2] - region[0]) * wide, (region[3] - region[1]) * high)
    size = lengths if any(sides) else [max(1, round(box[2])), max(1, round(box[3]))]
    return Viewport(size[0], size[1], *box)
