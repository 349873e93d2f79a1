"""A file compressed without loss, of which any range can be read without the rest. The original comes back
byte for byte, so nothing outside knows: transfer syntax, offsets, hashes and receipts stay those of the
original.

    magic · blocks … · index (JSON) · length of the index (8 bytes) · magic

A block is a run of the original: a frame of native pixels, or what stands before and after. A frame of 8 or
16 bits is written as differences to the sample at its left, sign folded in, high and low bytes apart, then
zstd; anything else is zstd alone. A file cut anywhere has no magic at its end. RFC 8878 (zstd)
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

MAGIC = b"TDPACK1\n"
LEVEL = 3
BLOCK = 4_000_000  # bytes of a block that is no frame
LARGEST = 64_000_000  # bytes of a frame that is one block


@dataclass(frozen=True, slots=True)
class Shape:
    """How the samples of a frame lie: bytes of one (0: not as numbers), samples of a row, samples of a
    pixel."""

    item: int = 0
    row: int = 0
    lag: int = 1


RAW = Shape()


@dataclass(frozen=True, slots=True)
class Block:
    """`start` and `length` in the original, `at` and `stored` in the packed file; bytes."""

    start: int
    length: int
    at: int
    stored: int
    shape: Shape


class Broken(ValueError):
    """A packed file that cannot be read back."""


def cut(size: int, frames: Sequence[tuple[int, int]], shape: Shape) -> Iterator[tuple[int, int, Shape]]:
    """(start, length, shape) of the blocks of a file of `size` bytes whose frames are the ranges (start,
    length) in file order."""
    at = 0
    for start, length in frames:
        if start < at or start + length > size or not 0 < length <= LARGEST:
            continue
        yield from _runs(at, start)
        yield start, length, shape
        at = start + length
    yield from _runs(at, size)


def _row(shape: Shape) -> tuple[int, int, int]:
    return shape.item, shape.row, shape.lag


def _runs(start: int, end: int) -> Iterator[tuple[int, int, Shape]]:
    for at in range(start, end, BLOCK):
        yield at, min(BLOCK, end - at), RAW


def write(source: Path, target: Path, blocks: Iterator[tuple[int, int, Shape]]) -> None:
    """Pack `source` into `target`, which must not exist; synced, one block in memory."""
    made: list[Block] = []
    with source.open("rb") as file, target.open("xb") as out:
        out.write(MAGIC)
        for start, length, shape in blocks:
            file.seek(start)
            data = encoded(file.read(length), shape)
            made.append(Block(start, length, out.tell(), len(data), shape))
            out.write(data)
        index = orjson.dumps([[one.start, one.length, one.at, one.stored, *_row(one.shape)] for one in made])
        out.write(index + len(index).to_bytes(8, "little") + MAGIC)
        out.flush()
        os.fsync(out.fileno())


def read(path: Path, ranges: Sequence[tuple[int, int]]) -> bytes:
    """Those ranges (offset, length) of the original, one after another. Raises Broken, FileNotFoundError."""
    with path.open("rb") as file:
        blocks = _index(file.fileno())
        starts = [one.start for one in blocks]
        return b"".join(_range(file.fileno(), blocks, starts, *one) for one in ranges)


def expand(path: Path, target: Path) -> None:
    """The original again, in a file that must not exist; one block in memory. Raises Broken."""
    with path.open("rb") as file, target.open("xb") as out:
        for block in _index(file.fileno()):
            out.write(_data(file.fileno(), block))


def pieces(path: Path) -> Iterator[bytes]:
    """The original, a block at a time. Raises Broken."""
    with path.open("rb") as file:
        for block in _index(file.fileno()):
            yield _data(file.fileno(), block)


def sha256_of(path: Path) -> str:
    """The original's hash. Raises Broken."""
    digest = hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def _index(fd: int) -> list[Block]:
    size = os.fstat(fd).st_size
    tail = os.pread(fd, 16, max(0, size - 16))
    length = int.from_bytes(tail[:8], "little")
    if tail[8:] != MAGIC or length > size - 24:
        raise Broken("no index at its end")
    try:
        rows = orjson.loads(os.pread(fd, length, size - 16 - length))
        blocks = [Block(start, n, at, stored, Shape(*shape)) for start, n, at, stored, *shape in rows]
    except (orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise Broken("its index cannot be read") from error
    ends = [0, *(one.start + one.length for one in blocks)]
    if any(one.start != end for one, end in zip(blocks, ends, strict=False)):
        raise Broken("its blocks do not follow each other")
    return blocks


def _range(fd: int, blocks: Sequence[Block], starts: Sequence[int], offset: int, length: int) -> bytes:
    found, at, end = [], offset, offset + length
    number = bisect_right(starts, offset) - 1
    while at < end:
        if not 0 <= number < len(blocks):
            raise Broken("a range beyond its end")
        block = blocks[number]
        data = _data(fd, block)[at - block.start : end - block.start]
        found.append(data)
        at += len(data)
        number += 1
    return b"".join(found)


def _data(fd: int, block: Block) -> bytes:
    return decoded(os.pread(fd, block.stored, block.at), block.length, block.shape)


def encoded(data: bytes, shape: Shape) -> bytes:
    """One block."""
    import imagecodecs
    import numpy as np

    if not _fits(len(data), shape):
        return bytes(imagecodecs.zstd_encode(data, level=LEVEL))
    rows = np.frombuffer(data, f"<u{shape.item}").reshape(-1, shape.row)
    steps = rows.copy()
    steps[:, shape.lag :] -= rows[:, : -shape.lag]
    if shape.item == 1:
        return bytes(imagecodecs.zstd_encode(steps.tobytes(), level=LEVEL))
    signed = steps.view("<i2")
    folded = ((signed << 1) ^ (signed >> 15)).astype("<i2", copy=False).view(np.uint8).reshape(-1, 2)
    planes = folded[:, 1].tobytes() + folded[:, 0].tobytes()
    return bytes(imagecodecs.zstd_encode(planes, level=LEVEL))


def decoded(data: bytes, length: int, shape: Shape) -> bytes:
    """What `encoded` was given. Raises Broken."""
    import imagecodecs
    import numpy as np

    try:
        plain = bytes(imagecodecs.zstd_decode(data, out=length))
    except Exception as error:  # the codec has an exception of its own
        raise Broken("a block cannot be decompressed") from error
    if len(plain) != length:
        raise Broken("a block has another length")
    if not _fits(length, shape):
        return plain
    if shape.item == 1:
        steps = np.frombuffer(plain, np.uint8)
    else:
        planes = np.frombuffer(plain, np.uint8)
        half = length // 2
        folded = planes[half:].astype("<u2") | (planes[:half].astype("<u2") << 8)
        steps = (folded >> 1) ^ (0 - (folded & 1)).astype("<u2")
    rows = steps.reshape(-1, shape.row // shape.lag, shape.lag)
    return np.cumsum(rows, axis=1, dtype=steps.dtype).tobytes()


def _fits(length: int, shape: Shape) -> bool:
    return (
        shape.item in (1, 2) and shape.lag > 0 and shape.row > shape.lag and shape.row % shape.lag == 0
        and length > 0 and length % (shape.item * shape.row) == 0
    )  # fmt: skip
