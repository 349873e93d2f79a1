"""WADO-RS over every transfer syntax that pydicom's bundled files have. PS3.18 §10.4"""

from __future__ import annotations

import io
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder, pack_bits, pixel_array
from pydicom.uid import UID

from dicomweb import codecs, dicom_xml
from dicomweb.index.contract import Outcome
from dicomweb.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, LOSSLESS
from tests.dicomweb import making
from tests.dicomweb.conftest import Client

Take = Callable[..., Outcome]
ONE = f"studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.1"
MULTIPART = 'multipart/related; type="{}"; transfer-syntax={}'

PIXEL_FILES = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm", "MR_small_expb.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "JPEG2000.dcm", "693_J2KI.dcm",
    "JPEG-lossy.dcm", "JPGExtended.dcm", "J2K_pixelrep_mismatch.dcm", "GDCMJ2K_TextGBR.dcm",
    "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm", "SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm",
    "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit_2frame.dcm", "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd_jpeg.dcm", "SC_ybr_full_422_uncompressed.dcm",
    "examples_jpeg2k.dcm", "examples_overlay.dcm", "examples_palette.dcm", "examples_rgb_color.dcm",
    "examples_ybr_color.dcm", "image_dfl.dcm", "liver_1frame.dcm", "liver_expb_1frame.dcm", "rtdose.dcm",
    "rtdose_rle.dcm", "rtdose_expb.dcm",
]  # fmt: skip


def at(path: Path) -> tuple[str, pydicom.Dataset]:
    head = pydicom.dcmread(path, stop_before_pixels=True)
    return (
        f"studies/{head.StudyInstanceUID}/series/{head.SeriesInstanceUID}/instances/{head.SOPInstanceUID}",
        head,
    )


def bundled(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def own(name: str, number: int, folder: Path) -> Path:
    """A bundled file under UIDs of its own: several have the same, some have none."""
    made = pydicom.dcmread(bundled(name))
    made.StudyInstanceUID, made.SeriesInstanceUID = f"2.25.3{number}", f"2.25.4{number}"
    made.SOPInstanceUID = f"2.25.5{number}"
    made.setdefault("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    made.save_as(folder / name, enforce_file_format=False)
    return folder / name


def parts_of(response: httpx.Response) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content)
    return [(part["Content-Type"], part.get_payload(decode=True)) for part in message.get_payload()]  # type: ignore


def test_the_bundled_files_cover_every_kind() -> None:
    """A list of files that are not there would make the tests below pass on nothing."""
    heads = [
        pydicom.dcmread(path, stop_before_pixels=True) for name in PIXEL_FILES if (path := bundled(name))
    ]
    present = {str(head.file_meta.TransferSyntaxUID) for head in heads}
    assert len(present) >= 12, present


@pytest.mark.filterwarnings("ignore:The pixel data is:UserWarning")
async def test_every_bundled_file(client: Client, take: Take, tmp_path: Path) -> None:
    """Frames as stored and plain, the instance as stored and plain, a picture, the metadata: all equal to
    what pydicom reads."""
    codecs.register()
    wrong = []
    for number, name in enumerate(PIXEL_FILES):
        path = own(name, number, tmp_path)
        assert take(path) == "stored", name
        instance, head = at(path)
        expected = np.asarray(pixel_array(pydicom.dcmread(path), raw=True))
        frames = int(head.get("NumberOfFrames", 1) or 1)
        first = expected if frames == 1 else expected[0]
        plain = await client.get(f"{instance}/frames/1", headers={"Accept": "application/octet-stream"})
        if plain.status_code != 200 or not _same(plain.content, first, name):
            wrong.append((name, "frame", plain.status_code))
        stored = await client.get(instance, headers={"Accept": "application/dicom; transfer-syntax=*"})
        if stored.content != path.read_bytes():
            wrong.append((name, "stored", stored.status_code))
        accept = {"Accept": f"application/dicom; transfer-syntax={EXPLICIT_LITTLE}"}
        made = await client.get(instance, headers=accept)
        if made.status_code != 200 or not _same_instance(made.content, expected, head):
            wrong.append((name, "explicit", made.status_code))
        shown = await client.get(f"{instance}/rendered", headers={"Accept": "image/png"})
        if shown.status_code != 200 or Image.open(io.BytesIO(shown.content)).size != (
            head.Columns,
            head.Rows,
        ):
            wrong.append((name, "rendered", shown.status_code))
        metadata = await client.get(f"{instance}/metadata")
        if metadata.json()[0]["00080018"]["Value"] != [head.SOPInstanceUID]:
            wrong.append((name, "metadata", metadata.status_code))
    assert not wrong, wrong


def _same(data: bytes, expected: np.ndarray, name: str) -> bool:
    if "422_uncompressed" in name:
        return len(data) == expected.size * 2 // 3  # stored with half the chroma, handed out as it is
    if "liver" in name:
        return data == pack_bits(expected, pad=False)  # PS3.5 §8.1.1: one bit a pixel stays packed
    kind = expected.dtype.newbyteorder("<")
    found = np.frombuffer(data[: expected.nbytes], kind)
    return found.size == expected.size and bool(np.array_equal(found.reshape(expected.shape), expected))


def _same_instance(data: bytes, expected: np.ndarray, head: pydicom.Dataset) -> bool:
    made = pydicom.dcmread(io.BytesIO(data))
    assert made.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE
    assert (made.SOPInstanceUID, made.get("PatientName")) == (head.SOPInstanceUID, head.get("PatientName"))
    return bool(np.array_equal(np.asarray(pixel_array(made, raw=True)), expected))


SOURCES = ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd.dcm",
           "MR_small_jp2klossless.dcm", "SC_rgb_rle_16bit_2frame.dcm", "liver_1frame.dcm"]  # fmt: skip


