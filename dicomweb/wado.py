"""WADO-RS: instances as files in the transfer syntax that is asked for, and their metadata; streamed,
memory flat.

Everything here blocks; endpoints call it in worker threads. PS3.18 §10.4 (Retrieve Transaction), §8.7.3.5
(transfer syntax)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import uuid4

import orjson

from dicomweb import dicom_xml, media
from dicomweb.dataset import BULK
from dicomweb.dicom_xml import XML
from dicomweb.files import SLOW_SPOOL
from dicomweb.frames import attributes_of
from dicomweb.images import Images
from dicomweb.index.contract import Body, File
from dicomweb.media import DICOM, MULTIPART, Part, Passing, Range
from dicomweb.syntaxes import DECODED, EXPLICIT_LITTLE, LOSSY, MADE, UNCOMPRESSED
from dicomweb.web import absent
from dicomweb.zipped import ZIP
from profiles.outcomes import NotAcceptable

_BULK = b'"BulkDataURI":"' + BULK.encode()


@dataclass(frozen=True, slots=True)
class Way:
    """How files are answered: MULTIPART, ZIP or DICOM (one bare file); the transfer syntax, "" for the
    default, "*" for the stored one."""

    outer: str
    syntax: str


def found(images: Images, path: Mapping[str, str]) -> Iterator[File]:
    """The files of a route's study, series or instance; raises NotFound when there is none."""
    files = images.index.files(path["study"], path.get("series"), path.get("instance"))
    first = next(files, None)
    if first is None:
        raise absent()
    return chain((first,), files)


def way(accept: Sequence[Range], stored: Sequence[str], *, single: bool) -> Way:
    """`stored`: the transfer syntaxes there are. Raises NotAcceptable, naming what is possible."""
    for one in media.wanted(accept):
        outer = ""
        if single and one.media == DICOM:
            outer = DICOM
        elif one.media in (MULTIPART, "multipart/*", "*/*") and media.fits(one.part, DICOM):
            outer = MULTIPART
        elif one.media == ZIP:
            outer = ZIP
        asked = one.transfer_syntax
        if outer and (asked in ("", "*") or all(possible(kept, asked) for kept in stored)):
            return Way(outer, asked)
    bare = f", {DICOM}" if single else ""
    syntaxes = sorted(set(stored) | (MADE if all(kept in DECODED for kept in stored) else set()))
    raise NotAcceptable(
        "not-acceptable",
        f'available here: {MULTIPART}; type="{DICOM}"{bare}, {ZIP}, with transfer-syntax * or '
        + ", ".join(syntaxes),
    )


def possible(stored: str, asked: str) -> bool:
    """Whether an instance can be had in that transfer syntax."""
    return asked == stored or (stored in DECODED and asked in MADE)


def target(stored: str, asked: str) -> str:
    """The transfer syntax to send. Without a wish explicit little endian, unless there are only pixels that
    were compressed with loss, or that cannot be decompressed here. PS3.18 §8.7.3.5.2"""
    if asked not in ("", "*"):
        return asked
    if asked == "*" or stored in LOSSY or stored not in DECODED:
        return stored
    return EXPLICIT_LITTLE


def part(images: Images, file: File, asked: str) -> Part:
    """One instance. Raises NotAcceptable when it cannot be put into what is asked; with no wish it then
    goes as it is stored."""
    syntax = target(file.transfer_syntax, asked)
    path, is_expanded = images.files.once(file.path)
    kept = Passing(path) if is_expanded else path
    url = f"{images.base}/studies/{file.study}/series/{file.series}/instances/{file.uid}"
    if syntax == file.transfer_syntax:
        return Part(f"{DICOM}; transfer-syntax={syntax}", kept, file.size, url)
    made = images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    attributes = attributes_of(images, file)
    try:
        images.decoder.transcode(path, file.layout, attributes, _pixelless(attributes, syntax), made)
    except NotAcceptable:
        if not asked:
            return Part(f"{DICOM}; transfer-syntax={file.transfer_syntax}", kept, file.size, url)
        if is_expanded:
            path.unlink()
        raise
    if is_expanded:
        path.unlink()
    sent = _pixelless(attributes, syntax)
    return Part(f"{DICOM}; transfer-syntax={sent}", Passing(made), made.stat().st_size, url)


def _pixelless(attributes: Mapping[str, object], syntax: str) -> str:
    """What has no pixels cannot be compressed: then it goes uncompressed."""
    return syntax if syntax in UNCOMPRESSED or "7FE00010" in attributes else EXPLICIT_LITTLE


def parts(images: Images, files: Iterator[File], asked: str) -> Iterator[Part]:
    for file in files:
        yield part(images, file, asked)


def metadata(images: Images, path: Mapping[str, str]) -> Iterator[bytes]:
    """A JSON array, streamed in pieces of about a page; raises NotFound."""
    return _array(documents(images, path))


def metadata_xml(images: Images, path: Mapping[str, str]) -> Iterator[Part]:
    """One XML document an instance; raises NotFound."""
    made = documents(images, path)
    return (_xml(document) for document in made)


def _xml(document: bytes) -> Part:
    data = dicom_xml.dump(orjson.loads(document))
    return Part(XML, data, len(data))


def documents(images: Images, path: Mapping[str, str]) -> Iterator[bytes]:
    """Each instance's JSON; raises NotFound."""
    bodies = images.index.metadata(path["study"], path.get("series"), path.get("instance"))
    first = next(bodies, None)
    if first is None:
        raise absent()
    study = f"{images.base}/studies/{path['study']}"
    return (resolved(body, study) for body in chain((first,), bodies))


def resolved(body: Body, study: str) -> bytes:
    """The JSON with the addresses of its bulk data. `study`: the study's address.

    The text that is replaced cannot stand inside a JSON string, where a quote is escaped.
    """
    address = f"{study}/series/{body.series}/instances/{body.uid}/bulkdata"
    return body.json.replace(_BULK, b'"BulkDataURI":"' + address.encode())


def _array(bodies: Iterator[bytes]) -> Iterator[bytes]:
    pending = bytearray(b"[" + next(bodies))
    for body in bodies:
        pending += b"," + body
        if len(pending) > media.CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending + b"]")
