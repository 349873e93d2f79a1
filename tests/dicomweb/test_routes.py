"""The routes end to end, in process: what is found, retrieved, rendered, and refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from dicomweb.index.contract import Outcome
from tests.dicomweb import making
from tests.dicomweb.conftest import Client

Take = Callable[..., Outcome]
INSTANCE = f"studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.1"


def parts_of(response: httpx.Response) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content)
    return [(part["Content-Type"], part.get_payload(decode=True)) for part in message.get_payload()]  # type: ignore


async def test_metadata_has_every_attribute_and_names_the_pixels(
    client: Client, take: Take, tmp_path: Path
) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset()))
    response = await client.get(f"studies/{making.STUDY}/metadata")
    (one,) = response.json()
    assert one["00080018"] == {"vr": "UI", "Value": ["2.25.1"]}
    assert one["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "LABORDE^Henri"}]}
    assert one["7FE00010"] == {
        "vr": "OW",
        "BulkDataURI": f"http://test/dicom-web/{INSTANCE}/bulkdata/7FE00010",
    }
    assert response.headers["content-type"] == "application/dicom+json"
    assert response.headers["cache-control"].startswith("private")


async def test_instance_bare_is_the_stored_file(client: Client, take: Take, tmp_path: Path) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    take(path)
    response = await client.get(INSTANCE, headers={"Accept": "application/dicom"})
    assert response.content == path.read_bytes()
    assert int(response.headers["content-length"]) == path.stat().st_size
    again = await client.get(
        INSTANCE, headers={"Accept": "application/dicom", "If-None-Match": response.headers["etag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize(
    "accept",
    [
        "", "*/*", 'multipart/related; type="application/dicom"', "multipart/related; type=application/dicom",
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        f'multipart/related; type="application/dicom"; transfer-syntax={making.SYNTAX}',
        'image/png;q=0.9, multipart/related; type="application/dicom"; q=0.1',
    ],
)  # fmt: skip
async def test_study_as_multipart(client: Client, take: Take, tmp_path: Path, accept: str) -> None:
    paths = making.files(tmp_path, 3)
    for path in reversed(paths):
        take(path)
    response = await client.get(f"studies/{making.STUDY}", headers={"Accept": accept})
    assert response.status_code == 200
    assert [content for _type, content in parts_of(response)] == [path.read_bytes() for path in paths]


@pytest.mark.parametrize(
    "accept", ["image/tiff", "application/dicom+xml", 'multipart/related; type="text/plain"']
)
async def test_other_media_are_406_naming_the_possible(
    client: Client, take: Take, tmp_path: Path, accept: str
) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset()))
    for path in (
        f"studies/{making.STUDY}",
        INSTANCE,
        f"{INSTANCE}/frames/1",
        f"{INSTANCE}/rendered",
        "studies",
    ):
        if (path, accept) == ("studies", "application/dicom+xml"):
            continue  # a search answers in XML
        response = await client.get(path, headers={"Accept": accept})
        assert response.status_code == 406, path
        assert "available here" in response.json()["message"]


async def test_frames_by_number(client: Client, take: Take, tmp_path: Path) -> None:
    pixels = np.arange(3 * 256, dtype="<u2").reshape(3, 16, 16)
    take(making.write(tmp_path / "a.dcm", making.dataset(NumberOfFrames=3, PixelData=pixels.tobytes())))
    accept = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    response = await client.get(f"{INSTANCE}/frames/3,1", headers=accept)
    assert [content for _type, content in parts_of(response)] == [pixels[2].tobytes(), pixels[0].tobytes()]
    bare = await client.get(f"{INSTANCE}/frames/2", headers={"Accept": "application/octet-stream"})
    assert bare.content == pixels[1].tobytes()
    assert (await client.get(f"{INSTANCE}/frames/4", headers=accept)).status_code == 404
    for bad in ("0x", "1,,2", "-1"):
        assert (await client.get(f"{INSTANCE}/frames/{bad}", headers=accept)).status_code == 400


async def test_rendered_follows_the_window(client: Client, take: Take, tmp_path: Path) -> None:
    # stored 0…255 → -1024…-769 HU
    take(making.write(tmp_path / "a.dcm", making.dataset()))
    png = {"Accept": "image/png"}

    async def shown(query: str) -> np.ndarray:
        response = await client.get(f"{INSTANCE}/frames/1/rendered{query}", headers=png)
        assert response.status_code == 200, response.text
        return np.asarray(Image.open(io.BytesIO(response.content)))

    dark = await shown("")
    assert dark.shape == (16, 16)
    assert dark.max() == 0
    ramp = await shown("?window=-896.5,256,linear-exact")
    assert ramp[0, 0] == 0
    assert ramp[-1, -1] >= 254
    assert (np.diff(ramp.reshape(-1).astype(int)) >= 0).all()
    assert (await shown("?window=-2000,10,sigmoid")).min() == 255
    assert (await shown("?viewport=8,8")).shape == (8, 8)
    for bad in (
        "window=1",
        "window=a,b",
        "window=1,-4",
        "window=nan,1",
        "viewport=0,4",
        "quality=900",
        "window=1,2,x",
    ):
        assert (await client.get(f"{INSTANCE}/rendered?{bad}", headers=png)).status_code == 400, bad


@pytest.mark.parametrize(
    "path",
    [
        "studies/2.25.999", "studies/2.25.999/metadata", f"studies/{making.STUDY}/series/2.25.9",
        f"studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.9/rendered",
        "studies/abc/metadata", "studies/1.2.%27x/metadata",
    ],
)  # fmt: skip
async def test_absent_is_404(client: Client, take: Take, tmp_path: Path, path: str) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset()))
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "no-such-images")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/dicom-web/nosuch", 404, None), ("GET", "/dicom-web/studies/1/nosuch", 404, None),
        ("POST", "/gateway/nosuch", 404, None), ("GET", "/gateway", 404, None),
        ("PUT", "/dicom-web/transfers", 405, "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/dicom-web/conflicts", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", "/gateway/sites", 405, "GET, HEAD, OPTIONS"),
        ("TRACE", "/gateway/health", 405, "OPTIONS, POST"),
        ("OPTIONS", "/gateway/errands", 204, "GET, HEAD, OPTIONS"),
    ],
)  # fmt: skip
async def test_what_no_room_answers(
    client: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    """In the same words on every address of the images. RFC 9110 §15.5.6"""
    answer = await client.request(method, f"http://test{path}")
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert status == 204 or answer.json()["status"] == status
