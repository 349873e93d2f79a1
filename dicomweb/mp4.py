"""An MP4 file as a film: its codec, size, rate and frames, and what it tells of places and persons.

The boxes are what the sender wrote, so nothing is believed: every length lies within its parent, every sample
within the file, counts agree with one another, and the size is the one of the coded stream. Only `moov` is
read into memory, up to MAX_MOOV bytes. ISO/IEC 14496-12 §4.2, §8; 14496-15 §5.3.3, §8.3.3
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dicomweb import coded
from dicomweb.coded import Sequence, Unreadable

MAX_MOOV = 32_000_000  # bytes
MAX_BOXES = 20_000
MAX_FRAMES = 500_000  # four hours and a half at 30 a second
MAX_SAMPLES = 1_000_000  # of any track
MAX_TRACKS = 16
_CODECS = {b"avc1": b"avcC", b"avc3": b"avcC", b"hvc1": b"hvcC", b"hev1": b"hvcC"}
_SOUNDS = frozenset({b"mp4a", b"ac-3", b".mp3"})
_TELLING = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip", b"wide"})
_BRANDS = frozenset(
    {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"3gp4", b"3gp5"}
)
Span = tuple[int, int]  # offsets in the file, half open


class NoFilm(ValueError):
    """A file that is no film taken here; `reason` is a stable word: broken, container, fragmented, codec,
    sound, protected."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Film:
    """`codec` is avc or hevc; `seconds` the length; `renamed` are boxes that become `free`, `blanked` the
    bytes that become zeros: what phones write of place, device and owner."""

    codec: str
    coded: Sequence
    frames: int
    seconds: float
    sound: bool
    renamed: tuple[int, ...] = ()
    blanked: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """`start`: where its length stands; its content is [body, end)."""

    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Track:
    """One track: `handler` is vide, soun or another; `samples` how many, `spans` where they lie by chunk."""

    box: Box
    handler: bytes
    codec: bytes
    entry: Box
    samples: int
    seconds: float
    spans: tuple[Span, ...]


def read(path: Path) -> Film:
    """Raises NoFilm."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        top = list(_top(file.fileno(), size))
        found = [box for box in top if box.kind == b"moov"]
        if len(found) != 1:
            raise NoFilm("broken", "a film has one movie box")
        if found[0].end - found[0].start > MAX_MOOV:
            raise NoFilm("broken", "the movie box is too long")
        data = os.pread(file.fileno(), found[0].end - found[0].start, found[0].start)
    try:
        return _Movie(data, found[0].start, size).film(top)
    except (struct.error, IndexError, Unreadable) as error:
        raise NoFilm("broken", "a box ends early") from error


def _top(fd: int, size: int) -> Iterator[Box]:
    """The boxes of the file. Raises NoFilm for what is no MP4."""
    at, number = 0, 0
    while at < size:
        head = os.pread(fd, 16, at)
        if at == 0:
            _brand(head, os.pread(fd, 256, 0))
        box = _box(head, at, size)
        if box.kind in (b"moof", b"sidx"):
            raise NoFilm("fragmented", "a film in fragments")
        yield box
        at, number = box.end, number + 1
        if number > MAX_BOXES:
            raise NoFilm("broken", "too many boxes")


def _brand(head: bytes, begin: bytes) -> None:
    if head[4:8] != b"ftyp":
        raise NoFilm("container", "no MP4 file")
    brands = begin[8 : min(256, int.from_bytes(head[:4], "big"))]
    named = {brands[at : at + 4] for at in (0, *range(8, len(brands), 4))}
    if not named & _BRANDS:
        raise NoFilm("container", "another container than MP4")


def _box(head: bytes, at: int, end: int) -> Box:
    """The box whose first bytes are `head`, at most up to `end`. Raises NoFilm."""
    if len(head) < 8:
        raise NoFilm("broken", "no room for a box")
    length, kind = struct.unpack_from(">L4s", head)
    body = 8
    if length == 1:
        if len(head) < 16:
            raise NoFilm("broken", "no room for a box")
        length, body = struct.unpack_from(">Q", head, 8)[0], 16
    elif length == 0:
        length = end - at
    if length < body or at + length > end:
        raise NoFilm("broken", "a box is longer than what holds it")
    return Box(kind, at, at + body, at + length)


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    """The same bytes in spans that neither touch nor overlap, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif start < end:
            found.append((start, end))
    return tuple(found)


