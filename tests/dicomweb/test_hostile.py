"""Broken files through the front door: each gets a status, what is taken can be asked for, and nothing
dies."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicomweb.images import Images
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_stow import DICOM, body, post, values
from tests.dicomweb.test_wado import own

SEEDS = [
    "CT_small.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm", "SC_rgb_jpeg_dcmtk.dcm", "reportsi.dcm",
    "image_dfl.dcm", "JPEG2000.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm",
    "MR_small_bigendian.dcm",
]  # fmt: skip
VARIANTS = 12
PLACES = ["", "/metadata", "/rendered", "/frames/1", "/thumbnail", "/bulkdata", "/pixeldata",
          "/frames/1?accept=image/jls"]  # fmt: skip


def broken(data: bytes, chance: random.Random) -> bytes:
    """Cut, or some bytes changed, or a length made to lie."""
    kind = chance.randrange(4)
    if kind == 0:
        return data[: chance.randrange(len(data))]
    changed = bytearray(data)
    for _n in range(chance.choice((1, 3, 40))):
        at = chance.randrange(132, len(changed) - 4)
        if kind == 1:
            changed[at] = chance.randrange(256)
        elif kind == 2:
            changed[at : at + 4] = struct.pack(
                "<L", chance.choice((0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 1, 0))
            )
        else:
            changed[at : at + 2] = chance.choice((b"SQ", b"UN", b"OB", b"DS", b"PN", b"XX"))
    return bytes(changed)


@pytest.mark.parametrize("seed", SEEDS)
async def test_broken_files(client: Client, images: Images, tmp_path: Path, seed: str) -> None:
    path = own(seed, SEEDS.index(seed), tmp_path)
    chance, original = random.Random(seed), path.read_bytes()
    for _n in range(VARIANTS):
        answer = await post(client, body(broken(original, chance)))
        assert answer.status_code in (200, 202, 400, 409), answer.text
        if answer.status_code >= 400:
            continue
        (url,) = values(answer, "00081199", "00081190")
        for place in PLACES:
            shown = await client.get(url + place, headers={"Accept": "*/*"})
            assert shown.status_code in (200, 400, 404, 406), (place, shown.text[:200])
        assert (await client.delete(url)).status_code == 204
    assert list(images.files.spool.iterdir()) == []
    assert (await post(client, body(original))).status_code == 200


async def test_deep_sequences(client: Client, tmp_path: Path) -> None:
    """Nested beyond any use: refused, or kept and served."""
    for depth in (50, 3000):
        inner = b""
        for _n in range(depth):
            inner = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner
        inner += (b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth
        plain = making.write(
            tmp_path / "a.dcm", making.dataset(SOPInstanceUID=f"2.25.8{depth}", PixelData=None)
        )
        data = plain.read_bytes()
        at = data.index(b"\x10\x00\x10\x00PN")
        answer = await post(client, body(data[:at] + inner + data[at:]))
        assert answer.status_code in (200, 400, 409), depth
        if answer.status_code == 200:
            (url,) = values(answer, "00081199", "00081190")
            for accept in ("application/dicom+json", "application/dicom+xml"):
                shown = await client.get(f"{url}/metadata", headers={"Accept": accept})
                assert shown.status_code == 200


async def test_a_zip_bomb_is_bounded(client: Client, tmp_path: Path) -> None:
    made = making.dataset(PixelData=None)
    made.add_new(0x00091010, "OB", bytes(200_000_000))
    path = making.write(tmp_path / "a.dcm", made, "1.2.840.10008.1.2.1.99")
    data = path.read_bytes()
    assert len(data) < 1_000_000
    assert (await post(client, body(data))).status_code in (200, 400, 409)


async def test_wrong_values_are_kept_and_do_not_disturb(client: Client, tmp_path: Path) -> None:
    """Rows that are no number, a window of words, a date of letters: stored as sent; a picture is refused."""
    path = making.write(tmp_path / "a.dcm", making.dataset())
    data = path.read_bytes().replace(b"US\x02\x00\x10\x00", b"LO\x02\x00ab")
    data = data.replace(b"20240808", b"2024AA08").replace(b"DS\x02\x0040", b"DS\x02\x00zz")
    answer = await post(client, body(data))
    assert answer.status_code == 200
    (url,) = values(answer, "00081199", "00081190")
    assert (await client.get(f"{url}/metadata")).status_code == 200
    assert (await client.get(f"{url}/rendered")).status_code in (400, 406)
    assert (await client.get("studies?StudyDate=20240101-20241231")).status_code in (200, 204)
    again = await client.get(url, headers={"Accept": "application/dicom"})
    assert pydicom.dcmread(io.BytesIO(again.content)).SOPInstanceUID == "2.25.1"


@pytest.mark.parametrize(
    "content",
    [
        b"--B\r\n", b"--B\r\n\r\n", b"--B--", b"--B" + b"x" * 5000, b"--B\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
        b"--B\r\nno colon\r\n\r\nx\r\n--B--", b"\r\n\r\n", b"--A\r\n\r\nx\r\n--A--",
        b"--B\r\n\r\n\r\n--B\r\n\r\n\r\n--B--",
    ],
)  # fmt: skip
async def test_broken_bodies(client: Client, content: bytes) -> None:
    answer = await post(client, content, DICOM)
    assert answer.status_code == 400


async def test_names_that_are_markup_stay_text(client: Client, tmp_path: Path) -> None:
    item = Dataset()
    item.PatientID = "]]><x>&"
    made = making.dataset(
        PatientName='<a href="x">&', OtherPatientIDsSequence=[item], StudyDescription="\x1b\x0c|"
    )
    assert (await post(client, body(making.write(tmp_path / "a.dcm", made).read_bytes()))).status_code == 200
    shown = await client.get("studies", headers={"Accept": "application/dicom+xml"})
    assert shown.status_code == 200
    assert b"<a href" not in shown.content


@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_no_value_of_a_dataset_reaches_the_log(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """pydicom quotes what it finds odd; here it does not."""
    caplog.set_level("DEBUG")
    made = making.dataset(PatientName="SECRET^Name", PatientID="SECRET")
    path = making.write(tmp_path / "a.dcm", made)
    data = path.read_bytes().replace(b"ISO_IR 192", b"SECRET 192").replace(b"19530517", b"19SECRET")
    answer = await post(client, body(data))
    assert answer.status_code == 200
    (url,) = values(answer, "00081199", "00081190")
    for place in ("", "/metadata", "/rendered"):
        await client.get(url + place)
    await post(client, body(data[:-100]))
    assert "SECRET" not in caplog.text
    shown = capfd.readouterr()
    assert "SECRET" not in shown.out + shown.err
