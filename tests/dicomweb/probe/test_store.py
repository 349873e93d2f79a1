"""STOW-RS. PS3.18 §10.5 (Store Transaction), §I.2 (Store Instances Response Module), §8.7 (media types)"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicomweb import dicom_xml
from tests.dicomweb import making
from tests.dicomweb.probe.check import DICOM, JSON, XML, first
from tests.dicomweb.test_wado import bundled

KIND = 'multipart/related; type="application/dicom"; boundary=B'
_numbers = count(1)


class Fresh:
    """Instances of a study that nothing else uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = f"2.25.88{next(_numbers)}"
        self.series = f"{self.study}.1"

    def dataset(self, number: int = 1, **changes: Any) -> Dataset:
        named = {
            "StudyInstanceUID": self.study, "SeriesInstanceUID": self.series,
            "SOPInstanceUID": self.uid(number), "InstanceNumber": number, **changes,
        }  # fmt: skip
        return making.dataset(**named)

    def uid(self, number: int = 1) -> str:
        return f"{self.series}.{number}"

    def file(self, number: int = 1, **changes: Any) -> bytes:
        return making.write(self.folder / "one.dcm", self.dataset(number, **changes)).read_bytes()

    def json(self, number: int = 1, **changes: Any) -> dict[str, Any]:
        """The dataset as DICOM JSON, its pixels elsewhere."""
        made = self.dataset(number, **changes)
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made["PixelData"].VR = "OW"
        found: dict[str, Any] = made.to_json_dict(1, lambda _element: "pixels/1")
        return found


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    return Fresh(tmp_path)


def body(*parts: bytes, kind: str = DICOM, boundary: str = "B", head: str = "") -> bytes:
    made = b"".join(
        f"--{boundary}\r\nContent-Type: {kind}\r\n{head}\r\n".encode() + part + b"\r\n" for part in parts
    )
    return made + f"--{boundary}--\r\n".encode()


def apart(metadata: bytes, kind: str, pixels: bytes, media: str = "application/octet-stream") -> bytes:
    """Metadata and one bulk data part."""
    return (
        f"--B\r\nContent-Type: {kind}\r\n\r\n".encode()
        + metadata
        + f"\r\n--B\r\nContent-Type: {media}\r\nContent-Location: pixels/1\r\n\r\n".encode()
        + pixels
        + b"\r\n--B--\r\n"
    )


Send = Callable[[Fresh], tuple[str, dict[str, str], bytes]]  # path, headers, body
Then = Callable[[httpx.Response, Fresh], object]


def dicom(*numbers: int, to: str = "/studies", kind: str = KIND, **more: Any) -> Send:
    """Instances in a multipart body; `to` may name the study with {study}."""

    def send(fresh: Fresh) -> tuple[str, dict[str, str], bytes]:
        content = body(*(fresh.file(number) for number in numbers), **more)
        return to.format(study=fresh.study), {"Content-Type": kind}, content

    return send


def raw(make: Callable[[Fresh], bytes], kind: str = KIND, to: str = "/studies", **headers: str) -> Send:
    return lambda fresh: (to.format(study=fresh.study), {"Content-Type": kind, **headers}, make(fresh))


def stored(*numbers: int) -> Then:
    """These are told stored, and nothing as failed."""

    def check(answer: httpx.Response, fresh: Fresh) -> bool:
        told = answer.json()
        found = [first(item, "00081155") for item in told["00081199"]["Value"]]
        return sorted(found) == sorted(map(fresh.uid, numbers)) and "00081198" not in told

    return check


def failed(reasons: dict[int, set[int]]) -> Then:
    """These are told failed, each with one of these Failure Reasons."""

    def check(answer: httpx.Response, fresh: Fresh) -> bool:
        items = answer.json()["00081198"]["Value"]
        found = {first(item, "00081155"): first(item, "00081197") for item in items}
        return found.keys() == set(map(fresh.uid, reasons)) and all(
            found[fresh.uid(number)] in allowed for number, allowed in reasons.items()
        )

    return check


def _referenced(answer: httpx.Response, fresh: Fresh) -> bool:
    """Table I.2-1: each instance's class, UID and address; the study's address."""
    told = answer.json()
    (item,) = told["00081199"]["Value"]
    return (
        first(item, "00081150") == "1.2.840.10008.5.1.4.1.1.2"
        and first(item, "00081190").endswith(
            f"/studies/{fresh.study}/series/{fresh.series}/instances/{fresh.uid()}"
        )
        and first(told, "00081190").endswith(f"/studies/{fresh.study}")
    )


