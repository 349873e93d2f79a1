"""Several frames as a film: MP4 with AV1. PS3.18 §8.7.4 (rendered media types), §10.4.1.1.3"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicomweb import cine
from profiles.outcomes import NotAcceptable
from tests.dicomweb import making
from tests.dicomweb.test_wado import ONE, Client, Take, parts_of

FRAMES, SIDE = 5, 40
FILM = {"Accept": "video/mp4"}


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Kind, where its content begins and ends; those of the movie box too."""
    at, end = start, len(data) if end is None else end
    while at < end:
        length, kind = struct.unpack_from(">L4s", data, at)
        yield kind, at + 8, at + length
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            yield from boxes(data, at + 8, at + length)
        at += length


def looked_at(film: bytes) -> tuple[int, int, tuple[int, int]]:
    """Frames, milliseconds, size; what lies in `mdat` is what the samples' sizes say."""
    found = {kind: (start, end) for kind, start, end in boxes(film)}
    count = struct.unpack_from(">L", film, found[b"stsz"][0] + 8)[0]
    sizes = struct.unpack_from(f">{count}L", film, found[b"stsz"][0] + 12)
    start, end = found[b"mdat"]
    assert sum(sizes) == end - start
    assert struct.unpack_from(">Q", film, found[b"co64"][0] + 8)[0] == start
    entry = found[b"stsd"][0] + 8
    assert film[entry + 4 : entry + 8] == b"av01"
    clock, length = struct.unpack_from(">LL", film, found[b"mdhd"][0] + 12)
    width, height = struct.unpack_from(">LL", film, found[b"tkhd"][1] - 8)
    return count, length * 1000 // clock, (width >> 16, height >> 16)


@pytest.fixture
def stored(take: Take, tmp_path: Path) -> None:
    pixels = np.stack([np.full((SIDE, SIDE), 40 + 40 * n, np.uint8) for n in range(FRAMES)])
    take(making.write(tmp_path / "cine.dcm", making.dataset(
        NumberOfFrames=FRAMES, Rows=SIDE, Columns=SIDE, PixelData=pixels.tobytes(), BitsAllocated=8,
        BitsStored=8, HighBit=7, WindowCenter=128, WindowWidth=256, RescaleIntercept=0, RescaleSlope=1,
        FrameTime=50,
    )))  # fmt: skip


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("place", "frames"),
    [("rendered", FRAMES), ("frames/2,4,5/rendered", 3), ("rendered?viewport=20,20", FRAMES)],
)
async def test_a_film_of_frames(client: Client, place: str, frames: int) -> None:
    answer = await client.get(f"{ONE}/{place}", headers=FILM)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4"), answer.text[:300]
    side = 20 if "viewport" in place else SIDE
    assert looked_at(answer.content) == (frames, frames * 50, (side, side))


@pytest.mark.usefixtures("stored")
async def test_a_player_asks_by_ranges(client: Client) -> None:
    """What was made is kept: the parts belong together, and to the whole."""
    whole = await client.get(f"{ONE}/rendered", headers=FILM)
    parts = [
        await client.get(f"{ONE}/rendered", headers={**FILM, "Range": span})
        for span in ("bytes=0-99", "bytes=100-")
    ]
    assert [one.status_code for one in parts] == [206, 206]
    assert b"".join(one.content for one in parts) == whole.content
    again = await client.get(f"{ONE}/rendered", headers={**FILM, "If-None-Match": whole.headers["etag"]})
    assert again.status_code == 304
    other = await client.get(f"{ONE}/rendered?window=10,10", headers=FILM)
    assert other.headers["etag"] != whole.headers["etag"]
    assert other.content != whole.content


@pytest.mark.usefixtures("stored")
async def test_a_film_as_the_part_of_an_answer(client: Client) -> None:
    answer = await client.get(f"{ONE}/rendered", headers={"Accept": 'multipart/related; type="video/mp4"'})
    ((kind, content),) = parts_of(answer)
    assert kind == "video/mp4"
    assert looked_at(content)[0] == FRAMES


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("place", ["frames/2/rendered", "thumbnail"])
async def test_one_frame_is_no_film(client: Client, place: str) -> None:
    answer = await client.get(f"{ONE}/{place}", headers=FILM)
    assert answer.status_code == 406
    assert "image/jpeg" in answer.text


async def test_an_image_of_one_frame_is_no_film(client: Client, take: Take, tmp_path: Path) -> None:
    for path in making.files(tmp_path, 1):
        take(path)
    found = (await client.get("instances")).json()
    study, series, uid = (found[0][tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    place = f"studies/{study}/series/{series}/instances/{uid}/rendered"
    assert (await client.get(place, headers=FILM)).status_code == 406
    assert (await client.get(place, headers={"Accept": "image/png"})).status_code == 200


def test_pictures_of_no_size_are_refused() -> None:
    with pytest.raises(NotAcceptable):
        cine.encode([Image.new("L", (0, 0))] * 2, 85, 100)


@pytest.mark.peer("chromium")
async def test_a_browser_plays_it() -> None:
    """Of an odd size, in greys: every frame is shown for its time, in its shade."""
    from playwright.async_api import async_playwright

    shades = [30, 90, 150, 210]
    film = cine.encode([Image.new("L", (51, 33), shade) for shade in shades], 90, 250)
    look = """async film => {
        const player = document.createElement('video'), seen = [];
        player.muted = true; player.preload = 'auto';
        await new Promise((ok, no) => {
            player.onloadeddata = ok; player.onerror = () => no(player.error.message);
            player.src = 'data:video/mp4;base64,' + film;
        });
        const canvas = document.createElement('canvas'), page = canvas.getContext('2d');
        for (const at of [0.12, 0.37, 0.62, 0.87]) {
            await new Promise(ok => { player.onseeked = ok; player.currentTime = at; });
            page.drawImage(player, 0, 0);
            seen.push(page.getImageData(25, 16, 1, 1).data[0]);
        }
        return [player.duration, player.videoWidth, player.videoHeight, seen];
    }"""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            page = await browser.new_page()
            seconds, width, height, seen = await page.evaluate(look, base64.b64encode(film).decode())
        finally:
            await browser.close()
    assert (seconds, width, height) == (1, 51, 33)
    assert all(abs(a - b) <= 3 for a, b in zip(seen, shades, strict=True)), seen


def test_the_encoder_is_there() -> None:
    """Pillow's wheels have it; without it films are not offered."""
    assert cine.is_possible()
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "AVIF")
    assert out.getvalue()[8:12] == b"avif"
