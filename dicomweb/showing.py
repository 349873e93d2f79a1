"""WADO-RS endpoints for people's eyes: rendered pictures at every level, thumbnails, reports and documents.

PS3.18 §10.4.1.1.3 (rendered), §10.4.1.1.4 (thumbnails), §8.7.4 (rendered media types)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from dicomweb import bulk, cine, documents, films, frames, media, rendered, reports, wado, waveform
from dicomweb.attributes import first, number
from dicomweb.frames import Framed
from dicomweb.images import Images
from dicomweb.media import MULTIPART, Part, Spans
from dicomweb.rendered import Rendering, Viewport
from dicomweb.retrieval import framed, version_of
from dicomweb.syntaxes import FILMS
from dicomweb.web import (
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
from profiles.outcomes import NotAcceptable, NotFound

KEPT = "private, max-age=3600"  # rendered pictures, so that scrolling back asks nothing
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
MOVING = ("image/gif", cine.MP4)
MAX_CINE = 300  # frames of one moving picture
MAX_CINE_PIXELS = 100_000_000
THUMBNAIL = Viewport(128, 128)
_WITHOUT_PICTURES = frozenset({"SR", "PR", "KO", "AU", "DOC", "PLAN", "REG", "RTPLAN", "RTSTRUCT", "ECG"})


@dataclass(frozen=True, slots=True)
class Wish:
    """MULTIPART or "" (bare), and the media type of what is shown."""

    outer: str
    media: str


def wish(accept: Sequence[media.Range], offered: Sequence[str]) -> Wish:
    """Raises NotAcceptable."""
    for one in media.wanted(accept):
        is_multipart = one.media in (MULTIPART, "multipart/*")
        for offer in media.possible(accept, offered):
            if media.fits(one.part if is_multipart else one.media, offer):
                return Wish(MULTIPART if is_multipart else "", offer)
    raise NotAcceptable("not-acceptable", f"available here: {', '.join(offered)}")


def offered(images: Images, one: Framed) -> tuple[str, ...]:
    """What an instance can be shown as. Blocking."""
    if one.file.transfer_syntax in FILMS:
        return films.kinds(images, one)
    if documents.is_report(one.attributes):
        return documents.TEXTS
    if document := documents.document_type(one.attributes):
        return (document,)
    if waveform.is_waveform(one.attributes):
        return (waveform.SVG,)
    return (*PICTURES, cine.MP4) if one.frames > 1 and cine.is_possible() else PICTURES


def shown(images: Images, one: Framed, wanted: Sequence[int], rendering: Rendering) -> Part:
    """What is shown, as a part: a film from its file. Raises NotFound, NotAcceptable. Blocking."""
    if one.file.transfer_syntax in FILMS:
        return films.part(images, one, rendering.media)
    if documents.document_type(one.attributes) and not documents.is_report(one.attributes):
        value = bulk.find(images, one, documents.DOCUMENT)
        content = value.content
        if isinstance(content, Path):
            content = Spans(content, ((value.start, value.length),))
        return Part(rendering.media, content, value.length)
    if rendering.media == cine.MP4:
        return _film(images, one, wanted, rendering)
    data = show(images, one, wanted, rendering)
    return Part(rendering.media, data, len(data))


def _film(images: Images, one: Framed, wanted: Sequence[int], rendering: Rendering) -> Part:
    """Several frames as a film. Raises NotAcceptable. Blocking."""
    if len(wanted) < 2:
        raise NotAcceptable("not-acceptable", f"one frame is no film: {', '.join(PICTURES)}")
    name = etag_of(one.file.sha256, repr(wanted), repr(rendering)).strip('"')
    path = films.kept(images, name, lambda out: out.write(show(images, one, wanted, rendering)))
    return Part(rendering.media, path, path.stat().st_size)


def show(images: Images, one: Framed, wanted: Sequence[int], rendering: Rendering) -> bytes:
    """One picture, or a moving one of several frames, or a text. Raises NotFound, NotAcceptable. Blocking."""
    if rendering.media == "text/html":
        return reports.as_html(one.attributes).encode()
    if rendering.media == "text/plain":
        return reports.as_text(one.attributes).encode()
    if rendering.media == waveform.SVG:
        samples = bulk.find(images, one, waveform.DATA)
        data = b"".join(media.pieces(samples.content, samples.start, samples.length))
        return waveform.drawn(one.attributes, data).encode()
    pictures, pixels = [], 0
    for frame in wanted[:MAX_CINE]:
        pictures.append(frames.picture(images, one, frame, rendering))
        pixels += pictures[-1].width * pictures[-1].height
        if pixels > MAX_CINE_PIXELS:
            break
    if not pictures:
        raise NotAcceptable("cannot-render", "this instance has no pixels that can be rendered here")
    return rendered.encode(pictures, rendering, _pace(one))


def _pace(one: Framed) -> int:
    """Milliseconds a frame. PS3.3 §C.7.6.5"""
    rate = number(one.attributes, "00082144") or number(one.attributes, "00180040")
    found = number(one.attributes, "00181063") or (1000 / rate if rate else 100)
    return int(min(max(found, 20), 2000))


def show_instance(images: Images) -> Endpoint:
    """`…/rendered` of an instance or of a list of frames."""

    async def rendered_instance(request: Request) -> Response:
        path = await admit(images, request)
        wanted = frames.numbers(path["frames"]) if "frames" in path else []
        one = await framed(images, path)
        frames.check(one, wanted)
        choice = wish(accept_of(request), await anyio.to_thread.run_sync(offered, images, one))
        rendering = rendered.parse(request.query_params, choice.media)
        every = list(range(1, one.frames + 1))
        if not wanted:
            wanted = every if choice.outer or choice.media in MOVING else [1]
        elif len(wanted) > 1 and not choice.outer and choice.media not in MOVING:
            raise NotAcceptable(
                "not-acceptable", f"several frames go in {MULTIPART}, or as one {' or '.join(MOVING)}"
            )
        tag = etag_of(one.file.sha256, repr(wanted), repr(rendering), choice.outer)
        headers = {**_kept(tag), **documents.sealed(choice.media)}
        if unchanged(request, tag):
            return not_modified(headers)
        if choice.outer:
            made = _pictures(images, [one], wanted, rendering)
            if choice.media == cine.MP4 and one.file.transfer_syntax not in FILMS:
                made = (_film(images, one, some, rendering) for some in (wanted,))
            parts = await anyio.to_thread.run_sync(eager, made)
            return multipart_answer(parts, choice.media, headers)
        part = await anyio.to_thread.run_sync(shown, images, one, wanted, rendering)
        return single(request, part, headers)

    return rendered_instance


def _kept(etag: str) -> dict[str, str]:
    return {"Cache-Control": KEPT, "Vary": "Accept, Cookie, Authorization", "ETag": etag}


def _pictures(
    images: Images,
    instances: Sequence[Framed] | Iterator[Framed],
    wanted: Sequence[int],
    rendering: Rendering,
) -> Iterator[Part]:
    """One part a frame; `wanted` empty: every frame."""
    for one in instances:
        for frame in wanted or range(1, max(one.frames, 1) + 1):
            yield shown(images, one, [frame], rendering)


def show_many(images: Images) -> Endpoint:
    """`…/rendered` of a study or series: every picture as a part, or, to who wants one bare picture, the
    one that stands for it."""

    async def rendered_many(request: Request) -> Response:
        path = await admit(images, request)
        choice = wish(accept_of(request), PICTURES)
        rendering = rendered.parse(request.query_params, choice.media)
        tag = etag_of(
            "rendered", await version_of(images, path), path.get("series", ""), repr((choice, rendering))
        )
        headers = _kept(tag)
        if unchanged(request, tag):
            return not_modified(headers)
        if not choice.outer and not _anything(request):
            data = await anyio.to_thread.run_sync(_representative, images, path, rendering)
            return single(request, Part(choice.media, data, len(data)), headers)
        files = await anyio.to_thread.run_sync(wado.found, images, path)
        shown = (one for file in files if (one := frames.framed(images, file)).frames)
        parts = await anyio.to_thread.run_sync(eager, _pictures(images, shown, (), rendering))
        return multipart_answer(parts, choice.media, headers)

    return rendered_many


def _anything(request: Request) -> bool:
    return all(one.media == "*/*" for one in accept_of(request))


def thumbnail(images: Images) -> Endpoint:
    """A small picture of a study, series, instance or frame."""

    async def thumbnail(request: Request) -> Response:
        path = await admit(images, request)
        choice = wish(accept_of(request), PICTURES)
        asked = rendered.parse(request.query_params, choice.media)
        rendering = replace(asked, viewport=asked.viewport or THUMBNAIL)
        place = (path.get("series", ""), path.get("instance", ""), path.get("frames", ""))
        tag = etag_of("thumbnail", await version_of(images, path), *place, repr(rendering))
        headers = _kept(tag)
        if unchanged(request, tag):
            return not_modified(headers)
        data = await anyio.to_thread.run_sync(_representative, images, path, rendering)
        return single(request, Part(choice.media, data, len(data)), headers)

    return thumbnail


def _representative(images: Images, path: Mapping[str, str], rendering: Rendering) -> bytes:
    """The picture that stands for a route. Raises NotFound when there is none. Blocking."""
    if "instance" in path:
        one = frames.framed(images, next(wado.found(images, path)))
    else:
        one = _middle(images, path)
    wanted = frames.numbers(path["frames"])[:1] if "frames" in path else [max(1, (one.frames + 1) // 2)]
    frames.check(one, wanted)
    return show(images, one, wanted, rendering)


def _middle(images: Images, path: Mapping[str, str]) -> Framed:
    """The middle instance of the series, or of the first series that has pictures."""
    series = path.get("series") or _pictured(images, path["study"])
    files = [file.uid for file in images.index.briefs(path["study"]) if file.series == series]
    if not files:
        raise absent()
    place = {"study": path["study"], "series": series, "instance": files[len(files) // 2]}
    return frames.framed(images, next(wado.found(images, place)))


def _pictured(images: Images, study: str) -> str:
    found = images.index.series_of(study)
    if not found:
        raise NotFound("no-such-images", "no such study, series, instance or frame")
    pictured = (one for one in found if first(one.attributes, "00080060") not in _WITHOUT_PICTURES)
    return next(pictured, found[0]).uid
