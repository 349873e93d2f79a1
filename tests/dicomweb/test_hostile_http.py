"""What anybody on the network may send to the web tier: each gets its status, nothing is left behind, and
the process neither dies nor grows."""

from __future__ import annotations

import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_charset_files
from pydicom.encaps import encapsulate

from tests.dicomweb import making
from tests.dicomweb.serving import Served, serving
from tests.dicomweb.test_wado import bundled

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of what it is made to write
KIND = 'multipart/related; type="application/dicom"; boundary=B'
REFUSED = (400, 409)
MEMORY = 150_000_000  # bytes by which the web tier may grow over everything below
DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("hostile")) as started:
        yield started


@pytest.fixture(scope="module")
def image(served: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One stored image's path."""
    path = making.write(tmp_path_factory.mktemp("image") / "a.dcm", making.dataset())
    with httpx.Client(base_url=served.base) as client:
        post(client, body(path.read_bytes())).raise_for_status()
    return f"/studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.1"


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """At the end of each test the server answers, and nothing lies in its spool."""
    with httpx.Client(base_url=served.base, timeout=60) as opened:
        yield opened
        assert opened.get("/studies?limit=1").status_code in (200, 204)
    until = time.monotonic() + 10
    while served.spooled() and time.monotonic() < until:
        time.sleep(0.05)
    assert served.spooled() == []


def body(*parts: bytes) -> bytes:
    made = b"".join(b"--B\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in parts)
    return made + b"--B--\r\n"


def raw(served: Served, content: bytes, *, half: bool = False) -> bytes:
    """Bytes as they are; the answer's first bytes, b"" when there is none. `half`: and then no more."""
    at = urlsplit(served.base)
    with socket.create_connection((at.hostname, at.port), 20) as connection:
        try:
            connection.sendall(content)
            if half:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            return connection.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            return b""


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def head(*lines: str, method: str = "POST", path: str = "/dicom-web/studies") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode("latin-1")


FILE = b"\0" * 128 + b"DICM" + b"\0" * 40
TYPE = f"Content-Type: {KIND}"
RAW: list[tuple[str, bytes, tuple[int, ...]]] = [
    ("a length beyond the body", head(TYPE, "Content-Length: 9000") + body(FILE), (0, 400)),
    ("a length short of the body", head(TYPE, "Content-Length: 20") + body(FILE), (400,)),
    ("a length below zero", head(TYPE, "Content-Length: -5"), (400,)),
    ("a length of words", head(TYPE, "Content-Length: many"), (400,)),
    ("two lengths", head(TYPE, "Content-Length: 5", "Content-Length: 6") + b"hello", (400,)),
    ("a length and chunks", head(TYPE, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
     (400,)),
    ("chunks of words", head(TYPE, "Transfer-Encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n", (0, 400)),
    ("a chunk beyond all", head(TYPE, "Transfer-Encoding: chunked") + b"f" * 18 + b"\r\nhello", (0, 400)),
    ("chunks that end", head(TYPE, "Transfer-Encoding: chunked") + b"5\r\n--B\r\n\r\n", (0, 400)),
    ("another transfer encoding", head(TYPE, "Transfer-Encoding: gzip") + b"xx", (0, 400, 501)),
    ("no host", b"GET /dicom-web/studies HTTP/1.1\r\n\r\n", (200, 204, 400, 401)),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (0, 400)),
    ("a space in a field name", head("Bad Field: x", method="GET"), (400,)),
    ("a zero in a field", head("Accept: a\0b", method="GET"), (400,)),
    ("a line end alone in a field", head("Accept: a\nX-Evil: b", method="GET"), (200, 204, 400, 406)),
    ("a field of a megabyte", head("Accept: " + "a" * 1_000_000, method="GET"), (0, 400, 406, 431)),
    ("a thousand fields", head(*(f"X-{n}: {n}" for n in range(1000)), method="GET"),
     (0, 200, 204, 400, 431)),
    ("an address of a megabyte", head(method="GET", path="/dicom-web/studies?PatientID=" + "a" * 1_000_000),
     (0, 400, 414, 431)),
    ("an address of no bytes", head(method="GET", path="/dicom-web/studies/\xff\xfe"), (400, 404)),
    ("a method of nobody", head(method="EXPLODE"), (400, 401, 403, 405)),
]  # fmt: skip


@pytest.mark.parametrize(("content", "allowed"), [one[1:] for one in RAW], ids=[one[0] for one in RAW])
def test_requests_that_are_none(
    served: Served, client: httpx.Client, content: bytes, allowed: tuple[int, ...]
) -> None:
    assert status(raw(served, content, half=True)) in allowed


def test_a_sender_that_stops(served: Served, client: httpx.Client) -> None:
    """A client that goes away in the middle of a part leaves nothing."""
    content = body(making.dataset().PixelData * 4000)
    raw(served, head(TYPE, f"Content-Length: {len(content)}") + content[: len(content) // 2], half=True)


PATHS: list[tuple[str, tuple[int, ...]]] = [
    ("/studies/..", (200, 204, 400, 404)), ("/studies/%2e%2e/%2e%2e/etc/passwd", (400, 404)),
    ("/studies/..%5c..%5cwindows", (400, 404)), ("/studies/1.2%00", (400, 404)),
    ("/studies/%0d%0aX-Evil:1", (400, 404)),
    (f"/studies/{'1.' * 40}1", (400, 404)), ("/studies/1..2", (400, 404)), ("/studies/.1", (400, 404)),
    ("/studies/١.٢", (400, 404)), ("/studies/-1", (400, 404)), ("/studies/1e5", (400, 404)),
    ("/studies/1/series/2/instances/3/frames/" + "1," * 5000 + "1", (400, 404)),
    ("/studies/1/series/2/instances/3/bulkdata/" + "/".join(["7FE00010"] * 400), (400, 404)),
    ("/studies?PatientName=" + "*a" * 500, (400,)), ("/studies?PatientName=%C3%28", (200, 204, 400)),
    ("/studies?PatientName=%ZZ", (200, 204, 400)), ("/studies?PatientName=%ED%A0%80", (200, 204, 400)),
    ("/studies?" + "&".join(f"PatientID={n}" for n in range(500)), (200, 204, 400, 413)),
    ("/studies?" + ".".join(["RequestAttributesSequence"] * 50) + "=1", (200, 204, 400)),
    ("/studies?StudyInstanceUID=" + ",".join(["1.2"] * 1000), (200, 204, 400)),
    ("/studies?limit=99999999999999999999", (200, 204, 400)),
    ("/studies?offset=999999999999", (200, 204, 400)),
    ("/studies?StudyDate=20240101-20240101-20240101", (400,)), ("/studies?StudyTime=..", (200, 204, 400)),
    ("/studies?WindowCenter=nan", (200, 204, 400)), ("/studies?WindowCenter=1e999", (200, 204, 400)),
    ("/studies?includefield=" + ",".join(["all"] * 1000), (200, 204, 400)),
    ("/studies?00100010=%F0%9F%92%A9&fuzzymatching=true", (200, 204)),
    ("/wado?requestType=WADO&studyUID=..&seriesUID=..&objectUID=..", (400, 404)),
    ("/workitems/..%2F..", (400, 404)),
]  # fmt: skip


@pytest.mark.parametrize(("path", "allowed"), PATHS, ids=[path[:60] for path, _ in PATHS])
def test_addresses(client: httpx.Client, path: str, allowed: tuple[int, ...]) -> None:
    answer = client.get(path)
    assert answer.status_code in allowed
    assert "x-evil" not in answer.headers


RENDERING = [
    "window=nan,nan,linear", "window=inf,1,linear", "window=1e308,1e308,sigmoid", "window=,,",
    "window=1,1e-320",
    "viewport=-1,-1", "viewport=8192,8192,nan,0,1,1", "viewport=99999999999,1",
    "viewport=1,1,1e300,1e300,1,1",
    "viewport=1,1,0,0,0,0", "viewport=8192,1,0,0,1e-9,1e-9", "quality=1e3", "quality=%00",
    "quality=" + "9" * 5000,
    "annotation=" + "patient," * 3000, "iccprofile=" + "x" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("query", RENDERING, ids=[one[:40] for one in RENDERING])
def test_rendering_parameters(client: httpx.Client, image: str, query: str) -> None:
    assert client.get(f"{image}/rendered?{query}", headers={"Accept": "image/png"}).status_code in (200, 400)


ACCEPTS = [
    '"' * 999, ";" * 4000, "," * 4000, "a/b;" * 1000, "*/*;q=nan", "*/*;q=1e999", "*/*;q=-1", "image/*;q=0",
    'multipart/related; type="multipart/related"', 'multipart/related; type="application/dicom', "é",
    "application/dicom; transfer-syntax=../../etc/passwd",
    "application/dicom; transfer-syntax=" + "1." * 2000,
]  # fmt: skip


@pytest.mark.parametrize("accept", ACCEPTS, ids=[one[:40] for one in ACCEPTS])
def test_accept(client: httpx.Client, image: str, accept: str) -> None:
    for place in ("", "/metadata", "/rendered", "/frames/1", "/bulkdata/7FE00010", "/thumbnail"):
        answer = client.get(image + place, headers={"Accept": accept.encode("utf-8")})
        assert answer.status_code in (200, 400, 406), place


def post(client: httpx.Client, content: bytes, kind: str = KIND) -> httpx.Response:
    return client.post("/studies", content=content, headers={"Content-Type": kind})


def nested(depth: int) -> bytes:
    """Sequences in sequences, all of undefined length."""
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return opening * depth + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth


def plain(folder: Path, **changes: Any) -> bytes:
    return making.write(folder / "plain.dcm", making.dataset(**changes)).read_bytes()


def spliced(data: bytes, before: bytes, piece: bytes) -> bytes:
    at = data.index(before)
    return data[:at] + piece + data[at:]


PATIENT_NAME = b"\x10\x00\x10\x00PN"


def _deep(folder: Path) -> bytes:
    return spliced(plain(folder, SOPInstanceUID="2.25.801"), PATIENT_NAME, nested(10_000))


def _long(folder: Path) -> bytes:
    return spliced(plain(folder), PATIENT_NAME, b"\x09\x00\x10\x10OB\0\0\xfe\xff\xff\xff")


def _unending(folder: Path) -> bytes:
    return spliced(plain(folder), PATIENT_NAME, b"\x09\x00\x10\x10UN\0\0\xff\xff\xff\xff")


def _half_an_element(folder: Path) -> bytes:
    return plain(folder, PixelData=None) + b"\xe0\x7f\x10\x00OW"


def _pixels_beyond(folder: Path) -> bytes:
    data = plain(folder)
    pixels = making.dataset().PixelData
    return data.replace(struct.pack("<L", len(pixels)) + pixels, b"\xff\xff\xff\x7f" + pixels)


def _head_beyond(folder: Path) -> bytes:
    data = plain(folder)
    return data[:140] + b"\xff\xff\xff\x7f" + data[144:]


def _no_head(folder: Path) -> bytes:
    return b"\0" * 128 + b"DICM"


BROKEN: list[tuple[str, Callable[[Path], bytes]]] = [
    ("ten thousand levels", _deep), ("an element of four gigabytes", _long),
    ("an element without an end", _unending), ("half an element", _half_an_element),
    ("pixels beyond the file", _pixels_beyond), ("a file head beyond the file", _head_beyond),
    ("nothing after the magic word", _no_head), ("a JPEG", lambda _f: b"\xff\xd8\xff\xe0" + b"\0" * 900),
]  # fmt: skip


@pytest.mark.parametrize("make", [one[1] for one in BROKEN], ids=[one[0] for one in BROKEN])
def test_broken_instances(client: httpx.Client, tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    answer = post(client, body(make(tmp_path)))
    assert answer.status_code in REFUSED, answer.text
    assert answer.headers["content-type"] in ("application/dicom+json", "application/json")


def _deflated(folder: Path, content: Iterator[bytes]) -> bytes:
    """A deflated dataset with `content` as a private value's bytes."""
    data = making.write(folder / "d.dcm", making.dataset(PixelData=None), DEFLATED).read_bytes()
    at = 144 + int.from_bytes(data[140:144], "little")
    plain = zlib.decompress(data[at:], -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    made = packer.compress(plain) + b"".join(map(packer.compress, content)) + packer.flush()
    return data[:at] + made


@pytest.mark.slow
def test_a_deflated_bomb(client: httpx.Client, served: Served, tmp_path: Path) -> None:
    """Half a gigabyte of zeros in half a megabyte."""
    before = served.resident()
    element = b"\xe1\x7f\x10\x10OB\0\0" + struct.pack("<L", 500_000_000)
    content = _deflated(tmp_path, iter([element, *[bytes(10_000_000)] * 50]))
    assert len(content) < 1_000_000
    answer = post(client, body(content))
    assert answer.status_code in (200, *REFUSED)
    if answer.status_code == 200:
        _looked_at(client, answer)
    assert served.resident() - before < 2 * MEMORY


def _looked_at(client: httpx.Client, answer: httpx.Response) -> None:
    """Every way to read what was stored; then it is deleted."""
    (item,) = answer.json()["00081199"]["Value"]
    url = item["00081190"]["Value"][0]
    for place in ("", "/metadata", "/rendered", "/frames/1", "/thumbnail", "/bulkdata", "/pixeldata",
                  "/frames/1?accept=image/jls", "/frames/1/rendered", "/bulkdata/7FE00010"):  # fmt: skip
        shown = client.get(url + place)
        assert shown.status_code in (200, 400, 404, 406), (place, shown.text[:300])
    for accept in ("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90", "application/dicom+xml"):
        assert client.get(url, headers={"Accept": accept}).status_code in (200, 406)
    assert client.delete(url).status_code == 204


def compressed(folder: Path, name: str, change: Callable[[bytes], bytes], **changes: Any) -> bytes:
    """A bundled compressed file whose one frame's bytes are changed."""
    made = pydicom.dcmread(bundled(name))
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = "2.25.802", "2.25.803", "2.25.804"
    made.setdefault("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    (frame,) = pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1)
    made.PixelData = encapsulate([change(frame)])
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.save_as(folder / name, enforce_file_format=True)
    return (folder / name).read_bytes()


def _jpeg(frame: bytes) -> bytes:
    """65,500 × 65,500 pixels, says the frame header."""
    at = next(frame.index(marker) for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3") if marker in frame)
    return frame[: at + 5] + struct.pack(">HH", 65500, 65500) + frame[at + 9 :]


def _j2k(frame: bytes) -> bytes:
    """As much, says the SIZ marker: image and tile."""
    at = frame.index(b"\xff\x51")
    sides = struct.pack(">LLLL", 65500, 65500, 0, 0)
    return frame[: at + 6] + sides + sides + frame[at + 38 :]


def _jls(frame: bytes) -> bytes:
    at = frame.index(b"\xff\xf7")
    return frame[: at + 5] + struct.pack(">HH", 65500, 65500) + frame[at + 9 :]


def _rle(_frame: bytes) -> bytes:
    """Fifteen segments that all begin where the next one would."""
    return struct.pack("<16L", 15, *[64] * 15) + b"\x81\x00" * 20_000


BOMBS: list[tuple[str, str, Callable[[bytes], bytes], dict[str, Any]]] = [
    ("JPEG of 4 gigapixels", "SC_rgb_jpeg_dcmtk.dcm", _jpeg, {}),
    ("12-bit JPEG of 4 gigapixels", "JPGExtended.dcm", _jpeg, {}),
    ("lossless JPEG of 4 gigapixels", "SC_rgb_jpeg_gdcm.dcm", _jpeg, {}),
    ("JPEG 2000 of 4 gigapixels", "MR_small_jp2klossless.dcm", _j2k, {}),
    ("JPEG-LS of 4 gigapixels", "MR_small_jpeg_ls_lossless.dcm", _jls, {}),
    ("RLE of nothing", "MR_small_RLE.dcm", _rle, {}),
    ("JPEG, and the dataset says so too", "SC_rgb_jpeg_dcmtk.dcm", _jpeg, {"Rows": 65500, "Columns": 65500}),
    ("JPEG 2000, and the dataset says so too", "MR_small_jp2klossless.dcm", _j2k,
     {"Rows": 65500, "Columns": 65500}),
    ("RLE, and the dataset says so too", "MR_small_RLE.dcm", _rle, {"Rows": 65500, "Columns": 65500}),
    ("rows of nothing", "MR_small_jp2klossless.dcm", lambda f: f, {"Rows": 0}),
    ("no frame at all", "MR_small_jp2klossless.dcm", lambda _f: b"\0\0", {}),
    ("a billion frames", "MR_small_jp2klossless.dcm", lambda f: f, {"NumberOfFrames": 1_000_000_000}),
    ("64 bits a sample", "MR_small_RLE.dcm", lambda f: f, {"BitsAllocated": 64}),
    ("nine samples a pixel", "MR_small_jpeg_ls_lossless.dcm", lambda f: f, {"SamplesPerPixel": 9}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "change", "changes"), [one[1:] for one in BOMBS], ids=[o[0] for o in BOMBS])
def test_pictures_that_are_bombs(
    client: httpx.Client,
    served: Served,
    tmp_path: Path,
    name: str,
    change: Callable[[bytes], bytes],
    changes: dict[str, Any],
) -> None:
    before = served.resident()
    answer = post(client, body(compressed(tmp_path, name, change, **changes)))
    assert answer.status_code in (200, *REFUSED)
    if answer.status_code == 200:
        _looked_at(client, answer)
    assert served.resident() - before < 2 * MEMORY


def test_a_million_fragments(client: httpx.Client, tmp_path: Path) -> None:
    data = plain(tmp_path, PixelData=None).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    empty = b"\xfe\xff\x00\xe0\0\0\0\0"
    pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + empty * 1_000_000 + b"\xfe\xff\xdd\xe0\0\0\0\0"
    began = time.monotonic()
    answer = post(client, body(data + pixels))
    assert answer.status_code in (200, *REFUSED)
    if answer.status_code == 200:
        _looked_at(client, answer)
    assert time.monotonic() - began < 30


ODD: list[tuple[str, dict[str, Any]]] = [
    ("a character set of nobody", {"SpecificCharacterSet": "KLINGON 1"}),
    ("a codec that is no character set", {"SpecificCharacterSet": b"punycode", "PatientName": b"a\xe9-" * 9}),
    ("a codec of surrogates", {"SpecificCharacterSet": b"utf-7", "PatientName": b"+2AA-^+2AA-\xe9"}),
    ("a number beyond all", {"SeriesNumber": b"9" * 30, "InstanceNumber": b"-" + b"9" * 30}),
    ("character sets that fight",
     {"SpecificCharacterSet": ["ISO 2022 IR 87", "ISO 2022 IR 149", "ISO_IR 192"]}),
    ("a window that is no number", {"WindowCenter": b"nan", "WindowWidth": b"inf"}),
    ("a slope that is no number", {"RescaleSlope": b"nan", "RescaleIntercept": b"-inf"}),
    ("a date of letters", {"StudyDate": b"yesterday", "StudyTime": b"99:99:99"}),
    ("numbers of letters", {"InstanceNumber": b"one", "SeriesNumber": b"1e99"}),
    ("a name of megabytes", {"PatientName": b"A" * 900_000}),
    ("escapes in a name",
     {"SpecificCharacterSet": "ISO 2022 IR 87", "PatientName": b"\x1b$B\x1b\x1b(\x1b$"}),
    ("a name of groups and components", {"PatientName": b"=" * 500 + b"^" * 500}),
    ("zeros in an identifier", {"PatientID": b"a\0b\0"}),
    ("markup", {"PatientName": b"<script>alert(1)</script>", "StudyDescription": b"]]>&lt;"}),
    ("a header's end", {"StudyDescription": b"x\r\nX-Evil: 1\r\n\r\n", "PatientID": b"a\r\nb"}),
]  # fmt: skip


@pytest.mark.parametrize("changes", [one[1] for one in ODD], ids=[one[0] for one in ODD])
def test_odd_values(client: httpx.Client, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Kept as sent or refused; whatever is kept can be read in every way."""
    made = making.dataset(
        StudyInstanceUID="2.25.805", SeriesInstanceUID="2.25.806", SOPInstanceUID="2.25.807"
    )
    for keyword, value in changes.items():
        if isinstance(value, bytes):
            element = made[keyword]
            made[element.tag] = pydicom.dataelem.RawDataElement(
                element.tag, element.VR, len(value), value + b" " * (len(value) % 2), 0, False, True
            )
        else:
            setattr(made, keyword, value)
    path = tmp_path / "odd.dcm"
    answer = post(client, body(making.write(path, made).read_bytes()))
    assert answer.status_code in (200, *REFUSED), answer.text
    if answer.status_code == 200:
        found = client.get("/instances?StudyInstanceUID=2.25.805&includefield=all")
        assert found.status_code == 200
        assert "x-evil" not in found.headers
        _looked_at(client, answer)


METADATA: list[tuple[str, str, bytes]] = [
    ("JSON of ten thousand lists", "application/dicom+json", b"[" * 10_000 + b"]" * 10_000),
    ("JSON of ten thousand sequences", "application/dicom+json",
     b"[" + b'{"00081140":{"vr":"SQ","Value":[' * 10_000 + b"]}}" * 10_000 + b"]"),
    ("JSON that is no dataset", "application/dicom+json", b'[1, "a", null]'),
    ("JSON of odd values", "application/dicom+json", b'[{"00080018": {"vr": "UI", "Value": [{}]}}]'),
    ("JSON of odd tags", "application/dicom+json", b'[{"nonsense": {"vr": "XX", "Value": [1]}, "0008": 7}]'),
    ("JSON that names a file", "application/dicom+json",
     b'[{"00080018":{"vr":"UI","Value":["1.2"]},"7FE00010":{"vr":"OW","BulkDataURI":"file:///etc/passwd"}}]'),
    ("JSON with surrogates", "application/dicom+json",
     b'[{"00100010":{"vr":"PN","Value":[{"Alphabetic":"\\ud800"}]}}]'),
    ("XML of ten thousand elements in each other", "application/dicom+xml",
     b"<NativeDicomModel>" + b"<Item>" * 10_000 + b"</Item>" * 10_000 + b"</NativeDicomModel>"),
    ("XML that laughs", "application/dicom+xml",
     b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]><NativeDicomModel>&d;</NativeDicomModel>'),
    ("XML that reads a file", "application/dicom+xml",
     b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><NativeDicomModel>&b;</NativeDicomModel>'),
    ("XML in UTF-16", "application/dicom+xml", "<?xml version='1.0'?><a/>".encode("utf-16")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "content"), [one[1:] for one in METADATA], ids=[one[0] for one in METADATA])
def test_metadata(client: httpx.Client, kind: str, content: bytes) -> None:
    whole = f"--B\r\nContent-Type: {kind}\r\n\r\n".encode() + content + b"\r\n--B--\r\n"
    answer = post(client, whole, f'multipart/related; type="{kind}"; boundary=B')
    assert answer.status_code in REFUSED, answer.text
    assert b"root:" not in answer.content
    work = client.post("/workitems", content=content, headers={"Content-Type": kind})
    assert work.status_code in (201, *REFUSED), work.text


SEEDS = ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm",
         "image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_jpeg_ls_lossless.dcm", "reportsi.dcm",
         "rtplan.dcm"]  # fmt: skip
LIES = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x01\0\0\0", b"SQ\0\0", b"UN\0\0", b"OB\0\0",
        b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"\xe0\x7f\x10\x00")  # fmt: skip
EDITS = st.lists(
    st.tuples(st.floats(0, 0.999), st.one_of(st.sampled_from(LIES), st.binary(min_size=1, max_size=8))),
    min_size=1, max_size=12,
)  # fmt: skip


@pytest.mark.slow
def test_mutations_of_real_files(client: httpx.Client, served: Served) -> None:
    """Any bytes of real files changed, any end cut off: a status, never an error of ours; no process dies or
    grows."""
    paths = [*map(bundled, SEEDS), *map(Path, get_charset_files("chrH3*.dcm"))]
    seeds = [path.read_bytes() for path in paths]
    watched: list[int] = []

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(seeds) - 1), EDITS, st.one_of(st.none(), st.floats(0.05, 1)))
    def mutated(number: int, edits: list[tuple[float, bytes]], cut: float | None) -> None:
        data = bytearray(seeds[number])
        for place, piece in edits:
            at = 132 + int(place * (len(data) - 132))
            data[at : at + len(piece)] = piece
        content = bytes(data[: int(cut * len(data))] if cut else data)
        answer = post(client, body(content))
        assert answer.status_code in (200, 202, *REFUSED), answer.text
        if answer.status_code in (200, 202):
            _looked_at(client, answer)
        watched.append(served.resident())

    mutated()
    early = max(watched[: len(watched) // 3])
    assert max(watched[-20:]) - early < MEMORY, (early, watched[-20:])
