"""C-STORE sub-operations as bytes: the command, the fragments of a file, the answer. Nothing is decoded and
no file is in memory whole.

PS3.7 §9.3.1 (C-STORE messages), §E.1 (command elements); PS3.8 §9.3.5 (P-DATA-TF), Annex E (fragments)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dicomweb.dataset import data_start

LARGEST = 262_144  # bytes of a PDU that we send, when the peer takes any
BATCH = 1_048_576  # bytes handed to the system at once
DATA, COMMAND, LAST = 0x00, 0x01, 0x02  # message control header
STORE_REQUEST, STORE_RESPONSE = 0x0001, 0x8001
_PDU, _PDV = struct.Struct(">BBL"), struct.Struct(">LBB")
_ELEMENT = struct.Struct("<HHL")


@dataclass(frozen=True, slots=True)
class Instance:
    """What is sent: a Part 10 file, in the transfer syntax that it has."""

    sop_class: str
    uid: str
    path: Path


@dataclass(frozen=True, slots=True)
class Originator:
    """The C-MOVE that a sub-operation is of; none for C-GET."""

    ae_title: str
    message: int


class BadAnswer(OSError):
    """What came is no answer to a C-STORE."""


def command(one: Instance, message: int, originator: Originator | None) -> bytes:
    """A C-STORE-RQ command set. Implicit little endian, as all commands are."""
    named = [
        (0x0002, _uid(one.sop_class)), (0x0100, _short(STORE_REQUEST)), (0x0110, _short(message)),
        (0x0700, _short(0)), (0x0800, _short(1)), (0x1000, _uid(one.uid)),
    ]  # fmt: skip
    if originator is not None:
        title = originator.ae_title.encode("ascii", "replace")
        named += [(0x1030, title + b" " * (len(title) % 2)), (0x1031, _short(originator.message))]
    return encoded(named)


def encoded(named: Sequence[tuple[int, bytes]]) -> bytes:
    """A command set of these elements of group 0, in order."""
    body = b"".join(_ELEMENT.pack(0, element, len(value)) + value for element, value in named)
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def elements(told: bytes) -> dict[int, bytes]:
    """Element number → value of a command set. Raises BadAnswer."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 8 <= len(told):
        group, element, length = _ELEMENT.unpack_from(told, at)
        at += 8
        if group != 0 or at + length > len(told):
            raise BadAnswer("a command set that cannot be read")
        found[element] = told[at : at + length]
        at += length
    if at != len(told):
        raise BadAnswer("a command set that ends within an element")
    return found


def pieces(one: Instance, asked: bytes, context: int, largest: int) -> Iterator[list[bytes | memoryview]]:
    """The whole message, `asked` being its command, in whole PDUs of at most `largest` bytes (0: the peer
    takes any), some at a time. Raises OSError when the file cannot be read or ends early."""
    room = _room(largest)
    first = list(fragments(asked, context, largest))
    with one.path.open("rb", buffering=0) as file:
        left = _at_data(file)
        batch = max(room, BATCH // room * room)
        while left > 0 or first:
            read = _read(file, min(batch, left))
            left -= len(read)
            made, first = first, []
            for start in range(0, len(read), room):
                some = memoryview(read)[start : start + room]
                last = left == 0 and start + room >= len(read)
                made += [_head(len(some), context, LAST if last else DATA), some]
            yield made


def fragments(asked: bytes, context: int, largest: int) -> Iterator[bytes | memoryview]:
    """A command set as PDUs of at most `largest` bytes, heads and contents in turn."""
    room = _room(largest)
    for start in range(0, len(asked), room):
        part = asked[start : start + room]
        yield _head(len(part), context, COMMAND | (LAST if start + room >= len(asked) else 0))
        yield part


def _room(largest: int) -> int:
    return (min(largest or LARGEST, LARGEST) - _PDV.size) & ~1


def status_of(answer: bytes, message: int) -> int:
    """The status of a C-STORE-RSP command set. Raises BadAnswer."""
    found = {
        element: int.from_bytes(value, "little")
        for element, value in elements(answer).items()
        if len(value) == 2
    }
    if found.get(0x0100) != STORE_RESPONSE or found.get(0x0120) != message or 0x0900 not in found:
        raise BadAnswer("not the answer to this C-STORE")
    return found[0x0900]


def _head(size: int, context: int, control: int) -> bytes:
    return _PDU.pack(0x04, 0, size + _PDV.size) + _PDV.pack(size + 2, context, control)


def _at_data(file: BinaryIO) -> int:
    """Leaves the file at its dataset, after the file meta information; returns what is left of it."""
    start = data_start(file.read(144))
    file.seek(start)
    return max(0, os.fstat(file.fileno()).st_size - start)


def _read(file: BinaryIO, size: int) -> bytearray:
    buffer = bytearray(size)
    view, read = memoryview(buffer), 0
    while read < size:
        count = file.readinto(view[read:])  # type: ignore[attr-defined]
        if not count:
            raise OSError("the file ends early")
        read += count
    return buffer


def _uid(text: str) -> bytes:
    value = text.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def _short(number: int) -> bytes:
    return struct.pack("<H", number & 0xFFFF)
