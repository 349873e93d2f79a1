"""The pydicom door: a file on disk → its attributes as DICOM JSON and the layout of its frames, without the
pixels.

Everything past this door works on DICOM JSON. What is read is bounded: large values are left out, a deflated
dataset is inflated up to a limit, and lengths that lie are refused. PS3.10 §7 (file format), PS3.18 §F (JSON
model)
"""

from __future__ import annotations

import codecs
import hashlib
import logging
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import charset, config, datadict, uid
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread, read_dataset, read_file_meta_info
from pydicom.uid import UID

from dicomweb import headers, reasons
from dicomweb.attributes import first, integer
from dicomweb.elements import fast
from dicomweb.layout import BrokenPixels, Layout, SyntaxFlags, locate
from dicomweb.reasons import Refused
from dicomweb.syntaxes import FILMS

config.settings.reading_validation_mode = config.IGNORE  # what comes is judged here, not by warnings
# pydicom's warnings quote values of the dataset, and no patient data goes into a log.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")

DEFLATED = str(uid.DeflatedExplicitVRLittleEndian)
INLINE_LIMIT = 1024  # bytes of a binary value kept in the JSON; longer ones are bulk data, left in the file
HEADER_LIMIT = 4_000_000  # a single value above this is never loaded
INFLATE_LIMIT = 64_000_000
BULK = "bulkdata:"  # before the path of a bulk value in the JSON; `wado` puts the instance's address there
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DIRECTORY = "1.2.840.10008.1.3.10"
_TEXT_ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (*charset.python_encoding.values(), "utf-8", "ascii", "cp1252", "iso8859-15")
)
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
PUBLIC = frozenset(map(str, uid.AllTransferSyntaxes))
BLOCK = 65_536  # bytes of a file that are read first: most headers end within
BOUNDS = headers.Bounds(BULK, INLINE_LIMIT, _PIXELS)


@dataclass(frozen=True, slots=True)
class Header:
    """One instance as read: identifiers checked, DICOM JSON without bulk data, where the frames are."""

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    attributes: dict[str, Any]
    layout: Layout
    named: str = ""  # the SOP Class UID as the file head has it


