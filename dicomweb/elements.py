"""Raw elements → DICOM JSON without pydicom's element objects: for the plain ones, which are most of a
header. What is not certain here (sequences, bulk, odd lengths, odd characters) is left to pydicom. Pure.

It halves the time that an instance takes to come in; the tests hold it against pydicom on every bundled file.
PS3.5 §6.2 (value representations), PS3.18 §F.2
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom import datadict

_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UI", "UC"})
_WHOLE = frozenset({"LT", "ST", "UT"})  # a backslash is a character, spaces before the text are kept
_PARSED = frozenset({"PN", "IS", "DS"})
_INTERNATIONAL = frozenset({"LO", "SH", "PN", "LT", "ST", "UT", "UC"})
_NUMBERS: Mapping[str, str] = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
LONGEST = 1024  # bytes


def fast(raw: Any, encodings: Sequence[str]) -> dict[str, Any] | None:
    """The JSON of a pydicom RawDataElement; None: ask pydicom. `encodings`: Python's, of the dataset."""
    value, vr = raw.value, raw.VR
    if type(value) is not bytes:
        return None
    if vr is None:
        try:
            vr = datadict.dictionary_VR(raw.tag)
        except KeyError:
            return None
    return plain(value, vr, encodings, "<" if raw.is_little_endian else ">")


def plain(value: bytes, vr: str, encodings: Sequence[str], order: str = "<") -> dict[str, Any] | None:
    """The JSON of one value; None: ask pydicom. `order`: of its bytes, as `struct` writes it."""
    if len(value) > LONGEST:
        return None
    if vr in _TEXT or vr in _WHOLE or vr in _PARSED:
        if not value:
            return {"vr": vr}
        text = _decoded(value, vr, encodings)
        return None if text is None else _texts(text, vr)
    if vr in _NUMBERS:
        return _numbers(value, vr, order) if value else {"vr": vr}
    return None


def _decoded(value: bytes, vr: str, encodings: Sequence[str]) -> str | None:
    """None when the bytes are more than ASCII and the dataset's characters are not one of the plain sets."""
    if value.isascii():
        return None if b"\x1b" in value else value.decode("ascii")
    if (
        vr not in _INTERNATIONAL
        or len(encodings) != 1
        or encodings[0].lower() not in ("utf8", "utf-8", "iso8859", "latin_1")
    ):
        return None
    try:
        return value.decode(encodings[0])
    except UnicodeDecodeError:
        return None


def _texts(text: str, vr: str) -> dict[str, Any] | None:
    if vr in _WHOLE:
        text = text.rstrip("\0 ")
        return {"vr": vr, "Value": [text]} if text else {"vr": vr}
    if vr in ("IS", "DS"):
        return _decimals(text, vr)
    values: list[Any] = [one.rstrip("\0 ") if vr == "UC" else one.strip("\0 ") for one in text.split("\\")]
    if vr == "PN":
        if any("\\" in one or one.count("=") > 2 for one in values):
            return None
        return {"vr": vr, "Value": [_name(one) for one in values]} if any(values) else {"vr": vr}
    if not any(values):
        return {"vr": vr} if len(values) == 1 else None
    return {"vr": vr, "Value": [one or None for one in values]} if all(values) else None


def _name(text: str) -> dict[str, str]:
    return {group: part for group, part in zip(_GROUPS, text.split("="), strict=False) if part}


def _decimals(text: str, vr: str) -> dict[str, Any] | None:
    parts = [one.strip("\0 ") for one in text.split("\\")]
    if not any(parts):
        return {"vr": vr} if len(parts) == 1 else None
    try:
        found = [int(one) if vr == "IS" else float(one) for one in parts]
    except ValueError:
        return None
    if vr == "IS" and any(abs(one) >= 2**63 for one in found):
        return None
    return {"vr": vr, "Value": found}


def _numbers(value: bytes, vr: str, order: str) -> dict[str, Any] | None:
    form = _NUMBERS[vr]
    size = struct.calcsize("<" + form)
    if len(value) % size:
        return None
    found = list(struct.unpack(f"{order}{len(value) // size}{form}", value))
    if vr in ("FL", "FD") and any(one != one or abs(one) == float("inf") for one in found):
        return None
    return {"vr": vr, "Value": found}
