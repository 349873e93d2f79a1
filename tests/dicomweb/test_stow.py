"""STOW-RS: what is stored, what is refused and why, in every form a body can have. PS3.18 §10.5"""

from __future__ import annotations

import asyncio
import base64
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit

from dicomweb import dicom_xml
from dicomweb.images import Images
from dicomweb.index.contract import Instance, Outcome
from fhir_server.access import Access, Scope
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_dimse import SYNTAX_FILES

Take = Callable[..., Outcome]
BASE = "http://test/dicom-web"
DICOM = 'multipart/related; type="application/dicom"; boundary=B'


def body(*parts: bytes, kind: str = "application/dicom") -> bytes:
    made = b"".join(b"--B\r\nContent-Type: %s\r\n\r\n%s\r\n" % (kind.encode(), part) for part in parts)
    return made + b"--B--\r\n"


def file(folder: Path, **changes: Any) -> bytes:
    return making.write(folder / "one.dcm", making.dataset(**changes)).read_bytes()


async def post(client: Client, content: bytes, kind: str = DICOM, to: str = "studies", **headers: str) -> Any:
    return await client.post(to, content=content, headers={"Content-Type": kind, **headers})


def values(response: httpx.Response, sequence: str, tag: str) -> list[Any]:
    items = response.json().get(sequence, {}).get("Value", [])
    return [item.get(tag, {}).get("Value", [None])[0] for item in items]


async def test_stored_as_sent_and_answered_in_full(client: Client, images: Images, tmp_path: Path) -> None:
    one, two = file(tmp_path), file(tmp_path, SOPInstanceUID="2.25.2")
    response = await post(client, body(one, two))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/dicom+json")
    assert response.json()["00081190"] == {"vr": "UR", "Value": [f"{BASE}/studies/{making.STUDY}"]}
    assert values(response, "00081199", "00081155") == ["2.25.1", "2.25.2"]
    assert values(response, "00081199", "00081150") == ["1.2.840.10008.5.1.4.1.1.2"] * 2
    assert values(response, "00081199", "00081190") == [
        f"{BASE}/studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.{n}" for n in (1, 2)
    ]
    assert "00081198" not in response.json()
    for uid, sent in (("2.25.1", one), ("2.25.2", two)):
        kept = images.index.file(uid)
        assert kept is not None
        assert images.files.path(kept.path).read_bytes() == sent
    assert list(images.files.spool.iterdir()) == []


async def test_a_duplicate_is_stored_a_changed_one_is_a_failure_and_kept(
    client: Client, images: Images, tmp_path: Path
) -> None:
    first, changed = file(tmp_path), file(tmp_path, PatientComments="changed")
    assert (await post(client, body(first))).status_code == 200
    again = await post(client, body(first))
    assert (again.status_code, values(again, "00081199", "00081155")) == (200, ["2.25.1"])
    other = await post(client, body(changed))
    assert (other.status_code, values(other, "00081198", "00081197")) == (409, [0x0111])
    kept = images.index.file("2.25.1")
    assert kept is not None
    assert images.files.path(kept.path).read_bytes() == first
    (conflict,) = images.index.conflicts("2.25.1")
    assert images.files.path(conflict.path).read_bytes() == changed


