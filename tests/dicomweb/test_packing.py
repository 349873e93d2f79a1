"""Compression at rest: the original comes back byte for byte, whatever is asked of it, whenever the packer
dies."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydicom.uid import ImplicitVRLittleEndian

from dicomweb import wholeness
from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.storage import packed, packing
from dicomweb.storage.packed import Broken, Shape
from fhir_server.settings import Settings
from tests.dicomweb import making

Take = Callable[..., Outcome]
EVER = 10**18
NOISE = np.random.default_rng(3)


def smooth(*shape: int) -> Any:
    """Samples as an image has them: near their neighbours, with noise."""
    return np.cumsum(NOISE.integers(-3, 4, shape), axis=-1)


CT = {"Rows": 64, "Columns": 128, "PixelData": (smooth(64, 128) + 1000).astype("<i2").tobytes()}
KINDS: dict[str, dict[str, Any]] = {
    "CT of 16 bits": CT,
    "eight frames": {**CT, "NumberOfFrames": 8, "PixelData": smooth(8, 64, 128).astype("<i2").tobytes()},
    "colours of 8 bits": {
        "Rows": 64, "Columns": 64, "SamplesPerPixel": 3, "PlanarConfiguration": 0, "BitsAllocated": 8,
        "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "RGB",
        "PixelData": smooth(64, 64, 3).astype("u1").tobytes(),
    },
    "no pixels": {"PixelData": None, "StudyDescription": "x" * 64, "ImageComments": "long " * 2000},
}  # fmt: skip


@given(some.binary(max_size=600), some.sampled_from([0, 1, 2]), some.integers(0, 12), some.integers(0, 3))
def test_a_block_comes_back(data: bytes, item: int, row: int, lag: int) -> None:
    shape = Shape(item, row, lag)
    assert packed.decoded(packed.encoded(data, shape), len(data), shape) == data


@given(
    some.integers(0, 300),
    some.lists(some.tuples(some.integers(-5, 300), some.integers(-2, 90)), max_size=6),
)
def test_blocks_are_the_whole_file(size: int, frames: list[tuple[int, int]]) -> None:
    """Whatever a layout says, also a wrong one."""
    at = 0
    for start, length, _shape in packed.cut(size, frames, packed.RAW):
        assert start == at
        assert length > 0
        at += length
    assert at == size


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_outside_knows(
    images: Images, take: Take, tmp_path: Path, client: httpx.AsyncClient, kind: str
) -> None:
    """The file, its frames and their ETags before and after."""
    path = making.write(tmp_path / "a.dcm", making.dataset(**KINDS[kind]))
    assert take(path) == "stored"
    base = f"/studies/{making.STUDY}/series/{making.SERIES}/instances/2.25.1"
    asked = [
        (base, {"Accept": "application/dicom; transfer-syntax=*"}),
        (base, {"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=100-399"}),
        (base, {"Accept": f"application/dicom; transfer-syntax={ImplicitVRLittleEndian}"}),
        (f"{base}/metadata", {}),
    ]
    if "pixels" not in kind:
        asked += [
            (f"{base}/frames/1", {"Accept": "application/octet-stream"}),
            (f"{base}/frames/1/rendered", {"Accept": "image/png"}),
            (f"{base}/bulkdata/7FE00010", {"Accept": "application/octet-stream"}),
        ]
    before = [await client.get(url, headers=headers) for url, headers in asked]
    file = images.index.file("2.25.1")
    assert file
    assert {answer.status_code for answer in before} <= {200, 206}
    saved = packing.step(images.index, images.files, EVER)
    assert saved
    assert saved.files == 1
    assert 0 < saved.after < packing.WORTH * saved.before
    assert not images.files.original(file.path).exists()
    for (url, headers), old in zip(asked, before, strict=True):
        new = await client.get(url, headers=headers)
        assert (new.status_code, new.content, new.headers.get("etag")) == (
            old.status_code, old.content, old.headers.get("etag")
        )  # fmt: skip
    assert list(images.files.spool.iterdir()) == []
    assert images.files.path(file.path).read_bytes() == path.read_bytes()
    assert take(path) == "duplicate"
    assert packing.step(images.index, images.files, EVER) is None


class Killed(BaseException):
    pass


@pytest.mark.parametrize("point", ["write", "proof", "rename", "remove"])
def test_killed_anywhere_the_file_is_there(
    images: Images, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    for n in range(3):
        uid = f"2.25.1.{n}"
        take(making.write(tmp_path / f"{n}.dcm", making.dataset(SOPInstanceUID=uid, **CT)))
    files = {file.uid: file for file in images.index.files(making.STUDY)}

    def die(*_any: object, **_named: object) -> None:
        raise Killed

    where = {
        "write": (packed, "encoded"), "proof": (packing, "_proved"), "rename": (packing.os, "replace"),
        "remove": (packing, "_remove"),
    }[point]  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(*where, die)
        with pytest.raises(Killed):
            packing.step(images.index, images.files, EVER)
    for uid, file in files.items():
        content = images.files.path(file.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256, uid
    assert packing.step(images.index, images.files, EVER)
    for file in files.values():
        assert not images.files.original(file.path).exists()
        assert images.files.packed(file.path).exists()
        assert hashlib.sha256(images.files.path(file.path).read_bytes()).hexdigest() == file.sha256


def test_what_is_not_worth_it_or_not_whole_stays(images: Images, take: Take, tmp_path: Path) -> None:
    noise = NOISE.integers(0, 65536, (64, 128), "<u2").tobytes()
    take(making.write(tmp_path / "a.dcm", making.dataset(**{**CT, "PixelData": noise})))
    take(making.write(tmp_path / "b.dcm", making.dataset(SOPInstanceUID="2.25.2", **CT)))
    altered = images.index.file("2.25.2")
    assert altered
    with images.files.original(altered.path).open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"zz")
    saved = packing.step(images.index, images.files, EVER)
    assert saved == packing.Saved()
    assert all(images.files.original(one.path).exists() for one in images.index.files(making.STUDY))


def test_only_what_came_before(images: Images, take: Take, tmp_path: Path) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset(**CT)), received=5)
    assert packing.step(images.index, images.files, 5) is None
    assert packing.step(images.index, images.files, 6) == packing.Saved(
        1,
        images.index.file("2.25.1").size,
        next((images.files.root / "packed").rglob("*/*")).stat().st_size,  # type: ignore[union-attr]
    )


def test_a_damaged_packed_file_is_never_another(tmp_path: Path) -> None:
    """Cut or changed at any place: what comes back is the original or an error."""
    source, made = tmp_path / "a", tmp_path / "b"
    data = bytes(400) + CT["PixelData"] + b"end"
    source.write_bytes(data)
    packed.write(source, made, packed.cut(len(data), [(400, len(CT["PixelData"]))], Shape(2, 128)))
    whole = made.read_bytes()
    assert packed.read(made, [(398, 10), (len(data) - 5, 5)]) == data[398:408] + data[-5:]
    for at in range(0, len(whole), 97):
        made.write_bytes(whole[:at])
        with pytest.raises(Broken):
            b"".join(packed.pieces(made))
    made.write_bytes(whole)
    with pytest.raises(Broken):
        packed.read(made, [(len(data) - 2, 5)])


PACKER = """
import sys, time
from pathlib import Path
from dicomweb.files import DicomFiles
from dicomweb.index.sqlite import SqliteIndex
from dicomweb.storage import packing
index, files = SqliteIndex(Path(sys.argv[1])), DicomFiles(Path(sys.argv[2]))
index.open()
files.open()
while packing.step(index, files, 10**18, 1):
    pass
print("done", flush=True)
"""


@pytest.mark.slow
def test_killed_by_the_system_again_and_again(
    images: Images, take: Take, settings: Settings, tmp_path: Path
) -> None:
    """`kill -9` at random moments until all is packed: every file is whole all the time, none is there
    twice."""
    for path in making.files(tmp_path / "made", 60, lambda _n: CT):
        take(path)
    files = list(images.index.files(making.STUDY))
    index = settings.sqlite_path.with_name("store-dicom.db")
    command = [sys.executable, "-c", PACKER, str(index), settings.files]
    chance, kills = Random(7), 0
    while True:
        wait = 0.2 * 1.12**kills * chance.uniform(0.9, 1.1)  # whatever the machine's pace
        try:
            told = subprocess.check_output(command, text=True, timeout=wait)
        except subprocess.TimeoutExpired:  # killed with SIGKILL
            kills += 1
        else:
            assert told == "done\n"
            break
        for file in files:
            assert wholeness.state(images.files, file) == ""
    assert kills
    for file in files:
        assert not images.files.original(file.path).exists()
        assert wholeness.state(images.files, file) == ""