def _xml(answer: httpx.Response, fresh: Fresh) -> bool:
    (item,) = dicom_xml.parse(answer.content)["00081199"]["Value"]
    return answer.headers["content-type"].startswith(XML) and first(item, "00081155") == fresh.uid()


def _with_accept(send: Send, accept: str) -> Send:
    def made(fresh: Fresh) -> tuple[str, dict[str, str], bytes]:
        path, headers, content = send(fresh)
        return path, {**headers, "Accept": accept}, content

    return made


def _json(fresh: Fresh) -> bytes:
    return apart(json.dumps([fresh.json()]).encode(), JSON, fresh.dataset().PixelData)


def _json_object(fresh: Fresh) -> bytes:
    return apart(json.dumps(fresh.json()).encode(), JSON, fresh.dataset().PixelData)


def _json_inline(fresh: Fresh) -> bytes:
    made = fresh.json()
    made["7FE00010"] = {"vr": "OW", "InlineBinary": base64.b64encode(fresh.dataset().PixelData).decode()}
    return body(json.dumps([made]).encode(), kind=JSON)


def _xml_body(fresh: Fresh) -> bytes:
    return apart(dicom_xml.dump(fresh.json()), XML, fresh.dataset().PixelData)


def _without_bulk(fresh: Fresh) -> bytes:
    return body(json.dumps([fresh.json()]).encode(), kind=JSON)


def _changed(**changes: Any) -> Send:
    return lambda fresh: ("/studies", {"Content-Type": KIND}, body(fresh.file(1, **changes)))


