"""A site's PACS and the transfers of a télédossier as pages show them. Pure. R085–R088"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from smart_launch.app import words
from smart_launch.app.views.reading import Json

TITLES = {"import": words.TRANSFER_IN, "reject": words.TRANSFER_REJECT}
MODALITIES = ("CR", "CT", "DX", "ECG", "ES", "MG", "MR", "NM", "OT", "PT", "RF", "US", "XA", "XC")


@dataclass(frozen=True, slots=True)
class Filters:
    """The six filters of the search, as typed; `faults` by field."""

    name: str = ""
    birth: str = ""
    identifier: str = ""
    day: str = ""
    modality: str = ""
    appointment: str = ""
    faults: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A study of a PACS or of the platform."""

    uid: str
    patient: str
    birth: str
    identifier: str
    day: str
    title: str
    modality: str
    appointment: str
    counts: str


@dataclass(frozen=True, slots=True)
class FoundSeries:
    uid: str
    title: str
    count: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One transfer: `percent` 0–100, `text` says how far, `detail` how fast or why not."""

    id: str
    title: str
    tone: str
    state: str
    percent: int
    text: str
    detail: str
    cancellable: bool


def filters(form: Mapping[str, str]) -> Filters:
    """From the form; a date that is none is said."""
    faults = {}
    for field in ("naissance", "date_examen"):
        if form.get(field, "").strip() and not _dicom_date(form[field]):
            faults[field] = words.BAD_DATE
    modality = form.get("modalite", "")
    return Filters(
        form.get("nom", "").strip(), form.get("naissance", "").strip(), form.get("identifiant", "").strip(),
        form.get("date_examen", "").strip(), modality if modality in MODALITIES else "",
        form.get("rdv", "").strip(), faults,
    )  # fmt: skip


def of_patient(name: str, birth: str) -> Filters:
    """What a search begins with: the télédossier's patient. `name` may end in a used name in brackets."""
    plain = "" if name == words.UNKNOWN_PATIENT else name.partition(" (")[0]
    return Filters(name=plain, birth=birth if _dicom_date(birth) else "")


def keys(given: Filters) -> dict[str, str]:
    """DICOM matching keys. Names end in a wildcard and go without accents' certainty: `dupont jean` finds
    DUPONT^JEAN."""
    name = "*".join(re.sub(r"[\\*?^=]", " ", given.name).split())
    made = {
        "PatientName": f"{name}*" if name else "",
        "PatientBirthDate": _dicom_date(given.birth),
        "PatientID": given.identifier,
        "StudyDate": _dicom_date(given.day),
        "ModalitiesInStudy": given.modality,
        "AccessionNumber": given.appointment,
    }
    return {keyword: value for keyword, value in made.items() if value}


def _dicom_date(text: str) -> str:
    found = re.fullmatch(r"\s*(\d{1,2})[/. -](\d{1,2})[/. -](\d{4})\s*", text)
    try:
        return date(int(found[3]), int(found[2]), int(found[1])).strftime("%Y%m%d") if found else ""
    except ValueError:
        return ""


def studies(rows: Iterable[Json]) -> list[Found]:
    """Newest first."""
    made = []
    for row in rows:
        images, series = first(row, "00201208"), first(row, "00201206")
        counts = [_many(series, "série"), _many(images, "image")]
        modality = "/".join(words.label(words.MODALITIES, str(one)) for one in values(row, "00080061"))
        found = Found(
            first(row, "0020000D"), " ".join(first(row, "00100010").replace("^", " ").split()),
            day(first(row, "00100030")), first(row, "00100020"), day(first(row, "00080020")),
            first(row, "00081030"), modality, first(row, "00080050"), " · ".join(filter(None, counts)),
        )  # fmt: skip
        if found.uid:
            made.append((first(row, "00080020") + first(row, "00080030"), found))
    return [found for _, found in sorted(made, key=lambda pair: pair[0], reverse=True)]