FAILURES: list[tuple[dict[str, Any], int]] = [
    ({"StudyInstanceUID": "2.25.77"}, 0xA901), ({"SeriesInstanceUID": None}, 0xC001),
    ({"SeriesInstanceUID": "1..2"}, 0xC002), ({"SOPClassUID": "1.2.840.10008.1.1"}, 0x0122),
    ({"SOPClassUID": "1.2.840.10008.1.3.10"}, 0x0122),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reason"), FAILURES)
async def test_reasons_per_instance(
    client: Client, images: Images, tmp_path: Path, changes: dict[str, Any], reason: int
) -> None:
    wrong = file(tmp_path, SOPInstanceUID="2.25.5", **changes)
    alone = await post(client, body(wrong), to=f"studies/{making.STUDY}")
    assert alone.status_code == 409
    assert values(alone, "00081198", "00081155") == ["2.25.5"]
    assert values(alone, "00081198", "00081197") == [reason]
    mixed = await post(client, body(wrong, file(tmp_path)), to=f"studies/{making.STUDY}")
    assert mixed.status_code == 202
    assert (values(mixed, "00081198", "00081155"), values(mixed, "00081199", "00081155")) == (
        ["2.25.5"], ["2.25.1"],
    )  # fmt: skip
    assert images.index.file("2.25.5") is None


async def test_what_cannot_be_read_is_told_without_uids(client: Client, tmp_path: Path) -> None:
    alone = await post(client, body(b"no DICOM at all" * 20))
    assert (alone.status_code, values(alone, "0008119A", "00081197")) == (400, [0xC210])
    mixed = await post(client, body(b"", file(tmp_path)))
    assert (mixed.status_code, values(mixed, "0008119A", "00081197")) == (202, [0xC210])


async def test_a_cut_instance_is_named(client: Client, images: Images, tmp_path: Path) -> None:
    response = await post(client, body(file(tmp_path)[:-100]))
    assert (response.status_code, values(response, "00081198", "00081155")) == (409, ["2.25.1"])
    assert images.index.file("2.25.1") is None
    assert list(images.files.spool.iterdir()) == []


async def test_a_body_without_its_end_keeps_what_came_whole(client: Client, tmp_path: Path) -> None:
    whole = body(file(tmp_path), file(tmp_path, SOPInstanceUID="2.25.2"))
    response = await post(client, whole[:-200])
    assert (response.status_code, values(response, "00081199", "00081155")) == (202, ["2.25.1"])
    assert values(response, "0008119A", "00081197") == [0xC213]
    assert (await post(client, whole[:200])).status_code == 400


async def test_a_file_head_that_names_another_class_is_a_warning(client: Client, tmp_path: Path) -> None:
    made = pydicom.dcmread(making.write(tmp_path / "a.dcm", making.dataset()))
    made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.save_as(tmp_path / "b.dcm", enforce_file_format=False)
    response = await post(client, body((tmp_path / "b.dcm").read_bytes()))
    assert (response.status_code, values(response, "00081199", "00081196")) == (202, [0xB007])


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 415), ("", 415), ('multipart/related; type="text/plain"; boundary=B', 415),
        ("multipart/form-data; boundary=B", 415), ('multipart/related; type="application/dicom"', 400),
        ("multipart/related; boundary=B", 200), ("multipart/related; type=application/dicom; boundary=B",
        200), ('Multipart/Related; Type="application/dicom"; Boundary="B"', 200),
    ],
)  # fmt: skip
async def test_content_types(client: Client, tmp_path: Path, kind: str, status: int) -> None:
    assert (await post(client, body(file(tmp_path)), kind)).status_code == status


async def test_single_part(client: Client, tmp_path: Path) -> None:
    response = await post(client, file(tmp_path), "application/dicom")
    assert (response.status_code, values(response, "00081199", "00081155")) == (200, ["2.25.1"])
    assert (await post(client, b"", "application/dicom")).status_code == 400
    assert (await post(client, body())).status_code == 400


async def test_the_answer_in_xml(client: Client, tmp_path: Path) -> None:
    response = await post(client, body(file(tmp_path)), Accept="application/dicom+xml")
    assert response.headers["content-type"] == "application/dicom+xml"
    found = dicom_xml.parse(response.content)
    assert found["00081199"]["Value"][0]["00081155"]["Value"] == ["2.25.1"]
    assert (await post(client, body(file(tmp_path)), Accept="image/png")).status_code == 406


async def test_an_address_that_is_no_uid(client: Client, tmp_path: Path) -> None:
    assert (await post(client, body(file(tmp_path)), to="studies/abc")).status_code == 400


