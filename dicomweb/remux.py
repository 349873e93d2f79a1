"""A film stored as an MPEG-2 transport stream, put into MP4 so that a browser plays it, not coded again.

    packets → one stream's PES → access units (start codes) → samples (lengths) in `mdat`, then `moov`

What endoscopes store is this. Read a packet at a time, written as it comes; tables are bounded. H.264 only.
ISO/IEC 13818-1 §2.4 (packets, PES), 14496-10 Annex B, 14496-15 §5.3.3 (avcC), 14496-12 §8
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dicomweb import coded
from dicomweb.coded import Unreadable
from dicomweb.movie import Samples, box, entry, movie
from dicomweb.mp4 import MAX_FRAMES

PACKET, SYNC = 188, 0x47
MAX_UNIT = 16_000_000  # bytes of one picture
CLOCK = 90_000  # ticks a second
_WRAP = 1 << 33
_H264 = 0x1B


class NotRemuxed(ValueError):
    """A stream that is no H.264 in transport packets."""


@dataclass(slots=True)
class Track:
    """The samples written so far, and what they need to be decoded."""

    sets: dict[int, bytes] = field(default_factory=dict)  # NAL type 7, 8 → parameter set
    sizes: list[int] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)  # ticks
    shifts: list[int] = field(default_factory=list)  # ticks shown after being decoded
    keys: list[int] = field(default_factory=list)  # numbers of samples that need no other


def is_transport(head: bytes) -> bool:
    """Whether a stream begins with transport packets."""
    return len(head) > PACKET and head[0] == head[PACKET] == SYNC


def remux(pieces: Iterable[bytes], out: BinaryIO) -> None:
    """Write the film to `out`. Raises NotRemuxed."""
    kinds = b"isom" + b"\0\0\2\0" + b"isomiso2avc1mp41"
    out.write(box(b"ftyp", kinds))
    start = out.tell()
    out.write(struct.pack(">L4sQ", 1, b"mdat", 0))
    track = Track()
    for unit, shown, decoded in _pictures(_packets(pieces)):
        _sample(track, unit, shown, decoded, out)
    if not track.sizes or not {7, 8} <= set(track.sets):
        raise NotRemuxed("no picture")
    end = out.tell()
    try:
        made = _movie(track, start + 16)
    except (Unreadable, struct.error) as error:
        raise NotRemuxed("no sequence parameter set") from error
    out.write(made)
    out.seek(start + 8)
    out.write(struct.pack(">Q", end - start))


def _packets(pieces: Iterable[bytes]) -> Iterator[tuple[int, bool, bytes]]:
    """PID, whether a unit starts, payload."""
    rest = b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % PACKET
        for at in range(0, whole, PACKET):
            if data[at] != SYNC:
                raise NotRemuxed("a packet without its sync byte")
            begin = at + 4
            if data[at + 3] & 0x20:
                begin += 1 + data[at + 4]
            payload = data[begin : at + PACKET] if data[at + 3] & 0x10 and begin < at + PACKET else b""
            yield (data[at + 1] & 31) << 8 | data[at + 2], bool(data[at + 1] & 64), payload
        rest = data[whole:]


def _pictures(packets: Iterable[tuple[int, bool, bytes]]) -> Iterator[tuple[bytes, int, int]]:
    """Each PES packet of the first H.264 stream: its bytes, when it is shown and decoded."""
    tables: set[int] = {0}
    film, unit = -1, bytearray()
    for pid, starts, payload in packets:
        if pid == film:
            if starts and unit:
                yield _parsed(bytes(unit))
                unit.clear()
            if unit or starts:
                unit += payload
            if len(unit) > MAX_UNIT:
                raise NotRemuxed("a picture that does not end")
        elif film < 0 and starts and pid in tables and payload:
            section = payload[1 + payload[0] :]
            if pid == 0:
                tables |= _programs(section)
            else:
                film = _stream(section)
    if unit:
        yield _parsed(bytes(unit))


def _programs(section: bytes) -> set[int]:
    """The PIDs of the program maps. §2.4.4.3"""
    end = min(len(section), 3 + (int.from_bytes(section[1:3], "big") & 0xFFF)) - 4
    return {int.from_bytes(section[at + 2 : at + 4], "big") & 0x1FFF for at in range(8, end, 4)}


def _stream(section: bytes) -> int:
    """The PID of the first H.264 stream. §2.4.4.8"""
    end = min(len(section), 3 + (int.from_bytes(section[1:3], "big") & 0xFFF)) - 4
    at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    while at + 5 <= end:
        if section[at] == _H264:
            return int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF
        at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)
    raise NotRemuxed("no H.264 stream")


def _parsed(pes: bytes) -> tuple[bytes, int, int]:
    """§2.4.3.6"""
    if len(pes) < 14 or pes[:3] != b"\0\0\1" or not pes[7] & 0x80:
        raise NotRemuxed("a picture without its time")
    shown = _time(pes[9:14])
    decoded = _time(pes[14:19]) if pes[7] & 0x40 and len(pes) >= 19 else shown
    return pes[9 + pes[8] :], shown, decoded


def _time(five: bytes) -> int:
    return (five[0] >> 1 & 7) << 30 | five[1] << 22 | (five[2] >> 1) << 15 | five[3] << 7 | five[4] >> 1


def _sample(track: Track, unit: bytes, shown: int, decoded: int, out: BinaryIO) -> None:
    """One picture, its units with lengths in place of start codes. Raises NotRemuxed."""
    made = bytearray()
    key = False
    for nal in _units(unit):
        kind = nal[0] & 31
        if kind in (7, 8):
            if track.sets.setdefault(kind, nal) != nal:
                raise NotRemuxed("a film whose coding changes")
        elif kind != 9:
            key |= kind == 5
            made += struct.pack(">L", len(nal)) + nal
    if not made:
        return
    if len(track.sizes) >= MAX_FRAMES:
        raise NotRemuxed("too many pictures")
    if track.decoded:  # the clock has 33 bits
        decoded += _WRAP * round((track.decoded[-1] - decoded) / _WRAP)
        if decoded <= track.decoded[-1]:
            raise NotRemuxed("times that go back")
    track.sizes.append(len(made))
    track.decoded.append(decoded)
    track.shifts.append((shown - decoded) % _WRAP)
    if key:
        track.keys.append(len(track.sizes))
    out.write(made)


def _units(data: bytes) -> Iterator[bytes]:
    """Between start codes. 14496-10 Annex B"""
    at = data.find(b"\0\0\1")
    while at >= 0:
        following = data.find(b"\0\0\1", at + 3)
        nal = data[at + 3 : following if following >= 0 else len(data)].rstrip(b"\0")
        if nal:
            yield nal
        at = following


def _movie(track: Track, offset: int) -> bytes:
    """The movie box of samples that lie one after another from `offset`."""
    found = coded.avc(track.sets[7])
    steps = [b - a for a, b in zip(track.decoded, track.decoded[1:], strict=False)]
    steps.append(steps[-1] if steps else CLOCK // 25)
    samples = Samples(track.sizes, steps, track.shifts, track.keys, CLOCK, offset)
    size = (found.width, found.height)
    return movie(samples, size, entry(b"avc1", size, _configuration(track)))


def _configuration(track: Track) -> bytes:
    """How the samples are coded. 14496-15 §5.3.3, §5.4.2"""
    sps, pps = track.sets[7], track.sets[8]
    return box(
        b"avcC", bytes((1, sps[1], sps[2], sps[3], 0xFF, 0xE1)), struct.pack(">H", len(sps)), sps,
        b"\1" + struct.pack(">H", len(pps)), pps,
    )  # fmt: skip
