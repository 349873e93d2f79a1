"""The header of an ordinary file, read straight from its bytes into DICOM JSON: little endian, not deflated,
every element plain, before the pixels and within the first block.

What is not certain here is left to pydicom, by answering None: the tests hold one against the other on every
bundled file. It takes half the time, for every instance that comes in. PS3.5 §7 (data set encoding),
PS3.10 §7.1 (file meta information), PS3.18 §F.2
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydicom import datadict

from dicomweb.elements import plain
from dicomweb.layout import LONG_LENGTH

DEEPEST = 16
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_META = frozenset({b"UI", b"OB", b"SH", b"AE", b"UL", b"UR"})
_BYTES = frozenset({"OB", "OW"})
_CHARACTERS = {b"": "iso8859", b"ISO_IR 6": "iso8859", b"ISO_IR 100": "latin_1", b"ISO_IR 192": "utf8"}
_head = struct.Struct("<HHL").unpack_from
_short = struct.Struct("<H").unpack_from
_long = struct.Struct("<L").unpack_from


class _Unsure(Exception):
    """Something that pydicom has to read."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What reading needs to know: binary values longer than `inline` characters of base64 are references that
    begin with `bulk`; reading stops at the tags `before`."""

    bulk: str
    inline: int
    before: frozenset[int]


def meta(head: bytes) -> tuple[str, str, int] | None:
    """Transfer syntax, SOP Class and where the dataset begins; None when the file meta information is not
    plain."""
    if len(head) < 148 or head[128:140] != b"DICM\x02\x00\x00\x00UL\x04\x00":
        return None
    end = 144 + _long(head, 140)[0]
    at, found = 144, {}
    while at < end and at + 12 <= len(head):
        group, element, _length = _head(head, at)
        if group != 2 or head[at + 4 : at + 6] not in _META:
            return None
        if head[at + 4 : at + 6] in LONG_LENGTH:
            start, length = at + 12, _long(head, at + 8)[0]
        else:
            start, length = at + 8, _short(head, at + 6)[0]
        at = start + length
        found[element] = head[start:at]
    if at != end or end > len(head) or not found.get(0x10, b"").isascii() or not found.get(2, b"").isascii():
        return None
    return found.get(0x10, b"").decode().strip("\0 "), found.get(2, b"").decode().strip("\0 "), end


def attributes(
    head: bytes, at: int, *, implicit: bool, bounds: Bounds
) -> tuple[dict[str, Any], int, int] | None:
    """The DICOM JSON of the dataset that begins at `at`, where the pixel data element stands (else the end)
    and its tag (else 0)."""
    try:
        found, end, tag = _Reader(head, implicit, bounds).dataset(at, len(head), bounds.bulk, ("iso8859",), 0)
    except (_Unsure, struct.error):
        return None
    return found, end, tag


@dataclass(frozen=True, slots=True)
class _Reader:
    head: bytes
    implicit: bool
    bounds: Bounds

    def dataset(
        self, at: int, end: int, place: str, encodings: Sequence[str], depth: int
    ) -> tuple[dict[str, Any], int, int]:
        """From `at` to `end`, or to an item's delimiter. Raises _Unsure."""
        head, found = self.head, dict[str, Any]()
        while at < end:
            group, element, length = _head(head, at)
            tag = group << 16 | element
            if tag in self.bounds.before and not depth:
                return self._settled(found), at, tag
            if tag == _ITEM_END and depth:
                return self._settled(found), at + 8, tag
            if group in (0, 2, 0xFFFE):
                raise _Unsure
            if self.implicit:
                vr, start = self._implied(tag, found), at + 8
            else:
                vr, start = head[at + 4 : at + 6].decode("latin-1"), at + 8
                if head[at + 4 : at + 6] in LONG_LENGTH:
                    length, start = _long(head, at + 8)[0], at + 12
                else:
                    length = _short(head, at + 6)[0]
            name = f"{tag:08X}"
            if vr == "SQ":
                made, at = self._sequence(start, end, length, (f"{place}/{name}", encodings, depth + 1))
            else:
                at = start + length
                if length == _UNDEFINED or at > end:
                    raise _Unsure
                value = head[start:at]
                if tag == 0x00080005:
                    encodings = (_CHARACTERS.get(value.strip(b"\0 "), "other"),)
                made = self._element(value, vr, encodings, f"{place}/{name}")
            found[name] = made
        if at != end:
            raise _Unsure
        return self._settled(found), at, 0

    def _settled(self, found: dict[str, Any]) -> dict[str, Any]:
        if "00080005" in found:
            found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # PS3.18 §F.2: JSON is in UTF-8
        return found

    def _element(self, value: bytes, vr: str, encodings: Sequence[str], place: str) -> dict[str, Any]:
        if vr in _BYTES and value:
            if (len(value) + 2) // 3 * 4 > self.bounds.inline:
                return {"vr": vr, "BulkDataURI": place}
            return {"vr": vr, "InlineBinary": b64encode(value).decode()}
        made = plain(value, vr, encodings)
        if made is None:
            raise _Unsure
        return made

    def _sequence(
        self, at: int, end: int, length: int, inside: tuple[str, Sequence[str], int]
    ) -> tuple[dict[str, Any], int]:
        """Its items, of known or unknown length. Raises _Unsure."""
        place, encodings, depth = inside
        if depth > DEEPEST or (length != _UNDEFINED and at + length > end):
            raise _Unsure
        stop = end if length == _UNDEFINED else at + length
        items: list[dict[str, Any]] = []
        while at < stop:
            group, element, size = _head(self.head, at)
            tag, at = group << 16 | element, at + 8
            if tag == _SEQUENCE_END and length == _UNDEFINED and not size:
                return _items(items), at
            if tag != _ITEM or (size != _UNDEFINED and at + size > stop):
                raise _Unsure
            here = f"{place}/{len(items) + 1}"
            last = stop if size == _UNDEFINED else at + size
            item, at, closed = self.dataset(at, last, here, encodings, depth)
            if (closed == _ITEM_END) != (size == _UNDEFINED):
                raise _Unsure
            items.append(item)
        if length == _UNDEFINED or at != stop:
            raise _Unsure
        return _items(items), at

    def _implied(self, tag: int, found: dict[str, Any]) -> str:
        vr = _dictionary(tag)
        signed = found.get("00280103", {}).get("Value") if vr == "US or SS" else None
        return {(0,): "US", (1,): "SS"}.get(tuple(signed), vr) if signed else vr


def _items(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


@lru_cache(maxsize=4096)
def _dictionary(tag: int) -> str:
    """Raises _Unsure for a tag that is private or not in the dictionary."""
    try:
        return str(datadict.dictionary_VR(tag))
    except KeyError:
        raise _Unsure from None
