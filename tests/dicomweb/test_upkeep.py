"""Files over years: damage is found and named, orphans are adopted, what is masked leaves the disk, whoever
dies when."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from dicomweb import integrity, wholeness
from dicomweb.files import sha256_of
from dicomweb.images import Images
from dicomweb.index.contract import Damage, File, Outcome, Trace
from dicomweb.index.sqlite import SqliteIndex
from dicomweb.ingest import Arrival, ingest
from dicomweb.storage import packing, purging, scanning
from dicomweb.storage.figures import Figures
from dicomweb.storage.upkeep import Upkeep
from fhir_server.settings import Settings
from tests.dicomweb import making

Take = Callable[..., Outcome]
EVER = 10**18
DAY = 86_400_000_000
WHOLE = Trace(5, "Device/x", "wrong patient")


def stored(images: Images, take: Take, folder: Path, count: int = 3) -> list[File]:
    for path in making.files(folder / "made", count):
        assert take(path) == "stored"
    return list(images.index.files(making.STUDY))


def orphans(images: Images) -> list[str]:
    return list(integrity.orphans(images.index, images.files, settled=-1))


def damage_missing(images: Images, file: File) -> None:
    images.files.original(file.path).unlink()


def damage_altered(images: Images, file: File) -> None:
    with images.files.original(file.path).open("r+b") as opened:
        opened.seek(300)
        opened.write(b"zz")


def damage_cut(images: Images, file: File) -> None:
    os.truncate(images.files.original(file.path), file.size - 1)


def damage_packed(images: Images, file: File) -> None:
    packing.step(images.index, images.files, EVER)
    with images.files.packed(file.path).open("r+b") as opened:
        opened.seek(60)
        opened.write(b"zzzz")


def damage_dangling(images: Images, file: File) -> None:
    images.files.original(file.path).unlink()
    images.files.original(file.path).symlink_to("nowhere")


def damage_pipe(images: Images, file: File) -> None:
    images.files.original(file.path).unlink()
    os.mkfifo(images.files.original(file.path))


def damage_packed_pipe(images: Images, file: File) -> None:
    packing.step(images.index, images.files, EVER)
    images.files.packed(file.path).unlink()
    os.mkfifo(images.files.packed(file.path))


DAMAGES = [
    (damage_missing, wholeness.MISSING),
    (damage_dangling, wholeness.MISSING),
    (damage_altered, wholeness.ALTERED),
    (damage_cut, wholeness.ALTERED),
    (damage_pipe, wholeness.ALTERED),
    (damage_packed, wholeness.UNREADABLE),
    (damage_packed_pipe, wholeness.UNREADABLE),
]


@pytest.mark.parametrize(("harm", "what"), DAMAGES)
def test_damage_is_named_and_remembered(
    images: Images, take: Take, tmp_path: Path, harm: Callable[[Images, File], None], what: str
) -> None:
    files = stored(images, take, tmp_path)
    assert list(integrity.findings(images.index, images.files)) == []
    kept = images.files.original(files[1].path).read_bytes()
    harm(images, files[1])
    assert list(integrity.findings(images.index, images.files)) == [f"instance {files[1].uid}: {what}"]
    assert scanning.step(images.index, images.files, 10**9, EVER) == 3
    assert images.index.damaged() == [Damage(files[1].path, files[1].uid, what, EVER)]
    images.files.original(files[1].path).unlink(missing_ok=True)
    images.files.original(files[1].path).write_bytes(kept)  # restored from a backup
    images.files.packed(files[1].path).unlink(missing_ok=True)
    assert scanning.step(images.index, images.files, 10**9, EVER + 1) == 0  # the next begins a day later
    assert scanning.step(images.index, images.files, 10**9, EVER + DAY) == 3
    assert images.index.damaged() == []


@pytest.mark.parametrize(("harm", "what"), DAMAGES)
def test_what_was_damaged_and_comes_again_is_whole_again(
    images: Images, take: Take, tmp_path: Path, harm: Callable[[Images, File], None], what: str
) -> None:
    """It is acknowledged as known: then it must be here."""
    first, *others = stored(images, take, tmp_path)
    harm(images, first)
    assert wholeness.state(images.files, first) == what
    images.index.put_damage(Damage(first.path, first.uid, what, 1))
    again = next(path for path in making.files(tmp_path / "again", 3) if sha256_of(path) == first.sha256)
    assert take(again) == "duplicate"
    assert [wholeness.state(images.files, one) for one in (first, *others)] == [""] * 3
    assert sha256_of(images.files.path(first.path)) == first.sha256
    assert images.index.damaged() == []
    assert list(integrity.findings(images.index, images.files)) == []


def test_a_disk_that_fails_on_one_file_holds_no_scan_up(
    images: Images, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = stored(images, take, tmp_path)

    def failing(path: Path) -> str:
        if path == images.files.original(files[1].path):
            raise OSError(errno.EIO, "Input/output error")
        return sha256_of(path)

    monkeypatch.setattr(wholeness, "sha256_of", failing)
    assert scanning.step(images.index, images.files, 10**9, EVER) == 3
    assert images.index.damaged() == [Damage(files[1].path, files[1].uid, wholeness.CLOSED, EVER)]
    assert images.index.get_mark(scanning.ENDED) == EVER


def test_a_scan_keeps_to_its_budget_and_goes_on(images: Images, take: Take, tmp_path: Path) -> None:
    files = stored(images, take, tmp_path, 5)
    damage_missing(images, files[4])
    steps = []
    while not images.index.get_mark(scanning.ENDED):
        steps.append(scanning.step(images.index, images.files, 2 * files[0].size - 1, EVER + len(steps)))
    assert steps == [2, 2, 1]
    assert [one.uid for one in images.index.damaged()] == [files[4].uid]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_file_whose_commit_never_came_is_named_and_adopted(
    images: Images, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_packed: bool
) -> None:
    """Killed between putting the file in place and the commit of the index."""
    stored(images, take, tmp_path)

    def die(*_any: object) -> None:
        raise Killed

    path = making.write(tmp_path / "a", making.dataset(SOPInstanceUID="2.25.77"))
    with monkeypatch.context() as patched:
        patched.setattr(SqliteIndex, "add", die)
        with pytest.raises(Killed):
            ingest(path, Arrival(1, "CT1", "ct1"), images.files, images.index)
    (orphan,) = orphans(images)
    if is_packed:
        original = images.files.original(orphan)
        file = replace(next(images.index.files(making.STUDY)), path=orphan, sha256=original.name,
                       size=original.stat().st_size, layout=b'["none",0,0,0,[]]')  # fmt: skip
        assert packing.pack(images.files, file, dict)
    assert list(integrity.orphans(images.index, images.files)) == []  # too young: it may be on its way
    assert integrity.adopt(images.index, images.files, orphan, 9) == f"file {orphan}: stored"
    assert images.index.file("2.25.77")
    assert orphans(images) == []
    assert list(integrity.findings(images.index, images.files)) == []
    assert [path.name for path in images.files.spool.iterdir()] == []


def test_what_cannot_be_adopted_stays_and_is_told(images: Images, take: Take, tmp_path: Path) -> None:
    (file, *_others) = stored(images, take, tmp_path)
    folder = images.files.root / "dicom" / "ab"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(images.files.original(file.path), folder / ("ab" * 32))
    (other,) = orphans(images)
    assert "not what its name says" in integrity.adopt(images.index, images.files, other, 9)
    (folder / ("ab" * 32)).unlink()
    text = b"no DICOM"
    name = hashlib.sha256(text).hexdigest()
    place = images.files.root / "dicom" / name[:2]
    place.mkdir(exist_ok=True)
    (place / name).write_bytes(text)
    (unreadable,) = orphans(images)
    assert integrity.adopt(images.index, images.files, unreadable, 9).endswith("unreadable")
    assert orphans(images) == [unreadable]


STRANGERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a pipe": ("ab" * 32, lambda path: os.mkfifo(path)),
    "a folder": ("ab" * 32, lambda path: path.mkdir()),
    "a link that leads nowhere": ("ab" * 32, lambda path: path.symlink_to("nowhere")),
    "a link out of the folder": ("ab" * 32, lambda path: path.symlink_to(__file__)),
    "a name that is none": ("notes.txt", lambda path: path.touch()),
    "a name in two lines": ("a\n1b[31m", lambda path: path.touch()),
    "a name that is no text": (os.fsdecode(b"a\xff"), lambda path: path.touch()),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_strangers_among_the_files_are_told_and_left_alone(
    images: Images, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    stored(images, take, tmp_path)
    name, make = STRANGERS[what]
    folder = images.files.root / "dicom" / "ab"
    folder.mkdir(exist_ok=True)
    make(folder / name)
    (stranger,) = orphans(images)
    assert stranger.isprintable()
    monkeypatch.setattr(integrity, "orphans", lambda *_any: [stranger])
    assert list(integrity.findings(images.index, images.files)) == [
        f"file {stranger}: no instance has it (it is none of ours)"
    ]
    told = integrity.adopt(images.index, images.files, stranger, 9)
    assert told == f"file {stranger}: left where it is, it is no file that is named by its content"
    assert os.path.lexists(folder / name)
    images.index.put_damage(Damage(stranger, "", "no instance has it", 1))  # as a scan does


def test_what_leaves_while_we_look_is_not_there(
    images: Images, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are compressed and purged meanwhile."""
    files = stored(images, take, tmp_path)
    scan = os.scandir

    def late(folder: Path) -> Iterator[os.DirEntry[str]]:
        for entry in list(scan(folder)):
            Path(entry.path).unlink()
            yield entry

    monkeypatch.setattr(os, "scandir", late)
    assert orphans(images) == []
    assert [images.files.original(one.path).exists() for one in files] == [False] * 3


