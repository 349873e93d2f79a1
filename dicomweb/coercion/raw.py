"""Elements of an encoded dataset by their place, without decoding them, and the encoding of new ones. Pure,
but for reading.

PS3.5 §7.1 (data elements), §7.5 (nesting), §6.2.2 (UN of undefined length is implicit VR)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pydicom import datadict

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DEEPEST = 40
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_PAD_ZERO = frozenset({"UI", "OB", "UN"})


class Unreadable(ValueError):
    """Not the encoding that it says it has; the text says where, never what."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a dataset are written. PS3.5 §A.1–A.3"""

    explicit: bool = True
    little: bool = True

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element is: its head at `start`, its value from `value` to `end` (delimiters included)."""

    tag: int
    vr: str
    start: int
    value: int
    end: int
    is_open: bool = False  # of undefined length


def elements(
    file: BinaryIO, end: int, encoding: Encoding, depth: int = 0, stop: int = 1 << 32
) -> Iterator[Element]:
    """From where the file stands up to `end`, to an item's delimiter, or to a tag from `stop` on. The caller
    may seek meanwhile. Raises Unreadable."""
    if depth > DEEPEST:
        raise Unreadable("nested too deeply")
    at = file.tell()
    while at < end:
        file.seek(at)
        head = file.read(12)
        if len(head) < 8:
            raise Unreadable(f"cut within an element at {at}")
        group, number = struct.unpack_from(encoding.order + "HH", head)
        tag = group << 16 | number
        if tag == ITEM_END or tag >= stop:
            return
        vr, length, size = _length(head, tag, encoding)
        value = at + size
        if length == UNDEFINED:
            within = Encoding(explicit=False) if vr == "UN" else encoding
            after = _after_sequence(file, value, end, within, depth)
        else:
            after = value + length
        if after > end:
            raise Unreadable(f"the element at {at} is longer than what holds it")
        yield Element(tag, vr, at, value, after, length == UNDEFINED)
        at = after


def _length(head: bytes, tag: int, encoding: Encoding) -> tuple[str, int, int]:
    """VR, length and size of the head of an element."""
    if not encoding.explicit or tag >> 16 == 0xFFFE:
        (length,) = struct.unpack_from(encoding.order + "I", head, 4)
        return vr_of(tag), length, 8
    vr = head[4:6]
    if vr in _LONG:
        if len(head) < 12:
            raise Unreadable("cut within the head of an element")
        return vr.decode("ascii"), struct.unpack_from(encoding.order + "I", head, 8)[0], 12
    if not vr.isalpha():
        raise Unreadable("an element without value representation")
    return vr.decode("latin-1"), struct.unpack_from(encoding.order + "H", head, 6)[0], 8


def items(file: BinaryIO, start: int, end: int, encoding: Encoding) -> Iterator[tuple[int, int, bool]]:
    """Each item of a sequence's value: where its elements begin and end, whether its length is undefined. The
    caller may seek meanwhile. Raises Unreadable."""
    at = start
    while at < end:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            raise Unreadable(f"cut within an item at {at}")
        group, number, length = struct.unpack(encoding.order + "HHI", head)
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise Unreadable(f"no item at {at}")
        if length == UNDEFINED:
            after = _after_item(file, at + 8, end, encoding, 0)
            yield at + 8, after - 8, True
        else:
            after = at + 8 + length
            yield at + 8, after, False
        if after > end:
            raise Unreadable(f"the item at {at} is longer than what holds it")
        at = after


def _after_sequence(file: BinaryIO, at: int, end: int, encoding: Encoding, depth: int) -> int:
    """Where what follows a sequence (or fragments) of undefined length begins."""
    while at + 8 <= end:
        file.seek(at)
        group, number, length = struct.unpack(encoding.order + "HHI", file.read(8))
        tag = group << 16 | number
        if tag == SEQUENCE_END:
            return at + 8
        if tag != ITEM:
            raise Unreadable(f"no item at {at}")
        at = _after_item(file, at + 8, end, encoding, depth) if length == UNDEFINED else at + 8 + length
    raise Unreadable("a sequence without end")


def _after_item(file: BinaryIO, at: int, end: int, encoding: Encoding, depth: int) -> int:
    file.seek(at)
    last = at
    for one in elements(file, end, encoding, depth + 1):
        last = one.end
    file.seek(last)
    head = file.read(8)
    if len(head) < 8 or struct.unpack_from(encoding.order + "HH", head) != (0xFFFE, 0xE00D):
        raise Unreadable("an item without end")
    return last + 8


def vr_of(tag: int) -> str:
    """The dictionary's, UN when it has none."""
    try:
        return str(datadict.dictionary_VR(tag)).split(" ")[0]
    except KeyError:
        return "UN"


def element(tag: int, value: bytes, encoding: Encoding, vr: str = "") -> bytes:
    """One element of defined length, its value made even."""
    vr = vr or vr_of(tag)
    if len(value) % 2:
        value += b"\0" if vr in _PAD_ZERO else b" "
    head = struct.pack(encoding.order + "HH", tag >> 16, tag & 0xFFFF)
    if not encoding.explicit:
        return head + struct.pack(encoding.order + "I", len(value)) + value
    name = vr.encode("ascii")
    if name in _LONG:
        return head + name + b"\0\0" + struct.pack(encoding.order + "I", len(value)) + value
    if len(value) > 0xFFFF:
        raise Unreadable("a value too long for its representation")
    return head + name + struct.pack(encoding.order + "H", len(value)) + value


def sequence(tag: int, contents: Sequence[bytes], encoding: Encoding) -> bytes:
    """A sequence of items, each given as its encoded elements."""
    return element(tag, b"".join(item(one, encoding) for one in contents), encoding, "SQ")


def item(content: bytes, encoding: Encoding) -> bytes:
    return struct.pack(encoding.order + "HHI", 0xFFFE, 0xE000, len(content)) + content