def series(rows: Iterable[Json]) -> list[FoundSeries]:
    """In the order of their numbers."""
    made = []
    for row in rows:
        number = first(row, "00200011")
        parts = [number and f"n° {number}", first(row, "0008103E"), first(row, "00080060")]
        order = int(number) if _is_count(number) else 10**9
        made.append(
            (order, FoundSeries(first(row, "0020000E"), " · ".join(filter(None, parts)),
                                _many(first(row, "00201209"), "image")))
        )  # fmt: skip
    return [found for _, found in sorted(made, key=lambda pair: pair[0]) if found.uid]


def first(row: Json, tag: str) -> str:
    """The first value of a DICOM JSON element as text."""
    for value in values(row, tag):
        return str(value.get("Alphabetic", "")) if isinstance(value, dict) else str(value).strip()
    return ""


def values(row: Json, tag: str) -> list[Any]:
    """Those of a DICOM JSON element."""
    element = row.get(tag)
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def day(text: str) -> str:
    """`20261124` → `24/11/2026`; "" for none."""
    return f"{text[6:8]}/{text[4:6]}/{text[:4]}" if len(text) == 8 and text.isdecimal() else ""


def _is_count(text: str) -> bool:
    """A number that a PACS may have meant: Python reads none of thousands of digits."""
    return text.isdecimal() and len(text) < 10


def _many(count: str, noun: str) -> str:
    if not _is_count(count) or not int(count):
        return ""
    return f"{int(count):,} {noun}{'s' if int(count) > 1 else ''}".replace(",", "\u00a0")


def progress(transfers: Iterable[Json], names: Mapping[str, str], now: datetime) -> list[Progress]:
    """Those under way or not well ended; what ended well stands in the timeline. `names`: peers."""
    made = []
    for one in transfers:
        if one.get("state") in ("done", "cancelled"):
            continue
        total, done = int(one.get("total", 0)), int(one.get("done", 0))
        waiting = one.get("state") == "waiting"
        peer = names.get(str(one.get("peer")), str(one.get("peer")))
        title = TITLES.get(str(one.get("kind")), words.TRANSFER_OUT).format(peer=peer)
        text = words.TRANSFER_COUNT.format(done=_thousands(done), total=_thousands(total)) if total else ""
        made.append(
            Progress(
                str(one.get("id")), title, "encours" if waiting and not one.get("retryAt") else "alerte",
                _state(one), 100 * done // total if total else 0, text, _detail(one, now), waiting,
            )
        )  # fmt: skip
    return made


def _state(one: Json) -> str:
    if one.get("state") == "waiting":
        if one.get("retryAt"):
            return words.TRANSFER_STATES["retry"]
        return words.TRANSFER_STATES["running" if one.get("total") else "waiting"]
    return words.TRANSFER_STATES.get(str(one.get("state")), "")


def _detail(one: Json, now: datetime) -> str:
    if one.get("reason"):
        why = words.TRANSFER_REASONS.get(str(one["reason"]), words.TRANSFER_REASONS["other"])
        seconds = int(one.get("retryAt") or 0) / 1e6 - now.timestamp()
        again = words.TRANSFER_AGAIN.format(seconds=max(1, round(seconds))) if one.get("retryAt") else ""
        failed = int(one.get("failed", 0))
        lost = words.TRANSFER_FAILED.format(count=failed) if failed and one.get("state") != "waiting" else ""
        return " ".join(filter(None, (why, lost, again)))
    rate, left = float(one.get("bytesPerSecond") or 0), one.get("secondsLeft")
    if not rate:
        return ""
    speed = f"{rate / 1e6:.1f}".replace(".", ",") + " Mo/s"
    if left is None:
        return speed
    remaining = f"{left // 60} min {left % 60:02d} s" if left >= 60 else f"{left} s"
    return f"{speed} · reste {remaining}"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", "\u00a0")
