"""Frames by number, read by offset: as stored, or decompressed to plain samples, or rendered.

PS3.18 §10.4.1.1.6 (frame list), §8.7.3 (media types of frames)
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import anyio.to_thread
import numpy as np
import orjson

from dicomweb import layout, media, rendered
from dicomweb.attributes import Attributes, first, integer
from dicomweb.dataset import read_palette, syntax_flags
from dicomweb.decoding import Pixels
from dicomweb.images import Images
from dicomweb.index.contract import File
from dicomweb.layout import Layout
from dicomweb.media import EXPLICIT_LITTLE, FRAME_MEDIA, MULTIPART, OCTETS, Part, Range
from dicomweb.rendered import Rendering
from dicomweb.web import absent
from profiles.outcomes import Invalid, NotAcceptable

MAX_LIST = 1000


def numbers(text: str) -> list[int]:
    """`1,3,2` → [1, 3, 2]. Raises Invalid."""
    found = text.split(",")
    if len(found) > MAX_LIST or not all(
        one.isascii() and one.isdigit() and 0 < len(one) < 8 for one in found
    ):
        raise Invalid("bad-frames", "frames are numbers from 1, separated by commas")
    return [int(one) for one in found]


def stored(images: Images, file: File, where: Layout, number: int) -> bytes:
    """The frame's bytes as they are in the file. Raises NotFound. Blocking."""
    try:
        ranges = where.frame(number)
        fd = os.open(images.files.path(file.path), os.O_RDONLY)
    except (IndexError, FileNotFoundError):
        raise absent() from None
    try:
        return layout.read(fd, ranges)
    finally:
        os.close(fd)


def form(accept: Sequence[Range], syntax: str, *, single: bool) -> tuple[str, str]:
    """How to answer: (MULTIPART or the bare media type, the part's media type). Raises NotAcceptable.

    `application/octet-stream` alone means plain samples; with `transfer-syntax=*` or the stored one, the
    frame as it is, under its own media type.
    """
    kept = FRAME_MEDIA.get(syntax)
    for one in accept:
        wanted = one.part if one.media in (MULTIPART, "multipart/*") else one.media
        outer = MULTIPART if one.media in (MULTIPART, "multipart/*", "*/*") else ""
        if not outer and not single:
            continue
        as_stored = one.transfer_syntax in ("*", syntax)
        if (
            kept
            and (wanted == kept or (as_stored and wanted in (OCTETS, "*/*")))
            and one.transfer_syntax in ("", "*", syntax)
        ):
            return outer or kept, kept
        if media.fits(wanted, OCTETS) and one.transfer_syntax in ("", "*", EXPLICIT_LITTLE):
            return outer or OCTETS, OCTETS
    offers = [OCTETS, *([kept] if kept else [])]
    raise NotAcceptable(
        "not-acceptable", f"available here: {', '.join(offers)}, bare for one frame or in {MULTIPART}"
    )


async def part(images: Images, file: File, where: Layout, number: int, wanted: str) -> Part:
    """One frame as a part of media type `wanted`."""
    if wanted != OCTETS:
        data = await anyio.to_thread.run_sync(stored, images, file, where, number)
        return Part(f"{wanted}; transfer-syntax={file.transfer_syntax}", data, len(data))
    data = await plain(images, file, where, number)
    return Part(f"{OCTETS}; transfer-syntax={EXPLICIT_LITTLE}", data, len(data))


async def plain(images: Images, file: File, where: Layout, number: int) -> bytes:
    """The frame as uncompressed little-endian samples."""
    flags = syntax_flags(file.transfer_syntax)
    if where.kind == "native":
        data = await anyio.to_thread.run_sync(stored, images, file, where, number)
        if flags.little_endian:
            return data
        attributes = await anyio.to_thread.run_sync(attributes_of, images, file)
        size = (integer(attributes, "00280100") or 8) // 8
        return np.frombuffer(data, f">u{size}").astype(f"<u{size}").tobytes() if size in (2, 4) else data
    if where.kind == "none" or (where.kind == "encapsulated" and not 1 <= number <= where.frames):
        raise absent()
    return (await images.decoder.decode(images.files.path(file.path), number, colours=False)).data


def attributes_of(images: Images, file: File) -> Attributes:
    """The instance's own attributes. Blocking."""
    for body in images.index.metadata(file.study, file.series, file.uid):
        attributes: Attributes = orjson.loads(body.json)
        return attributes
    raise absent()


async def render(images: Images, file: File, where: Layout, number: int, rendering: Rendering) -> bytes:
    """The frame as a picture. Raises NotAcceptable when it has no pixels that can be shown."""
    if where.kind == "native":
        return await anyio.to_thread.run_sync(_render_native, images, file, where, number, rendering)
    if where.kind == "none" or (where.kind == "encapsulated" and not 1 <= number <= where.frames):
        raise _no_picture() if where.kind == "none" else absent()
    path = images.files.path(file.path)
    pixels = await images.decoder.decode(path, number, colours=True)
    return await anyio.to_thread.run_sync(_render_decoded, images, file, pixels, rendering)


def _no_picture() -> NotAcceptable:
    return NotAcceptable("cannot-render", "this instance has no pixels that can be rendered here")


def _render_native(images: Images, file: File, where: Layout, number: int, rendering: Rendering) -> bytes:
    data = stored(images, file, where, number)
    attributes = attributes_of(images, file)
    pixels = rendered.native(data, attributes, little_endian=syntax_flags(file.transfer_syntax).little_endian)
    return _picture(images, file, pixels, first(attributes, "00280004"), attributes, rendering)


def _render_decoded(images: Images, file: File, decoded: Pixels, rendering: Rendering) -> bytes:
    pixels = np.frombuffer(decoded.data, decoded.dtype).reshape(decoded.shape)
    return _picture(images, file, pixels, decoded.photometric, attributes_of(images, file), rendering)


def _picture(
    images: Images,
    file: File,
    pixels: rendered.Array,
    photometric: str,
    attributes: Attributes,
    rendering: Rendering,
) -> bytes:
    palette = None
    if photometric == "PALETTE COLOR":
        table = read_palette(images.files.path(file.path))
        palette = None if table is None else np.frombuffer(table, np.uint8).reshape(-1, 3)
    return rendered.picture(pixels, photometric, attributes, rendering, images.windows, palette)
