"""A worker's process ended (`_exit`, nothing is cleaned up) at every point where a transfer changes what
lasts.

The points are each statement that writes to the queue or the index, each file that is placed, renamed or
removed, and the moments before and after the PACS gets or gives an instance. After each end: what is
acknowledged is there. After one more run: everything is there, once. The PACS is a folder, so it outlives
every process.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydicom import dcmread

from dicomweb.coercion.identity import Identity
from dicomweb.decoding import Decoder
from dicomweb.files import DicomFiles
from dicomweb.index.sqlite import SqliteIndex
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Attributes, Fetched, Level, Sendable, Taker, Wanted
from dicomweb.transfers.delivered import Deliveries, Rejection
from dicomweb.transfers.lane import Lane
from dicomweb.transfers.moving import Importing, Relaying
from dicomweb.transfers.notes import WRONG_ENTRY, Withdrawal
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import Order
from dicomweb.transfers.rejecting import Rejecting
from dicomweb.transfers.standing import Standing
from tests.dicomweb import making

KILLED = 137
PEER = Peer("pacs", "PACS", "Organization/chu-tls", "dimse", verify="content", uses=frozenset({"relay"}))
MARTIN = Identity("TL-1", "chu-tls", "MARTIN^Jean", "19800101", "M")
WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "BEGIN")


class Points:
    """Counts the points that were passed; ends the process at the `last`."""

    def __init__(self, last: int = 0) -> None:
        self.passed, self.last = 0, last

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            os._exit(KILLED)

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*values: Any, **named: Any) -> Any:
            self()
            made = act(*values, **named)
            self()
            return made

        return acted

    def install(self) -> None:
        """In this process, for good."""
        connect = sqlite3.connect

        def traced(*values: Any, **named: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(*values, **named)
            made.set_trace_callback(lambda sql: self() if sql.lstrip().startswith(WRITES) else None)
            return made

        sqlite3.connect = traced  # type: ignore[assignment]
        for name in ("replace", "unlink"):
            setattr(Path, name, self.around(getattr(Path, name)))
        os.fsync = self.around(os.fsync)


@dataclass
class Folder:
    """A PACS: one file an instance, and a line in a log for each that came."""

    root: Path
    point: Callable[[], None]

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        found = [
            dcmread(path, stop_before_pixels=True)
            for path in sorted((self.root / keys["StudyInstanceUID"]).glob("*.dcm"))
        ]
        wanted = [
            one for one in found
            if all(str(one.get(name, "")) == value for name, value in keys.items())
        ]  # fmt: skip
        if level == "series":
            return [
                {"0020000E": {"vr": "UI", "Value": [uid]}}
                for uid in {one.SeriesInstanceUID for one in wanted}
            ]
        return [
            {
                "00080018": {"vr": "UI", "Value": [one.SOPInstanceUID]},
                "00200013": {"vr": "IS", "Value": [one.InstanceNumber]},
            }
            for one in wanted
        ]

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        for one in wanted:
            spooled = self.root.parent / "files" / "spool" / f"peer-{one.instance}-{os.getpid()}"
            shutil.copyfile(self.root / one.study / f"{one.instance}.dcm", spooled)
            self.point()
            take(spooled)
            self.point()
            yield Fetched(one.instance)

    def send(self, one: Sendable) -> str:
        self.point()
        folder = self.root / str(dcmread(one.path, stop_before_pixels=True).StudyInstanceUID)
        folder.mkdir(exist_ok=True)
        part = folder / f"{one.instance}.part"
        shutil.copyfile(one.path, part)
        os.rename(part, folder / f"{one.instance}.dcm")
        self.point()
        return one.transfer_syntax

    def close(self) -> None:
        pass


@dataclass
class Place:
    """What lasts: the folders of one platform and one PACS."""

    root: Path
    identity: Identity = MARTIN
    receipts: list[Any] = field(default_factory=list)

    def opened(self) -> tuple[Queue, SqliteIndex, DicomFiles]:
        queue, index = Queue(self.root / "transfers.db"), SqliteIndex(self.root / "dicom.db")
        files = DicomFiles(self.root / "files")
        files.open()
        queue.open()
        index.open()
        (self.root / "pacs").mkdir(exist_ok=True)
        return queue, index, files

    def run(self, points: Points) -> None:
        """The lane until nothing waits."""
        queue, index, files = self.opened()
        now = lambda: time.time_ns() // 1000  # noqa: E731
        deliveries = Deliveries(queue)
        ways = {
            "import": Importing(PEER, files, index, now),
            "relay": Relaying(
                PEER,
                files,
                index,
                Decoder(),
                deliveries,
                now,
                lambda _order: Standing(True, "p", self.identity),
            ),
            "reject": Rejecting(PEER, files, index, deliveries),
        }
        Lane(
            PEER, queue, Folder(self.root / "pacs", points), ways, lambda _claims: "signed",  # type: ignore[arg-type]
            ZoneInfo("Europe/Paris"), self.root / "locks", now,
        ).run()  # fmt: skip
        queue.close()
        index.close()

    def child(self, last: int = 0) -> int:
        """The same in a process of its own, which ends at that point; returns the points it passed, 0 =
        killed."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(read)
                points = Points(last)
                points.install()
                self.run(points)
                os.write(write, str(points.passed).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read) as pipe:
            passed = pipe.read()
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) in (0, KILLED)
        return int(passed or 0)

    def there(self) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in (self.root / "pacs").glob("*/*.dcm")}

    def check(self) -> None:
        """What is acknowledged is there, with the bytes that were acknowledged."""
        queue, index, files = self.opened()
        present = self.there()
        for id, kind, study in queue.rows("SELECT id, kind, study FROM transfer"):
            for item in queue.items(str(id)):
                if item.state != "done":
                    continue
                if kind == "import":
                    file = index.file(item.instance)
                    assert file is not None
                    assert files.path(file.path).exists()
                elif kind == "reject":
                    assert item.instance in present
                else:
                    known = Deliveries(queue).of("pacs", str(study))
                    assert item.instance in {row.instance for row in known}
                    assert item.instance in present
        queue.close()
        index.close()