JSON_KIND = f'multipart/related; type="{JSON}"; boundary=B'
XML_KIND = f'multipart/related; type="{XML}"; boundary=B'
CASES: list[tuple[str, Send, int | tuple[int, ...], tuple[Then, ...]]] = [
    ("10.5.1.1 to studies", dicom(1), 200, (stored(1), _referenced)),
    ("10.5.1.1 to a study", dicom(1, to="/studies/{study}"), 200, (stored(1), _referenced)),
    ("10.5.1.1 several at once", dicom(1, 2, 3), 200, (stored(1, 2, 3),)),
    ("10.5.2 single part", raw(lambda f: f.file(), DICOM), 200, (stored(1),)),
    ("10.5.2 single part, to a study", raw(lambda f: f.file(), DICOM, "/studies/{study}"), 200, (stored(1),)),
    ("8.7.3 type not quoted", dicom(1, kind="multipart/related; type=application/dicom; boundary=B"), 200,
     (stored(1),)),
    ("8.7.3 boundary quoted", dicom(1, kind='multipart/related; type="application/dicom"; boundary="B"'), 200,
     (stored(1),)),
    ("8.7.3 boundary first", dicom(1, kind='multipart/related; boundary=B; type="application/dicom"'), 200,
     (stored(1),)),
    ("8.7.3 no type", dicom(1, kind="multipart/related; boundary=B"), (200, 400, 415), ()),
    ("8.7.3 capitals", dicom(1, kind='Multipart/Related; Type="Application/Dicom"; Boundary=B'), 200,
     (stored(1),)),
    ("8.7.3 transfer syntax of a part", dicom(1, head="Content-Transfer-Encoding: binary\r\n"), 200,
     (stored(1),)),
    ("8.7.3 part with transfer-syntax", raw(lambda f: body(
        f.file(), kind="application/dicom; transfer-syntax=1.2.840.10008.1.2.1")), 200, (stored(1),)),
    ("8.7.3 parts with a length", raw(lambda f: body(
        f.file(), head=f"Content-Length: {len(f.file())}\r\n")), 200, (stored(1),)),
    ("RFC 2046 a boundary of 70 characters", dicom(
        1, kind=f'multipart/related; type="application/dicom"; boundary={"b" * 70}', boundary="b" * 70), 200,
     (stored(1),)),
    ("RFC 2046 odd characters in the boundary", dicom(
        1, kind='multipart/related; type="application/dicom"; boundary="a=b_c:d,e"', boundary="a=b_c:d,e"),
     200, (stored(1),)),
    ("RFC 2046 a preamble and an epilogue", raw(lambda f: b"read me\r\n" + body(f.file()) + b"the end"), 200,
     (stored(1),)),
    ("RFC 2046 an empty line first", raw(lambda f: b"\r\n" + body(f.file())), 200, (stored(1),)),
    ("RFC 2046 spaces after a boundary", raw(lambda f: body(f.file()).replace(b"--B\r\n", b"--B  \r\n")), 200,
     (stored(1),)),
    ("RFC 2046 no line end after the last boundary", raw(lambda f: body(f.file())[:-2]), 200, (stored(1),)),
    ("RFC 2046 parts without header fields", raw(
        lambda f: b"--B\r\n\r\n" + f.file() + b"\r\n--B--\r\n"), 200, (stored(1),)),
    ("RFC 2046 field names in small letters", raw(
        lambda f: body(f.file()).replace(b"Content-Type", b"content-type")), 200, (stored(1),)),
    ("10.5.2 metadata in JSON and bulk data", raw(_json, JSON_KIND), 200, (stored(1),)),
    ("10.5.2 metadata in JSON, no array", raw(_json_object, JSON_KIND), 200, (stored(1),)),
    ("10.5.2 metadata in JSON, pixels inline", raw(_json_inline, JSON_KIND), 200, (stored(1),)),
    ("10.5.2 metadata in XML and bulk data", raw(_xml_body, XML_KIND), 200, (stored(1),)),
    ("10.5.2 bulk data that did not come", raw(_without_bulk, JSON_KIND), 409, (failed({1: {0xC003}}),)),
    ("10.5.4 JSON", _with_accept(dicom(1), JSON), 200, (stored(1),)),
    ("10.5.4 XML", _with_accept(dicom(1), XML), 200, (_xml,)),
    ("10.5.4 */*", _with_accept(dicom(1), "*/*"), 200, (stored(1),)),
    ("10.5.4 XML by q", _with_accept(dicom(1), f"{JSON};q=0.2, {XML}"), 200, (_xml,)),
    ("10.5.4 neither", _with_accept(dicom(1), "image/png"), (200, 406), ()),
    ("10.5.3 of another study", raw(lambda f: body(f.file()), to="/studies/2.25.404"), 409,
     (failed({1: set(range(0xA900, 0xAA00))}),)),
    ("10.5.3 one of another study", raw(
        lambda f: body(f.file(1), f.file(2, StudyInstanceUID="2.25.404")), to="/studies/{study}"), 202,
     (failed({2: set(range(0xA900, 0xAA00))}),)),
    ("10.5.3 one that cannot be read", raw(lambda f: body(f.file(), b"no DICOM at all" * 20)), 202, ()),
    ("10.5.3 none that can be read", raw(lambda f: body(b"no DICOM at all" * 20)), (400, 409), ()),
    ("10.5.3 no SOP Class UID", _changed(SOPClassUID=None), (400, 409), ()),
    ("10.5.3 no Series Instance UID", _changed(SeriesInstanceUID=None), (400, 409), ()),
    ("10.5.3 a malformed UID", _changed(SeriesInstanceUID="1.2.x"), (400, 409), ()),
    ("10.5.3 a class that is not stored", _changed(SOPClassUID="1.2.840.10008.1.1"), 409,
     (failed({1: {0x0122}}),)),
    ("10.5.3 cut short", raw(lambda f: body(f.file()[:-200])), (400, 409), ()),
    ("10.5.3 the empty body", raw(lambda f: b""), 400, ()),
    ("10.5.3 no parts", raw(lambda f: b"--B--\r\n"), 400, ()),
    ("10.5.3 an empty part", raw(lambda f: body(b"")), (400, 409), ()),
    ("10.5.3 no boundary parameter", raw(
        lambda f: body(f.file()), 'multipart/related; type="application/dicom"'), 400, ()),
    ("10.5.3 another boundary", raw(lambda f: body(f.file(), boundary="C")), 400, ()),
    ("10.5.3 no closing boundary", raw(lambda f: body(f.file())[:-7]), (202, 400), ()),
    ("10.5.3 metadata that is no JSON", raw(lambda f: body(b"{", kind=JSON), JSON_KIND), 400, ()),
    ("10.5.3 metadata that is no XML", raw(lambda f: body(b"<x", kind=XML), XML_KIND), 400, ()),
    ("8.5 no Content-Type", raw(lambda f: body(f.file()), ""), (400, 415), ()),
    ("8.5 text", raw(lambda f: b"hello", "text/plain"), 415, ()),
    ("8.5 JSON alone", raw(lambda f: b"{}", "application/json"), (400, 415), ()),
    ("8.5 multipart of pictures", raw(
        lambda f: body(f.file(), kind="image/png"), 'multipart/related; type="image/png"; boundary=B'), 415,
     ()),
    ("8.5 form data", raw(lambda f: body(f.file()), "multipart/form-data; boundary=B"), 415, ()),
    ("10.5.3 an address that is no UID", dicom(1, to="/studies/not-a-uid"), (400, 404, 409), ()),
]  # fmt: skip


