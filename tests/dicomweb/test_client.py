"""dicomweb-client over a real socket: what a Python viewer does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from starlette.applications import Starlette

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.routes import routes
from tests.dicomweb import making
from tests.dicomweb.conftest import As

ONE = (making.STUDY, making.SERIES, "2.25.1.2")


@pytest.fixture
async def viewer(images: Images) -> AsyncIterator[DICOMwebClient]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = As(Starlette(routes=routes(images)))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web"
    client = DICOMwebClient(base)
    yield client
    client._session.close()
    server.should_exit = True
    await serving
    listener.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_search_and_retrieve(
    viewer: DICOMwebClient, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    for path in making.files(tmp_path, 3):
        take(path)

    def look() -> None:
        (study,) = viewer.search_for_studies(search_filters={"PatientName": "LAB*"})
        assert study["0020000D"]["Value"] == [making.STUDY]
        assert viewer.search_for_studies(search_filters={"PatientName": "nobody"}) == []
        assert len(viewer.search_for_series(making.STUDY, fields=["SeriesDescription"])) == 1
        assert len(viewer.search_for_instances(making.STUDY, limit=2)) == 2
        found = viewer.retrieve_study(making.STUDY)
        assert [one.InstanceNumber for one in found] == [1, 2, 3]
        assert [one.InstanceNumber for one in viewer.iter_series(making.STUDY, making.SERIES)] == [1, 2, 3]
        one = viewer.retrieve_instance(*ONE, media_types=(("application/dicom", "1.2.840.10008.1.2.4.90"),))
        assert one.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        assert len(viewer.retrieve_study_metadata(making.STUDY)) == 3
        assert len(viewer.retrieve_series_metadata(making.STUDY, making.SERIES)) == 3
        assert viewer.retrieve_instance_metadata(*ONE)["00080018"]["Value"] == [ONE[2]]

    await asyncio.to_thread(look)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
async def test_pixels(viewer: DICOMwebClient, take: Callable[..., Outcome], tmp_path: Path) -> None:
    for path in making.files(tmp_path, 2):
        take(path)
    pixels = np.arange(256, dtype="<u2").tobytes()

    def look() -> None:
        assert viewer.retrieve_instance_frames(*ONE, [1])[0] == pixels
        compressed = viewer.retrieve_instance_frames(
            *ONE, [1], media_types=(("image/jls", "1.2.840.10008.1.2.4.80"),)
        )
        assert compressed[0][:2] == b"\xff\xd8"
        metadata = viewer.retrieve_instance_metadata(*ONE)
        url = metadata["7FE00010"]["BulkDataURI"].replace("http://test/dicom-web", viewer.base_url)
        assert viewer.retrieve_bulkdata(url)[0] == pixels
        assert viewer.retrieve_bulkdata(url, byte_range=(0, 9))[0][:10] == pixels[:10]
        for kind, magic in (("image/jpeg", b"\xff\xd8"), ("image/png", b"\x89P"), ("image/gif", b"GI")):
            shown = viewer.retrieve_instance_rendered(*ONE, media_types=(kind,))
            assert shown[:2] == magic
        framed = viewer.retrieve_instance_frames_rendered(*ONE, [1], media_types=("image/png",))
        assert framed[:2] == b"\x89P"

    await asyncio.to_thread(look)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_store_and_delete(viewer: DICOMwebClient, tmp_path: Path) -> None:
    made = [pydicom.dcmread(path) for path in making.files(tmp_path, 2)]

    def look() -> None:
        answer = viewer.store_instances(made, making.STUDY)
        assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == [
            "2.25.1.1",
            "2.25.1.2",
        ]
        assert len(viewer.search_for_instances(making.STUDY)) == 2
        viewer.delete_instance(*ONE)
        assert len(viewer.search_for_instances(making.STUDY)) == 1
        viewer.delete_study(making.STUDY)
        assert viewer.search_for_studies() == []

    await asyncio.to_thread(look)
