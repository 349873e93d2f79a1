"""Films in DICOM: an MP4 file put into a Video Photographic Image as it is, the stored stream shown again.

The coded pictures are neither decoded nor encoded; the file is streamed, its metadata boxes blanked on the
way. PS3.3 §A.32.5 (Video Photographic Image), PS3.5 §8.2.7–8.2.11, §A.4 (one fragment, no offset table)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from pydicom.dataset import Dataset

from dicomweb import mp4, remux
from dicomweb.cine import MP4
from dicomweb.files import SLOW_SPOOL
from dicomweb.frames import Framed
from dicomweb.images import Images
from dicomweb.media import CHUNK, Part, Spans, pieces
from dicomweb.mp4 import Film, NoFilm
from dicomweb.remux import NotRemuxed
from dicomweb.syntaxes import AVC, AVC_42, HEVC, HEVC_10
from profiles.outcomes import NotAcceptable, UnsupportedMedia

VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
MAX_BYTES = 2_000_000_000  # of a film: a fragment's length is a number of 32 bits
MADE = "film-"  # how the films made here begin, beside the expanded files
_PICTURES = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif"})
_LOSSY = {"avc": "ISO_14496_10", "hevc": "ISO_23008_2"}


def is_film(path: Path) -> bool:
    """Whether a file says that it is MP4 or QuickTime. Raises UnsupportedMedia for a photograph in the same
    container (HEIC, AVIF)."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURES:
        raise UnsupportedMedia("photo-heic", "HEIC and AVIF photographs are not taken: JPEG or PNG is")
    return head[4:8] == b"ftyp"


def syntax_of(film: Film) -> str:
    """The transfer syntax that a film is in. Raises UnsupportedMedia."""
    found = film.coded
    plain = found.chroma == 1
    if film.codec == "avc" and plain and found.bits == 8:
        # A High Profile decoder reads Main, and Baseline where constraint_set1_flag is set. H.264 §A.2
        fits = found.profile in (77, 100) or (found.profile == 66 and found.constraints & 0x40)
        if fits and found.level <= 41:
            return AVC
        if fits and found.level <= 42:
            return AVC_42
    if film.codec == "hevc" and plain and found.level <= 51:
        if found.profile == 1 and found.bits == 8:
            return HEVC
        if found.profile == 2 and found.bits <= 10:
            return HEVC_10
    raise UnsupportedMedia(
        "film-profile", "taken here: H.264 up to High Profile at level 4.2, H.265 up to Main 10 at level 5.1"
    )


def describe(made: Dataset, path: Path) -> tuple[Film, str]:
    """Write what the film is into the dataset; the film and its transfer syntax. Raises UnsupportedMedia."""
    try:
        film = mp4.read(path)
    except NoFilm as error:
        raise UnsupportedMedia(f"film-{error.reason}", str(error)) from error
    syntax, found = syntax_of(film), film.coded
    size = path.stat().st_size
    wide = found.bits > 8
    made.Modality, made.ImageType = "XC", ["ORIGINAL", "PRIMARY"]
    made.Rows, made.Columns, made.SamplesPerPixel, made.PlanarConfiguration = found.height, found.width, 3, 0
    made.PhotometricInterpretation = "YBR_PARTIAL_420"
    made.BitsAllocated, made.BitsStored, made.PixelRepresentation = (16 if wide else 8), found.bits, 0
    made.HighBit = found.bits - 1
    made.NumberOfFrames = film.frames
    made.FrameTime = f"{1000 * film.seconds / film.frames:.6g}"
    made.FrameIncrementPointer = 0x00181063
    made.CineRate = max(1, round(film.frames / film.seconds))
    made.BurnedInAnnotation, made.AcquisitionContextSequence = "NO", []
    if film.sound:
        made.MultiplexedAudioChannelsDescriptionCodeSequence = []
    made.LossyImageCompression, made.LossyImageCompressionMethod = "01", _LOSSY[film.codec]
    raw = found.width * found.height * 1.5 * film.frames * (2 if wide else 1)
    made.LossyImageCompressionRatio = f"{raw / size:.2f}"[:16]
    return film, syntax


def append(target: Path, source: Path, film: Film) -> None:
    """The pixel data behind a dataset that is written already: one fragment, padded to even length."""
    size = source.stat().st_size
    with target.open("ab") as out:
        out.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
        out.write(struct.pack("<HHL", 0xFFFE, 0xE000, 0))
        out.write(struct.pack("<HHL", 0xFFFE, 0xE000, size + size % 2))
        for piece in blanked(source, film):
            out.write(piece)
        out.write(b"\0" * (size % 2) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))


def blanked(source: Path, film: Film) -> Iterator[bytes]:
    """The film's bytes, without what its boxes tell of place, device and owner; every offset stays."""
    at, passed = 0, 0
    with source.open("rb") as file:
        while piece := bytearray(file.read(CHUNK)):
            end = at + len(piece)
            while passed < len(film.blanked) and film.blanked[passed][1] <= at:
                passed += 1
            for span in film.blanked[passed:]:
                if span[0] >= end:
                    break
                first, last = max(span[0], at), min(span[1], end)
                piece[first - at : last - at] = bytes(last - first)
            for start in film.renamed:
                for place, letter in enumerate(b"free", start + 4):
                    if at <= place < end:
                        piece[place - at] = letter
            at = end
            yield bytes(piece)


def kinds(images: Images, one: Framed) -> tuple[str, ...]:
    """What the stored stream can be shown as, the best first; empty when it is no file by itself."""
    if one.where.kind != "stream":
        return ()
    stream = _stream(images, one)
    head = next(pieces(stream, 0, 4 * remux.PACKET), b"")
    if head[4:8] == b"ftyp":
        return (MP4,)
    if remux.is_transport(head):
        return (MP4, "video/mp2t")
    return ("video/mpeg",) if head[:4] in (b"\0\0\1\xba", b"\0\0\1\xb3") else ()


def _stream(images: Images, one: Framed) -> Spans:
    return Spans(images.files.path(one.file.path), one.where.ranges[0])


def part(images: Images, one: Framed, kind: str) -> Part:
    """The stored stream as one of its `kinds`, to be sent whole or by ranges. Raises NotAcceptable."""
    stream = _stream(images, one)
    if kind == MP4 and kinds(images, one) != (MP4,):
        path = _remuxed(images, one, stream)
        return Part(kind, path, path.stat().st_size)
    return Part(kind, stream, sum(length for _, length in stream.ranges))


def _remuxed(images: Images, one: Framed, stream: Spans) -> Path:
    """A transport stream as MP4. Raises NotAcceptable."""
    try:
        return kept(images, one.file.sha256, lambda out: remux.remux(pieces(stream), out))
    except NotRemuxed as error:
        raise NotAcceptable("cannot-render", "this film cannot be put into MP4 here") from error


def kept(images: Images, name: str, write: Callable[[BinaryIO], object]) -> Path:
    """A film made once and kept while it is watched: a player asks for it range by range. It stands among the
    expanded files, which go when nobody asked for them in a while."""
    found = images.files.root / "opened" / f"{MADE}{name}"
    with suppress(FileNotFoundError):
        os.utime(found)
        return found
    made = images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    try:
        with made.open("wb") as out:
            write(out)
        made.replace(found)
    finally:
        made.unlink(missing_ok=True)
    return found
