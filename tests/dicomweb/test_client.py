"""dicomweb-client over a real socket: what a Python viewer does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from dicomweb_client.api import DICOMwebClient
from starlette.applications import Starlette

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.routes import routes
from tests.dicomweb import making
from tests.dicomweb.conftest import As


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_search_and_retrieve(images: Images, take: Callable[..., Outcome], tmp_path: Path) -> None:
    for path in making.files(tmp_path, 3):
        take(path)
    listener = socket.create_server(("127.0.0.1", 0))
    app = As(Starlette(routes=routes(images)))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    client = DICOMwebClient(f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web")
    try:
        (study,) = await asyncio.to_thread(client.search_for_studies, search_filters={"PatientName": "LAB*"})
        assert study["0020000D"]["Value"] == [making.STUDY]
        assert len(await asyncio.to_thread(client.search_for_instances, making.STUDY)) == 3
        found = await asyncio.to_thread(client.retrieve_study, making.STUDY)
        assert [one.InstanceNumber for one in found] == [1, 2, 3]
        assert len(await asyncio.to_thread(client.retrieve_study_metadata, making.STUDY)) == 3
        frames = await asyncio.to_thread(
            client.retrieve_instance_frames, making.STUDY, making.SERIES, "2.25.1.2", [1]
        )
        assert frames[0] == np.arange(256, dtype="<u2").tobytes()
    finally:
        client._session.close()
        server.should_exit = True
        await serving
        listener.close()