def read_header(path: Path) -> Header:
    """Read up to the pixels. Raises Refused (unreadable, cut, missing or malformed UIDs)."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            read = _plain(os.pread(file.fileno(), BLOCK, 0), size) or _read(file)
            attributes, flags = read.attributes, syntax_flags(read.syntax)
            layout = Layout("deflated" if flags.deflated else "none")
            if not flags.deflated and read.pixels:
                layout = locate(file.fileno(), read.at, size, attributes, flags)
            if read.pixels:
                attributes.update(_pixel_element(attributes, read.pixels, flags))
    except Refused:
        raise
    except BrokenPixels as error:
        raise Refused(reasons.CUT) from error
    except Exception as error:  # hostile input: whatever pydicom stumbles on, RecursionError included
        raise Refused(reasons.UNREADABLE) from error
    found = [first(attributes, tag) for tag in ("0020000D", "0020000E", "00080018", "00080016")]
    if not all(found):
        raise Refused(reasons.MISSING_UIDS)
    if not all(is_uid(one) for one in found):
        raise Refused(reasons.BAD_UIDS)
    if not is_stored(found[3]):
        raise Refused(reasons.UNSUPPORTED_CLASS)
    return Header(found[0], found[1], found[2], found[3], read.syntax, attributes, layout, read.named)


def identify(path: Path) -> tuple[str, str]:
    """SOP Class and SOP Instance UID of a file that was refused, "" where they cannot be read: whoever sent
    it must learn which one it was."""
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        found = [str(dataset.get(one, "")) for one in ("SOPClassUID", "SOPInstanceUID")]
    except Exception:  # hostile input
        return "", ""
    return tuple(one if is_uid(one) else "" for one in found)  # type: ignore[return-value]


def is_stored(sop_class: str) -> bool:
    """Whether instances of a class can be stored: storage classes, and those that are not in the standard."""
    known = UID(sop_class)
    return known.type not in ("SOP Class", "Meta SOP Class", "Transfer Syntax") or (
        "Storage" in known.name and "Storage Commitment" not in known.name and sop_class != _DIRECTORY
    )


def _pixel_element(attributes: dict[str, Any], tag: int, flags: SyntaxFlags) -> dict[str, Any]:
    """The pixel data as a reference. PS3.5 §8.2, §A.4: OB when encapsulated, else by the bits allocated."""
    vr = {0x7FE00008: "OF", 0x7FE00009: "OD"}.get(tag)
    narrow = (integer(attributes, "00280100") or 16) <= 8 and not flags.implicit
    return {
        f"{tag:08X}": {
            "vr": vr or ("OB" if narrow or flags.encapsulated else "OW"),
            "BulkDataURI": f"{BULK}/{tag:08X}",
        }
    }


@dataclass(frozen=True, slots=True)
class _Read:
    """The DICOM JSON before the pixels, the transfer syntax, the tag of the pixel data (0: there is none) and
    where it stands, the SOP Class as the file head names it."""

    attributes: dict[str, Any]
    syntax: str
    pixels: int
    at: int
    named: str


def _plain(head: bytes, size: int) -> _Read | None:
    """Without pydicom; None when that cannot be."""
    found = headers.meta(head)
    if found is None or found[0] not in PUBLIC or not is_uid(found[1]):
        return None
    syntax, named, start = found
    flags = syntax_flags(syntax)
    if flags.deflated or not flags.little_endian:
        return None
    read = headers.attributes(head, start, implicit=flags.implicit, bounds=BOUNDS)
    if read is None or (read[2] == 0 and len(head) != size):
        return None
    return _Read(read[0], syntax, read[2], read[1], named)


def _read(file: BinaryIO) -> _Read:
    head = file.read(65536)
    if head[128:132] != b"DICM":
        raise Refused(reasons.UNREADABLE)
    file.seek(0)
    if DEFLATED.encode() in head:
        meta = read_file_meta_info(file.name)
        if str(meta.get("TransferSyntaxUID", "")) == DEFLATED:
            dataset, pixels = _inflate(file, head)
            return _Read(to_json(dataset), DEFLATED, pixels, 0, "")
    dataset = dcmread(file, stop_before_pixels=True, defer_size=HEADER_LIMIT)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if not is_uid(syntax):
        raise Refused(reasons.UNREADABLE)
    _check_end(dataset, file)
    large = _check_lengths(dataset, os.fstat(file.fileno()).st_size)
    pixels, at = _pixel_tag(file, syntax_flags(syntax).little_endian), file.tell()
    named = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    return _Read({**to_json(dataset), **large}, syntax, pixels, at, named)


def _inflate(file: BinaryIO, head: bytes) -> tuple[Dataset, int]:
    """The header of a deflated dataset, inflated up to a limit: a zip bomb ends here."""
    length = int.from_bytes(head[140:144], "little")
    file.seek(144 + length)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = bytearray()
    while len(data) < INFLATE_LIMIT and (chunk := file.read(1 << 20)):
        data += inflater.decompress(chunk, INFLATE_LIMIT - len(data))
    if len(data) < INFLATE_LIMIT and not inflater.eof:
        raise Refused(reasons.CUT)
    stream = BytesIO(bytes(data))
    dataset = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag in _PIXELS)
    return dataset, _pixel_tag(stream, True)


def _check_end(dataset: Dataset, file: BinaryIO) -> None:
    """Refuses a file that ends within the head of an element, which pydicom passes over; zeros are
    padding."""
    last = dataset._dict[max(dataset._dict)] if dataset._dict else None
    if isinstance(last, RawDataElement) and last.length != 0xFFFFFFFF:
        tail = os.pread(file.fileno(), 8, last.value_tell + last.length)
        if len(tail) < 8 and tail.strip(b"\0"):
            raise Refused(reasons.CUT)


def _check_lengths(dataset: Dataset, file_size: int) -> dict[str, Any]:
    """Takes out values too large to load and returns references to them; refuses a value that the file ends
    within."""
    large = {}
    for tag in list(dataset.keys()):
        raw = dataset._dict[tag]
        value, length = getattr(raw, "value", None), getattr(raw, "length", 0)
        if not length or length == 0xFFFFFFFF or not hasattr(raw, "value_tell"):
            continue
        if value is None or (isinstance(value, bytes) and len(value) != length):
            if raw.value_tell + length > file_size:
                raise Refused(reasons.CUT)
            del dataset._dict[tag]
            name = f"{int(tag):08X}"
            large[name] = {
                "vr": getattr(raw, "VR", None) or tag_vr(int(tag)),
                "BulkDataURI": f"{BULK}/{name}",
            }
    return large


def _pixel_tag(file: BinaryIO, little_endian: bool) -> int:
    """The pixel element that reading stopped before; 0 when it stopped at the end."""
    at = file.tell()
    head = file.read(8)
    file.seek(at)
    if len(head) < 8:
        return 0
    group, element = struct.unpack("<HH" if little_endian else ">HH", head[:4])
    tag = group << 16 | element
    return tag if tag in _PIXELS else 0


def to_json(dataset: Dataset, place: str = BULK) -> dict[str, Any]:
    """DICOM JSON without elements that cannot be read, bulk data as references (`bulkdata:/tag/item/tag`);
    values
    that break the rules of their VR are kept as they are. Recursion is bounded by Python's own limit, which
    the caller turns into a refusal."""
    attributes: dict[str, Any] = {}
    encodings = _encodings(dataset)
    for tag, raw in list(dataset._dict.items()):
        if type(raw) is RawDataElement and (plain := fast(raw, encodings)):
            attributes[f"{int(tag):08X}"] = plain
            continue
        try:
            element, here = dataset[tag], f"{place}/{int(tag):08X}"
            if element.VR == "SQ":
                items = [to_json(item, f"{here}/{number}") for number, item in enumerate(element.value, 1)]
                made = {"vr": "SQ", **({"Value": items} if items else {})}
            else:
                made = _bounded(element.to_json_dict(lambda _element, uri=here: uri, INLINE_LIMIT))
        except RecursionError:
            raise
        except Exception:  # noqa: S112 - one broken element says nothing against the others
            continue
        attributes[f"{int(tag):08X}"] = made
    if "00080005" in attributes:
        attributes["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}  # PS3.18 §F.2: JSON is in UTF-8
    return attributes


def _bounded(made: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers that no JSON reader holds are text, as PS3.18 §F.2.3 lets IS be."""
    values = made.get("Value", ())
    if not any(isinstance(one, int) and not -(2**63) <= one < 2**63 for one in values):
        return made
    return {**made, "Value": [str(int(one)) if isinstance(one, int) else one for one in values]}


