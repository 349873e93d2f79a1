"""Frames by number, read by offset: as stored, decompressed, in another transfer syntax, or rendered.

Everything here blocks; endpoints call it in worker threads. PS3.18 §10.4.1.1.6 (frame list), §8.7.3 (media
types of frames)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from dicomweb import layout, media, rendered
from dicomweb.attributes import Attributes, first, integer
from dicomweb.dataset import read_palette, syntax_flags
from dicomweb.decoding import Pixels
from dicomweb.images import Images
from dicomweb.index.contract import File
from dicomweb.layout import Layout
from dicomweb.media import MULTIPART, OCTETS, Part, Range
from dicomweb.rendered import Rendering
from dicomweb.syntaxes import ALIASES, DECODED, EXPLICIT_LITTLE, FRAME_MEDIA, FRAME_SYNTAXES, MADE_FRAMES
from dicomweb.web import absent
from profiles.outcomes import Invalid, NotAcceptable

MAX_LIST = 1000


@dataclass(frozen=True, slots=True)
class Form:
    """How frames are answered: MULTIPART or bare (""), the media type and transfer syntax of each."""

    outer: str
    media: str
    syntax: str

    @property
    def content_type(self) -> str:
        return f"{self.media}; transfer-syntax={self.syntax}"


@dataclass(frozen=True, slots=True)
class Framed:
    """An instance whose frames are asked for."""

    file: File
    where: Layout
    attributes: Attributes

    @property
    def frames(self) -> int:
        """How many there are; a file whose frames have no place of their own says it in its attributes."""
        if self.where.kind == "deflated" or (self.where.kind == "none" and "7FE00010" in self.attributes):
            return max(1, integer(self.attributes, "00280008") or 1)
        return self.where.frames


def framed(images: Images, file: File) -> Framed:
    return Framed(file, layout.load(file.layout), attributes_of(images, file))


def numbers(text: str) -> list[int]:
    """`1,3,2` → [1, 3, 2]. Raises Invalid."""
    found = text.split(",")
    if len(found) > MAX_LIST or not all(
        one.isascii() and one.isdigit() and 0 < len(one) < 8 and int(one) for one in found
    ):
        raise Invalid("bad-frames", "frames are numbers from 1, separated by commas")
    return [int(one) for one in found]


def check(one: Framed, wanted: Sequence[int]) -> None:
    """Raises NotFound for a frame that is not there."""
    if not all(1 <= number <= one.frames for number in wanted):
        raise absent()


def stored(images: Images, one: Framed, number: int) -> bytes:
    """The frame's bytes as they are in the file. Raises NotFound."""
    try:
        return images.files.read(one.file.path, one.where.frame(number))
    except (IndexError, FileNotFoundError):
        raise absent() from None


def offers(syntax: str) -> list[tuple[str, str]]:
    """(media type, transfer syntax) that frames stored in `syntax` can be had in, best first."""
    kept = FRAME_MEDIA.get(syntax)
    found = [(kept, syntax)] if kept else []
    if syntax not in DECODED:
        return [(OCTETS, syntax)]
    found.append((OCTETS, EXPLICIT_LITTLE))
    made = [(media_type, one) for media_type, all_of in FRAME_SYNTAXES.items() for one in all_of]
    return found + [one for one in made if one[1] in MADE_FRAMES and one not in found]


def form(accept: Sequence[Range], syntax: str, *, single: bool) -> Form:
    """How to answer. Raises NotAcceptable, naming what is possible.

    Without a transfer syntax the media type's default is meant, or the stored one under the same media type;
    `application/octet-stream` is plain samples, and with `transfer-syntax=*` the frame as it is.
    """
    possible = offers(syntax)
    for one in media.wanted(accept):
        outer = MULTIPART if one.media in (MULTIPART, "multipart/*", "*/*") else ""
        wanted = one.part if one.media in (MULTIPART, "multipart/*") else one.media
        if not outer and not single:
            continue
        found = _chosen(ALIASES.get(wanted, wanted), one.transfer_syntax, syntax, possible)
        if found:
            return Form(outer, *found)
    told = ", ".join(f"{media_type}; transfer-syntax={one}" for media_type, one in possible)
    raise NotAcceptable("not-acceptable", f"available here: {told}; bare for one frame or in {MULTIPART}")


