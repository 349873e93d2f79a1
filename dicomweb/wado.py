"""WADO-RS: instances, series and studies as files, and their metadata; streamed, memory flat.

Files are handed out in the transfer syntax they came in (a client that insists on another gets 406).
PS3.18 §10.4 (Retrieve Transaction)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from dicomweb import media
from dicomweb.images import Images
from dicomweb.index.contract import File
from dicomweb.media import DICOM, MULTIPART, Part, Range
from profiles.outcomes import NotAcceptable, NotFound


def found(images: Images, path: Mapping[str, str]) -> Iterator[File]:
    """The files of a route's study, series or instance; raises NotFound when there is none. Blocking."""
    files = images.index.files(path["study"], path.get("series"), path.get("instance"))
    first = next(files, None)
    if first is None:
        raise absent()
    return chain((first,), files)


def absent() -> NotFound:
    """The one answer for what is not there and for what may not be seen."""
    return NotFound("no-such-images", "no such study, series, instance or frame")


def way(accept: list[Range], *, single: bool) -> str:
    """MULTIPART or DICOM (one bare file); raises NotAcceptable. Without a transfer syntax, as stored."""
    for one in accept:
        if single and one.media == DICOM:
            return DICOM
        if one.media in (MULTIPART, "multipart/*", "*/*") and media.fits(one.part, DICOM):
            return MULTIPART
    offers = f'{MULTIPART}; type="{DICOM}"' + (f", {DICOM}" if single else "")
    raise NotAcceptable("not-acceptable", f"available here: {offers}")


def check_syntax(accept: list[Range], stored: str) -> None:
    """An explicit wish for a transfer syntax must be what is stored: nothing is transcoded here."""
    wishes = {one.transfer_syntax for one in accept}
    if wishes and not wishes & {"", "*", stored}:
        raise NotAcceptable("not-acceptable", f"available here: transfer-syntax={stored}")


def parts(images: Images, files: Iterator[File]) -> Iterator[Part]:
    for file in files:
        yield Part(
            f"{DICOM}; transfer-syntax={file.transfer_syntax}", images.files.path(file.path), file.size
        )


def metadata(images: Images, path: Mapping[str, str]) -> Iterator[bytes]:
    """A JSON array, streamed in pieces of about a page; raises NotFound. Blocking."""
    bodies = images.index.metadata(path["study"], path.get("series"), path.get("instance"))
    first = next(bodies, None)
    if first is None:
        raise absent()
    return _array(first, bodies)


def _array(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    pending = bytearray(b"[" + first)
    for body in rest:
        pending += b"," + body
        if len(pending) > media.CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending + b"]")
