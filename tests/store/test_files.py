"""Content files: whole or not there, kept once, read in ranges."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhir_server.store.files import Files, Stored

TEXT = b"0123456789" * 60_000
SHA256 = hashlib.sha256(TEXT).hexdigest()


async def pieces(*chunks: bytes, failing: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if failing:
        raise ConnectionError("the sender went away")


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_write_is_named_by_its_content(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert not files.exists(SHA256)
    assert await files.write(pieces(TEXT[:7], b"", TEXT[7:])) == Stored(SHA256, len(TEXT))
    assert files.exists(SHA256)
    assert files.size(SHA256) == len(TEXT)
    with files.open(SHA256) as file:
        assert file.read() == TEXT
    await files.write(pieces(TEXT))
    assert everything(tmp_path) == [f"{SHA256[:2]}/{SHA256[2:4]}/{SHA256}"]


async def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with pytest.raises(ConnectionError):
        await files.write(pieces(b"half", failing=True))
    assert everything(tmp_path) == []


async def test_a_killed_write_leaves_a_spool_file_that_the_sweep_removes(tmp_path: Path) -> None:
    files = Files(tmp_path)
    await files.write(pieces(TEXT))
    (tmp_path / "spool" / "1-killed.part").write_bytes(b"half")
    assert files.sweep() == 0
    assert files.sweep(older_than=0) == 1
    assert everything(tmp_path) == [f"{SHA256[:2]}/{SHA256[2:4]}/{SHA256}"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (5, None),
        (3, 12),
        (0, 0),
        (599_990, 700_000),
        (700_000, None),
        (262_140, 262_150),
        (0, 600_000),
    ],
)
async def test_ranges(tmp_path: Path, start: int, end: int | None) -> None:
    files = Files(tmp_path)
    await files.write(pieces(TEXT))
    assert b"".join([piece async for piece in files.read(SHA256, start, end)]) == TEXT[start:end]


@pytest.mark.parametrize("name", ["", "../" * 21 + "x", SHA256.upper(), SHA256 + "\n", "é" * 64])
def test_only_a_digest_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        Files(tmp_path).path(name)


async def test_what_is_not_there(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert files.remove(SHA256) is False
    with pytest.raises(FileNotFoundError):
        files.size(SHA256)
    with pytest.raises(FileNotFoundError):
        _ = [piece async for piece in files.read(SHA256)]
