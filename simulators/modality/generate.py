"""An exam as DICOM files in a folder: the same files each time, made once.

`complete.json` is written last and names what the files were made for; a folder that has it, for the same
exam, is left as it is.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from simulators.modality import phantom
from simulators.modality.encode import Element, element, file_of, sequence
from simulators.modality.exams import INS_DEMO, Exam

VERSION = 1
SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
}
HEAD_MR = ("DWI b1000", "ADC", "FLAIR", "T2*", "T1", "ARM TOF")


@dataclass(frozen=True, slots=True)
class Series:
    """One series to make; `count` images, `kind` the phantom's weighting, `window` (center, width)."""

    number: int
    modality: str
    description: str
    count: int
    kind: str
    window: tuple[int, int]


def generate(exam: Exam, folder: Path) -> list[Path]:
    """Make the exam's files if they are not there yet; returns them in order."""
    marker = folder / "complete.json"
    wanted = {"version": VERSION, "exam": json.loads(json.dumps(asdict(exam), default=str))}
    names = [f"{one.number:02d}-{n:04d}.dcm" for one in plan(exam) for n in range(1, one.count + 1)]
    paths = [folder / name for name in names]
    if marker.exists() and json.loads(marker.read_text("utf-8")) == wanted:
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    for path, data in zip(paths, instances(exam), strict=True):
        path.write_bytes(data)
    marker.write_text(json.dumps(wanted, ensure_ascii=False), "utf-8")
    return paths


def plan(exam: Exam) -> list[Series]:
    """How many images each series has, and what it shows."""
    counts = [exam.images // exam.series + (n < exam.images % exam.series) for n in range(exam.series)]
    return [_series(exam, number, count) for number, count in enumerate(counts, 1)]


def _series(exam: Exam, number: int, count: int) -> Series:
    n = number - 1
    if exam.modality == "US":
        return Series(number, "US", "Reins et vessie", count, "US", (128, 256))
    if exam.modality == "MR" and exam.region == "coeur":
        kind = "Ciné petit axe" if number % 2 else "Rehaussement tardif"
        return Series(number, "MR", f"{kind} {n // 2 + 1}", count, "heart", (1300, 2600))
    if exam.modality == "MR":
        name = HEAD_MR[n % len(HEAD_MR)]
        window = {"DWI b1000": (1100, 2200), "ADC": (1200, 2400), "ARM TOF": (1600, 3200)}.get(
            name, (1000, 2000)
        )
        return Series(
            number, "MR", name, count, {"DWI b1000": "DWI", "ARM TOF": "TOF"}.get(name, name), window
        )
    if exam.modality == "PT" and number % 2:
        return Series(number, "PT", f"TEP corrigée {n // 2 + 1}", count, "PT", (1600, 3200))
    if exam.region == "encéphale":
        views = ("Parenchyme", "Os", "Coronal", "Sagittal")
        return Series(number, "CT", views[n % 4], count, "CT", (500, 2200) if n % 4 == 1 else (40, 80))
    names = ("Sans injection", "Temps artériel", "Temps portal", "Poumon", "Os", "Coronal")
    return Series(number, "CT", names[n % 6], count, "trunk", (-500, 1500) if n % 6 == 3 else (40, 400))


def instances(exam: Exam) -> Iterator[bytes]:
    """Every file's content, in order."""
    common = _patient(exam) + _study(exam)
    for series in plan(exam):
        fixed = [*common, *_series_elements(exam, series), *_pixel_elements(exam, series)]
        for n in range(1, series.count + 1):
            uid = stable_uid(exam.study_uid, series.number, n)
            varying = _instance(exam, series, n, uid)
            yield file_of([*fixed, *varying], SOP_CLASSES[series.modality], uid)


def stable_uid(*parts: object) -> str:
    """2.25 and a name-based UUID: the same from one load to the next. PS3.5 §B.2"""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, parts))).int}"


def _patient(exam: Exam) -> list[Element]:
    person = exam.person
    made = [
        element(0x00100010, "PN", f"{person.family}^{person.given}"),
        element(0x00100030, "DA", person.birth),
        element(0x00100040, "CS", person.sex),
    ]
    ins = [
        element(0x00100020, "LO", person.ins),
        element(0x00100022, "CS", "TEXT"),
        sequence(0x00100024, [[element(0x00400032, "UT", INS_DEMO), element(0x00400033, "CS", "ISO")]]),
    ]
    if person.local_id:
        made += [element(0x00100020, "LO", person.local_id), element(0x00100021, "LO", person.issuer)]
        if person.ins:
            made.append(sequence(0x00101002, [ins]))
    elif person.ins:
        made += [ins[0], ins[2]]
    else:
        made.append(element(0x00100020, "LO", ""))
    return made