@pytest.mark.parametrize("access", [
    Access("Client/a", (Scope("ImagingStudy", "rs"),), None), Access("Client/a", (Scope("Patient", "c"),),
    None), Access("Practitioner/me", (Scope("*", "cruds"),), frozenset({"Practitioner/me"})),
])  # fmt: skip
async def test_storing_needs_the_right_to(
    client: Client, images: Images, tmp_path: Path, access: Access
) -> None:
    client.access = access
    assert (await post(client, body(file(tmp_path)))).status_code == 403
    assert images.index.file("2.25.1") is None
    client.access = Access("Client/a", (Scope("ImagingStudy", "c"),), None)
    assert (await post(client, body(file(tmp_path)))).status_code == 200


@pytest.mark.parametrize("name", SYNTAX_FILES)
async def test_every_transfer_syntax(client: Client, images: Images, name: str) -> None:
    sent = await asyncio.to_thread(Path(str(get_testdata_file(name))).read_bytes)
    response = await post(client, body(sent))
    assert response.status_code == 200, response.text
    (uid,) = values(response, "00081199", "00081155")
    kept = images.index.file(uid)
    assert kept is not None
    assert images.files.path(kept.path).read_bytes() == sent


def apart(form: str, bulk: bytes, bulk_head: str, **changes: Any) -> tuple[bytes, str]:
    """A metadata and bulk data body, and its content type."""
    made = making.dataset(**{"PixelData": None, **changes})
    attributes = {**made.to_json_dict(), "7FE00010": {"vr": "OW", "BulkDataURI": "bulk/1"}}
    data = dicom_xml.dump(attributes) if form.endswith("xml") else orjson.dumps([attributes])
    content = (
        f"--B\r\nContent-Type: {form}\r\n\r\n".encode() + data
        + f"\r\n--B\r\nContent-Type: {bulk_head}\r\nContent-Location: bulk/1\r\n\r\n".encode() + bulk
        + b"\r\n--B--\r\n"
    )  # fmt: skip
    return content, f'multipart/related; type="{form}"; boundary=B'


@pytest.mark.parametrize("form", ["application/dicom+json", "application/dicom+xml"])
async def test_metadata_and_bulk_data(client: Client, images: Images, form: str) -> None:
    pixels = np.arange(256, dtype="<u2").tobytes()
    response = await post(client, *apart(form, pixels, "application/octet-stream"))
    assert response.status_code == 200, response.text
    kept = images.index.file("2.25.1")
    assert kept is not None
    stored = pydicom.dcmread(images.files.path(kept.path))
    assert stored.PixelData == pixels
    assert (stored.PatientName, stored.StudyDescription) == ("LABORDE^Henri", "Crâne")
    assert stored.WindowCenter == 40
    assert list(images.files.spool.iterdir()) == []


async def test_compressed_bulk_data_and_bulk_data_that_is_missing(client: Client, images: Images) -> None:
    frame = b"\xff\xd8\xff\xc0\x00\x04\x00\x00" + bytes(50) + b"\xff\xd9"
    response = await post(client, *apart("application/dicom+json", frame, "image/jpeg"))
    assert response.status_code == 200, response.text
    kept = images.index.file("2.25.1")
    assert kept is not None
    assert kept.transfer_syntax == JPEGBaseline8Bit
    content, kind = apart("application/dicom+json", b"", "image/jpeg", SOPInstanceUID="2.25.2")
    missing = await post(
        client, content.replace(b"Content-Location: bulk/1", b"Content-Location: other"), kind
    )
    assert (missing.status_code, values(missing, "00081198", "00081197")) == (409, [0xC003])
    assert list(images.files.spool.iterdir()) == []