STUDY = "2.25.100"


def prepared(place: Place, kind: str) -> str:
    """Three instances of two series where they come from, and an order; its id."""
    place.root.mkdir()
    queue, index, files = place.opened()
    for number in (1, 2, 3):
        change = {"SeriesInstanceUID": f"2.25.20{number % 2}", "SOPInstanceUID": f"2.25.1.{number}"}
        path = place.root / f"{number}.dcm"
        making.write(path, making.dataset(InstanceNumber=number, **change))
        if kind == "import":
            given(place, STUDY, path)
        else:
            ingest(path, Arrival(1), files, index)
    if kind == "reject":
        id = queue.submit(Order("relay", "pacs", STUDY, 2), 1).id
        queue.close()
        index.close()
        place.run(Points())
        queue, index, files = place.opened()
        rows = Deliveries(queue).of("pacs", STUDY)
        wanted = Withdrawal("pacs", rows, WRONG_ENTRY)
        instances = tuple((row.series, row.instance, row.sop_class) for row in rows)
        note = Rejection(wanted.uid, "pacs", STUDY, "", MARTIN, 1, WRONG_ENTRY, instances)
        Deliveries(queue).reject(note, Order("reject", "pacs", STUDY, 1, series=(wanted.uid,)))
    id = queue.submit(Order("import" if kind == "import" else "relay", "pacs", STUDY, 2), 1).id
    queue.close()
    index.close()
    return id


def given(place: Place, study: str, path: Path) -> None:
    """The PACS has it."""
    folder = place.root / "pacs" / study
    folder.mkdir(exist_ok=True)
    shutil.move(path, folder / f"{dcmread(path, stop_before_pixels=True).SOPInstanceUID}.dcm")