async def test_transcoding_between_all_lossless_syntaxes(client: Client, take: Take) -> None:
    codecs.register()
    wrong = []
    for name in SOURCES:
        path = bundled(name)
        take(path)
        instance, head = at(path)
        bits = int(head.BitsAllocated)
        expected = np.asarray(pixel_array(pydicom.dcmread(path), raw=False))
        for target in (*LOSSLESS, IMPLICIT_LITTLE, "1.2.840.10008.1.2.1.99"):
            accept = {"Accept": MULTIPART.format("application/dicom", target)}
            answer = await client.get(instance, headers=accept)
            if bits == 1 and target in LOSSLESS:
                if answer.status_code != 406:
                    wrong.append((name, target, answer.status_code))
                continue
            if answer.status_code != 200:
                wrong.append((name, target, answer.status_code))
                continue
            ((kind, content),) = parts_of(answer)
            made = pydicom.dcmread(io.BytesIO(content))
            same = np.array_equal(np.asarray(pixel_array(made, raw=False)), expected)
            if not same or kind != f"application/dicom; transfer-syntax={target}":
                wrong.append((name, UID(target).name, "pixels"))
            assert made.file_meta.TransferSyntaxUID == target
    assert not wrong, wrong


FRAME_FORMS = [  # Accept → (outer, part), for a native 16-bit image
    ("image/jpeg", "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70"),
    ("image/jls", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"),
    ("image/jp2", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
    ("image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91",
     "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.91"),
    ("image/jphc", "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.201"),
    ("image/dicom-rle", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
    ("image/x-dicom-rle", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"),
    ("application/octet-stream", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
    ("*/*", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
    ("image/jls;q=0.3, image/jp2;q=0.9", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
    ("image/jp2;q=0, image/*;q=0.5, application/octet-stream;q=0",
     "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70"),
    ("image/tiff, image/jls;q=0.1", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.80"),
]  # fmt: skip


async def test_frames_in_every_form(client: Client, take: Take, tmp_path: Path) -> None:
    codecs.register()
    pixels = np.arange(512, dtype="<u2").reshape(2, 16, 16)
    take(making.write(tmp_path / "a.dcm", making.dataset(NumberOfFrames=2, PixelData=pixels.tobytes())))
    for accept, expected in FRAME_FORMS:
        media = accept.partition(",")[0]
        first = accept if "," in accept or media == "*/*" else media
        bare = await client.get(f"{ONE}/frames/2", headers={"Accept": first})
        found = bare.headers["content-type"]
        if media == "*/*":
            assert found.startswith("multipart/related"), accept
            ((found, content),) = parts_of(bare)
        else:
            content = bare.content
        assert found == expected, accept
        syntax = found.rpartition("=")[2]
        assert _plain(content, syntax) == pixels[1].tobytes(), accept
    listed = await client.get(f"{ONE}/frames/2,1", headers={"Accept": 'multipart/related; type="image/jls"'})
    decoded = [_plain(content, "1.2.840.10008.1.2.4.80") for _kind, content in parts_of(listed)]
    assert decoded == [pixels[1].tobytes(), pixels[0].tobytes()]


def _plain(data: bytes, syntax: str) -> bytes:
    if syntax == EXPLICIT_LITTLE:
        return data
    attributes = {
        tag: {"vr": "US", "Value": [value]}
        for tag, value in (("00280010", 16), ("00280011", 16), ("00280002", 1), ("00280100", 16),
                           ("00280101", 12), ("00280103", 0))
    }  # fmt: skip
    found = codecs.decode(data, syntax, attributes, False)
    assert found is not None
    return found.data


@pytest.mark.parametrize(
    ("place", "accept", "told"),
    [
        ("", "image/jpeg", "application/dicom"), ("/frames/1", "image/tiff", "image/jls"),
        ("", MULTIPART.format("application/dicom", "1.2.840.10008.1.2.4.100"), "1.2.840.10008.1.2.4.80"),
        ("/frames/1", "image/jp2; transfer-syntax=1.2.3", "1.2.840.10008.1.2.4.90"),
        ("/frames/1,1", "image/jp2", "multipart/related"), ("/rendered", "image/tiff", "image/webp"),
        ("/bulkdata/7FE00010", "image/png", "application/octet-stream"), ("/metadata", "image/png", "xml"),
        ("/thumbnail", "text/html", "image/gif"), ("/pixeldata", "image/png", "multipart/related"),
        ("/frames/1,1/rendered", "image/png", "multipart/related"),
    ],
)  # fmt: skip
async def test_406_names_the_possible(
    client: Client, take: Take, tmp_path: Path, place: str, accept: str, told: str
) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset()))
    answer = await client.get(ONE + place, headers={"Accept": accept})
    assert answer.status_code == 406
    assert told in answer.json()["message"]


async def test_a_lossy_image_stays_as_it_is_without_a_wish(client: Client, take: Take) -> None:
    path = bundled("SC_rgb_jpeg_dcmtk.dcm")
    take(path)
    instance, _head = at(path)
    for accept in ("*/*", "application/dicom"):
        answer = await client.get(instance, headers={"Accept": accept})
        content = answer.content if accept != "*/*" else parts_of(answer)[0][1]
        assert content == path.read_bytes()


RANGES = [("bytes=0-9", 206, slice(0, 10)), ("bytes=500-", 206, slice(500, None)),
          ("bytes=-12", 206, slice(-12, None)), ("bytes=10-10", 206, slice(10, 11)),
          ("bytes=0-99999", 206, slice(0, None)), ("bytes=512-", 416, None),
          ("bytes=-0", 416, None), ("bytes=9-3", 200, slice(0, None)), ("lines=1-2", 200, slice(0, None)),
          ("bytes=0-1,4-5", 200, slice(0, None))]  # fmt: skip


@pytest.mark.parametrize(("asked", "status", "part"), RANGES)
async def test_byte_ranges_of_bulk_data(
    client: Client, take: Take, tmp_path: Path, asked: str, status: int, part: slice | None
) -> None:
    """RFC 9110 §14"""
    made = making.dataset()
    take(making.write(tmp_path / "a.dcm", made))
    (metadata,) = (await client.get(f"{ONE}/metadata")).json()
    url = metadata["7FE00010"]["BulkDataURI"]
    headers = {"Accept": "application/octet-stream", "Range": asked}
    answer = await client.get(url, headers=headers)
    assert answer.status_code == status
    if part is None:
        assert answer.headers["content-range"] == "bytes */512"
        return
    assert answer.content == made.PixelData[part]
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        first = part.indices(512)[0]
        assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/512"
    other = await client.get(url, headers={**headers, "If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, made.PixelData)


async def test_conditional_requests_everywhere(client: Client, take: Take, tmp_path: Path) -> None:
    """RFC 9110 §13: 304 for what the client has, 412 for what is no longer so; a growing study changes its
    tag."""
    for path in making.files(tmp_path, 2):
        take(path)
    study, series = f"studies/{making.STUDY}", f"studies/{making.STUDY}/series/{making.SERIES}"
    one = f"{series}/instances/2.25.1.1"
    places = [
        study,
        series,
        one,
        f"{study}/metadata",
        f"{one}/metadata",
        f"{one}/frames/1",
        f"{one}/rendered",
        f"{one}/bulkdata/7FE00010",
        f"{study}/thumbnail",
        f"{series}/rendered",
        f"{study}/pixeldata",
    ]
    tags = {}
    for place in places:
        first = await client.get(place)
        assert first.status_code == 200, place
        tags[place] = first.headers["etag"]
        again = await client.get(place, headers={"If-None-Match": f'"x", {tags[place]}'})
        assert (again.status_code, again.content) == (304, b""), place
        assert again.headers["etag"] == tags[place]
        assert (await client.get(place, headers={"If-Match": '"x"'})).status_code == 412, place
        assert (await client.get(place, headers={"If-Match": tags[place]})).status_code == 200, place
    take(making.write(tmp_path / "more.dcm", making.dataset(SOPInstanceUID="2.25.1.3")))
    for place in places:
        changed = (await client.get(place)).headers["etag"] != tags[place]
        assert changed == ("instances" not in place or place.endswith("metadata")), place


async def test_bulk_data_by_path(client: Client, take: Take, tmp_path: Path) -> None:
    made, item = making.dataset(), pydicom.Dataset()
    item.add_new(0x00091010, "OB", b"ab" * 1000)
    made.OtherPatientIDsSequence = [pydicom.Dataset(), item]
    made.add_new(0x00091011, "OB", b"cd" * 3_000_000)
    take(making.write(tmp_path / "a.dcm", made))
    octets = {"Accept": "application/octet-stream"}
    nested = await client.get(f"{ONE}/bulkdata/00101002/2/00091010", headers=octets)
    assert nested.content == b"ab" * 1000
    assert (await client.get(f"{ONE}/bulkdata/00091011", headers=octets)).content == b"cd" * 3_000_000
    for nothing in (
        "00101002/1/00091010",
        "00101002/9/00091010",
        "00100010",
        "zz",
        "7FE00010/1/00080018",
        "00091012",
    ):
        assert (await client.get(f"{ONE}/bulkdata/{nothing}", headers=octets)).status_code == 404, nothing
    everything = parts_of(await client.get(f"{ONE}/bulkdata"))
    assert sorted(len(content) for _kind, content in everything) == [512, 2000, 6_000_000]
    assert [content for _kind, content in parts_of(await client.get(f"{ONE}/pixeldata"))] == [made.PixelData]


async def test_metadata_in_xml_says_the_same(client: Client, take: Take, tmp_path: Path) -> None:
    for path in making.files(tmp_path, 2):
        take(path)
    place = f"studies/{making.STUDY}/metadata"
    answer = await client.get(place, headers={"Accept": 'multipart/related; type="application/dicom+xml"'})
    found = [dicom_xml.parse(content) for _kind, content in parts_of(answer)]
    assert found == (await client.get(place)).json()


async def test_pictures_in_every_form(client: Client, take: Take, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 4000, (3, 64, 64), "<u2")
    take(making.write(tmp_path / "a.dcm", making.dataset(
        NumberOfFrames=3, Rows=64, Columns=64, PixelData=pixels.tobytes(), WindowCenter=1000,
        WindowWidth=2000, FrameTime=50, StudyDescription="Crâne",
    )))  # fmt: skip

    async def shown(place: str, accept: str) -> Image.Image:
        answer = await client.get(f"{ONE}/{place}", headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, accept), (
            place,
            answer.text[:200],
        )
        return Image.open(io.BytesIO(answer.content))

    for media, kind in (
        ("image/jpeg", "JPEG"),
        ("image/png", "PNG"),
        ("image/webp", "WEBP"),
        ("image/gif", "GIF"),
    ):
        assert (await shown("frames/2/rendered", media)).format == kind
    cine: Any = await shown("rendered", "image/gif")
    assert (cine.n_frames, cine.info["duration"]) == (3, 50)
    plain = np.asarray(await shown("rendered", "image/png"))
    noted = np.asarray(await shown("rendered?annotation=patient,technique", "image/png"))
    assert not np.array_equal(plain, noted)
    assert "icc_profile" in (await shown("rendered?iccprofile=yes", "image/jpeg")).info
    assert "icc_profile" not in (await shown("rendered?iccprofile=no", "image/jpeg")).info
    low, high = [
        len((await client.get(f"{ONE}/rendered?quality={q}", headers={"Accept": "image/jpeg"})).content)
        for q in (10, 95)
    ]
    assert low < high / 2
    assert (await shown("rendered?viewport=32,32,0,0,16,16", "image/png")).size == (32, 32)
    assert (await shown("thumbnail", "image/jpeg")).size == (128, 128)
    assert (await shown("thumbnail?viewport=40,40", "image/jpeg")).size == (40, 40)
    assert (await shown("frames/3/thumbnail", "image/png")).size == (128, 128)
    for bad in ("annotation=all", "iccprofile=x", "quality=0", "quality=x", "viewport=", "window="):
        assert (await client.get(f"{ONE}/rendered?{bad}")).status_code == 400, bad
    every = await client.get(f"{ONE}/rendered", headers={"Accept": 'multipart/related; type="image/jpeg"'})
    assert [kind for kind, _content in parts_of(every)] == ["image/jpeg"] * 3


async def test_pictures_of_series_and_studies(client: Client, take: Take, tmp_path: Path) -> None:
    for path in making.files(tmp_path, 3):
        take(path)
    report = making.dataset(
        SOPInstanceUID="2.25.9", SeriesInstanceUID="2.25.209", SeriesNumber=0, Modality="SR", PixelData=None,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
    )  # fmt: skip
    take(making.write(tmp_path / "sr.dcm", report))
    study, series = f"studies/{making.STUDY}", f"studies/{making.STUDY}/series/{making.SERIES}"
    for place in (study, series):
        every = await client.get(
            f"{place}/rendered", headers={"Accept": 'multipart/related; type="image/png"'}
        )
        assert [kind for kind, _content in parts_of(every)] == ["image/png"] * 3
        bare = await client.get(f"{place}/rendered", headers={"Accept": "image/png"})
        assert Image.open(io.BytesIO(bare.content)).size == (16, 16)
        small = await client.get(f"{place}/thumbnail", headers={"Accept": "image/jpeg"})
        assert Image.open(io.BytesIO(small.content)).size == (128, 128)
    for nothing in (
        f"{study}/series/2.25.9/thumbnail",
        "studies/2.25.999/thumbnail",
        "studies/2.25.999/rendered",
    ):
        assert (await client.get(nothing)).status_code == 404
    without = f"{study}/series/2.25.209"
    assert (await client.get(f"{without}/thumbnail")).status_code in (404, 406)


async def test_reports_and_documents_are_readable(client: Client, take: Take, tmp_path: Path) -> None:
    path = bundled("reportsi.dcm")
    take(path)
    instance, _head = at(path)
    page = await client.get(f"{instance}/rendered", headers={"Accept": "text/html"})
    assert page.status_code == 200
    text = await client.get(f"{instance}/rendered", headers={"Accept": "text/plain"})
    assert "\n  " in text.text
    items = page.text.count("<tr ") + sum(page.text.count(f"<h{level}>") for level in range(1, 7))
    assert items == len(text.text.splitlines())
    for header in ("sandbox", "default-src 'none'"):
        assert header in page.headers["content-security-policy"]
    assert (await client.get(f"{instance}/rendered", headers={"Accept": "image/jpeg"})).status_code == 406
    pdf = making.dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", PixelData=None, Rows=None, Columns=None,
        MIMETypeOfEncapsulatedDocument="application/pdf", EncapsulatedDocument=b"%PDF-1.4" + bytes(2000),
    )  # fmt: skip
    take(making.write(tmp_path / "p.dcm", pdf))
    shown = await client.get(f"{ONE}/rendered", headers={"Accept": "application/pdf"})
    assert (shown.headers["content-type"], shown.content[:8]) == ("application/pdf", b"%PDF-1.4")


async def test_a_report_is_never_markup(client: Client, take: Take, tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "<script>alert(1)</script>"
    made = making.dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", PixelData=None, ValueType="CONTAINER",
        ContentSequence=[item],
        PatientName="<b>x",
    )  # fmt: skip
    take(making.write(tmp_path / "a.dcm", made))
    page = (await client.get(f"{ONE}/rendered", headers={"Accept": "text/html"})).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>x" not in page


async def test_broken_pixels_are_406_and_the_rest_is_served(
    client: Client, take: Take, tmp_path: Path
) -> None:
    """Rubbish in every codec's clothes: a clear status, and the server goes on."""
    for n, syntax in enumerate((*LOSSLESS, "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"), 1):
        rubbish = pydicom.encaps.encapsulate([np.random.default_rng(n).bytes(3000)])
        made = making.dataset(SOPInstanceUID=f"2.25.7.{n}", PixelData=rubbish)
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
        take(making.write(tmp_path / f"{n}.dcm", made, syntax))
        one = f"studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.7.{n}"
        for place, accept in (("/rendered", "image/png"), ("/frames/1", "application/octet-stream"),
                              ("", f"application/dicom; transfer-syntax={EXPLICIT_LITTLE}")):  # fmt: skip
            answer = await client.get(one + place, headers={"Accept": accept})
            assert answer.status_code in (200, 406), (syntax, place)
        stored = await client.get(one, headers={"Accept": "application/dicom; transfer-syntax=*"})
        assert stored.status_code == 200
    assert len((await client.get(f"studies/{making.STUDY}/metadata")).json()) == len(LOSSLESS) + 2


def test_every_syntax_that_is_promised_is_made() -> None:
    """The table of what can be made, held against the encoders and pydicom's decoders."""
    codecs.register()
    grey = (np.arange(400).reshape(20, 20) % 256).astype("u1")
    for target in LOSSLESS:
        for array in (grey, grey.astype("<u2") * 16, grey.astype("<i2") - 128, np.stack([grey] * 3, -1)):
            photometric = "RGB" if array.ndim == 3 else "MONOCHROME2"
            data, _told = codecs.encode(array, photometric, target)
            attributes = _described(array, photometric)
            found = codecs.decode(data, target, attributes, False)
            assert found is not None, (target, array.dtype)
            same = np.frombuffer(found.data, array.dtype).reshape(array.shape)
            assert np.array_equal(same, array), (target, array.dtype)
        assert get_decoder(target).is_available


def _described(array: np.ndarray, photometric: str) -> dict[str, Any]:
    bits = array.dtype.itemsize * 8
    values = {"00280010": 20, "00280011": 20, "00280002": 3 if array.ndim == 3 else 1, "00280100": bits,
              "00280101": bits, "00280103": int(array.dtype.kind == "i"), "00280006": 0}  # fmt: skip
    found: dict[str, Any] = {tag: {"vr": "US", "Value": [value]} for tag, value in values.items()}
    found["00280004"] = {"vr": "CS", "Value": [photometric]}
    return orjson.loads(orjson.dumps(found))
