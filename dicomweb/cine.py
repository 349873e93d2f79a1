"""Pictures → a film: MP4 with AV1, whose encoder is free and which the browsers of today play.

    pictures → AVIF sequence (Pillow's encoder) → its coded samples and their configuration → MP4

An AVIF sequence is the same coded stream, for pictures that move; players of films do not look into it.
AV1 in ISO Base Media File Format §2.3 (av1C), ISO/IEC 14496-12 §8.6, §8.7 (sample tables)
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from PIL import Image, features

from dicomweb.movie import Samples, box, entry, movie
from profiles.outcomes import NotAcceptable

MP4 = "video/mp4"
CLOCK = 1000  # ticks a second
FAST = 10  # of the encoder's steps from 0 (small) to 10
THREADS = 2
_NESTED = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_SAMPLE_FIELDS = 78  # bytes of a sample entry before its boxes


def is_possible() -> bool:
    """Whether this installation's Pillow has the encoder: its wheels have it, some distributions do not."""
    return bool(features.check("avif"))


def encode(pictures: Sequence[Image.Image], quality: int, milliseconds: int) -> bytes:
    """A film of two or more pictures of one size, `milliseconds` each; `quality` 1…100. Raises
    NotAcceptable."""
    out = io.BytesIO()
    try:
        pictures[0].save(
            out, "AVIF", save_all=True, append_images=pictures[1:], duration=milliseconds,
            quality=quality, speed=FAST, max_threads=THREADS, subsampling="4:2:0", range="limited",
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise NotAcceptable("cannot-render", "these pictures cannot be made a film here") from error
    return _as_film(out.getvalue(), pictures[0].size, milliseconds)


def _as_film(sequence: bytes, size: tuple[int, int], milliseconds: int) -> bytes:
    """The samples of an AVIF sequence that Pillow made, in a file for films."""
    found: dict[bytes, memoryview] = {}
    _collect(memoryview(sequence), found)
    count = struct.unpack_from(">L", found[b"stsz"], 8)[0]
    sizes = struct.unpack_from(f">{count}L", found[b"stsz"], 12)
    start = struct.unpack_from(">L", found[b"stco"], 8)[0]
    keys = struct.unpack_from(f">{struct.unpack_from('>L', found[b'stss'], 4)[0]}L", found[b"stss"], 8)
    data = memoryview(sequence)[start : start + sum(sizes)]
    head = box(b"ftyp", b"isom", struct.pack(">L", 512), b"isomiso6av01mp41")
    mass = struct.pack(">L4s", 8 + len(data), b"mdat")
    samples = Samples(
        sizes, [milliseconds] * count, [0] * count, keys, CLOCK, len(head) + len(mass)
    )  # fmt: skip
    return b"".join((head, mass, data, movie(samples, size, entry(b"av01", size, _configuration(found)))))


def _collect(data: memoryview, found: dict[bytes, memoryview]) -> None:
    """The content of every box under `moov`, by its kind; there is one track."""
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        content = data[at + 8 : at + length]
        if kind in _NESTED:
            _collect(content, found)
        else:
            found.setdefault(kind, content)
        at += length


def _configuration(found: dict[bytes, memoryview]) -> bytes:
    """`av1C` and the colours out of the sequence's sample entry."""
    inner: dict[bytes, memoryview] = {}
    _collect(found[b"stsd"][16 + _SAMPLE_FIELDS :], inner)
    return b"".join(box(kind, bytes(inner[kind])) for kind in (b"av1C", b"colr") if kind in inner)