@pytest.mark.parametrize(
    "metadata",
    [
        b"", b"{", b"[]", b"[1]", b'{"00080018": 3}', b'{"00080018":{"vr":"UI","Value":[{}]}}',
        b'[{"00100010":{"vr":"XX","Value":["a"]}}]', b"\xff\xfe", b'[{"zz":{"vr":"UI"}}]',
        b'{"00081140":{"vr":"SQ","Value":' + b'[{"00081140":{"vr":"SQ","Value":' * 400 + b"[]" + b"}}]" *
        400 + b"}}",
    ],
)  # fmt: skip
async def test_hostile_metadata(client: Client, metadata: bytes) -> None:
    kind = 'multipart/related; type="application/dicom+json"; boundary=B'
    response = await post(client, body(metadata, kind="application/dicom+json"), kind)
    assert response.status_code in (400, 409), response.text


@pytest.mark.parametrize("metadata", [
    b"", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><NativeDicomModel/>", b"<NativeDicomModel>",
    b"<NativeDicomModel><DicomAttribute/></NativeDicomModel>",
    b"<NativeDicomModel>" + b'<DicomAttribute tag="00081140" vr="SQ"><Item number="1">' * 100
    + b"</Item></DicomAttribute>" * 100 + b"</NativeDicomModel>",
])  # fmt: skip
async def test_hostile_xml(client: Client, metadata: bytes) -> None:
    kind = 'multipart/related; type="application/dicom+xml"; boundary=B'
    response = await post(client, body(metadata, kind="application/dicom+xml"), kind)
    assert response.status_code in (400, 409), response.text


async def test_memory_is_flat(client: Client, tmp_path: Path) -> None:
    """200 MB in pieces; what Python holds never grows with it."""
    pixels = bytes(2 * 1024 * 1024)
    part = file(tmp_path, Rows=1024, Columns=1024, PixelData=pixels)

    async def stream() -> AsyncIterator[bytes]:
        for n in range(100):
            one = part.replace(b"2.25.1\0", b"2.25.%d\0" % (n + 1) if n < 9 else b"2.25.1\0")
            yield b"--B\r\nContent-Type: application/dicom\r\n\r\n"
            for at in range(0, len(one), 65536):
                yield one[at : at + 65536]
                await asyncio.sleep(0)
            yield b"\r\n"
        yield b"--B--\r\n"

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    response = await client.post("studies", content=stream(), headers={"Content-Type": DICOM})
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert response.status_code == 200, response.text
    assert peak < 60_000_000


def test_xml_and_json_say_the_same() -> None:
    made = making.dataset()
    attributes = made.to_json_dict()
    attributes["7FE00010"] = {"vr": "OW", "InlineBinary": base64.b64encode(made.PixelData).decode()}
    attributes["00081140"] = {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]}
    attributes["00100010"] = {
        "vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic":
        "やまだ^たろう"}]
    }  # fmt: skip
    assert dicom_xml.parse(dicom_xml.dump(attributes)) == attributes


async def test_one_that_cannot_be_indexed_spoils_no_other(
    client: Client, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instances of a body are committed together; when that fails, each in its own."""
    add = type(images.index).add

    def failing(self: Any, instances: Sequence[Instance]) -> list[Outcome]:
        if any(one.uid == "2.25.3" for one in instances):
            raise OSError("disk I/O error")
        return add(self, instances)

    monkeypatch.setattr(type(images.index), "add", failing)
    parts = [file(tmp_path, SOPInstanceUID=f"2.25.{n}") for n in range(1, 6)]
    answer = await post(client, body(*parts), Accept="application/dicom+json")
    assert answer.status_code == 202
    assert values(answer, "00081198", "00081155") == ["2.25.3"]
    assert values(answer, "00081198", "00081197") == [0xC211]
    assert values(answer, "00081199", "00081155") == ["2.25.1", "2.25.2", "2.25.4", "2.25.5"]
    assert {one.uid for one in images.index.files(making.STUDY)} == {"2.25.1", "2.25.2", "2.25.4", "2.25.5"}
