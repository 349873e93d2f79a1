"""Where the frames of an instance lie in its file: noted once at ingest, so that a frame is read by offset.

PS3.5 §8 (native), §A.4 (encapsulated: Basic Offset Table, fragments)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from dicomweb.attributes import Attributes, first, integer

Range = tuple[int, int]  # offset from the start of the file, length; bytes
Kind = Literal["none", "native", "encapsulated", "deflated", "stream"]

MAX_FRAGMENTS = 200_000
MAX_FRAMES = 1_000_000
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
LONG_LENGTH = frozenset(
    (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN", b"UC", b"UR", b"UT", b"SQ", b"SV", b"UV")
)


class BrokenPixels(ValueError):
    """Pixel data that does not end where its own lengths say."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames in file order. native: frame i is [start + i·size, + size). encapsulated: `ranges[i]` are its
    fragments. none: no pixels, or not told apart; deflated: only the whole file can be read; stream: a film,
    `ranges[0]` are its fragments."""

    kind: Kind
    frames: int = 0
    start: int = 0
    size: int = 0
    ranges: tuple[tuple[Range, ...], ...] = ()

    def frame(self, number: int) -> tuple[Range, ...]:
        """The byte ranges of frame `number` (1 is the first). Raises IndexError."""
        if not 1 <= number <= self.frames:
            raise IndexError(number)
        if self.kind == "native":
            return ((self.start + (number - 1) * self.size, self.size),)
        return self.ranges[number - 1]

    def dump(self) -> bytes:
        return orjson.dumps([self.kind, self.frames, self.start, self.size, self.ranges])


def load(data: bytes) -> Layout:
    """What `dump` wrote."""
    kind, frames, start, size, ranges = orjson.loads(data)
    return Layout(kind, frames, start, size, tuple(tuple((o, n) for o, n in frame) for frame in ranges))


def locate(fd: int, at: int, file_size: int, attributes: Attributes, syntax: SyntaxFlags) -> Layout:
    """The layout of the pixel data element whose tag stands at `at`. Raises BrokenPixels."""
    frames = max(1, integer(attributes, "00280008") or 1)
    if frames > MAX_FRAMES:
        raise BrokenPixels(f"{frames} frames")
    value, length = _element(fd, at, syntax)
    if length == _UNDEFINED:
        if not syntax.encapsulated:
            raise BrokenPixels("native pixel data of undefined length")
        found = _fragments(fd, value, file_size)
        if syntax.film and len(found) > 1:
            return Layout("stream", ranges=(tuple(found[1:]),))
        return _encapsulated(fd, found, frames)
    if value + length > file_size:
        raise BrokenPixels("pixel data beyond the end of the file")
    size = native_frame_bytes(attributes)
    if syntax.encapsulated or not size or size * frames > length:
        return Layout("none")
    return Layout("native", frames, value, size)


@dataclass(frozen=True, slots=True)
class SyntaxFlags:
    """What a transfer syntax says of the encoding."""

    implicit: bool
    little_endian: bool
    encapsulated: bool
    deflated: bool
    film: bool = False


def native_frame_bytes(attributes: Attributes) -> int:
    """Bytes of one uncompressed frame, 0 when the attributes do not tell or frames are not byte-aligned."""
    rows, columns = integer(attributes, "00280010") or 0, integer(attributes, "00280011") or 0
    samples, bits = integer(attributes, "00280002") or 1, integer(attributes, "00280100") or 0
    if min(rows, columns, samples, bits) <= 0 or max(rows, columns) > 65535 or samples > 4 or bits > 64:
        return 0
    if first(attributes, "00280004") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        samples = 2
    total = rows * columns * samples * bits
    return total // 8 if total % 8 == 0 else 0


def _element(fd: int, at: int, syntax: SyntaxFlags) -> tuple[int, int]:
    """Offset and length of the value of the element whose tag stands at `at`."""
    head = os.pread(fd, 12, at)
    endian = "<" if syntax.little_endian else ">"
    if len(head) < 8:
        raise BrokenPixels("no room for an element")
    if syntax.implicit:
        return at + 8, struct.unpack_from(endian + "L", head, 4)[0]
    if head[4:6] in LONG_LENGTH:
        if len(head) < 12:
            raise BrokenPixels("no room for an element")
        return at + 12, struct.unpack_from(endian + "L", head, 8)[0]
    return at + 8, struct.unpack_from(endian + "H", head, 6)[0]


def _fragments(fd: int, at: int, file_size: int) -> list[Range]:
    """The items; the first is the Basic Offset Table. Raises BrokenPixels."""
    items: list[Range] = []
    while True:
        head = os.pread(fd, 8, at)
        if len(head) < 8:
            raise BrokenPixels("no sequence delimiter")
        group, element, length = struct.unpack("<HHL", head)
        tag = group << 16 | element
        if tag == _END:
            return items
        if tag != _ITEM or length == _UNDEFINED or at + 8 + length > file_size or len(items) > MAX_FRAGMENTS:
            raise BrokenPixels("broken fragment")
        items.append((at + 8, length))
        at += 8 + length


def _encapsulated(fd: int, items: Sequence[Range], frames: int) -> Layout:
    if len(items) < 2:
        return Layout("none")
    ranges = _grouped(_offsets(fd, items[0]), items[1:], frames)
    return Layout("encapsulated", len(ranges), ranges=ranges) if ranges else Layout("none")


def _offsets(fd: int, table: Range) -> tuple[int, ...]:
    offset, length = table
    if length > 4 * MAX_FRAMES:
        raise BrokenPixels("offset table too long")
    data = os.pread(fd, length - length % 4, offset)
    return struct.unpack(f"<{len(data) // 4}L", data)


def _grouped(
    offsets: Sequence[int], fragments: Sequence[Range], frames: int
) -> tuple[tuple[Range, ...], ...]:
    """Fragments by frame: one frame takes all; one fragment each; else by the offset table; else not told
    apart."""
    if frames == 1:
        return (tuple(fragments),)
    if len(fragments) == frames:
        return tuple((fragment,) for fragment in fragments)
    if len(offsets) != frames:
        return ()
    base = fragments[0][0] - 8
    starts = {offset + base: number for number, offset in enumerate(offsets)}
    groups: list[list[Range]] = [[] for _ in offsets]
    current = -1
    for fragment in fragments:
        current = starts.get(fragment[0] - 8, current)
        if current < 0:
            return ()
        groups[current].append(fragment)
    return tuple(map(tuple, groups)) if all(groups) else ()


def read(fd: int, ranges: Sequence[Range]) -> bytes:
    """The bytes of one frame."""
    return b"".join(os.pread(fd, length, offset) for offset, length in ranges)