@pytest.mark.parametrize(("send", "status", "then"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_store(
    dicom: httpx.Client,
    fresh: Fresh,
    send: Send,
    status: int | tuple[int, ...],
    then: tuple[Then, ...],
) -> None:
    path, headers, content = send(fresh)
    given = {name: value for name, value in headers.items() if value}
    answer = dicom.post(path, content=content, headers=given)
    allowed = status if isinstance(status, tuple) else (status,)
    assert answer.status_code in allowed, (answer.status_code, answer.text[:300])
    for check in then:
        assert check(answer, fresh), answer.text[:500]
    kept = dicom.get("/instances", params={"StudyInstanceUID": fresh.study}, headers={"Accept": JSON})
    is_kept = kept.status_code == 200 and kept.json() != []
    assert is_kept == (answer.status_code in (200, 202)), "told stored, and is not there, or the reverse"


def test_a_stored_instance_is_there_at_once(dicom: httpx.Client, fresh: Fresh) -> None:
    """10.5.3.1: found, and given back as it was sent."""
    sent = fresh.file()
    dicom.post("/studies", content=body(sent), headers={"Content-Type": KIND}).raise_for_status()
    place = f"/studies/{fresh.study}/series/{fresh.series}/instances/{fresh.uid()}"
    again = dicom.get(place, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert again.content == sent


def test_a_body_in_chunks(dicom: httpx.Client, fresh: Fresh) -> None:
    """RFC 9112 7.1: no Content-Length, delimiters cut anywhere."""
    content = body(fresh.file(1), fresh.file(2))
    chunks = (content[at : at + 7] for at in range(0, len(content), 7))
    answer = dicom.post("/studies", content=chunks, headers={"Content-Type": KIND})
    assert (answer.status_code, stored(1, 2)(answer, fresh)) == (200, True)


def test_the_same_again(dicom: httpx.Client, fresh: Fresh) -> None:
    """10.5.3: what is there already is a success; other content under its UID is not."""
    for expected in (200, 200):
        again = dicom.post("/studies", content=body(fresh.file()), headers={"Content-Type": KIND})
        assert again.status_code == expected
    other = dicom.post(
        "/studies", content=body(fresh.file(PatientComments="other")), headers={"Content-Type": KIND}
    )
    assert (other.status_code, failed({1: {0x0110, 0x0111}})(other, fresh)) == (409, True)


def test_a_class_that_differs_from_the_file_head_is_a_warning(dicom: httpx.Client, fresh: Fresh) -> None:
    """Table I.2-2: Warning Reason B007, and 202."""
    file = fresh.file()
    at = file.index(b"1.2.840.10008.5.1.4.1.1.2\0")
    changed = file[:at] + b"1.2.840.10008.5.1.4.1.1.4\0" + file[at + 26 :]
    answer = dicom.post("/studies", content=body(changed), headers={"Content-Type": KIND})
    (item,) = answer.json()["00081199"]["Value"]
    assert (answer.status_code, first(item, "00081196")) == (202, 0xB007)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"]
)
def test_what_it_stores_is_read_back(dicom: httpx.Client, fresh: Fresh, name: str) -> None:
    """8.7.3.5: byte for byte, whatever the transfer syntax."""
    made = pydicom.dcmread(bundled(name))
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = (
        fresh.study, fresh.series, fresh.uid(),
    )  # fmt: skip
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    path = fresh.folder / name
    made.save_as(path, enforce_file_format=True)
    sent = path.read_bytes()
    answer = dicom.post("/studies", content=body(sent), headers={"Content-Type": KIND})
    assert answer.status_code == 200, answer.text
    place = f"/studies/{fresh.study}/series/{fresh.series}/instances/{fresh.uid()}"
    again = dicom.get(place, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert again.content == sent