def test_masked_files_leave_after_their_grace(images: Images, take: Take, tmp_path: Path) -> None:
    files = stored(images, take, tmp_path)
    packing.step(images.index, images.files, EVER, 1)
    images.files.path(files[0].path)  # expanded for a reader
    images.index.mask((making.STUDY, None, files[0].uid), WHOLE)
    images.index.mask((making.STUDY, None, files[1].uid), WHOLE)
    later = (time.time_ns() // 1000) + 2 * DAY
    assert purging.step(images.index, images.files, 5, later) == 0  # masked at 5, not before
    assert purging.step(images.index, images.files, 6, int(purging.FRESH * 1e6)) == 0  # just placed
    assert purging.step(images.index, images.files, 6, later) == 2
    assert purging.step(images.index, images.files, 6, later) == 0
    left = [path for path in images.files.root.rglob("*") if path.is_file()]
    assert left == [images.files.original(files[2].path)]
    assert [(one.uid, one.trace) for one in images.index.masked(making.STUDY)] == [
        (file.uid, WHOLE) for file in files[:2]
    ]
    assert list(integrity.findings(images.index, images.files)) == []


def test_a_purge_killed_in_between_ends_later(
    images: Images, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(images, take, tmp_path)
    images.index.mask((making.STUDY, None, None), WHOLE)
    later = (time.time_ns() // 1000) + 2 * DAY

    def die(*_any: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(SqliteIndex, "mark_purged", die)
        with pytest.raises(Killed):
            purging.step(images.index, images.files, 6, later)
    assert purging.step(images.index, images.files, 6, later) == 3
    assert images.index.purgeable(6, 10) == []


def test_what_came_again_is_not_purged(images: Images, take: Take, tmp_path: Path) -> None:
    """The same bytes are in sight again: their file stays, the trace of the masking too."""
    (file,) = stored(images, take, tmp_path, 1)
    images.index.mask((making.STUDY, None, None), WHOLE)
    assert take(tmp_path / "made" / "1.dcm") == "stored"
    later = (time.time_ns() // 1000) + 2 * DAY
    assert purging.step(images.index, images.files, 6, later) == 1
    assert wholeness.state(images.files, file) == ""
    assert len(images.index.masked(making.STUDY)) == 1


async def test_the_rounds(images: Images, take: Take, tmp_path: Path, settings: Settings) -> None:
    """One round does all that is set, and nothing that is not."""
    files = stored(images, take, tmp_path)
    images.index.mask((making.STUDY, None, files[2].uid), WHOLE)
    idle = replace(settings, scan_rate="0")
    await once(Upkeep(images.index, images.files, idle, lambda: EVER))
    assert all(images.files.original(file.path).exists() for file in files)
    assert images.index.get_mark(scanning.BEGAN) == 0
    busy = replace(settings, compress_after="1d", purge_after="1d", scan_rate="1MB")
    await once(Upkeep(images.index, images.files, busy, lambda: EVER))
    assert [images.files.original(file.path).exists() for file in files] == [False, False, False]
    assert [images.files.packed(file.path).exists() for file in files] == [True, True, False]
    assert images.index.get_mark(scanning.ENDED) == EVER


async def once(upkeep: Upkeep) -> None:
    stop = asyncio.Event()
    tidied = upkeep.files.close_opened

    def last(older: float) -> int:
        loop.call_soon_threadsafe(stop.set)
        return tidied(older)

    loop = asyncio.get_running_loop()
    upkeep.files.close_opened = last  # type: ignore[method-assign]
    await asyncio.wait_for(upkeep.run(stop), 20)
    upkeep.files.close_opened = tidied  # type: ignore[method-assign]


def test_figures(images: Images, take: Take, tmp_path: Path) -> None:
    files = stored(images, take, tmp_path)
    images.files.quotas = {"*": 5000}
    damage_missing(images, files[0])
    scanning.step(images.index, images.files, 10**9, 7_000_000 + DAY)
    registry = CollectorRegistry()
    registry.register(Figures(images.index, images.files))
    told = dict(
        line.rsplit(" ", 1) for line in generate_latest(registry).decode().splitlines() if line[0] != "#"
    )
    assert told.pop("teledossier_images_free_bytes")
    assert {name: float(value) for name, value in told.items()} == {
        'teledossier_images_bytes{site="ct1"}': sum(file.size for file in files),
        'teledossier_images_instances{site="ct1"}': 3,
        'teledossier_images_quota_bytes{site="*"}': 5000,
        "teledossier_images_damaged": 1,
        "teledossier_images_scan_ended_seconds": 86_407,
    }