def _encodings(dataset: Dataset) -> list[str]:
    """Python's names of the dataset's encodings. A character set that DICOM does not know is read as the
    default repertoire: pydicom would take the name of any codec of Python (`punycode`, `utf-7`)."""
    character_set = dataset._character_set
    found = [character_set] if isinstance(character_set, str) else list(character_set)
    if not all(map(_is_text_encoding, found)):
        found = [charset.default_encoding]
        dataset._read_charset = charset.default_encoding
    return found


@lru_cache(maxsize=256)
def _is_text_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name).name in _TEXT_ENCODINGS
    except (LookupError, ValueError):
        return False


def is_uid(text: str) -> bool:
    """Digits and dots, 64 at most. Leading zeros are let pass, as modalities write them."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@lru_cache(maxsize=256)
def syntax_flags(transfer_syntax: str) -> SyntaxFlags:
    """How a transfer syntax encodes; an unknown (private) one is taken as explicit little endian,
    encapsulated."""
    known = UID(transfer_syntax)
    if not known.is_transfer_syntax or known.is_private:
        return SyntaxFlags(implicit=False, little_endian=True, encapsulated=True, deflated=False)
    return SyntaxFlags(
        known.is_implicit_VR,
        known.is_little_endian,
        known.is_encapsulated,
        known.is_deflated,
        transfer_syntax in FILMS,
    )


def tag_of(name: str) -> tuple[str, str] | None:
    """Keyword or eight hexadecimal digits → (tag, VR); None if it is neither."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        number = int(name, 16)
    else:
        found = datadict.tag_for_keyword(name)
        if found is None:
            return None
        number = int(found)
    return f"{number:08X}", tag_vr(number)


def tag_vr(number: int) -> str:
    """The dictionary's VR of a tag; UN when it is not there."""
    try:
        return str(datadict.dictionary_VR(number))
    except KeyError:
        return "UN"


def data_part(path: Path) -> Iterator[bytes]:
    """The dataset's bytes after the file meta information: what two files of one instance have in common when
    only the writer of the file differs."""
    with path.open("rb") as file:
        file.seek(data_start(file.read(144)))
        while chunk := file.read(1 << 20):
            yield chunk


def digests(path: Path) -> tuple[str, str]:
    """SHA-256 of the file, and of its dataset as `data_part` has it, in one reading."""
    whole, dataset = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        start = data_start(file.read(144))
        file.seek(0)
        at = 0
        while chunk := file.read(1 << 20):
            whole.update(chunk)
            if at + len(chunk) > start:
                dataset.update(memoryview(chunk)[max(0, start - at) :])
            at += len(chunk)
    return whole.hexdigest(), dataset.hexdigest()


def is_even(path: Path) -> bool:
    """Whether the dataset has an even number of bytes, as every one must. PS3.5 §7.1.1"""
    with path.open("rb") as file:
        return (path.stat().st_size - data_start(file.read(144))) % 2 == 0


def evened(path: Path, target: Path) -> None:
    """A copy in which values of odd length are padded; the whole dataset is in memory meanwhile. Raises
    OSError, ValueError."""
    dataset = dcmread(path)
    for element in dataset.iterall():
        if isinstance(element.value, bytes) and len(element.value) % 2:
            element.value += b"\0"
    dataset.save_as(target)


def data_start(head: bytes) -> int:
    """Where the dataset begins, by the first 144 bytes of a file. PS3.10 §7.1"""
    length = int.from_bytes(head[140:144], "little") if head[132:136] == b"\x02\x00\x00\x00" else 0
    return 144 + length if length else 0


def read_palette(path: Path) -> bytes | None:
    """The colour palette as RGB triples of bytes, for PALETTE COLOR; None when there is none that fits.

    PS3.3 §C.7.6.3.1.5–6
    """
    try:
        dataset = dcmread(path, stop_before_pixels=True, defer_size=HEADER_LIMIT)
        entries, _start, bits = (int(one) for one in dataset.RedPaletteColorLookupTableDescriptor)
        entries = entries or 65536
        channels = []
        for colour in ("Red", "Green", "Blue"):
            data = bytes(dataset[f"{colour}PaletteColorLookupTableData"].value)
            wide = bits == 16 and len(data) >= 2 * entries
            channels.append(data[1 : 2 * entries : 2] if wide else data[:entries])
    except Exception:  # a palette is hostile input like the rest
        return None
    if any(len(channel) != entries for channel in channels):
        return None
    return bytes(value for triple in zip(*channels, strict=True) for value in triple)