def _apart(some: list[Span], others: tuple[Span, ...]) -> None:
    """Raises NoFilm when a track lies within another: what is blanked must be no picture."""
    marked = sorted([(span, 0) for span in _merged(some)] + [(span, 1) for span in _merged(list(others))])
    for ((_, end), _a), ((start, _), _b) in pairwise(marked):
        if start < end:
            raise NoFilm("broken", "two tracks lie over each other")


class _Movie:
    """The movie box: `data` as bytes, beginning at `base` of a file of `size` bytes. Offsets within are
    relative to `data`."""

    def __init__(self, data: bytes, base: int, size: int) -> None:
        self._data, self._base, self._size = data, base, size
        self._seen = 0

    def film(self, top: list[Box]) -> Film:
        movie = _box(self._data[:16], 0, len(self._data))
        children = list(self._children(movie))
        if any(box.kind == b"mvex" for box in children):
            raise NoFilm("fragmented", "a film in fragments")
        boxes = [box for box in children if box.kind == b"trak"]
        if not 0 < len(boxes) <= MAX_TRACKS:
            raise NoFilm("broken", "a film has some tracks")
        tracks = [self._track(box) for box in boxes]
        films = [one for one in tracks if one.handler == b"vide"]
        if len(films) != 1:
            raise NoFilm("codec", "a film with one picture track is needed")
        (film,) = films
        sounds = [one for one in tracks if one.handler == b"soun"]
        if any(one.codec not in _SOUNDS for one in sounds):
            raise NoFilm("sound", "the sound is coded in a way that DICOM does not have")
        if not 0 < film.samples <= MAX_FRAMES or film.seconds <= 0:
            raise NoFilm("broken", "a film without pictures")
        codec, sequence = self._sequence(film)
        others = [one for one in tracks if one.handler not in (b"vide", b"soun")]
        _apart([span for one in others for span in one.spans], film.spans)
        telling = self._telling(top, children, boxes, others)
        return Film(codec, sequence, film.samples, film.seconds, bool(sounds), *telling)

    def _telling(
        self, top: list[Box], children: list[Box], traks: list[Box], others: list[Track]
    ) -> tuple[tuple[int, ...], tuple[Span, ...]]:
        """What goes out: boxes of metadata, and whole tracks that are neither picture nor sound."""
        renamed, blanked = [], []
        inner = [box for box in children if box.kind in _TELLING]
        inner += [box for trak in traks for box in self._children(trak) if box.kind in _TELLING]
        inner += [one.box for one in others]
        for box in inner:
            renamed.append(self._base + box.start)
            blanked.append((self._base + box.body, self._base + box.end))
        for box in top:
            if box.kind in _TELLING:
                renamed.append(box.start)
                blanked.append((box.body, box.end))
        blanked += [span for one in others for span in one.spans]
        return tuple(sorted(set(renamed))), _merged(blanked)

    def _children(self, parent: Box, skip: int = 0) -> Iterator[Box]:
        at = parent.body + skip
        while at + 8 <= parent.end:
            self._seen += 1
            if self._seen > MAX_BOXES:
                raise NoFilm("broken", "too many boxes")
            if self._data[at : at + 4] == b"\0\0\0\0":  # QuickTime ends some lists so
                return
            box = _box(self._data[at : at + 16], at, parent.end)
            yield box
            at = box.end

    def _child(self, parent: Box, *kinds: bytes) -> Box:
        """The first of the first kind, in it the first of the second, and so on. Raises NoFilm."""
        found = parent
        for kind in kinds:
            box = next((one for one in self._children(found) if one.kind == kind), None)
            if box is None:
                raise NoFilm("broken", f"a track without its {kind.decode('latin-1')} box")
            found = box
        return found

    def _numbers(self, form: str, box: Box, at: int = 0) -> tuple[int, ...]:
        """Big-endian numbers at `at` of a box's content, within it. Raises NoFilm."""
        form = ">" + form
        if box.body + at + struct.calcsize(form) > box.end:
            raise NoFilm("broken", "a table is longer than its box")
        return struct.unpack_from(form, self._data, box.body + at)

    def _track(self, box: Box) -> Track:
        media = self._child(box, b"mdia")
        handler = self._child(media, b"hdlr")
        kind = self._data[handler.body + 8 : handler.body + 12]
        header = self._child(media, b"mdhd")
        (version,) = self._numbers("B", header)
        (scale,) = self._numbers("L", header, 20 if version == 1 else 12)
        table = self._child(media, b"minf", b"stbl")
        self._own_data(self._child(media, b"minf", b"dinf", b"dref"))
        entry = self._entry(self._child(table, b"stsd"))
        sizes = self._sizes(table)
        times = self._child(table, b"stts")
        (count,) = self._numbers("L", times, 4)
        if count > MAX_SAMPLES:
            raise NoFilm("broken", "too many pictures")
        pairs = self._numbers(f"{2 * count}L", times, 8)
        if sum(pairs[::2]) != len(sizes):
            raise NoFilm("broken", "the times do not agree with the pictures")
        length = sum(n * step for n, step in zip(pairs[::2], pairs[1::2], strict=True))
        seconds = length / scale if scale else 0.0
        return Track(box, kind, entry.kind, entry, len(sizes), seconds, self._spans(table, sizes))

    def _own_data(self, references: Box) -> None:
        """Raises NoFilm for a film whose pictures are to be fetched elsewhere."""
        for box in self._children(references, 8):
            if not self._numbers("L", box)[0] & 1:
                raise NoFilm("container", "the pictures are in another file")

    def _entry(self, box: Box) -> Box:
        """The one description of samples. Raises NoFilm."""
        found = list(self._children(box, 8))
        if len(found) != 1 or self._numbers("L", box, 4)[0] != 1:
            raise NoFilm("codec", "a track coded in several ways")
        if found[0].kind in (b"encv", b"enca"):
            raise NoFilm("protected", "a protected film")
        return found[0]

    def _sizes(self, table: Box) -> tuple[int, ...] | list[int]:
        box = self._child(table, b"stsz")
        size, count = self._numbers("LL", box, 4)
        if count > MAX_SAMPLES:
            raise NoFilm("broken", "too many pictures")
        return [size] * count if size else self._numbers(f"{count}L", box, 12)

    def _spans(self, table: Box, sizes: tuple[int, ...] | list[int]) -> tuple[Span, ...]:
        """Where the samples lie, a span for each chunk. Raises NoFilm for one outside the file."""
        kind = next((box for box in self._children(table) if box.kind in (b"stco", b"co64")), None)
        if kind is None:
            raise NoFilm("broken", "a track without its chunks")
        (count,) = self._numbers("L", kind, 4)
        if count > MAX_SAMPLES:
            raise NoFilm("broken", "too many chunks")
        offsets = self._numbers(f"{count}{'L' if kind.kind == b'stco' else 'Q'}", kind, 8)
        box = self._child(table, b"stsc")
        (rows,) = self._numbers("L", box, 4)
        if rows > MAX_SAMPLES:
            raise NoFilm("broken", "too many chunks")
        runs = self._numbers(f"{3 * rows}L", box, 8)
        found, sample, row = [], 0, 0
        for number, offset in enumerate(offsets, 1):
            while row + 1 < rows and runs[3 * (row + 1)] <= number:
                row += 1
            many = runs[3 * row + 1] if rows else 0
            length = sum(sizes[sample : sample + many])
            if offset + length > self._size or sample + many > len(sizes):
                raise NoFilm("broken", "pictures beyond the end of the file")
            found.append((offset, offset + length))
            sample += many
        if sample != len(sizes):
            raise NoFilm("broken", "pictures that lie nowhere")
        return tuple(found)

    def _sequence(self, track: Track) -> tuple[str, Sequence]:
        """What the coded stream says of itself. Raises NoFilm."""
        wanted = _CODECS.get(track.codec)
        if wanted is None:
            raise NoFilm("codec", "pictures coded otherwise than in H.264 or H.265")
        box = next((one for one in self._children(track.entry, 78) if one.kind == wanted), None)
        if box is None:
            raise NoFilm("broken", "pictures without the description of their coding")
        if wanted == b"avcC":
            (count,) = self._numbers("B", box, 5)
            if not count & 31:
                raise NoFilm("broken", "pictures without the description of their coding")
            (length,) = self._numbers("H", box, 6)
            found = coded.avc(bytes(self._numbers(f"{length}B", box, 8)))
            codec = "avc"
        else:
            found, codec = coded.hevc(self._hevc_unit(box)), "hevc"
        if (found.width, found.height) != self._numbers("HH", track.entry, 24):
            raise NoFilm("broken", "the film's size is not the one of its pictures")
        return codec, found

    def _hevc_unit(self, box: Box) -> bytes:
        (arrays,) = self._numbers("B", box, 22)
        at = 23
        for _ in range(arrays):
            kind, count = self._numbers("BH", box, at)
            at += 3
            for _unit in range(count):
                (length,) = self._numbers("H", box, at)
                if kind & 63 == 33:
                    return bytes(self._numbers(f"{length}B", box, at + 2))
                at += 2 + length
        raise NoFilm("broken", "pictures without the description of their coding")
