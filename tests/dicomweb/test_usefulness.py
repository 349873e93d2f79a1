"""Which series goes first: exact orders of exams as modalities write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dicomweb.index.contract import Outcome
from dicomweb.peers.session import Attributes, Fetched, Level, Taker, Wanted
from dicomweb.transfers.usefulness import Described, described, early, in_order, rank
from tests.dicomweb import making
from tests.dicomweb.test_transfers import FAKE, Desk, Fake, desk, queue

__all__ = ["desk", "queue"]  # fixtures

STROKE_CT = [
    ("CT", "Scout", 1, 2),
    ("CT", "Dose Report", 999, 1),
    ("CT", "MIP Cor TSA", 12, 40),
    ("CT", "Perfusion 5mm", 8, 600),
    ("CT", "Angio TSA 0.6", 6, 700),
    ("CT", "Bolus Tracking", 5, 12),
    ("CT", "Crâne SANS injection 2.0", 2, 90),
    ("CT", "Thorax", 20, 200),
    ("SR", "Compte rendu", 30, 1),
    ("PR", "Presentation", 31, 1),
]
STROKE_MR = [
    ("MR", "3 plans", 1, 9), ("MR", "T1 SE SAG", 2, 24), ("MR", "Ax FLAIR", 5, 30),
    ("MR", "TOF Willis", 7, 120),
    ("MR", "ADC map", 4, 30), ("MR", "DIFFUSION b1000", 3, 60), ("MR", "T2* EG", 6, 30),
    ("MR", "Perf DSC", 8, 800),
    ("MR", "MIP TOF", 9, 24),
]  # fmt: skip


@pytest.mark.parametrize(
    ("exam", "expected"),
    [
        (STROKE_CT, [30, 2, 6, 8, 20, 12, 31, 1, 5, 999]),
        (STROKE_MR, [3, 4, 5, 6, 7, 8, 2, 9, 1]),
        ([("CT", "Axial", 2, 300), ("CT", "", 1, 1)], [2, 1]),  # one image without a name: not read by itself
        ([("CT", "", 1, None), ("CT", "Axial", 2, None)], [1, 2]),  # nobody says how many: by number
        ([("DX", "Face", 1, 1), ("DX", "Profil", 2, 1)], [1, 2]),
        ([("MR", "Bras / arm T1", 3, 20), ("MR", "T1", 2, 20)], [3, 2]),
        ([], []),
    ],
)
def test_the_most_useful_series_first(
    exam: list[tuple[str, str, int, int | None]], expected: list[int]
) -> None:
    series = [
        Described(f"1.{number}", modality, text, number, images) for modality, text, number, images in exam
    ]
    assert in_order(series) == [f"1.{number}" for number in expected]
    assert in_order(reversed(series)) == [f"1.{number}" for number in expected]


def test_equals_go_by_number_then_uid_and_those_without_number_last() -> None:
    equal = [Described("1.9", "CT"), Described("1.8", "CT"), Described("1.7", "CT", number=3)]
    assert in_order(equal) == ["1.7", "1.8", "1.9"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("LOCALIZER", 90), ("Repérage", 90), ("TOPOGRAMME 0.6", 90), ("Iso-topogramme", 90), ("Stopover", 40)],
)
def test_words_are_beginnings_of_words(words: str, expected: int) -> None:
    assert rank(Described("1", "CT", words)) == expected


def test_one_image_of_each_comes_early() -> None:
    assert early([["a1", "a2"], ["b1", "b2"], [], ["c1"]]) == ["a1", "a2", "b1", "c1", "b2"]
    assert early([]) == []


def test_read_from_the_answer_of_a_pacs() -> None:
    row = {
        "0020000E": {"vr": "UI", "Value": ["1.2"]}, "00080060": {"vr": "CS", "Value": ["CT"]},
        "0008103E": {"vr": "LO", "Value": ["Scout"]}, "00200011": {"vr": "IS", "Value": ["7"]},
        "00201209": {"vr": "IS", "Value": [2]},
    }  # fmt: skip
    assert described(row) == Described("1.2", "CT", "Scout", 7, 2)
    assert described({"0020000E": {"vr": "UI", "Value": ["1.2"]}}) == Described("1.2")


SERIES = {
    "2.25.201": ("Localizer", 1, 2),
    "2.25.202": ("Angio TSA", 2, 4),
    "2.25.203": ("Sans injection", 3, 4),
}


def stroke(folder: Path) -> dict[str, list[Path]]:
    """Three series of a stroke's CT, in files; by series."""
    return {
        uid: [
            making.write(
                folder / f"{uid}-{n}.dcm",
                making.dataset(
                    SeriesInstanceUID=uid, SeriesDescription=text, SeriesNumber=number, InstanceNumber=n,
                    SOPInstanceUID=f"{uid}.{n}",
                ),
            )
            for n in range(1, count + 1)
        ]
        for uid, (text, number, count) in SERIES.items()
    }  # fmt: skip


def test_a_relay_sends_the_most_useful_series_first(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    for paths in stroke(tmp_path).values():
        for path in paths:
            take(path)
    session = Fake()
    desk.order("relay", FAKE)
    desk.run(FAKE, session)
    expected = [*(f"203.{n}" for n in range(1, 5)), *(f"202.{n}" for n in range(1, 5)), "201.1", "201.2"]
    assert session.sent == [f"2.25.{one}" for one in expected]


@dataclass
class Listing(Fake):
    """A PACS that lists its series as it likes, the localizer first."""

    asked: list[str] = field(default_factory=list)

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        if level == "series":
            return [
                {"0020000E": {"vr": "UI", "Value": [uid]}, "00080060": {"vr": "CS", "Value": ["CT"]},
                 "0008103E": {"vr": "LO", "Value": [text]}, "00200011": {"vr": "IS", "Value": [number]}}
                for uid, (text, number, _count) in SERIES.items()
            ]  # fmt: skip
        found = [uid for uid in self.there if uid.startswith(keys["SeriesInstanceUID"])]
        return [
            {"00080018": {"vr": "UI", "Value": [uid]}, "00200013": {"vr": "IS", "Value": [int(uid[-1])]}}
            for uid in reversed(found)
        ]

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        self.asked += [one.instance for one in wanted]
        yield from super().fetch(wanted, take)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ((), ["203.1", "203.2", "203.3", "203.4", "202.1", "201.1", "202.2", "202.3", "202.4", "201.2"]),
        (("2.25.201", "2.25.202"), ["202.1", "202.2", "202.3", "202.4", "201.1", "201.2"]),
    ],
)
def test_an_import_fetches_the_most_useful_series_first_and_one_image_of_each_other(
    chosen: tuple[str, ...], expected: list[str], desk: Desk, tmp_path: Path
) -> None:
    made = [path for paths in stroke(tmp_path).values() for path in paths]
    there = {path.stem.replace("-", "."): path.read_bytes() for path in made}
    session = Listing(there=there, folder=str(tmp_path))
    transfer = desk.order("import", FAKE, series=chosen)
    desk.run(FAKE, session)
    assert desk.after(transfer).state == "done"
    assert session.asked == [f"2.25.{one}" for one in expected]
