"""The index keeps counts, duplicates and conflicts right, from several threads, and refuses another
schema."""

from __future__ import annotations

import fnmatch
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomweb.images import Images
from dicomweb.index.contract import IndexMismatch, Match, Outcome, Query, Trace, Usage
from dicomweb.index.sqlite import open_index
from dicomweb.ingest import Arrival, ingest
from dicomweb.integrity import findings, notes
from dicomweb.names import fold
from fhir_server.settings import Settings
from tests.dicomweb import making

Take = Callable[..., Outcome]


def test_duplicates_change_nothing_and_conflicts_replace_nothing(
    images: Images, take: Take, tmp_path: Path
) -> None:
    first = making.write(tmp_path / "a.dcm", making.dataset())
    other = making.write(tmp_path / "b.dcm", making.dataset(PatientComments="changed"))
    assert [take(first), take(first), take(other), take(other)] == [
        "stored",
        "duplicate",
        "conflict",
        "conflict",
    ]
    study = images.index.study(making.STUDY)
    assert study is not None
    assert (study.instance_count, study.series_count, study.last_seq) == (1, 1, 1)
    kept = images.index.file("2.25.1")
    assert kept is not None
    assert images.files.path(kept.path).read_bytes() == first.read_bytes()
    (conflict,) = images.index.conflicts("2.25.1")
    assert images.files.path(conflict.path).read_bytes() == other.read_bytes()
    assert images.index.conflicted() == ["2.25.1"]
    kept_as = images.files.path(conflict.path)
    assert list(notes(images.index, images.files)) == [
        f"instance 2.25.1: another content came, kept as {kept_as}"
    ]
    assert list(findings(images.index, images.files)) == []


def test_the_same_dataset_with_another_file_head_is_a_duplicate(take: Take, tmp_path: Path) -> None:
    path = making.write(tmp_path / "a.dcm", making.dataset())
    assert take(path) == "stored"
    content = bytearray(path.read_bytes())
    content[0:4] = b"II*\0"  # a preamble of another writer
    (tmp_path / "b.dcm").write_bytes(content)
    assert take(tmp_path / "b.dcm") == "duplicate"


def test_counts_under_concurrent_duplicates(images: Images, tmp_path: Path) -> None:
    paths = making.files(tmp_path / "in", 30, lambda n: {"SeriesInstanceUID": f"2.25.20{n % 3}"})
    outcomes: list[Outcome] = []

    def deliver(worker: int) -> None:
        for path in paths:
            spooled = images.files.spool / f"{worker}-{path.name}"
            shutil.copyfile(path, spooled)
            outcomes.append(ingest(spooled, Arrival(worker), images.files, images.index))

    threads = [threading.Thread(target=deliver, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("stored"), outcomes.count("duplicate")) == (30, 90)
    study = images.index.study(making.STUDY)
    assert study is not None
    assert (study.instance_count, study.series_count) == (30, 3)
    assert sum(one.instance_count for one in images.index.series_of(making.STUDY)) == 30
    assert images.index.count(Query("instance")) == 30
    assert list(images.files.spool.iterdir()) == []


def test_due_and_processed(images: Images, take: Take, tmp_path: Path) -> None:
    paths = making.files(tmp_path, 2)
    take(paths[0], received=1000)
    assert images.index.due(999, 0) == []
    (study,) = images.index.due(1000, 0)
    take(paths[1], received=2000)
    images.index.mark_processed(study.uid, study.last_seq)
    (again,) = images.index.due(2000, 0)
    images.index.mark_processed(again.uid, again.last_seq)
    assert images.index.due(10**18, 10**18) == []
    take(paths[1], received=3000)
    assert images.index.due(10**18, 10**18) == []


def test_display_order_is_series_then_instance_number(images: Images, take: Take, tmp_path: Path) -> None:
    wanted = []
    for series, number in ((10, 2), (2, 10), (10, 1), (2, 9)):
        uid = f"2.25.{series}.{number}"
        wanted.append((series, number, uid))
        take(making.write(tmp_path / f"{uid}.dcm", making.dataset(
            SOPInstanceUID=uid, SeriesInstanceUID=f"2.25.30{series}", SeriesNumber=series,
            InstanceNumber=number,
        )))  # fmt: skip
    assert [file.uid for file in images.index.files(making.STUDY)] == [uid for _s, _n, uid in sorted(wanted)]


def test_another_schema_stops(settings: Settings) -> None:
    index = open_index(settings)
    index.open()
    index.close()
    connection = sqlite3.connect(settings.sqlite_path.with_name("store-dicom.db"))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(IndexMismatch, match="99"):
        open_index(settings).open()


def test_an_index_of_the_first_version_is_brought_to_this_one(
    settings: Settings, images: Images, take: Take, tmp_path: Path
) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset()))
    images.index.close()
    connection = sqlite3.connect(settings.sqlite_path.with_name("store-dicom.db"))
    connection.executescript(
        "DROP TABLE name; DROP TABLE masked; DROP TABLE workitem; DROP TABLE withdrawn; "
        "DROP TABLE origin; DROP TABLE commitment; "
        "DROP TABLE performed; DROP TABLE performed_study; DROP TABLE subscriber; "
        "DROP TABLE performed_order; DROP TABLE step_message; DROP TABLE step_telling; "
        "DROP TABLE subscription; DROP TABLE event; "
        "DROP TABLE spelling; DROP TABLE usage; DROP TABLE damage; "
        "ALTER TABLE study ADD COLUMN referring TEXT NOT NULL DEFAULT ''; "
        "ALTER TABLE study ADD COLUMN patient_name TEXT NOT NULL DEFAULT ''; "
        "CREATE INDEX study_name ON study(patient_name); PRAGMA user_version=1"
    )
    connection.close()
    index = open_index(settings)
    index.open()
    for name, count in (("laborde henri", 1), ("other", 0)):
        assert index.count(Query("study", (Match("study", "patient_name", "exact", (name,)),))) == count
    take_again = making.write(
        tmp_path / "b.dcm", making.dataset(StudyInstanceUID="2.25.7", SOPInstanceUID="2.25.8")
    )
    spooled = images.files.spool / "b"
    shutil.copyfile(take_again, spooled)
    assert ingest(spooled, Arrival(1), images.files, index) == "stored"
    assert index.mask(("2.25.7", None, None), Trace(1, "a", "")) == 1
    assert index.withdrawn() == ["2.25.7"]
    found = index.find(Query("study", (Match("study", "patient_name", "like", ("*bord*",)),)))
    assert [one.study for one in found] == [making.STUDY]
    index.close()


