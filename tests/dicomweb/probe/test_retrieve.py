"""WADO-RS: instances, metadata, frames, bulk data. PS3.18 §10.4 (Retrieve Transaction), §8.7 (media types)"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable

import httpx
import pydicom

from dicomweb import dicom_xml
from tests.dicomweb.probe.check import (
    DICOM,
    JSON,
    OCTETS,
    XML,
    Check,
    Piece,
    Then,
    first,
    has,
    is_type,
    pieces,
    table,
)
from tests.dicomweb.probe.seed import (
    CT,
    DOCUMENT,
    FRAMES,
    J2K,
    JPEG,
    MULTI,
    ONE,
    PDF,
    PIXELS,
    RLE,
    SR,
    THREE,
    TWO,
)

EXPLICIT, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
LOSSLESS_J2K, RLE_SYNTAX, JPEGLS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
BASELINE, LOSSLESS_JPEG, HTJ2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.201"
IMAGE = f"/studies/{ONE}/series/{CT}/instances/{CT}.1"
CINE = f"/studies/{TWO}/series/{MULTI}/instances/{MULTI}.1"
COMPRESSED = f"/studies/{TWO}/series/{J2K}/instances/{J2K}.1"
PACKED = f"/studies/{TWO}/series/{RLE}/instances/{RLE}.1"
LOSSY = f"/studies/{THREE}/series/{JPEG}/instances/{JPEG}.1"
LETTER = f"/studies/{ONE}/series/{PDF}/instances/{PDF}.1"
REPORT = f"/studies/{ONE}/series/{SR}/instances/{SR}.1"
MULTI_DICOM = f'multipart/related; type="{DICOM}"'
MULTI_OCTETS = f'multipart/related; type="{OCTETS}"'


def files(number: int, syntax: str = "") -> Then:
    """So many DICOM files, all in that transfer syntax, said of each part and written in each file."""

    def check(answer: httpx.Response) -> bool:
        found = pieces(answer)
        heads = [pydicom.dcmread(io.BytesIO(piece.content)).file_meta.TransferSyntaxUID for piece in found]
        stated = [piece.syntax for piece in found]
        return (len(found), stated) == (number, heads) and (not syntax or set(heads) == {syntax})

    return check


def file(syntax: str) -> Then:
    return lambda answer: pydicom.dcmread(io.BytesIO(answer.content)).file_meta.TransferSyntaxUID == syntax


def frames(*expected: bytes, media: str = OCTETS) -> Then:
    def check(answer: httpx.Response) -> bool:
        found = pieces(answer)
        return [piece.content for piece in found] == list(expected) and {p.media for p in found} == {media}

    return check


def begins(magic: bytes, media: str, syntax: str) -> Then:
    """One part of a compressed frame."""

    def check(answer: httpx.Response) -> bool:
        (piece,) = pieces(answer)
        return piece.content.startswith(magic) and (piece.media, piece.syntax) == (media, syntax)

    return check


def is_bytes(expected: bytes) -> Then:
    return lambda answer: answer.content == expected


def metadata(number: int) -> Then:
    return lambda answer: len(json.loads(answer.content)) == number


def dataset(test: Callable[[dict], object]) -> Then:  # type: ignore[type-arg]
    return lambda answer: bool(test(json.loads(answer.content)[0]))


def located(ending: str) -> Then:
    return lambda answer: pieces(answer)[0].headers["content-location"].endswith(ending)


def names_what_there_is(answer: httpx.Response) -> bool:
    return "available here" in answer.text


def frame(number: int) -> bytes:
    return FRAMES[number - 1].tobytes()


def of(syntax: str, accept: str = MULTI_DICOM) -> str:
    return f"{accept}; transfer-syntax={syntax}"


def archive(number: int, syntax: str = "") -> Then:
    """A zip of so many DICOM files."""

    def check(answer: httpx.Response) -> bool:
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            assert packed.testzip() is None
            made = [pydicom.dcmread(io.BytesIO(packed.read(name))) for name in packed.namelist()]
        heads = {str(one.file_meta.TransferSyntaxUID) for one in made}
        return len(made) == number == len({one.SOPInstanceUID for one in made}) and (
            not syntax or heads == {syntax}
        )

    return check


INSTANCES = [
    Check("10.4.4", "a study as a zip", f"/studies/{ONE}", 200, "application/zip",
          (is_type("application/zip"), archive(5))),
    Check("10.4.4", "a series as a zip", f"/studies/{ONE}/series/{CT}", 200, "application/zip", archive(3)),
    Check("10.4.4", "an instance as a zip", IMAGE, 200, "application/zip", archive(1, EXPLICIT)),
    Check("10.4.4", "a zip in a transfer syntax", IMAGE, 200, f"application/zip; transfer-syntax={JPEGLS}",
          archive(1, JPEGLS)),
    Check("10.4.4", "a study's octets, as of old", f"/studies/{ONE}", 200, MULTI_OCTETS,
          lambda a: PIXELS.tobytes() in [piece.content for piece in pieces(a)]),
    Check("10.4.4", "an instance's octets, as of old", IMAGE, 200, MULTI_OCTETS, frames(PIXELS.tobytes())),
    Check("10.4.4", "an instance's frames in JPEG-LS, as of old", IMAGE, 200,
          'multipart/related; type="image/jls"', begins(b"\xff\xd8", "image/jls", JPEGLS)),
    Check("10.4.1.1.1", "a study", f"/studies/{ONE}", 200, MULTI_DICOM, files(5)),
    Check("10.4.1.1.1", "a series", f"/studies/{ONE}/series/{CT}", 200, MULTI_DICOM, files(3, EXPLICIT)),
    Check("10.4.1.1.1", "an instance, multipart", IMAGE, 200, MULTI_DICOM, files(1, EXPLICIT)),
    Check("10.4.1.1.1", "an instance, bare", IMAGE, 200, DICOM, (is_type(DICOM), file(EXPLICIT))),
    Check("10.4.1.1.1", "a report", REPORT, 200, MULTI_DICOM, files(1)),
    Check("10.4.4", "no Accept", IMAGE, 200, "", files(1)),
    Check("10.4.4", "*/*", IMAGE, 200, "*/*", files(1)),
    Check("10.4.4", "a study, */*", f"/studies/{ONE}", 200, "*/*", files(5)),
    Check("8.7.3", "type not quoted", IMAGE, 200, f"multipart/related; type={DICOM}", files(1)),
    Check("8.7.3", "type in capitals", IMAGE, 200, 'Multipart/Related; Type="Application/DICOM"', files(1)),
    Check("8.7.3", "multipart without a type", IMAGE, 200, "multipart/related", files(1)),
    Check("8.7.3", "no spaces", IMAGE, 200, f'multipart/related;type="{DICOM}"', files(1)),
    Check("10.4.4", "a study, bare", f"/studies/{ONE}", 406, DICOM),
    Check("8.7.8", "no such media type", IMAGE, 406, "image/tiff", names_what_there_is),
    Check("8.7.8", "q: bare preferred", IMAGE, 200, f"{MULTI_DICOM};q=0.2, {DICOM};q=0.8", is_type(DICOM)),
    Check("8.7.8", "q: multipart preferred", IMAGE, 200, f"{MULTI_DICOM};q=0.8, {DICOM};q=0.2", files(1)),
    Check("8.7.8", "a wish that cannot be met before one that can", IMAGE, 200, f"image/tiff, {DICOM};q=0.1",
          is_type(DICOM)),
    Check("8.3.3.1", "accept as a parameter", f"{IMAGE}?accept=application/dicom", 200, "text/plain",
          is_type(DICOM)),
    Check("8.7.3.5.2", "default of a compressed one", COMPRESSED, 200, MULTI_DICOM, files(1, EXPLICIT)),
    Check("8.7.3.5.2", "as it is stored", COMPRESSED, 200, of("*"), files(1, LOSSLESS_J2K)),
    Check("8.7.3.5.2", "the stored one by name", COMPRESSED, 200, of(LOSSLESS_J2K), files(1, LOSSLESS_J2K)),
    Check("8.7.3.5.2", "quoted", COMPRESSED, 200, of(f'"{LOSSLESS_J2K}"'), files(1, LOSSLESS_J2K)),
    Check("8.7.3.5.2", "bare, as stored", COMPRESSED, 200, of("*", DICOM), file(LOSSLESS_J2K)),
    Check("8.7.3.5.2", "compressed with loss stays so", LOSSY, 200, MULTI_DICOM, files(1, BASELINE)),
    Check("8.7.3.5.2", "explicit little endian asked for", LOSSY, 200, of(EXPLICIT), files(1, EXPLICIT)),
    *(
        Check("8.7.3.5.2", f"to {syntax}", IMAGE, 200, of(syntax), files(1, syntax))
        for syntax in (IMPLICIT, DEFLATED, LOSSLESS_J2K, JPEGLS, RLE_SYNTAX, LOSSLESS_JPEG, HTJ2K)
    ),
    Check("8.7.3.5.2", "one that is not made here", IMAGE, 406, of("1.2.840.10008.1.2.4.100"),
          names_what_there_is),
    Check("8.7.3.5.2", "one that does not exist", IMAGE, 406, of("1.2.3.4")),
    Check("8.7.3.5.2", "one of several, by q", IMAGE, 200,
          f"{of('1.2.840.10008.1.2.4.100')};q=1, {of(JPEGLS)};q=0.5", files(1, JPEGLS)),
    Check("8.7.3", "each part says its place", IMAGE, 200, MULTI_DICOM, located(IMAGE)),
    Check("10.4.3", "no such study", "/studies/2.25.404", 404, MULTI_DICOM),
    Check("10.4.3", "no such series", f"/studies/{ONE}/series/2.25.404", 404, MULTI_DICOM),
    Check("10.4.3", "no such instance", f"/studies/{ONE}/series/{CT}/instances/2.25.404", 404, MULTI_DICOM),
    Check("10.4.3", "a series of another study", f"/studies/{TWO}/series/{CT}", 404, MULTI_DICOM),
    Check("10.4.3", "an instance of another series", f"/studies/{ONE}/series/{SR}/instances/{CT}.1", 404,
          MULTI_DICOM),
    Check("10.4.3", "no UID at all", "/studies/not-a-uid", (400, 404), MULTI_DICOM),
    Check("10.4.3", "a UID of 65 digits", f"/studies/{'1' * 65}", (400, 404), MULTI_DICOM),
    Check("10.4.3", "a path out of the tree", "/studies/..%2F..%2Fetc", (400, 404), MULTI_DICOM),
]  # fmt: skip

METADATA = [
    Check("10.4.1.1.2", "a study's, JSON", f"/studies/{ONE}/metadata", 200, JSON,
          (is_type(JSON), metadata(5))),
    Check("10.4.1.1.2", "a series', JSON", f"/studies/{ONE}/series/{CT}/metadata", 200, JSON, metadata(3)),
    Check("10.4.1.1.2", "an instance's, JSON", f"{IMAGE}/metadata", 200, JSON, metadata(1)),
    Check("10.4.1.1.2", "no Accept", f"{IMAGE}/metadata", 200, "", is_type(JSON)),
    Check("10.4.1.1.2", "*/*", f"{IMAGE}/metadata", 200, "*/*", is_type(JSON)),
    Check("10.4.1.1.2", "application/json", f"{IMAGE}/metadata", 200, "application/json",
          is_type("application/json")),
    Check("10.4.1.1.2", "XML", f"{IMAGE}/metadata", 200, f'multipart/related; type="{XML}"',
          lambda a: first(dicom_xml.parse(pieces(a)[0].content), "00080018") == f"{CT}.1"),
    Check("10.4.1.1.2", "a study's, XML, one part each", f"/studies/{ONE}/metadata", 200,
          f"multipart/related; type={XML}", lambda a: len(pieces(a)) == 5),
    Check("F.2.2", "values and their VR", f"{IMAGE}/metadata", 200, JSON,
          dataset(lambda d: (d["00280010"], d["00281050"]) ==
                  ({"vr": "US", "Value": [16]}, {"vr": "DS", "Value": [-896]}))),
    Check("F.2.2", "names", f"{IMAGE}/metadata", 200, JSON,
          dataset(lambda d: d["00100010"]["Value"] == [{"Alphabetic": "LABORDÉ^Hélène"}])),
    Check("F.2.2", "sequences", f"{IMAGE}/metadata", 200, JSON,
          dataset(lambda d: first(first(d, "00400275"), "00400009") == "SPS-1")),
    Check("F.2.2", "no file meta information", f"{IMAGE}/metadata", 200, JSON,
          dataset(lambda d: not [tag for tag in d if tag.startswith("0002")])),
    Check("F.2.6", "pixels as an address", f"{IMAGE}/metadata", 200, JSON,
          dataset(lambda d: d["7FE00010"]["BulkDataURI"].startswith("http")
                  and "Value" not in d["7FE00010"] and "InlineBinary" not in d["7FE00010"])),
    Check("F.2.6", "a document as an address or inline", f"{LETTER}/metadata", 200, JSON,
          dataset(lambda d: {"BulkDataURI", "InlineBinary"} & d["00420011"].keys())),
    Check("10.4.3", "metadata of nothing", "/studies/2.25.404/metadata", 404, JSON),
    Check("10.4.3", "metadata as a picture", f"{IMAGE}/metadata", 406, "image/png"),
]  # fmt: skip

FRAME_CHECKS = [
    Check("10.4.1.1.6", "one frame", f"{IMAGE}/frames/1", 200, MULTI_OCTETS, frames(PIXELS.tobytes())),
    Check("10.4.1.1.6", "one of four", f"{CINE}/frames/3", 200, MULTI_OCTETS, frames(frame(3))),
    Check("10.4.1.1.6", "a list", f"{CINE}/frames/1,2", 200, MULTI_OCTETS, frames(frame(1), frame(2))),
    Check("10.4.1.1.6", "a list in another order", f"{CINE}/frames/4,1", 200, MULTI_OCTETS,
          frames(frame(4), frame(1))),
    Check("10.4.1.1.6", "an encoded list", f"{CINE}/frames/2%2C3", 200, MULTI_OCTETS,
          frames(frame(2), frame(3))),
    Check("10.4.1.1.6", "bare", f"{CINE}/frames/2", 200, OCTETS, is_bytes(frame(2))),
    Check("10.4.4", "frames, no Accept", f"{CINE}/frames/2", 200, "", frames(frame(2))),
    Check("10.4.4", "frames, */*", f"{CINE}/frames/2", 200, "*/*", frames(frame(2))),
    Check("8.7.3", "unquoted, as viewers write it", f"{CINE}/frames/2", 200,
          f"multipart/related; type={OCTETS}; transfer-syntax=*", frames(frame(2))),
    Check("8.7.3.3", "compressed, made plain", f"{PACKED}/frames/1", 200, MULTI_OCTETS,
          lambda a: len(pieces(a)[0].content) == 64 * 64 * 2),
    Check("8.7.3.3", "compressed, as stored", f"{COMPRESSED}/frames/1", 200,
          'multipart/related; type="image/jp2"; transfer-syntax=*',
          begins(b"\xff\x4f", "image/jp2", LOSSLESS_J2K)),
    Check("8.7.3.3", "compressed, as stored, octets with *", f"{COMPRESSED}/frames/1", 200,
          f"multipart/related; type={OCTETS}; transfer-syntax=*",
          lambda a: (pieces(a)[0].content[:2], pieces(a)[0].syntax) == (b"\xff\x4f", LOSSLESS_J2K)),
    Check("8.7.3.3", "RLE as stored", f"{PACKED}/frames/1", 200,
          'multipart/related; type="image/dicom-rle"', begins(b"", "image/dicom-rle", RLE_SYNTAX)),
    Check("8.7.3.3", "baseline JPEG as stored", f"{LOSSY}/frames/1", 200,
          f'multipart/related; type="image/jpeg"; transfer-syntax={BASELINE}',
          begins(b"\xff\xd8", "image/jpeg", BASELINE)),
    Check("8.7.3.3", "to JPEG-LS", f"{IMAGE}/frames/1", 200, 'multipart/related; type="image/jls"',
          begins(b"\xff\xd8", "image/jls", JPEGLS)),
    Check("8.7.3.3", "to JPEG lossless", f"{IMAGE}/frames/1", 200,
          f'multipart/related; type="image/jpeg"; transfer-syntax={LOSSLESS_JPEG}',
          begins(b"\xff\xd8", "image/jpeg", LOSSLESS_JPEG)),
    Check("8.7.3.3", "to HTJ2K", f"{IMAGE}/frames/1", 200, 'multipart/related; type="image/jphc"',
          begins(b"\xff\x4f", "image/jphc", HTJ2K)),
    Check("10.4.1.1.6", "frame 0", f"{CINE}/frames/0", (400, 404), MULTI_OCTETS),
    Check("10.4.1.1.6", "frame 5 of 4", f"{CINE}/frames/5", (400, 404), MULTI_OCTETS),
    Check("10.4.1.1.6", "a list with one that is not there", f"{CINE}/frames/1,99", (206, 400, 404),
          MULTI_OCTETS),
    Check("10.4.1.1.6", "no number", f"{CINE}/frames/first", 400, MULTI_OCTETS),
    Check("10.4.1.1.6", "below zero", f"{CINE}/frames/-1", (400, 404), MULTI_OCTETS),
    Check("10.4.1.1.6", "a list with a hole", f"{CINE}/frames/1,,2", 400, MULTI_OCTETS),
    Check("10.4.1.1.6", "of what has no frames", f"{REPORT}/frames/1", (400, 404, 406), MULTI_OCTETS),
    Check("8.7.8", "frames, no such media type", f"{CINE}/frames/1", 406, "video/mp4", names_what_there_is),
    Check("10.4.3", "of an instance that is not there", f"{IMAGE}9/frames/1", 404, MULTI_OCTETS),
]  # fmt: skip

BULK_DATA = [
    Check("10.4.1.1.5", "pixel data", f"{IMAGE}/bulkdata/7FE00010", 200, OCTETS, is_bytes(PIXELS.tobytes())),
    Check("10.4.1.1.5", "pixel data, multipart", f"{IMAGE}/bulkdata/7FE00010", 200, MULTI_OCTETS,
          frames(PIXELS.tobytes())),
    Check("10.4.1.1.5", "all frames", f"{CINE}/bulkdata/7FE00010", 200, OCTETS, is_bytes(FRAMES.tobytes())),
    Check("RFC 9110 14.2", "a range", f"{IMAGE}/bulkdata/7FE00010", 206, OCTETS,
          (is_bytes(PIXELS.tobytes()[10:20]), has("content-range", "bytes 10-19/512")),
          headers={"Range": "bytes=10-19"}),
    Check("RFC 9110 14.2", "a range to the end", f"{IMAGE}/bulkdata/7FE00010", 206, OCTETS,
          is_bytes(PIXELS.tobytes()[500:]), headers={"Range": "bytes=500-"}),
    Check("RFC 9110 14.2", "the last bytes", f"{IMAGE}/bulkdata/7FE00010", 206, OCTETS,
          is_bytes(PIXELS.tobytes()[-7:]), headers={"Range": "bytes=-7"}),
    Check("RFC 9110 15.5.17", "a range beyond the end", f"{IMAGE}/bulkdata/7FE00010", 416, OCTETS,
          has("content-range", "bytes */512"), headers={"Range": "bytes=512-600"}),
    Check("RFC 9110 14.2", "a range that is none", f"{IMAGE}/bulkdata/7FE00010", 200, OCTETS,
          is_bytes(PIXELS.tobytes()), headers={"Range": "pages=1-2"}),
    Check("RFC 9110 14.3", "ranges are told", f"{IMAGE}/bulkdata/7FE00010", 200, OCTETS,
          has("accept-ranges", "bytes")),
    Check("10.4.1.1.5", "a value that is not there", f"{IMAGE}/bulkdata/00420011", 404, OCTETS),
    Check("10.4.1.1.5", "a path that is none", f"{IMAGE}/bulkdata/..%2F..", 404, OCTETS),
    Check("10.4.1.1.5", "a study's bulk data", f"/studies/{TWO}/bulkdata", 200, MULTI_OCTETS,
          lambda a: len(pieces(a)) > 2),
    Check("10.4.1.1.5", "a series' bulk data", f"/studies/{ONE}/series/{CT}/bulkdata", 200, MULTI_OCTETS,
          frames(*((PIXELS + n).tobytes() for n in range(3)))),
    Check("10.4.1.1.5", "an instance's pixel data", f"{IMAGE}/pixeldata", 200, MULTI_OCTETS,
          frames(PIXELS.tobytes())),
    Check("8.7.8", "bulk data as text", f"{IMAGE}/bulkdata/7FE00010", 406, "text/plain"),
]  # fmt: skip

HTTP = [
    Check("RFC 9110 9.3.2", "HEAD of an instance", IMAGE, 200, DICOM,
          (is_bytes(b""), lambda a: int(a.headers["content-length"]) > 512), method="HEAD"),
    Check("RFC 9110 9.3.2", "HEAD of metadata", f"{IMAGE}/metadata", 200, JSON, is_bytes(b""), method="HEAD"),
    Check("RFC 9110 8.8.3", "an ETag", IMAGE, 200, DICOM, has("etag", '"')),
    Check("RFC 9110 13.1.1", "If-Match of another", IMAGE, 412, DICOM, headers={"If-Match": '"other"'}),
    Check("RFC 9110 15.5.6", "POST to an instance", IMAGE, 405, DICOM, has("allow", "GET"), method="POST"),
    Check("RFC 9110 15.5.6", "PATCH to metadata", f"{IMAGE}/metadata", 405, JSON, method="PATCH"),
    Check("RFC 9110 15.5.6", "405 names every method", "/studies", 405, JSON,
          lambda a: set(a.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}, method="PUT"),
    Check("RFC 9110 9.3.7", "OPTIONS of a study", f"/studies/{ONE}", (200, 204), JSON,
          (has("allow", "DELETE"), has("allow", "POST")), method="OPTIONS"),
    Check("RFC 9110 9.3.7", "OPTIONS of metadata", f"{IMAGE}/metadata", (200, 204), JSON,
          has("allow", "GET"), method="OPTIONS"),
    Check("10.4", "no such route", "/study", 404, JSON),
]  # fmt: skip


@table([*INSTANCES, *METADATA, *FRAME_CHECKS, *BULK_DATA, *HTTP])
def test_retrieve(dicom: httpx.Client, check: Check) -> None:
    check.run(dicom)


def test_the_addresses_in_metadata_lead_to_the_bytes(dicom: httpx.Client) -> None:
    """F.2.6: BulkDataURI; the document comes back whole."""
    for path, tag, content in ((IMAGE, "7FE00010", PIXELS.tobytes()), (LETTER, "00420011", DOCUMENT)):
        element = dicom.get(f"{path}/metadata", headers={"Accept": JSON}).json()[0][tag]
        if "InlineBinary" in element:
            continue
        answer = dicom.get(element["BulkDataURI"], headers={"Accept": "*/*"})
        found = pieces(answer)[0].content if "multipart" in answer.headers["content-type"] else answer.content
        assert found.rstrip(b" ") == content.rstrip(b" ")


def test_what_was_had_before_is_not_sent_again(dicom: httpx.Client) -> None:
    """RFC 9110 13.1.2: If-None-Match, at every resource that has an ETag."""
    for path, accept in (
        (IMAGE, DICOM), (f"/studies/{ONE}", MULTI_DICOM), (f"{IMAGE}/metadata", JSON),
        (f"{IMAGE}/frames/1", MULTI_OCTETS), (f"{IMAGE}/rendered", "image/jpeg"),
        (f"{IMAGE}/bulkdata/7FE00010", OCTETS),
    ):  # fmt: skip
        etag = dicom.get(path, headers={"Accept": accept}).headers["etag"]
        again = dicom.get(path, headers={"Accept": accept, "If-None-Match": f'"x", {etag}'})
        assert (again.status_code, again.content) == (304, b""), path


def test_a_study_comes_whole(dicom: httpx.Client) -> None:
    """10.4.1.1.1: each instance once."""
    found: list[Piece] = pieces(dicom.get(f"/studies/{ONE}", headers={"Accept": MULTI_DICOM}))
    uids = sorted(str(pydicom.dcmread(io.BytesIO(piece.content)).SOPInstanceUID) for piece in found)
    assert uids == sorted([*(f"{CT}.{n}" for n in (1, 2, 3)), f"{SR}.1", f"{PDF}.1"])
