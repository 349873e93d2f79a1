"""Exams that a site's worklist has for a patient, as the form proposes them. Pure. PS3.4 §K (worklist)"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from smart_launch.app import words
from smart_launch.app.views import transfers
from smart_launch.app.views.reading import Json, many


@dataclass(frozen=True, slots=True)
class Order:
    """One of them. `why`: by what it is the patient's; `known`: the draft expects it already."""

    accession: str
    title: str
    detail: str
    why: str
    certain: bool
    known: bool


@dataclass(frozen=True, slots=True)
class Orders:
    """What was found; `silent` says which worklists did not answer, `asked` which did."""

    found: list[Order]
    asked: str
    silent: str


def orders(said: Iterable[Json], expected: Collection[str]) -> Orders:
    """`said` as `/dicom-web/requests/…/orders` has it; `expected`: accession numbers that the draft has."""
    places = [one for one in said if isinstance(one, dict)]
    found = [
        order
        for place in places
        for one in many(place, "orders")
        if (order := _order(one, str(place.get("name", "")), expected)) is not None
    ]
    answered = [str(one.get("name", "")) for one in places if not one.get("fault")]
    silent = [str(one.get("name", "")) for one in places if one.get("fault")]
    return Orders(found, ", ".join(answered), ", ".join(silent))


def _order(one: Json, place: str, expected: Collection[str]) -> Order | None:
    """None for one that cannot be announced: its number could not stand in a list."""
    row, how = one.get("row") or {}, str(one.get("how"))
    accession = transfers.first(row, "00080050")
    if not accession or "," in accession:
        return None
    step = next((step for step in transfers.values(row, "00400100") if isinstance(step, dict)), {})
    title = transfers.first(step, "00400007") or transfers.first(row, "00321060") or words.EXAM
    modality = words.label(words.MODALITIES, transfers.first(step, "00080060"))
    why = words.label(words.PRIOR_HOW, how)
    identity = " ".join(
        filter(None, (" ".join(transfers.first(row, "00100010").replace("^", " ").split()),
                      transfers.day(transfers.first(row, "00100030"))))
    )  # fmt: skip
    certain = how != "traits"
    return Order(
        accession,
        title,
        " · ".join(filter(None, (modality, _moment(step), words.ORDER_NUMBER.format(n=accession), place))),
        why if certain else f"{why} : {identity}",
        certain,
        accession in expected,
    )


def _moment(step: Json) -> str:
    """`24/11/2026 à 08:30`, as far as it is said."""
    day, time = transfers.day(transfers.first(step, "00400002")), transfers.first(step, "00400003")[:4]
    if len(time) == 4 and time.isdecimal() and day:
        return words.AT_TIME.format(day=day, time=f"{time[:2]}:{time[2:]}")
    return day
