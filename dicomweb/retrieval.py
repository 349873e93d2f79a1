"""WADO-RS endpoints: instances, metadata, frames, bulk data, pixel data. PS3.18 §10.4"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dicomweb import bulk, frames, media, wado
from dicomweb.dataset import syntax_flags
from dicomweb.dicom_xml import XML
from dicomweb.frames import Framed
from dicomweb.images import Images
from dicomweb.media import DICOM, JSON, MULTIPART, OCTETS, Part
from dicomweb.syntaxes import ALIASES, FRAME_MEDIA, FRAME_SYNTAXES
from dicomweb.web import (
    PRIVATE,
    Endpoint,
    absent,
    accept_of,
    admit,
    eager,
    etag_of,
    multipart_answer,
    not_modified,
    single,
    unchanged,
)
from dicomweb.zipped import ZIP, zipped
from profiles.outcomes import NotAcceptable

METADATA_TYPES = (JSON, "application/json", XML, "application/xml")


def prepare(images: Images, path: Mapping[str, str]) -> None:
    """Whoever asks for metadata is about to ask for pictures: a decoder is started when they are
    compressed."""
    if not images.decoder.is_cold:
        return
    syntaxes = images.index.syntaxes(path["study"], path.get("series"))
    if any(syntax_flags(syntax).encapsulated for syntax in syntaxes):
        images.decoder.warm()


async def version_of(images: Images, path: Mapping[str, str]) -> str:
    """What changes whenever something of the study does. Raises NotFound."""
    study = await anyio.to_thread.run_sync(images.index.study, path["study"])
    if study is None:
        raise absent()
    return f"{study.uid} {study.last_seq} {study.instance_count}"


def metadata(images: Images) -> Endpoint:
    """`…/metadata` at every level, JSON or XML."""

    async def metadata(request: Request) -> Response:
        path = await admit(images, request)
        media_type = media.choose(accept_of(request), METADATA_TYPES)
        version = await version_of(images, path)
        place = (path.get("series", ""), path.get("instance", ""))
        headers = {
            "Cache-Control": PRIVATE,
            "Vary": "Accept",
            "ETag": etag_of("metadata", version, *place, media_type, images.base),
        }
        if unchanged(request, headers["ETag"]):
            return not_modified(headers)
        await anyio.to_thread.run_sync(prepare, images, path)
        if media_type.endswith("xml"):
            parts = await anyio.to_thread.run_sync(wado.metadata_xml, images, path)
            return multipart_answer(parts, XML, headers)
        body = await anyio.to_thread.run_sync(wado.metadata, images, path)
        return StreamingResponse(body, 200, headers, media_type)

    return metadata


def retrieve(images: Images) -> Endpoint:
    """A study, a series or an instance as DICOM files; to who wants no files but pixels, its bulk data, as
    clients older than `…/bulkdata` ask for it (PS3.18 §10.4.4)."""
    as_bulk = all_bulk(images, ())

    async def retrieve(request: Request) -> Response:
        if _wants_pixels(accept_of(request)):
            return await as_bulk(request)
        path = await admit(images, request)
        is_single = "instance" in path
        files = await anyio.to_thread.run_sync(wado.found, images, path)
        headers = {"Cache-Control": PRIVATE, "Vary": "Accept"}
        if is_single:
            file = next(files)
            way = wado.way(accept_of(request), [file.transfer_syntax], single=True)
            headers["ETag"] = etag_of(file.sha256, wado.target(file.transfer_syntax, way.syntax), way.outer)
            if unchanged(request, headers["ETag"]):
                return not_modified(headers)
            part = await anyio.to_thread.run_sync(wado.part, images, file, way.syntax)
            if way.outer == DICOM:
                return single(request, part, headers)
            return _several(iter((part,)), way, headers)
        stored = await anyio.to_thread.run_sync(images.index.syntaxes, path["study"], path.get("series"))
        way = wado.way(accept_of(request), stored, single=False)
        version = await version_of(images, path)
        headers["ETag"] = etag_of("files", version, path.get("series", ""), way.syntax, way.outer)
        if unchanged(request, headers["ETag"]):
            return not_modified(headers)
        parts = await anyio.to_thread.run_sync(eager, wado.parts(images, files, way.syntax))
        return _several(parts, way, headers)

    return retrieve


def _wants_pixels(accept: Sequence[media.Range]) -> bool:
    """Whether the parts asked for are octets or compressed frames, and none may be a DICOM file."""
    wanted = [one for one in media.wanted(accept) if one.media == MULTIPART]
    asked = {ALIASES.get(one.part, one.part) for one in wanted}
    return bool(asked) and asked <= {OCTETS, *FRAME_SYNTAXES} and len(wanted) == len(media.wanted(accept))


def _several(parts: Iterator[Part], way: wado.Way, headers: Mapping[str, str]) -> Response:
    """Files as parts, or in an archive."""
    if way.outer == ZIP:
        named = {**headers, "Content-Disposition": 'attachment; filename="images.zip"'}
        return StreamingResponse(zipped(parts), 200, named, ZIP)
    return multipart_answer(parts, DICOM, headers)


async def framed(images: Images, path: Mapping[str, str]) -> Framed:
    """The instance of the route. Raises NotFound."""

    def work() -> Framed:
        return frames.framed(images, next(wado.found(images, path)))

    return await anyio.to_thread.run_sync(work)


def retrieve_frames(images: Images) -> Endpoint:
    """`…/frames/1,2` as stored, plain or transcoded."""

    async def retrieve(request: Request) -> Response:
        path = await admit(images, request)
        wanted = frames.numbers(path["frames"])
        one = await framed(images, path)
        frames.check(one, wanted)
        form = frames.form(accept_of(request), one.file.transfer_syntax, single=len(wanted) == 1)
        return await _frames(images, request, one, wanted, form)

    return retrieve


async def _frames(
    images: Images, request: Request, one: Framed, wanted: list[int], form: frames.Form
) -> Response:
    listed = ",".join(map(str, wanted))
    headers = {
        "Cache-Control": PRIVATE,
        "Vary": "Accept",
        "ETag": etag_of(one.file.sha256, listed, form.content_type, form.outer),
    }
    if unchanged(request, headers["ETag"]):
        return not_modified(headers)
    parts = await anyio.to_thread.run_sync(eager, frames.parts(images, one, wanted, form))
    if form.outer == MULTIPART:
        return multipart_answer(parts, form.media, headers)
    return single(request, next(parts), headers)


def bulk_data(images: Images) -> Endpoint:
    """`…/bulkdata/7FE00010`: one value, with byte ranges; compressed pixels as their frames."""

    async def bulk_data(request: Request) -> Response:
        path = await admit(images, request)
        if not bulk.is_path(path["path"]):
            raise absent()
        one = await framed(images, path)
        if path["path"] in bulk.PIXELS and one.where.kind == "encapsulated":
            wanted = list(range(1, one.frames + 1))
            form = frames.form(accept_of(request), one.file.transfer_syntax, single=len(wanted) == 1)
            return await _frames(images, request, one, wanted, form)
        outer = _outer(request)
        headers = {"Cache-Control": PRIVATE, "ETag": etag_of(one.file.sha256, path["path"], outer)}
        if unchanged(request, headers["ETag"]):
            return not_modified(headers)
        value = await anyio.to_thread.run_sync(bulk.find, images, one, path["path"])
        if outer:
            return multipart_answer(iter((_part(images, one, path["path"], value),)), OCTETS, headers)
        return single(request, Part(OCTETS, value.content, value.length), headers, value.start)

    return bulk_data


def _outer(request: Request) -> str:
    """MULTIPART when that is what the client wants, "" for the bare value. Raises NotAcceptable."""
    for one in media.wanted(accept_of(request)):
        if one.media in (MULTIPART, "multipart/*") and media.fits(one.part, OCTETS):
            return MULTIPART
        if media.fits(one.media, OCTETS):
            return ""
    raise NotAcceptable("not-acceptable", f"available here: {OCTETS}, bare or in {MULTIPART}")


def _part(images: Images, one: Framed, path: str, value: bulk.Value) -> Part:
    file = one.file
    url = f"{images.base}/studies/{file.study}/series/{file.series}/instances/{file.uid}/bulkdata/{path}"
    content: media.Content = value.content
    if isinstance(content, Path):
        content = media.Spans(content, ((value.start, value.length),))
    return Part(OCTETS, content, value.length, url)


def all_bulk(images: Images, only: tuple[str, ...]) -> Endpoint:
    """`…/bulkdata` and `…/pixeldata` of a study, series or instance: every value (`only` these, if any),
    one part each; compressed pixels a part each frame, in the form that `Accept` asks for."""

    async def all_bulk(request: Request) -> Response:
        path = await admit(images, request)
        accept = accept_of(request)
        if not any(one.media in (MULTIPART, "multipart/*", "*/*") for one in media.wanted(accept)):
            raise NotAcceptable("not-acceptable", f'available here: {MULTIPART}; type="{OCTETS}"')
        version = await version_of(images, path)
        place = (path.get("series", ""), path.get("instance", ""))
        etag = etag_of("bulk", version, *place, *only, repr(accept))
        headers = {"Cache-Control": PRIVATE, "Vary": "Accept", "ETag": etag}
        if unchanged(request, headers["ETag"]):
            return not_modified(headers)
        files = await anyio.to_thread.run_sync(wado.found, images, path)
        made = (part for file in files for part in _every(images, frames.framed(images, file), only, accept))
        parts = await anyio.to_thread.run_sync(eager, made)
        head = next(parts, None)
        if head is None:
            raise absent()
        part_type = head.content_type.partition(";")[0]
        return multipart_answer(chain((head,), parts), part_type, headers)

    return all_bulk


def _every(
    images: Images, one: Framed, only: tuple[str, ...], accept: Sequence[media.Range]
) -> Iterator[Part]:
    for path in bulk.paths(one.attributes):
        if only and path not in only:
            continue
        if path in bulk.PIXELS and (one.where.kind == "encapsulated" or not _takes_octets(accept)):
            yield from _frames_of(images, one, accept)
        else:
            yield _part(images, one, path, bulk.find(images, one, path))


def _takes_octets(accept: Sequence[media.Range]) -> bool:
    return any(media.fits(one.part, OCTETS) for one in media.wanted(accept))


def _frames_of(images: Images, one: Framed, accept: Sequence[media.Range]) -> Iterator[Part]:
    """Every frame in the form that `Accept` asks for; as it is stored when it cannot be had so: an answer
    that has begun is not broken off for one image."""
    syntax = one.file.transfer_syntax
    kept = frames.Form(MULTIPART, FRAME_MEDIA.get(syntax, OCTETS), syntax)
    try:
        form = frames.form(accept, syntax, single=False)
    except NotAcceptable:
        form = kept
    for number in range(1, one.frames + 1):
        try:
            yield from frames.parts(images, one, (number,), form)
        except NotAcceptable:
            yield from frames.parts(images, one, (number,), kept)
