"""The boxes of an MP4 file with one film in it, whose samples lie one after another. Pure.

ISO/IEC 14496-12 §4.2 (boxes), §8 (movie, track, sample tables)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_MATRIX = (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_BLANK = bytes(8) + b"vide" + bytes(13)


@dataclass(frozen=True, slots=True)
class Samples:
    """Bytes of each, ticks until the next is decoded, ticks shown after being decoded, and the numbers (from
    1) of those that need no other. `clock`: ticks a second; `offset`: where in the file the first begins."""

    sizes: Sequence[int]
    steps: Sequence[int]
    shifts: Sequence[int]
    keys: Sequence[int]
    clock: int
    offset: int


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">L4s", 8 + len(body), kind) + body


def full(kind: bytes, form: str, *values: int, flags: int = 0) -> bytes:
    """A box with version 0 and flags, then numbers."""
    return box(kind, struct.pack(">L", flags), struct.pack(">" + form, *values))


def table(kind: bytes, form: str, rows: Sequence[int]) -> bytes:
    """A box that counts its rows."""
    return full(kind, f"L{len(rows)}L", len(rows) // len(form), *rows)


def entry(codec: bytes, size: tuple[int, int], configuration: bytes) -> bytes:
    """How the samples are coded; `size` is width and height. 14496-12 §12.1.3"""
    sides = (*size, 0x480000, 0x480000)  # 72 dots an inch
    fields = struct.pack(">H16xHHLLLH32sHh", 1, *sides, 0, 1, b"", 24, -1)
    return box(b"stsd", struct.pack(">LL", 0, 1), box(codec, bytes(6), fields, configuration))


def movie(samples: Samples, size: tuple[int, int], description: bytes) -> bytes:
    """The movie box; `description` as `entry` makes it. Raises struct.error for numbers that do not fit."""
    length, count = sum(samples.steps), len(samples.sizes)
    header = full(
        b"mvhd", "LLLLLHH2L9L6LL", 0, 0, samples.clock, length, 0x10000, 0x100, 0, 0, 0, *_MATRIX, *[0] * 6, 2
    )
    own = full(
        b"tkhd", "LLLLL2LHHHH9LLL", 0, 0, 1, 0, length, 0, 0, 0, 0, 0, 0, *_MATRIX,
        size[0] << 16, size[1] << 16, flags=3,
    )  # fmt: skip
    data = box(b"dinf", box(b"dref", struct.pack(">LL", 0, 1), full(b"url ", "", flags=1)))
    tables = box(
        b"stbl", description, table(b"stts", "LL", _runs(samples.steps)),
        table(b"ctts", "LL", _runs(samples.shifts)), table(b"stss", "L", samples.keys),
        table(b"stsc", "LLL", [1, count, 1]), full(b"stsz", f"LL{count}L", 0, count, *samples.sizes),
        full(b"co64", "LQ", 1, samples.offset),
    )  # fmt: skip
    media = box(
        b"mdia", full(b"mdhd", "LLLLHH", 0, 0, samples.clock, length, 0x55C4, 0), box(b"hdlr", _BLANK),
        box(b"minf", full(b"vmhd", "4H", 0, 0, 0, 0, flags=1), data, tables),
    )  # fmt: skip
    edits = box(
        b"edts", full(b"elst", "LLLHH", 1, length, _first(samples), 1, 0)
    )  # begins with the first shown
    return box(b"moov", header, box(b"trak", own, edits, media))


def _first(samples: Samples) -> int:
    """Ticks from the first decoded until the first shown."""
    at, found = 0, []
    for step, shift in zip(samples.steps, samples.shifts, strict=True):
        found.append(at + shift)
        at += step
    return min(found)


def _runs(values: Sequence[int]) -> list[int]:
    """Runs of one value: count, value, count, value …"""
    runs: list[int] = []
    for value in values:
        if runs and runs[-1] == value:
            runs[-2] += 1
        else:
            runs += [1, value]
    return runs