def whole(place: Place, kind: str, id: str) -> None:
    """Everything is there, once, and the receipt was made."""
    queue, index, files = place.opened()
    after = queue.get(id)
    assert after is not None
    assert (after.state, after.done, after.failed, after.total) == ("done", 3, 0, 3)
    assert queue.receipt(id) == "signed"
    uids = [f"2.25.1.{number}" for number in (1, 2, 3)]
    assert sorted(file.uid for file in index.files(STUDY)) == uids
    assert [len(index.conflicts(uid)) for uid in uids] == [0, 0, 0]
    placed = sorted(path.name for path in (files.root / "dicom").glob("??/*"))
    assert placed == sorted(file.sha256 for file in index.files(STUDY))
    found = [dcmread(BytesIO(data)) for data in place.there().values()]
    images, notes = ([one for one in found if (one.Modality == "KO") == is_note] for is_note in (False, True))
    assert (len(images), len(notes)) == {"import": (3, 0), "relay": (3, 0), "reject": (6, 1)}[kind]
    if kind != "import":
        assert {str(one.PatientName) for one in images} == {"MARTIN^Jean"}
        times = {one.OriginalAttributesSequence[0].AttributeModificationDateTime for one in images}
        assert len(times) <= 2  # the same moment, whatever was killed
    queue.close()
    index.close()


@pytest.mark.parametrize("kind", ["import", "relay", "reject"])
def test_every_point(kind: str, tmp_path: Path) -> None:
    place = Place(tmp_path / "whole")
    id = prepared(place, kind)
    count = place.child()
    whole(place, kind, id)
    assert count > 20
    step = 1 if os.environ.get("EVERY_POINT") else 3
    for last in range(1, count + 1, step):
        place = Place(tmp_path / f"at-{last}")
        id = prepared(place, kind)
        assert place.child(last) == 0  # killed
        place.check()
        assert place.child() > 0
        whole(place, kind, id)
        shutil.rmtree(place.root)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_transfers_with_kills_at_any_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half imports, half relays; after each kill another process goes on."""
    place, chance = Place(tmp_path / "all"), random.Random("a thousand")
    place.root.mkdir()
    queue, index, files = place.opened()
    for number in range(1000):
        kind = "import" if number % 2 else "relay"
        study = f"2.25.9{number:04}"
        change = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": f"{study}.1",
            "SOPInstanceUID": f"{study}.1.1",
        }
        path = making.write(place.root / "made.dcm", making.dataset(**change))
        if kind == "import":
            given(place, study, path)
        else:
            ingest(path, Arrival(1), files, index)
        queue.submit(Order(kind, "pacs", study, chance.randint(0, 2)), 1)  # type: ignore[arg-type]
    queue.close()
    index.close()
    kills, began = 0, time.monotonic()
    while not place.child(chance.randint(1, 400)):
        kills += 1
        if kills % 20 == 0:
            place.check()
    place.check()
    queue, index, files = place.opened()
    states = queue.rows("SELECT kind, state, reason, count(*) FROM transfer GROUP BY 1, 2, 3 ORDER BY 1")
    assert states == [("import", "done", "", 500), ("relay", "done", "", 500)]
    uids = sorted(f"2.25.9{number:04}.1.1" for number in range(1000))
    assert sorted(place.there()) == uids
    placed = sorted(path.name for path in (files.root / "dicom").glob("??/*"))
    known = [index.file(uid) for uid in uids]
    assert placed == sorted(file.sha256 for file in known if file)
    assert len(placed) == 1000
    assert index.conflicted() == []
    with capsys.disabled():
        took = time.monotonic() - began
        print(f"\n1,000 transfers, {kills} kills, {took:.0f} s: nothing missing, nothing twice")
    assert kills > 50
    queue.close()
    index.close()
