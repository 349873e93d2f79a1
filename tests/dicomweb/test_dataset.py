"""What is read of a file, and hostile files as a table: each a clear refusal, none a crash."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array

from dicomweb import dataset, layout, reasons
from dicomweb.dataset import DEFLATED, _encodings, read_header
from dicomweb.elements import fast
from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.reasons import Reason, Refused
from tests.dicomweb import making

RLE = "1.2.840.10008.1.2.5"


def element(group: int, number: int, vr: bytes, length: int, value: bytes = b"") -> bytes:
    head = struct.pack("<HH2s", group, number, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN"):
        return head + struct.pack("<HL", 0, length) + value
    return head + struct.pack("<H", length) + value


def whole(path: Path) -> bytes:
    return making.write(path, making.dataset()).read_bytes()


def deep(levels: int) -> bytes:
    body = b""
    for _ in range(levels):
        body = (
            element(0x0040, 0xA730, b"SQ", 0xFFFFFFFF)
            + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
            + body
        )
    return body


def deflated(path: Path) -> bytes:
    """A megabyte that becomes a gigabyte."""
    content = making.write(path, making.dataset(), DEFLATED).read_bytes()
    length = struct.unpack("<L", content[140:144])[0]
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    header = element(0x0009, 0x1000, b"OB", 0x3FFFFFF0)
    data = bomb.compress(header) + b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    return content[: 144 + length] + data


def fragments(path: Path, tail: bytes) -> bytes:
    made = making.dataset()
    made.PixelData = encapsulate([b"ab"])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    content = making.write(path, made, RLE).read_bytes()
    return content[: content.rindex(b"\xfe\xff\xdd\xe0")] + tail


HOSTILE: dict[str, tuple[Callable[[Path], bytes], Reason]] = {
    "empty": (lambda _p: b"", reasons.UNREADABLE),
    "text": (lambda _p: b"<html>" * 100, reasons.UNREADABLE),
    "preamble only": (lambda _p: bytes(128) + b"DICM", reasons.UNREADABLE),
    "meta cut": (lambda p: whole(p)[:200], reasons.UNREADABLE),
    "header cut": (lambda p: whole(p)[:-700], reasons.CUT),
    "an element's head cut": (lambda p: whole(p)[:-519], reasons.CUT),
    "deflated stream cut": (
        lambda p: making.write(p, making.dataset(), DEFLATED).read_bytes()[:-60], reasons.CUT),
    "pixels cut": (lambda p: whole(p)[:-100], reasons.CUT),
    "value longer than the file": (
        lambda p: whole(p)[:-524] + element(0x7FDF, 0x1000, b"OB", 0x7FFFFFF0, b"x" * 100), reasons.CUT),
    "deep sequences": (lambda p: whole(p)[:-524] + deep(5000), reasons.UNREADABLE),
    "zip bomb": (deflated, reasons.MISSING_UIDS),
    "fragment longer than the file": (
        lambda p: fragments(p, struct.pack("<HHL", 0xFFFE, 0xE000, 0x7FFFFFF0)), reasons.CUT),
    "fragments without end": (lambda p: fragments(p, b""), reasons.CUT),
    "not a fragment": (lambda p: fragments(p, b"garbage!"), reasons.CUT),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_hostile_files_are_refused(tmp_path: Path, case: tuple[Callable[[Path], bytes], Reason]) -> None:
    build, reason = case
    path = tmp_path / "hostile.dcm"
    path.write_bytes(build(tmp_path / "honest.dcm"))
    with pytest.raises(Refused) as refused:
        read_header(path)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "native"), ({"Rows": 4000}, "none"), ({"NumberOfFrames": 99}, "none"),
        ({"BitsAllocated": 1}, "native"),
        ({"PixelData": None}, "none"), ({"Rows": 0}, "none"), ({"NumberOfFrames": -3}, "native"),
    ],
)  # fmt: skip
def test_lying_headers_only_lose_their_frames(tmp_path: Path, changes: dict[str, Any], kind: str) -> None:
    assert read_header(making.write(tmp_path / "a.dcm", making.dataset(**changes))).layout.kind == kind


def test_values_that_break_their_rules_are_kept(tmp_path: Path) -> None:
    made = making.dataset(StudyDescription="x" * 200, PatientSex="?!", StationName="y" * 5000)
    attributes = read_header(making.write(tmp_path / "a.dcm", made)).attributes
    assert attributes["00081030"]["Value"] == ["x" * 200]
    assert attributes["00100040"]["Value"] == ["?!"]


def test_bulk_is_a_reference_by_its_path(tmp_path: Path) -> None:
    made, item = making.dataset(), Dataset()
    item.add_new(0x00091010, "OB", bytes(2000))
    item.PatientID = "X"
    made.OtherPatientIDsSequence = [item]
    made.add_new(0x00091010, "OB", bytes(2000))
    attributes = read_header(making.write(tmp_path / "a.dcm", made)).attributes
    assert attributes["00091010"] == {"vr": "OB", "BulkDataURI": "bulkdata:/00091010"}
    (inner,) = attributes["00101002"]["Value"]
    assert inner["00091010"] == {"vr": "OB", "BulkDataURI": "bulkdata:/00101002/1/00091010"}
    assert inner["00100020"] == {"vr": "LO", "Value": ["X"]}
    assert attributes["7FE00010"] == {"vr": "OW", "BulkDataURI": "bulkdata:/7FE00010"}


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm",
        "rtdose_1frame.dcm",
        "MR_small_jp2klossless.dcm", "rtdose.dcm", "rtdose_rle.dcm", "SC_rgb_rle_2frame.dcm",
        "MR_small_expb.dcm",
    ],
)  # fmt: skip
def test_frames_lie_where_the_layout_says(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    header = read_header(path)
    frames = np.asarray(pixel_array(path, raw=True))
    count = int(header.attributes.get("00280008", {}).get("Value", [1])[0])
    assert header.layout.frames == count
    if header.layout.kind == "native":
        with path.open("rb") as file:
            data = b"".join(layout.read(file.fileno(), header.layout.frame(n + 1)) for n in range(count))
        kind = (
            frames.dtype if "bigendian" not in name and "expb" not in name else frames.dtype.newbyteorder(">")
        )
        assert (np.frombuffer(data, kind).reshape(frames.shape) == frames).all()
    with pytest.raises(IndexError):
        header.layout.frame(count + 1)


def test_a_full_disk_is_said(
    images: Images, take: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    monkeypatch.setattr("dicomweb.files.RESERVE", 10**18)
    with pytest.raises(Refused) as refused:
        take(path)
    assert refused.value.reason.status == 0xA700
    assert list(images.files.spool.iterdir()) == []
    monkeypatch.undo()
    assert take(path) == "stored"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_plain_elements_are_read_as_pydicom_reads_them() -> None:
    """`elements.fast` against pydicom itself, over every bundled file; spaces around a code apart, which mean
    nothing (PS3.5 §6.2) and which pydicom keeps between two values."""
    compared = [0, 0]

    def spaceless(element: Any) -> Any:
        found = element.get("Value", ())
        return {**element, "Value": [one.strip() if isinstance(one, str) else one for one in found]}

    def compare(dataset: Dataset) -> None:
        encodings = _encodings(dataset)
        for tag, raw in list(dataset._dict.items()):
            plain = fast(raw, encodings) if type(raw) is RawDataElement else None
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    compare(item)
            else:
                compared[0] += 1
                if plain is not None:
                    compared[1] += 1
                    slow = element.to_json_dict(lambda _element: "", 1024)
                    assert spaceless(plain) == spaceless(slow), tag

    folder = Path(pydicom.__file__).parent / "data"
    for path in sorted([*folder.glob("test_files/*.dcm"), *folder.glob("charset_files/*.dcm")]):
        with contextlib.suppress(AttributeError, KeyError, ValueError, NotImplementedError):
            compare(pydicom.dcmread(path, force=True, stop_before_pixels=True))
    assert compared[1] > 5_000
    assert compared[1] / compared[0] > 0.9


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
def test_a_header_is_the_same_without_pydicom(tmp_path: Path, syntax: str) -> None:
    """`headers` against pydicom on damaged copies: what it reads at all, it reads as pydicom does."""
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "x", "é"
    made = making.dataset(RequestAttributesSequence=[code, Dataset()], ReferringPhysicianName="A^B=C")
    made.SmallestImagePixelValue = 3
    path = making.write(tmp_path / "a.dcm", made, syntax)
    data, chance, same = path.read_bytes(), Random(5), 0
    for _round in range(600):
        damaged = bytearray(data)
        for _byte in range(chance.choice((0, 1, 1, 4))):
            damaged[chance.randrange(140, len(damaged) - 520)] = chance.randrange(256)
        path.write_bytes(damaged)
        quick = dataset._plain(bytes(damaged), len(damaged))
        with contextlib.suppress(Refused, NotImplementedError), path.open("rb") as file:
            if quick is not None:
                assert quick == dataset._read(file)
                same += 1
    assert same > 100


def test_bundled_headers_are_the_same_without_pydicom() -> None:
    same = 0
    for path in (Path(str(pydicom.__file__)).parent / "data").rglob("*.dcm"):
        if quick := dataset._plain(path.read_bytes()[: dataset.BLOCK], path.stat().st_size):
            with path.open("rb") as file:
                assert quick == dataset._read(file), path.name
            same += 1
    assert same >= 40