def _chosen(
    wanted: str, asked: str, syntax: str, possible: Sequence[tuple[str, str]]
) -> tuple[str, str] | None:
    if asked in ("*", syntax) and syntax not in (EXPLICIT_LITTLE, "") and possible:
        kept = possible[0]
        if kept[1] == syntax and (media.fits(wanted, kept[0]) or wanted == OCTETS):
            return kept
    if asked in ("", "*") and media.fits(wanted, OCTETS) and (OCTETS, EXPLICIT_LITTLE) in possible:
        return OCTETS, EXPLICIT_LITTLE
    for offer in possible:
        if media.fits(wanted, offer[0]) and asked in ("", "*", offer[1]):
            return offer
    return None


def parts(images: Images, one: Framed, wanted: Sequence[int], form: Form) -> Iterator[Part]:
    """The frames as parts, one at a time. Raises NotAcceptable."""
    url = f"{images.base}/studies/{one.file.study}/series/{one.file.series}/instances/{one.file.uid}"
    for number in wanted:
        data = frame(images, one, number, form.syntax)
        yield Part(form.content_type, data, len(data), f"{url}/frames/{number}")


def frame(images: Images, one: Framed, number: int, syntax: str) -> bytes:
    """One frame in a transfer syntax. Raises NotFound, NotAcceptable."""
    kept = one.file.transfer_syntax
    if one.where.kind == "encapsulated" or (one.where.kind == "native" and not _swapped(one)):
        data = stored(images, one, number)
        flags = syntax_flags(kept)
        if syntax == kept or (syntax == EXPLICIT_LITTLE and not flags.encapsulated and flags.little_endian):
            return data
        return images.decoder.recode(data, kept, one.attributes, syntax)
    check(one, (number,))
    plain = images.decoder.decode_file(images.files.path(one.file.path), number, colours=False)
    if syntax == EXPLICIT_LITTLE:
        return plain.data
    return images.decoder.recode(plain.data, EXPLICIT_LITTLE, one.attributes, syntax)


def _swapped(one: Framed) -> bool:
    """Whether small samples may stand in big-endian words, which the bytes alone do not tell. PS3.5 §8.1.1"""
    narrow = (integer(one.attributes, "00280100") or 8) <= 8
    return narrow and not syntax_flags(one.file.transfer_syntax).little_endian


def attributes_of(images: Images, file: File) -> Attributes:
    """The instance's own attributes."""
    for body in images.index.metadata(file.study, file.series, file.uid):
        attributes: Attributes = orjson.loads(body.json)
        return attributes
    raise absent()


def pixels(images: Images, one: Framed, number: int) -> tuple[rendered.Array, str]:
    """The frame's samples for showing, colours as RGB where a codec says so, and their photometric
    interpretation. Raises NotFound, NotAcceptable."""
    if one.where.kind == "native" and not _swapped(one):
        data = stored(images, one, number)
        little = syntax_flags(one.file.transfer_syntax).little_endian
        return rendered.native(data, one.attributes, little_endian=little), first(one.attributes, "00280004")
    if not one.frames:
        raise NotAcceptable("cannot-render", "this instance has no pixels that can be rendered here")
    check(one, (number,))
    if one.where.kind == "encapsulated":
        data = stored(images, one, number)
        found = images.decoder.decode(data, one.file.transfer_syntax, one.attributes, colours=True)
    else:
        found = images.decoder.decode_file(images.files.path(one.file.path), number, colours=True)
    return _array(found), found.photometric


def _array(found: Pixels) -> rendered.Array:
    return np.frombuffer(found.data, found.dtype).reshape(found.shape)


def picture(images: Images, one: Framed, number: int, rendering: Rendering) -> rendered.Picture:
    """The frame as a picture not yet encoded."""
    samples, photometric = pixels(images, one, number)
    palette = None
    if photometric == "PALETTE COLOR":
        table = read_palette(images.files.path(one.file.path))
        palette = None if table is None else np.frombuffer(table, np.uint8).reshape(-1, 3)
    return rendered.picture(samples, photometric, one.attributes, rendering, images.windows, palette)
