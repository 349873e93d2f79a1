"""Identifiers that cannot be read are said to be none, whatever is wrong in them. PS3.4 §C.4.1.1.4"""

from __future__ import annotations

import io
import struct
import time
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomweb.dimse.identifiers import BadIdentifier, identifier_of, keys
from dicomweb.keys import matches_of
from dicomweb.matching import glob
from profiles.outcomes import Invalid

LEVEL = b"\x08\0\x52\0CS\x06\0STUDY "


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


ENDLESS = struct.pack("<HH2sHL", 0x40, 0x275, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
HOSTILE = {
    "sequences without end": LEVEL + ENDLESS * 2000,
    "a number of 5000 digits": LEVEL + element(0x20, 0x13, b"IS", b"9" * 5000),
    "a decimal without end": LEVEL + element(0x20, 0x13, b"IS", b"1e999 "),
}


def read(data: bytes) -> SimpleNamespace:
    class Event(SimpleNamespace):
        @property
        def identifier(self) -> Dataset:
            return dcmread(io.BytesIO(data), force=True)

    return Event()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_read_is_no_identifier(name: str) -> None:
    with pytest.raises(BadIdentifier, match=r"^the identifier cannot be read$"):
        identifier_of(read(HOSTILE[name]))


def test_what_can_be_read_is_one() -> None:
    found = identifier_of(read(LEVEL + element(0x10, 0x10, b"PN", b"A^B*")))
    assert list(keys(found)) == [(("00100010",), "PN", "A^B*")]


def test_patterns_are_bounded() -> None:
    """A text of megabytes against the longest pattern that is taken: within seconds, not hours."""
    assert matches_of("x", ["00104000"], "LT", "*" + "?" * 255)
    with pytest.raises(Invalid):
        matches_of("x", ["00104000"], "LT", "*" + "?" * 256)
    began = time.monotonic()
    assert not glob("*" + "?" * 254 + "x", "a" * 4_000_000)
    assert time.monotonic() - began < 20
    assert glob("*b?", "a" * 9000 + "bc")
