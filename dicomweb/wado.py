"""WADO-RS: instances, series and studies as files, and their metadata; streamed, memory flat.

Files are handed out in the transfer syntax they came in (a client that insists on another gets 406).
PS3.18 §10.4 (Retrieve Transaction)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from dicomweb import media
from dicomweb.dataset import BULK
from dicomweb.images import Images
from dicomweb.index.contract import Body, File
from dicomweb.media import DICOM, MULTIPART, Part, Range
from dicomweb.web import absent
from profiles.outcomes import NotAcceptable

_BULK = b'"BulkDataURI":"' + BULK.encode()


def found(images: Images, path: Mapping[str, str]) -> Iterator[File]:
    """The files of a route's study, series or instance; raises NotFound when there is none. Blocking."""
    files = images.index.files(path["study"], path.get("series"), path.get("instance"))
    first = next(files, None)
    if first is None:
        raise absent()
    return chain((first,), files)


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
    study = f"{images.base}/studies/{path['study']}"
    return _array(resolved(body, study) for body in chain((first,), bodies))


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
