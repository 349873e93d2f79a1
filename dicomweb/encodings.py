"""Content-Encoding of what is sent to us: gzip and zstd undone as the body comes, within limits.

    chunks as sent → slices → decoder with bounded output → chunks as meant

A few compressed bytes can stand for gigabytes of zeros (a bomb). A step never makes more than some megabytes,
and a body that grows beyond FREE + RATIO times what came is refused with 413: whoever sends blank images that
compress better than that sends them as they are. RFC 9110 §8.4; RFC 1952; RFC 8878 §3.1.1.1.2 (window size)
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import zstandard

from profiles.outcomes import Invalid, TooLarge, UnsupportedMedia

ENCODINGS = ("gzip", "zstd")
FREE = 64_000_000  # bytes of content that any body may unfold to
RATIO = 200
STEP = 1 << 18  # bytes that gzip makes at once
SLICE = 1024  # compressed bytes given to zstd at once: at most some 30 MB come of them
WINDOW = 1 << 23  # bytes; RFC 8878 asks every decoder for 8 MB


class Decoder(Protocol):
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk unfolds to, piece by piece. Raises zlib.error or zstandard.ZstdError."""

    @property
    def complete(self) -> bool:
        """Whether the compressed stream has come to its end."""


class Gzip:
    """Any number of gzip members one after another, as RFC 1952 §2.2 has it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        left = chunk
        while left:
            if self._member.eof:
                self._member, self._begun = zlib.decompressobj(wbits=31), False
            self._begun = True
            made = self._member.decompress(left, STEP)
            left = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if made:
                yield made
        while not self._member.eof and self._begun and (made := self._member.decompress(b"", STEP)):
            yield made

    @property
    def complete(self) -> bool:
        return self._member.eof


class Zstd:
    """Any number of frames one after another."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._frame: Any = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        for start in range(0, len(chunk), SLICE):
            left = chunk[start : start + SLICE]
            while left:
                if self._frame is None or self._frame.eof:
                    self._frame = self._context.decompressobj()
                made = self._frame.decompress(left)
                left = self._frame.unused_data if self._frame.eof else b""
                if made:
                    yield made

    @property
    def complete(self) -> bool:
        return self._frame is not None and bool(self._frame.eof)


def decoder(coding: str) -> Decoder:
    return Gzip() if coding == "gzip" else Zstd()


def coding_of(header: str) -> str:
    """The one coding that a Content-Encoding names, "" when there is none. Raises UnsupportedMedia."""
    coding = header.strip().lower()
    if coding in ("", "identity"):
        return ""
    coding = {"x-gzip": "gzip"}.get(coding, coding)
    if coding not in ENCODINGS:
        raise UnsupportedMedia("unsupported-encoding", f"Content-Encoding: one of {', '.join(ENCODINGS)}")
    return coding


async def decoded(body: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """The body as it is meant. Raises Invalid (broken or cut off), TooLarge (a bomb)."""
    if not coding:
        async for chunk in body:
            yield chunk
        return
    reading, came, made = decoder(coding), 0, 0
    try:
        async for chunk in body:
            came += len(chunk)
            for piece in reading.feed(chunk):
                made += len(piece)
                if made > FREE + RATIO * came:
                    raise TooLarge("unfolds-too-far", "the body unfolds to too much; send it not compressed")
                yield piece
    except (zlib.error, zstandard.ZstdError) as error:
        raise Invalid("bad-encoding", f"the body is no {coding}") from error
    if came and not reading.complete:
        raise Invalid("bad-encoding", f"the {coding} body is cut off")
