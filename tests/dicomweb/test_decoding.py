"""Compressed frames: rendered and decompressed in a child; a child that dies takes nothing with it."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array

from dicomweb.decoding import Decoder
from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from tests.dicomweb.conftest import Client

NAMES = [
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
]


async def test_compressed_frames(client: Client, images: Images, take: Callable[..., Outcome]) -> None:
    for name in NAMES:
        path = Path(str(get_testdata_file(name)))
        take(path)
        head = dcmread(path, stop_before_pixels=True)
        instance = (
            f"studies/{head.StudyInstanceUID}/series/{head.SeriesInstanceUID}/instances/{head.SOPInstanceUID}"
        )
        plain = await client.get(f"{instance}/frames/1", headers={"Accept": "application/octet-stream"})
        assert plain.status_code == 200, name
        expected = np.asarray(pixel_array(path, raw=True))
        assert np.frombuffer(plain.content, expected.dtype).size == expected.size
        shown = await client.get(f"{instance}/rendered", headers={"Accept": "image/jpeg"})
        assert Image.open(io.BytesIO(shown.content)).size == (head.Columns, head.Rows)
    pool = images.decoder._pool
    assert pool is not None
    for process in list(pool._processes.values()):
        os.kill(process.pid, signal.SIGKILL)
    first = await client.get(f"{instance}/rendered")
    assert first.status_code in (200, 406)
    assert (await client.get(f"{instance}/rendered")).status_code == 200


@pytest.mark.parametrize("name", ["examples_palette.dcm", "examples_ybr_color.dcm", "SC_rgb_small_odd.dcm"])
async def test_colours(client: Client, take: Callable[..., Outcome], name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    take(path)
    head = dcmread(path, stop_before_pixels=True)
    instance = (
        f"studies/{head.StudyInstanceUID}/series/{head.SeriesInstanceUID}/instances/{head.SOPInstanceUID}"
    )
    shown = await client.get(f"{instance}/rendered", headers={"Accept": "image/png"})
    picture = Image.open(io.BytesIO(shown.content))
    assert (picture.size, picture.mode) == ((head.Columns, head.Rows), "RGB")


def test_a_decoder_is_started_ahead() -> None:
    """Without waiting for it, and once."""
    decoder = Decoder(1)
    try:
        assert decoder.is_cold
        decoder.warm()
        assert not decoder.is_cold
        pool = decoder._pool
        decoder.warm()
        assert decoder._pool is pool
    finally:
        decoder.close()
