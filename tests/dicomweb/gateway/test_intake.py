"""Reception: what is checked, what makes an exam urgent, how room is kept, the same content on two lines."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dicomweb import reasons
from dicomweb.dataset import digests, read_header
from dicomweb.files import DicomFiles
from dicomweb.gateway.bell import Bell
from dicomweb.gateway.intake import Intake, Room, is_urgent, sweep
from dicomweb.gateway.outbox import Outbox
from dicomweb.gateway.outgoing import Entry
from dicomweb.ingest import Arrival
from dicomweb.reasons import Refused
from dicomweb.transfers.receipt import dataset_sha256
from tests.dicomweb import making
from tests.dicomweb.test_dimse import SYNTAX_FILES

STAT = frozenset({("priority", "STAT")})


@pytest.fixture
def files(tmp_path: Path) -> DicomFiles:
    made = DicomFiles(tmp_path / "files")
    made.open()
    return made


def intake(outbox: Outbox, files: DicomFiles, quota: int = 0, reserve: int = 0) -> Intake:
    return Intake(outbox, files, Room(outbox, files, quota, reserve), Bell(), STAT)


def spooled(files: DicomFiles, path: Path, name: str = "in") -> Path:
    target = files.spool / name
    shutil.copyfile(path, target)
    return target


def take(taking: Intake, path: Path, **said: str) -> str:
    return taking(spooled(taking.files, path), Arrival(5, "CT1", "ct1", **said))


@pytest.mark.parametrize("name", SYNTAX_FILES)
def test_the_hashes_are_those_that_receipts_have(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    assert digests(path) == (hashlib.sha256(path.read_bytes()).hexdigest(), dataset_sha256(path))


def test_kept_byte_for_byte_before_it_is_acknowledged(
    outbox: Outbox, files: DicomFiles, tmp_path: Path
) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    taking = intake(outbox, files)
    assert take(taking, path) == "stored"
    (entry,) = outbox.next(urgent=False, now=0, most=(9, 10**9))
    assert files.path(entry.path).read_bytes() == path.read_bytes()
    assert (entry.uid, entry.study, entry.ae_title, entry.received) == ("2.25.1", making.STUDY, "CT1", 5)
    assert list(files.spool.iterdir()) == []
    assert take(taking, path) == "duplicate"
    assert (outbox.summary().waiting, taking.room.kept) == (1, path.stat().st_size)


@pytest.mark.parametrize(
    ("changes", "said", "reason"),
    [
        ({"StudyInstanceUID": None}, {}, reasons.MISSING_UIDS),
        ({"SeriesInstanceUID": "x"}, {}, reasons.BAD_UIDS),
        ({}, {"sop_instance": "2.25.9"}, reasons.WRONG_INSTANCE),
        ({}, {"sop_class": "1.2.3"}, reasons.WRONG_INSTANCE),
    ],
)
def test_refused_at_once_as_the_platform_would(
    outbox: Outbox, files: DicomFiles, tmp_path: Path, changes: Any, said: Any, reason: reasons.Reason
) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset(**changes))
    taking = intake(outbox, files)
    with pytest.raises(Refused) as refused:
        take(taking, path, **said)
    assert refused.value.reason == reason
    assert (outbox.summary().waiting, taking.room.kept, list(files.spool.iterdir())) == (0, 0, [])


def test_no_room_is_a700_and_what_was_delivered_makes_room(
    outbox: Outbox, files: DicomFiles, tmp_path: Path
) -> None:
    paths = making.files(tmp_path / "sent", 3)
    size = paths[0].stat().st_size
    taking = intake(outbox, files, quota=2 * size + 10)
    assert [take(taking, path) for path in paths[:2]] == ["stored", "stored"]
    with pytest.raises(Refused) as refused:
        take(taking, paths[2])
    assert refused.value.reason.status == 0xA700
    assert outbox.summary().waiting == 2
    first = outbox.next(urgent=False, now=0, most=(1, 10**9))[0]
    outbox.settle([(first.n, "")], [], 7)
    assert take(taking, paths[2]) == "stored"
    assert not files.path(first.path).exists()
    assert taking.room.kept <= 2 * size + 10
    full = intake(outbox, files, reserve=1 << 62)
    with pytest.raises(Refused, match="No room"):
        take(full, making.write(tmp_path / "x.dcm", making.dataset(SOPInstanceUID="2.25.77")))


def test_a_disk_too_full_for_the_row_is_a700_too(outbox: Outbox, files: DicomFiles, tmp_path: Path) -> None:
    taking = intake(outbox, files)
    with outbox.using() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
    outcomes = []
    for path in making.files(tmp_path / "sent", 40):
        try:
            outcomes.append(take(taking, path))
        except Refused as refused:
            outcomes.append(refused.reason.slug)
    assert set(outcomes) == {"stored", "out-of-resources"}
    kept = [one for one in (files.root / "dicom").glob("*/*") if one.is_file()]
    assert len(kept) == outcomes.count("stored") == outbox.summary().waiting
    assert taking.room.kept == sum(path.stat().st_size for path in kept)


def test_the_same_content_on_two_associations_is_taken_once(
    outbox: Outbox, files: DicomFiles, tmp_path: Path
) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    other = tmp_path / "b.dcm"  # the same dataset under another writer's preamble
    other.write_bytes(b"II*\0" + path.read_bytes()[4:])
    taking, found, together = intake(outbox, files), [], threading.Barrier(6)

    def work(n: int) -> None:
        copy = spooled(files, other if n % 2 else path, f"in{n}")
        together.wait()
        found.append(taking(copy, Arrival(n, "CT1", "ct1")))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["duplicate"] * 5 + ["stored"]
    kept = [one for one in (files.root / "dicom").glob("*/*") if one.is_file()]
    assert len(kept) == 1
    (entry,) = outbox.next(urgent=False, now=0, most=(9, 10**9))
    assert hashlib.sha256(kept[0].read_bytes()).hexdigest() == entry.sha256


def test_what_was_never_acknowledged_is_swept(outbox: Outbox, files: DicomFiles, tmp_path: Path) -> None:
    taking = intake(outbox, files)
    take(taking, making.write(tmp_path / "a.dcm", making.dataset()))
    (files.spool / "half").write_bytes(b"half")
    orphan = files.root / "dicom" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"placed, no row")
    assert sweep(files, outbox, STAT) == 2
    (entry,) = outbox.next(urgent=False, now=0, most=(9, 10**9))
    assert files.path(entry.path).is_file()
    assert not orphan.exists()


def test_files_whose_outbox_is_gone_are_delivered(files: DicomFiles, tmp_path: Path) -> None:
    """A damaged outbox was moved away, or an older copy came back: what was acknowledged is still owed."""
    paths = making.files(tmp_path / "sent", 3)
    paths.append(making.write(tmp_path / "s.dcm", making.dataset(
        SOPInstanceUID="2.25.9", RequestAttributesSequence=[requested("STAT")])))  # fmt: skip
    outboxes = [Outbox(tmp_path / f"{n}.db") for n in range(2)]
    for one in outboxes:
        one.open()
    first, second = outboxes
    assert [take(intake(first, files), path) for path in paths] == ["stored"] * 4
    rows = {one.uid: one for kind in (True, False) for one in entries(first, urgent=kind)}
    damaged = files.path(rows["2.25.9"].path)
    assert sweep(files, second, STAT) == 0
    found = {one.uid: one for kind in (True, False) for one in entries(second, urgent=kind)}
    assert set(found) == set(rows)
    for uid, one in found.items():
        assert (one.sha256, one.dataset, one.size, one.path, one.urgent) == (
            rows[uid].sha256, rows[uid].dataset, rows[uid].size, rows[uid].path, rows[uid].urgent,
        )  # fmt: skip
    assert sweep(files, second, STAT) == 0
    with second.writing() as connection:
        connection.execute("DELETE FROM instance")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert sweep(files, second, STAT) == 1  # what is not what was acknowledged is never delivered as that
    assert not damaged.exists()
    assert second.summary().waiting == 3
    for one in outboxes:
        one.close()


def entries(outbox: Outbox, *, urgent: bool = False) -> list[Entry]:
    return outbox.next(urgent=urgent, now=0, most=(99, 10**9))


def lost(path: Path) -> None:
    path.unlink()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize("harm", [lost, damaged])
@pytest.mark.parametrize("state", ["waiting", "apart"])
@pytest.mark.parametrize("head", [b"", b"II*\0"], ids=["the same file", "another writer's file"])
def test_sent_again_after_its_file_was_lost_it_is_kept_again(
    outbox: Outbox, files: DicomFiles, tmp_path: Path, harm: Callable[[Path], None], state: str, head: bytes
) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    taking = intake(outbox, files)
    assert take(taking, path) == "stored"
    (entry,) = entries(outbox)
    harm(files.path(entry.path))
    if state == "apart":
        outbox.settle([], [(entry.n, "file-lost")], 7)
    path.write_bytes(head + path.read_bytes()[len(head) :])
    assert take(taking, path) == "stored"
    (again,) = entries(outbox)
    assert again.n == entry.n
    assert hashlib.sha256(files.path(again.path).read_bytes()).hexdigest() == again.sha256
    assert len([one for one in (files.root / "dicom").glob("*/*") if one.is_file()]) == 1
    assert taking.room.kept == path.stat().st_size
    assert take(taking, path) == "duplicate"


def test_delivered_it_is_not_wanted_again(outbox: Outbox, files: DicomFiles, tmp_path: Path) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    taking = intake(outbox, files)
    take(taking, path)
    (entry,) = entries(outbox)
    outbox.settle([(entry.n, "")], [], 7)
    files.path(entry.path).unlink()
    assert take(taking, path) == "duplicate"
    assert entries(outbox) == []


def requested(priority: str) -> Dataset:
    item = Dataset()
    item.RequestedProcedurePriority = priority
    return item


@pytest.mark.parametrize(
    ("rules", "changes", "urgent"),
    [
        ({("ae", "CT1")}, {}, True), ({("ae", "CT2")}, {}, False),
        ({("modality", "CT")}, {}, True), ({("modality", "MR")}, {}, False),
        ({("priority", "STAT")}, {}, False),
        ({("priority", "STAT")}, {"RequestedProcedurePriority": "STAT"}, True),
        ({("priority", "STAT")}, {"RequestedProcedurePriority": "ROUTINE"}, False),
        ({("priority", "STAT")}, {"RequestAttributesSequence": [requested("STAT")]}, True),
        ({("priority", "HIGH")}, {"RequestAttributesSequence": [requested("HIGH")]}, True),
        (set(), {"RequestedProcedurePriority": "STAT"}, False),
    ],
)  # fmt: skip
def test_what_makes_an_exam_urgent(rules: Any, changes: Any, urgent: bool, tmp_path: Path) -> None:
    header = read_header(making.write(tmp_path / "a.dcm", making.dataset(**changes)))
    assert is_urgent(rules, "CT1", header.attributes) == urgent