NAMES = (
    "MARTIN^Hélène", "SAINT-MARTIN^Paul", "LE GOFF^Yann=LE^GOFF", "MART^Anne", "OMAR^Li", "", "東京^太郎",
)  # fmt: skip


@pytest.mark.parametrize("few", [0, 2000], ids=["frequent", "rare"])
@pytest.mark.parametrize(
    ("how", "value"),
    [
        ("like", value)
        for value in ("mar*", "*mar*", "*mar", "*martin helene", "ma*", "*ar*", "?mar*", "*mar*ul*", "*m?rt*",
                      "*le*ya*", "*goff", "li*", "*東京*", "*zzz*")
    ] + [("words", value) for value in ("helene mart", "goff", "ma li", "paul saint", "ar", "yann zzz")]
    + [("exact", value) for value in ("martin helene", "le goff", "", "mar")],
)  # fmt: skip
def test_a_name_is_found_by_any_part(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Any, value: str, few: int
) -> None:
    """PS3.4 §C.2.2.2: whichever way the index goes, the same studies, newest first."""
    monkeypatch.setattr("dicomweb.index.queries.FEW", few)
    monkeypatch.setattr("dicomweb.index.sqlite.FEW", few)
    for n, name in enumerate(NAMES):
        path = making.write(tmp_path / "a.dcm", making.dataset(
            PatientName=name, StudyInstanceUID=f"2.25.{n}", SOPInstanceUID=f"2.25.{n}.1",
        ))  # fmt: skip
        assert ingest(path, Arrival(1), images.files, images.index) == "stored"
    words = tuple(value.split()) if how == "words" else (value,)
    expected = [
        f"2.25.{n}"
        for n, name in reversed(list(enumerate(NAMES)))
        if any(_fits(how, words, fold(group)) for group in name.split("="))
    ]
    query = Query("study", (Match("study", "patient_name", how, words),))
    for limit in (None, 1, 3):
        shown, more = images.index.page(replace(query, limit=limit), 1000)
        assert [one.study for one in shown] == expected[:limit]
        assert len(shown) + more == len(expected)
    images.index.mask(("2.25.0", None, None), Trace(1, "a", ""))
    assert [one.study for one in images.index.find(query)] == [uid for uid in expected if uid != "2.25.0"]


def _fits(how: str, words: tuple[str, ...], name: str) -> bool:
    if how == "words":
        return all(word in name for word in words)
    return fnmatch.fnmatchcase(name, words[0]) if how == "like" else name == words[0]


ADDER = """
import sys
from pathlib import Path
from dicomweb.index.contract import Instance
from dicomweb.index.sqlite import SqliteIndex
index, who = SqliteIndex(Path(sys.argv[1])), sys.argv[2]
index.open()
for n in range(60):
    attributes = {"0020000D": {"vr": "UI", "Value": ["2.25.1"]}}
    uid = f"2.25.1.{n}" if n % 2 else f"2.25.{who}.{n}"
    names = ("2.25.1", "2.25.2", uid, "1.2", "1.2.840.10008.1.2.1")
    print(index.add([Instance(*names, attributes, b"[]", uid, uid, 7, n, "A", "a")])[0])
index.close()
"""


def test_counts_from_several_processes(settings: Settings, images: Images) -> None:
    """They take turns at writing: nothing is lost, nothing counted twice."""
    path = settings.sqlite_path.with_name("store-dicom.db")
    command = [sys.executable, "-c", ADDER, str(path)]
    with ThreadPoolExecutor(3) as together:
        texts = together.map(lambda who: subprocess.check_output([*command, who], text=True), "789")
        told = [text.split() for text in texts]
    assert [len(one) for one in told] == [60, 60, 60]
    assert sum(one.count("stored") for one in told) == 3 * 30 + 30
    assert sum(one.count("duplicate") for one in told) == 2 * 30
    study = images.index.study("2.25.1")
    assert study
    assert study.instance_count == 120
    assert images.index.usage()["a"] == Usage(120, 840)
