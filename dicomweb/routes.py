"""The DICOMweb addresses under /dicom-web. Each asks first whether the reader may see the study.

Errors are a status with a small JSON body; no patient data in them. Answers are `private`; instances never
change, so their ETag is the file's hash. PS3.18 §8.5 (status codes), §10.4, §10.6
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dicomweb import dicom_xml, frames, layout, media, qido, rendered, stow, wado
from dicomweb.dataset import is_uid
from dicomweb.dicom_xml import XML
from dicomweb.images import Images
from dicomweb.index.contract import File, Level
from dicomweb.ingest import Arrival
from dicomweb.media import DICOM, JSON, MULTIPART
from dicomweb.visibility import visible
from dicomweb.web import (
    BASE,
    PRIVATE,
    Endpoint,
    accept_of,
    access_of,
    admit,
    answered,
    dataset_answer,
    dataset_type,
    multipart_answer,
    names_of,
)
from profiles.outcomes import Forbidden, Invalid, NotAcceptable

KEPT = "private, max-age=3600"  # rendered pictures, so that scrolling back asks nothing
JSON_TYPES = (JSON, "application/json")
SEARCH_TYPES = (*JSON_TYPES, XML, "application/xml")
PICTURES = ("image/jpeg", "image/png")
STUDY = BASE + "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"


def utc_microseconds() -> int:
    return time.time_ns() // 1000


def routes(images: Images) -> list[BaseRoute]:
    """STOW-RS, QIDO-RS and WADO-RS; `request.scope["access"]` is there (smart_launch.guard)."""
    searches: tuple[tuple[str, Level], ...] = (
        (BASE + "/studies", "study"),
        (BASE + "/series", "series"),
        (BASE + "/instances", "instance"),
        (STUDY + "/series", "series"),
        (STUDY + "/instances", "instance"),
        (SERIES + "/instances", "instance"),
    )
    made: list[BaseRoute] = [
        Route(path, answered(_search(images, level)), methods=["GET"]) for path, level in searches
    ]
    for path in (STUDY, SERIES, INSTANCE):
        made.append(Route(path, answered(_retrieve(images)), methods=["GET"]))
        made.append(Route(path + "/metadata", answered(_metadata(images)), methods=["GET"]))
    for path in (BASE + "/studies", STUDY):
        made.append(Route(path, answered(_store(images)), methods=["POST"]))
    made.append(Route(INSTANCE + "/rendered", answered(_rendered(images)), methods=["GET"]))
    made.append(Route(INSTANCE + "/frames/{frames}", answered(_frames(images)), methods=["GET"]))
    made.append(Route(INSTANCE + "/frames/{frames}/rendered", answered(_rendered(images)), methods=["GET"]))
    return made


def _search(images: Images, level: Level) -> Endpoint:
    async def search(request: Request) -> Response:
        access = access_of(request)
        media_type = media.choose(accept_of(request), SEARCH_TYPES)
        path = names_of(request)
        if not all(map(is_uid, path.values())):
            return _rows([], media_type, {})
        asked = qido.parse(level, path, request.query_params.multi_items())
        asked = qido.narrowed(asked, await visible(images.store, access, asked.study_uids()))
        page = await anyio.to_thread.run_sync(qido.answer, images.index, asked, images.base)
        return _rows(page.rows, media_type, _warnings(images.base, page.more, asked.ignored))

    return search


def _warnings(base: str, more: int, ignored: Sequence[str]) -> dict[str, str]:
    """PS3.18 §10.6.3.2: a cut is said with what remains; a key that was not used is said too."""
    texts = []
    if more:
        count = more if more < qido.COUNTED else f"{more} or more"
        texts.append(f"There are {count} additional results that can be requested")
    if names := [name for name in ignored if name.isascii() and name.isalnum()]:
        texts.append(f"Not used for matching: {', '.join(names)[:200]}")
    elif ignored:
        texts.append("Some parameters are not attributes; they were not used for matching")
    return {"Warning": ", ".join(f'299 {base} "{text}"' for text in texts)} if texts else {}


def _rows(rows: list[dict[str, Any]], media_type: str, headers: Mapping[str, str]) -> Response:
    """204 when nothing was found. PS3.18 §10.6.3.1; Table 10.6.3-2 (XML: one part a result)"""
    headers = {"Cache-Control": PRIVATE, "Vary": "Accept", **headers}
    if not rows:
        return Response(None, 204, headers)
    if media_type in JSON_TYPES:
        return Response(orjson.dumps(rows), 200, headers, media_type)
    documents = map(dicom_xml.dump, rows)
    return multipart_answer((media.Part(XML, one, len(one)) for one in documents), XML, headers)


def _store(images: Images) -> Endpoint:
    async def store(request: Request) -> Response:
        access = access_of(request)
        if not access.allows("ImagingStudy", "c") or access.audience is not None:
            raise Forbidden("not-allowed", "storing needs a system's token with the scope ImagingStudy.c")
        study = names_of(request).get("study", "")
        if study and not is_uid(study):
            raise Invalid("bad-uid", "the address names no Study Instance UID")
        media_type = dataset_type(request)
        arrival = Arrival(utc_microseconds(), source=access.subject.rpartition("/")[2].lower(), study=study)
        header = request.headers.get("content-type", "")
        receipts = await stow.store(images, request.stream(), header, arrival)
        return dataset_answer(stow.answer(receipts, images.base, study), media_type, stow.status_of(receipts))

    return store


def _metadata(images: Images) -> Endpoint:
    async def metadata(request: Request) -> Response:
        path = await admit(images, request)
        media_type = media.choose(accept_of(request), JSON_TYPES)
        body = await anyio.to_thread.run_sync(wado.metadata, images, path)
        return StreamingResponse(body, 200, {"Cache-Control": PRIVATE}, media_type)

    return metadata


def _retrieve(images: Images) -> Endpoint:
    async def retrieve(request: Request) -> Response:
        path = await admit(images, request)
        accept = accept_of(request)
        single = "instance" in path
        chosen = wado.way(accept, single=single)
        files = await anyio.to_thread.run_sync(wado.found, images, path)
        headers = {"Cache-Control": PRIVATE}
        if single:
            file = next(files)
            wado.check_syntax(accept, file.transfer_syntax)
            headers["ETag"] = f'"{file.sha256}"'
            if _unchanged(request, headers["ETag"]):
                return Response(None, 304, headers)
            if chosen == DICOM:
                headers["Content-Length"] = str(file.size)
                return StreamingResponse(
                    media.pieces(images.files.path(file.path)),
                    200,
                    headers,
                    f"{DICOM}; transfer-syntax={file.transfer_syntax}",
                )
            files = iter((file,))
        return multipart_answer(wado.parts(images, files), DICOM, headers)

    return retrieve


async def _file(images: Images, path: Mapping[str, str]) -> tuple[File, layout.Layout]:
    file = next(await anyio.to_thread.run_sync(wado.found, images, path))
    return file, layout.load(file.layout)


def _frames(images: Images) -> Endpoint:
    async def retrieve(request: Request) -> Response:
        path = await admit(images, request)
        wanted = frames.numbers(path["frames"])
        file, where = await _file(images, path)
        outer, part_type = frames.form(accept_of(request), file.transfer_syntax, single=len(wanted) == 1)
        headers = {"Cache-Control": PRIVATE, "ETag": _etag(file, path["frames"], part_type, outer)}
        if _unchanged(request, headers["ETag"]):
            return Response(None, 304, headers)
        if outer != MULTIPART:
            part = await frames.part(images, file, where, wanted[0], part_type)
            return Response(part.content, 200, headers, part.content_type)
        parts = [await frames.part(images, file, where, number, part_type) for number in wanted]
        return multipart_answer(parts, part_type, headers)

    return retrieve


def _rendered(images: Images) -> Endpoint:
    async def render(request: Request) -> Response:
        path = await admit(images, request)
        wanted = frames.numbers(path.get("frames", "1"))
        if len(wanted) > 1:
            raise NotAcceptable("not-acceptable", "one frame can be rendered at a time")
        rendering = rendered.parse(request.query_params, media.choose(accept_of(request), PICTURES))
        file, where = await _file(images, path)
        headers = {
            "Cache-Control": KEPT,
            "Vary": "Accept, Cookie, Authorization",
            "ETag": _etag(file, str(wanted[0]), repr(rendering)),
        }
        if _unchanged(request, headers["ETag"]):
            return Response(None, 304, headers)
        picture = await frames.render(images, file, where, wanted[0], rendering)
        return Response(picture, 200, headers, rendering.media)

    return render


def _etag(file: File, *what: str) -> str:
    return f'"{hashlib.sha256("|".join((file.sha256, *what)).encode()).hexdigest()[:32]}"'


def _unchanged(request: Request, etag: str) -> bool:
    asked = request.headers.get("if-none-match", "")
    return asked.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in asked.split(",")]