def _study(exam: Exam) -> list[Element]:
    return [
        element(0x00080005, "CS", "ISO_IR 192"),
        element(0x00080020, "DA", f"{exam.moment:%Y%m%d}"),
        element(0x00080030, "TM", f"{exam.moment:%H%M%S}"),
        element(0x00080050, "SH", exam.accession),
        element(0x00080070, "LO", "Fictif"),
        element(0x00080080, "LO", exam.site),
        element(0x00080090, "PN", ""),
        element(0x00081030, "LO", exam.description[:64]),
        element(0x0020000D, "UI", exam.study_uid),
        element(0x00200010, "SH", exam.id),
    ]


def _series_elements(exam: Exam, series: Series) -> list[Element]:
    moment = exam.moment + timedelta(minutes=2 * series.number)
    return [
        element(0x00080016, "UI", SOP_CLASSES[series.modality]),
        element(0x00080021, "DA", f"{moment:%Y%m%d}"),
        element(0x00080031, "TM", f"{moment:%H%M%S}"),
        element(0x00080060, "CS", series.modality),
        element(0x0008103E, "LO", series.description[:64]),
        element(0x00180015, "CS", {"encéphale": "BRAIN", "coeur": "HEART"}.get(exam.region, "ABDOMEN")),
        element(0x0020000E, "UI", stable_uid(exam.study_uid, series.number)),
        element(0x00200011, "IS", series.number),
        element(0x00200052, "UI", stable_uid(exam.study_uid, "frame of reference")),
        element(0x00200060, "CS", ""),
    ]


def _pixel_elements(exam: Exam, series: Series) -> list[Element]:
    colour = series.modality == "US"
    made = [
        element(0x00280002, "US", 3 if colour else 1),
        element(0x00280004, "CS", "RGB" if colour else "MONOCHROME2"),
        element(0x00280010, "US", exam.size),
        element(0x00280011, "US", exam.size),
        element(0x00280100, "US", 8 if colour else 16),
        element(0x00280101, "US", 8 if colour else 12),
        element(0x00280102, "US", 7 if colour else 11),
        element(0x00280103, "US", 0),
    ]
    if colour:
        return [*made, element(0x00280006, "US", 0)]
    spacing = 230.0 / exam.size
    return [
        *made,
        element(0x00180050, "DS", "1.25"),
        element(0x00200037, "DS", ["1", "0", "0", "0", "1", "0"]),
        element(0x00280030, "DS", [f"{spacing:.4f}", f"{spacing:.4f}"]),
        element(0x00281050, "DS", series.window[0]),
        element(0x00281051, "DS", series.window[1]),
        element(0x00281052, "DS", -1024 if series.modality == "CT" else 0),
        element(0x00281053, "DS", 1),
        element(0x00281054, "LO", "HU" if series.modality == "CT" else "US"),
    ]


def _instance(exam: Exam, series: Series, n: int, uid: str) -> list[Element]:
    moment = exam.moment + timedelta(minutes=2 * series.number, milliseconds=200 * n)
    made = [
        element(0x00080008, "CS", ["ORIGINAL", "PRIMARY", "AXIAL"]),
        element(0x00080018, "UI", uid),
        element(0x00080023, "DA", f"{moment:%Y%m%d}"),
        element(0x00080033, "TM", f"{moment:%H%M%S}"),
        element(0x00200013, "IS", n),
    ]
    if series.modality != "US":
        place = f"{n * 1.25:.2f}"
        made += [element(0x00200032, "DS", ["-115", "-115", place]), element(0x00201041, "DS", place)]
    return [*made, element(0x7FE00010, "OB" if series.modality == "US" else "OW", _pixels(exam, series, n))]


def _pixels(exam: Exam, series: Series, n: int) -> bytes:
    z, seed = (n - 0.5) / series.count, series.number
    if series.kind == "US":
        return phantom.fan(exam.size, z, seed).tobytes()
    if series.kind == "heart":
        picture = phantom.heart(exam.size, (n % 10) / 10, (n % 25) / 25, seed)
    elif series.kind in ("PT", "trunk"):
        picture = phantom.trunk(exam.size, z, "PT" if series.kind == "PT" else "CT", seed)
    else:
        lesion = {"ex01": "mca-left", "ex02": "subdural-right", "ex03": "subdural-right"}.get(exam.id, "")
        picture = phantom.head(exam.size, z, series.kind, seed, lesion)
    offset = 1024 if series.modality == "CT" else 0
    stored: bytes = np.clip(picture + offset, 0, 4095).astype("<u2").tobytes()
    return stored
