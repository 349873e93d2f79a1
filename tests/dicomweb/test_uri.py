"""WADO-URI: PS3.18 §9."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from dicomweb import dicom_xml
from dicomweb.index.contract import Outcome
from tests.dicomweb import making
from tests.dicomweb.conftest import Client

Take = Callable[..., Outcome]
ONE = f"wado?requestType=WADO&studyUID={making.STUDY}&seriesUID={making.SERIES}&objectUID=2.25.1"


@pytest.fixture
def path(take: Take, tmp_path: Path) -> Path:
    path = making.write(tmp_path / "a.dcm", making.dataset(WindowCenter=-900, WindowWidth=300))
    take(path)
    return path


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", "image/jpeg"), ("&contentType=image/png", "image/png"), ("&contentType=image/gif", "image/gif"),
        ("&contentType=application/dicom", "application/dicom"),
        ("&contentType=image/tiff,image/png", "image/png"),
        ("&contentType=application/dicom%2Bjson", "application/dicom+json"),
        ("&contentType=application/dicom%2Bxml", "application/dicom+xml"),
        ("&contentType=image/*", "image/jpeg"),
    ],
)  # fmt: skip
async def test_content_types(client: Client, path: Path, query: str, kind: str) -> None:
    answer = await client.get(ONE + query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    if kind == "application/dicom":
        assert answer.content == await asyncio.to_thread(path.read_bytes)
    elif kind.startswith("image/"):
        assert Image.open(io.BytesIO(answer.content)).size == (16, 16)
    else:
        found = answer.json()[0] if kind.endswith("json") else dicom_xml.parse(answer.content)
        assert found["00080018"]["Value"] == ["2.25.1"]


async def test_parameters(client: Client, path: Path) -> None:
    async def shown(query: str) -> np.ndarray:
        answer = await client.get(f"{ONE}&contentType=image/png&{query}")
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    assert (await shown("rows=8&columns=8")).shape == (8, 8)
    assert (await shown("columns=4")).shape == (4, 4)
    assert (await shown("region=0,0,0.5,0.25")).shape == (4, 8)
    plain = await shown("")
    assert np.array_equal(await shown("region=0.5,0.5,1,1"), plain[8:, 8:])
    assert not np.array_equal(await shown("windowCenter=-1000&windowWidth=10"), plain)
    assert np.array_equal(await shown("windowCenter=-900&windowWidth=300&frameNumber=1"), plain)
    made = await client.get(f"{ONE}&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.5")
    found = pydicom.dcmread(io.BytesIO(made.content))
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"
    assert np.array_equal(found.pixel_array, pydicom.dcmread(path).pixel_array)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (ONE.replace("WADO&", "OTHER&"), 400), ("wado", 400), (ONE.replace("studyUID", "x"), 400),
        (ONE.replace("seriesUID", "x"), 400), (ONE.replace("objectUID", "x"), 400), (ONE + "x", 400),
        (ONE + "9", 404), (ONE.replace(making.STUDY, "2.25.9"), 404), (ONE + "&contentType=video/mpeg", 406),
        (ONE + "&frameNumber=2", 404), (ONE + "&frameNumber=a", 400), (ONE + "&windowCenter=1", 400),
        (ONE + "&windowCenter=a&windowWidth=1", 400), (ONE + "&rows=0", 400), (ONE + "&region=0,0,2,1", 400),
        (ONE + "&region=a", 400), (ONE + "&imageQuality=0", 400), (ONE + "&anonymize=yes", 400),
        (ONE + "&contentType=application/dicom&transferSyntax=1.2.3", 406),
    ],
)  # fmt: skip
async def test_bad_requests(client: Client, path: Path, query: str, status: int) -> None:
    assert (await client.get(query)).status_code == status


async def test_a_multiframe_is_a_file_unless_a_frame_is_named(
    client: Client, take: Take, tmp_path: Path
) -> None:
    pixels = np.arange(512, dtype="<u2").tobytes()
    take(making.write(tmp_path / "m.dcm", making.dataset(NumberOfFrames=2, PixelData=pixels)))
    assert (await client.get(ONE)).headers["content-type"] == "application/dicom"
    assert (await client.get(ONE + "&frameNumber=2")).headers["content-type"] == "image/jpeg"
