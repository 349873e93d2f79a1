"""Metadata and bulk data that came apart → one Part 10 file, memory flat. Blocking.

PS3.18 §10.5.2.2 (metadata and bulk data request), §8.7.3 (transfer syntax of a media type); PS3.10 §7
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate_buffer
from pydicom.uid import UID, ImplicitVRLittleEndian

from dicomweb import reasons
from dicomweb.attributes import Attributes, first
from dicomweb.dataset import is_uid, syntax_flags
from dicomweb.reasons import Refused
from dicomweb.syntaxes import ALIASES, EXPLICIT_LITTLE, FRAME_SYNTAXES

PIXELS = ("7FE00010", "7FE00008", "7FE00009")
SMALL = 4_000_000  # bytes of a bulk value below a sequence, which is loaded
_TAGS_OF_HEAD = "0002"


@dataclass(frozen=True, slots=True)
class Bulk:
    """One bulk data part on disk."""

    path: Path
    media: str
    transfer_syntax: str


def compose(attributes: Attributes, bulk: Mapping[str, Sequence[Bulk]], target: Path) -> None:
    """Write the instance to `target`. `bulk`: Content-Location → its parts, in order (several: one a frame).
    Raises Refused."""
    pixels: tuple[str, str, Sequence[Bulk]] | None = None
    rest = {}
    for tag, element in attributes.items():
        uri = element.get("BulkDataURI") if isinstance(element, Mapping) else None
        if tag in PIXELS and uri is not None:
            pixels = (tag, str(element.get("vr", "OW")), _parts(bulk, uri))
        elif not tag.startswith(_TAGS_OF_HEAD):
            rest[tag] = element
    syntax = _syntax(attributes, pixels[2] if pixels else ())
    try:
        rest.setdefault("00080005", {"vr": "CS", "Value": ["ISO_IR 192"]})
        dataset = Dataset.from_json(rest, lambda _tag, _vr, uri: _value(bulk, uri))
        with contextlib.ExitStack() as open_files:
            if pixels:
                opened = [open_files.enter_context(part.path.open("rb")) for part in pixels[2]]
                _put_pixels(dataset, pixels[0], pixels[1], opened, syntax)
            _save(dataset, syntax, target)
    except Refused:
        raise
    except Exception as error:  # hostile metadata: whatever pydicom stumbles on
        raise Refused(reasons.UNREADABLE) from error


def _parts(bulk: Mapping[str, Sequence[Bulk]], uri: Any) -> Sequence[Bulk]:
    found = bulk.get(str(uri))
    if not found:
        raise Refused(reasons.MISSING_BULK)
    return found


def _value(bulk: Mapping[str, Sequence[Bulk]], uri: Any) -> bytes:
    part = _parts(bulk, uri)[0]
    if part.path.stat().st_size > SMALL:
        raise Refused(reasons.OUT_OF_RESOURCES)
    return part.path.read_bytes()


def _syntax(attributes: Attributes, pixels: Sequence[Bulk]) -> str:
    """The transfer syntax: what the pixels' part says or is; else explicit little endian."""
    for part in pixels:
        if is_uid(part.transfer_syntax):
            return part.transfer_syntax
        if part.media == "image/jpeg":
            return _jpeg_syntax(part.path)
        if defaults := FRAME_SYNTAXES.get(ALIASES.get(part.media, part.media)):
            return defaults[0]
        named = first(attributes, "00020010") or first(attributes, "00083002")
        if is_uid(named) and syntax_flags(named).encapsulated:
            return named
    return EXPLICIT_LITTLE


def _jpeg_syntax(path: Path) -> str:
    """By the frame header that a JPEG begins with. ITU-T T.81 §B.1.1.3"""
    with path.open("rb") as file:
        for marker in _markers(file):
            if marker in (0xC0, 0xC2):
                return "1.2.840.10008.1.2.4.50"
            if marker == 0xC1:
                return "1.2.840.10008.1.2.4.51"
            if marker == 0xC3:
                return "1.2.840.10008.1.2.4.70"
    raise Refused(reasons.UNREADABLE)


def _markers(file: BinaryIO) -> Iterator[int]:
    file.read(2)
    for _bounded in range(100):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        yield head[1]
        file.seek(int.from_bytes(head[2:4], "big") - 2, 1)


def _put_pixels(dataset: Dataset, tag: str, vr: str, parts: list[Any], syntax: str) -> None:
    if syntax_flags(syntax).encapsulated:
        dataset.add_new(int(tag, 16), "OB", encapsulate_buffer(parts))
        dataset[int(tag, 16)].is_undefined_length = True
    else:
        dataset.add_new(int(tag, 16), vr if vr in ("OB", "OW", "OF", "OD") else "OW", parts[0])


def _save(dataset: Dataset, syntax: str, target: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(dataset.get("SOPClassUID", "")))
    meta.MediaStorageSOPInstanceUID = UID(str(dataset.get("SOPInstanceUID", "")))
    if not (meta.MediaStorageSOPClassUID and meta.MediaStorageSOPInstanceUID):
        raise Refused(reasons.MISSING_UIDS)
    flags = syntax_flags(syntax)
    if flags.deflated or syntax == ImplicitVRLittleEndian or not flags.little_endian:
        syntax = EXPLICIT_LITTLE if not flags.encapsulated else syntax
    meta.TransferSyntaxUID = UID(syntax)
    FileDataset(str(target), dataset, file_meta=meta, preamble=b"\0" * 128).save_as(
        target, enforce_file_format=True
    )
