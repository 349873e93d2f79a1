"""Searches in the image index by its size, by hand: `python -m bench.qido [STUDIES …]`, 2,000 and 200,000 if
none is given. In process, medians; made-up names with the frequencies of a French region.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from dicomweb.index.contract import Instance
from dicomweb.index.sqlite import SqliteIndex
from dicomweb.qido import answer, parse

BATCH = 500
RUNS = 9
SYLLABLES = (
    "ba",
    "ber",
    "che",
    "du",
    "fau",
    "gar",
    "jo",
    "la",
    "mar",
    "mo",
    "nar",
    "pel",
    "ri",
    "sau",
    "ti",
    "vi",
)
GIVEN = ("Marie", "Jean", "Françoise", "Hélène", "Paul", "Anne-Sophie", "Louis", "Zoé", "Karim", "Nadège")
ASKED: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("exact patient ID", (("PatientID", "P1500"),)),
    ("accession number", (("AccessionNumber", "A1500"),)),
    ("name by its beginning, frequent", (("PatientName", "MAR*"),)),
    ("name by its beginning, rare", (("PatientName", "MARBERCHE*"),)),
    ("name by an inner part, frequent", (("PatientName", "*ar*"),)),
    ("name by an inner part", (("PatientName", "*berche*"),)),
    ("name by an inner part, rare", (("PatientName", "*erchedufau*"),)),
    ("fuzzy, two words", (("PatientName", "helene marber"), ("fuzzymatching", "true"))),
    ("fuzzy, one frequent word", (("PatientName", "helene"), ("fuzzymatching", "true"))),
    ("two days", (("StudyDate", "20240301-20240302"),)),
    ("one modality", (("ModalitiesInStudy", "MR"),)),
    ("page at offset 1,000", (("offset", "1000"),)),
)  # fmt: skip


def main(sizes: Sequence[int]) -> None:
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            index = SqliteIndex(Path(folder) / "index.db")
            index.open()
            began = time.perf_counter()
            fill(index, size)
            print(f"== {size} studies, filled at {size / (time.perf_counter() - began):.0f}/s", flush=True)
            for what, params in ASKED:
                seconds, rows = measured(index, params)
                print(f"{what}: {seconds * 1000:.2f} ms, {rows} rows", flush=True)
            index.close()


def measured(index: SqliteIndex, params: tuple[tuple[str, str], ...]) -> tuple[float, int]:
    times, rows = [], 0
    for _run in range(RUNS):
        began = time.perf_counter()
        page = answer(index, parse("study", {}, (*params, ("limit", "50"))), "")
        times.append(time.perf_counter() - began)
        rows = len(page.rows)
    return statistics.median(times), rows


def fill(index: SqliteIndex, size: int) -> None:
    pending: list[Instance] = []
    for one in studies(size):
        pending.append(one)
        if len(pending) == BATCH:
            index.add(pending)
            pending = []
    index.add(pending)


def studies(size: int) -> Iterator[Instance]:
    """One instance a study; two studies a patient."""
    chance = Random(1)
    for n in range(size):
        patient = Random(n // 2)
        family = "".join(patient.choice(SYLLABLES) for _ in range(patient.choice((2, 2, 3, 3, 4)))).upper()
        day = f"2024{chance.randint(1, 12):02}{chance.randint(1, 28):02}"
        attributes: dict[str, Any] = {
            "00080020": {"vr": "DA", "Value": [day]},
            "00080030": {"vr": "TM", "Value": ["101500"]},
            "00080050": {"vr": "SH", "Value": [f"A{n}"]},
            "00080060": {"vr": "CS", "Value": [chance.choice(("CT", "CT", "MR", "US", "CR"))]},
            "00080090": {"vr": "PN", "Value": [{"Alphabetic": f"DR^{n % 300}"}]},
            "00081030": {"vr": "LO", "Value": ["Scanner cérébral"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": f"{family}^{patient.choice(GIVEN)}"}]},
            "00100020": {"vr": "LO", "Value": [f"P{n // 2}"]},
            "00100030": {"vr": "DA", "Value": [f"19{n % 90 + 10}0101"]},
            "00100040": {"vr": "CS", "Value": ["F"]},
            "00200013": {"vr": "IS", "Value": [1]},
        }
        yield Instance(
            f"2.25.1.{n}", f"2.25.2.{n}", f"2.25.3.{n}", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1",
            attributes, b'["none",0,0,0,[]]', f"{n:064x}", f"dicom/00/{n:064x}", 1000, n, "CT1", "ct1",
        )  # fmt: skip


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [2_000, 200_000])
