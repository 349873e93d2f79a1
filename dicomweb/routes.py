"""The DICOMweb addresses under /dicom-web. Each asks first whether the reader may see the study.

Errors are a status with a small JSON body; no patient data in them. Answers are `private`; instances never
change, so their ETag is the file's hash. PS3.18 §8.5 (status codes), §10.4, §10.6
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio.to_thread
import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dicomweb import frames, layout, media, qido, rendered, wado
from dicomweb.dataset import is_uid
from dicomweb.images import Images
from dicomweb.index.contract import File, Level
from dicomweb.media import DICOM, JSON, MULTIPART
from dicomweb.visibility import may_see, visible
from fhir_server.access import Access
from profiles.outcomes import NotAcceptable, TeledossierError, Unauthenticated

Endpoint = Callable[[Request], Awaitable[Response]]
PRIVATE = "private, no-cache"
KEPT = "private, max-age=3600"  # rendered pictures, so that scrolling back asks nothing
JSON_TYPES = (JSON, "application/json")
PICTURES = ("image/jpeg", "image/png")
BASE = "/dicom-web"
STUDY = BASE + "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"


def routes(images: Images) -> list[BaseRoute]:
    """QIDO-RS and WADO-RS; `request.scope["access"]` is there (smart_launch.guard)."""
    searches: tuple[tuple[str, Level], ...] = (
        (BASE + "/studies", "study"),
        (BASE + "/series", "series"),
        (BASE + "/instances", "instance"),
        (STUDY + "/series", "series"),
        (STUDY + "/instances", "instance"),
        (SERIES + "/instances", "instance"),
    )
    made: list[BaseRoute] = [
        Route(path, _answered(_search(images, level)), methods=["GET"]) for path, level in searches
    ]
    for path in (STUDY, SERIES, INSTANCE):
        made.append(Route(path, _answered(_retrieve(images)), methods=["GET"]))
        made.append(Route(path + "/metadata", _answered(_metadata(images)), methods=["GET"]))
    made.append(Route(INSTANCE + "/rendered", _answered(_rendered(images)), methods=["GET"]))
    made.append(Route(INSTANCE + "/frames/{frames}", _answered(_frames(images)), methods=["GET"]))
    made.append(Route(INSTANCE + "/frames/{frames}/rendered", _answered(_rendered(images)), methods=["GET"]))
    return made


def _answered(endpoint: Endpoint) -> Endpoint:
    """The error family as DICOMweb answers."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TeledossierError as error:
            body = {"status": error.status, "code": error.slug, "message": error.issues[0].diagnostics}
            return Response(orjson.dumps(body), error.status, {"Cache-Control": PRIVATE}, "application/json")

    return answered


def access_of(request: Request) -> Access:
    access = request.scope.get("access")
    if not isinstance(access, Access):
        raise Unauthenticated("no-access", "a token or a session is needed")
    return access


async def _admit(images: Images, request: Request) -> dict[str, str]:
    """The path's names, once the reader may see the study. Raises NotFound."""
    path = {str(name): str(value) for name, value in request.path_params.items()}
    if not all(is_uid(path[name]) for name in ("study", "series", "instance") if name in path):
        raise wado.absent()
    if not await may_see(images.store, access_of(request), path["study"]):
        raise wado.absent()
    return path


def _accept(request: Request) -> list[media.Range]:
    """The `accept` query parameter goes before the header. PS3.18 §8.3.3.1"""
    return media.parse_accept(request.query_params.get("accept") or request.headers.get("accept", ""))


def _search(images: Images, level: Level) -> Endpoint:
    async def search(request: Request) -> Response:
        access = access_of(request)
        media_type = media.choose(_accept(request), JSON_TYPES)
        path = {str(name): str(value) for name, value in request.path_params.items()}
        if not all(map(is_uid, path.values())):
            return _json([], media_type)
        asked = qido.parse(level, path, request.query_params.multi_items())
        asked = qido.narrowed(asked, await visible(images.store, access, asked.study_uids()))
        rows, more = await anyio.to_thread.run_sync(qido.answer, images.index, asked, images.base)
        warnings = [
            f'299 {images.base} "{text}"'
            for text, true in (
                ("There are additional results that can be requested", more),
                (
                    f"Not used for matching: {', '.join(n for n in asked.ignored if n.isalnum())[:200]}",
                    bool(asked.ignored),
                ),
            )
            if true
        ]
        return _json(rows, media_type, {"Warning": ", ".join(warnings)} if warnings else {})

    return search


def _json(rows: list[dict[str, object]], media_type: str, headers: Mapping[str, str] = {}) -> Response:
    return Response(orjson.dumps(rows), 200, {"Cache-Control": PRIVATE, **headers}, media_type)


def _metadata(images: Images) -> Endpoint:
    async def metadata(request: Request) -> Response:
        path = await _admit(images, request)
        media_type = media.choose(_accept(request), JSON_TYPES)
        body = await anyio.to_thread.run_sync(wado.metadata, images, path)
        return StreamingResponse(body, 200, {"Cache-Control": PRIVATE}, media_type)

    return metadata


def _retrieve(images: Images) -> Endpoint:
    async def retrieve(request: Request) -> Response:
        path = await _admit(images, request)
        accept = _accept(request)
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
        return _multipart(wado.parts(images, files), DICOM, headers)

    return retrieve


def _multipart(parts: Iterable[media.Part], part_type: str, headers: Mapping[str, str]) -> Response:
    boundary = media.new_boundary()
    body = media.multipart(parts, boundary)
    return StreamingResponse(
        body, 200, {**headers, "Content-Type": media.multipart_type(part_type, boundary)}
    )


async def _file(images: Images, path: Mapping[str, str]) -> tuple[File, layout.Layout]:
    file = next(await anyio.to_thread.run_sync(wado.found, images, path))
    return file, layout.load(file.layout)


def _frames(images: Images) -> Endpoint:
    async def retrieve(request: Request) -> Response:
        path = await _admit(images, request)
        wanted = frames.numbers(path["frames"])
        file, where = await _file(images, path)
        outer, part_type = frames.form(_accept(request), file.transfer_syntax, single=len(wanted) == 1)
        headers = {"Cache-Control": PRIVATE, "ETag": _etag(file, path["frames"], part_type, outer)}
        if _unchanged(request, headers["ETag"]):
            return Response(None, 304, headers)
        if outer != MULTIPART:
            part = await frames.part(images, file, where, wanted[0], part_type)
            return Response(part.content, 200, headers, part.content_type)
        parts = [await frames.part(images, file, where, number, part_type) for number in wanted]
        return _multipart(parts, part_type, headers)

    return retrieve


def _rendered(images: Images) -> Endpoint:
    async def render(request: Request) -> Response:
        path = await _admit(images, request)
        wanted = frames.numbers(path.get("frames", "1"))
        if len(wanted) > 1:
            raise NotAcceptable("not-acceptable", "one frame can be rendered at a time")
        rendering = rendered.parse(request.query_params, media.choose(_accept(request), PICTURES))
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
