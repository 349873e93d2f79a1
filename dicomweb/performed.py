"""Modality Performed Procedure Steps: what a modality tells of an acquisition, and which instances it
announces. Pure.

    IN PROGRESS ──► COMPLETED
         └────────► DISCONTINUED

A step is created in progress, and may be set until it is in one of the final states; then it stays as it
is. What
has to be there is one table for N-CREATE, N-SET and the final state. PS3.4 §F.7.2, Table F.7.2-1; PS3.3
§C.4.13 to §C.4.15
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dicomweb.attributes import Attributes, first, values
from dicomweb.dataset import is_uid
from dicomweb.index.steps import PerformedStep

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
FINAL = frozenset({COMPLETED, DISCONTINUED})
STATE, SCHEDULED, SERIES, STUDY_UID, ACCESSION = "00400252", "00400270", "00400340", "0020000D", "00080050"
IMAGES, OTHERS = "00081140", "00400220"
MOST = 50_000  # instances of one step

NO_SUCH_ATTRIBUTE, INVALID_VALUE, PROCESSING_FAILURE, DUPLICATE = 0x0105, 0x0106, 0x0110, 0x0111
NO_SUCH_INSTANCE, MISSING_ATTRIBUTE, MISSING_VALUE, RESOURCES = 0x0112, 0x0120, 0x0121, 0x0213
NO_LONGER = 0xA710  # Error ID: the step may no longer be updated

Type = Literal["1", "2", "3", "-"]
When = Literal["create", "set", "final"]


class NotTaken(Exception):
    """A request that is refused: the status, the attributes that it is about, an Error ID (0: none)."""

    def __init__(self, status: int, comment: str, tags: Sequence[str] = (), error_id: int = 0) -> None:
        super().__init__(comment)
        self.status, self.comment, self.tags, self.error_id = status, comment, tuple(tags), error_id


@dataclass(frozen=True, slots=True)
class Requirement:
    """An attribute: its type at N-CREATE, at N-SET ("-": not allowed) and in a final state; for a sequence
    those of its items."""

    tag: str
    create: Type
    set: Type
    final: Type = "3"
    items: tuple[Requirement, ...] = ()


def _each(types: str, *tags: str) -> tuple[Requirement, ...]:
    """Several of the same types: "create set final"."""
    create, change, final = types.split()
    return tuple(Requirement(tag, create, change, final) for tag in tags)  # type: ignore[arg-type]


_REFERENCE = _each("1 1 1", "00081150", "00081155")  # Referenced SOP Class and Instance UID
# PS3.4 Table F.7.2-1, those that are required somewhere
REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement(SCHEDULED, "1", "-", "1", (
        *_each("1 - 1", STUDY_UID),
        Requirement("00081110", "2", "-", "2", _REFERENCE),  # Referenced Study
        # Accession Number, Requested Procedure ID and Description, Scheduled Procedure Step ID and
        # Description, Scheduled Protocol Code
        *_each("2 - 2", ACCESSION, "00401001", "00321060", "00400009", "00400007", "00400008"),
    )),
    # Patient's Name, ID, Birth Date, Sex
    *_each("2 - 2", "00100010", "00100020", "00100030", "00100040"),
    Requirement("00081120", "2", "-", "2", _REFERENCE),  # Referenced Patient
    # Performed Procedure Step ID, Performed Station AE Title, Start Date and Time; Modality
    *_each("1 - 1", "00400253", "00400241", "00400244", "00400245", "00080060"),
    *_each("2 - 2", "00400242", "00400243", "00200010"),  # Performed Station Name, Location; Study ID
    *_each("1 3 1", STATE),
    # Performed Procedure Step and Procedure Type Description, Procedure Code, Performed Protocol Code
    *_each("2 3 2", "00400254", "00400255", "00081032", "00400260"),
    *_each("2 3 1", "00400250", "00400251"),  # End Date and Time
    Requirement(SERIES, "2", "3", "1", (
        *_each("1 1 1", "0020000E", "00181030"),  # Series Instance UID, Protocol Name
        # Performing Physician's and Operators' Name, Retrieve AE Title, Series Description
        *_each("2 2 2", "00081050", "00081070", "00080054", "0008103E"),
        Requirement(IMAGES, "2", "2", "2", _REFERENCE),
        Requirement(OTHERS, "2", "2", "2", _REFERENCE),
    )),
)  # fmt: skip
_DATES, _TIMES = ("00400244", "00400250"), ("00400245", "00400251")
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")


def create(attributes: Attributes, uid: str, told: tuple[str, str, int]) -> PerformedStep:
    """A new step; `told`: AE title and organisation of who tells it, and when. Raises NotTaken."""
    if not is_uid(uid):
        raise NotTaken(INVALID_VALUE, "The SOP Instance UID is malformed", ("00080018",))
    _require(attributes, "create")
    _check_values(attributes)
    if first(attributes, STATE) != IN_PROGRESS:
        raise NotTaken(INVALID_VALUE, "A new step is IN PROGRESS", (STATE,))
    scheduled = (item for item in values(attributes, SCHEDULED) if isinstance(item, Mapping))
    studies = tuple(dict.fromkeys(first(item, STUDY_UID) for item in scheduled))
    ae_title, organisation, now = told
    return PerformedStep(uid, IN_PROGRESS, studies, ae_title, organisation, dict(attributes), now)


def update(step: PerformedStep, attributes: Attributes, now: int) -> PerformedStep:
    """The step with other attributes. What may not be set is taken when it says what is known already, as
    many modalities send the whole step each time. Raises NotTaken."""
    if step.state in FINAL:
        raise NotTaken(PROCESSING_FAILURE, "The step may no longer be updated", (), NO_LONGER)
    fixed = {one.tag for one in REQUIREMENTS if one.set == "-"} | {"00080016", "00080018"}
    given = {tag: one for tag, one in attributes.items() if tag not in fixed and tag != "00080005"}
    changed = [tag for tag in attributes if tag in fixed and not _same(attributes, step.attributes, tag)]
    if changed:
        raise NotTaken(NO_SUCH_ATTRIBUTE, "Not to be set after the step's creation", changed)
    _require(given, "set")
    _check_values(given)
    state = first(given, STATE) or step.state
    if state not in FINAL | {IN_PROGRESS}:
        raise NotTaken(INVALID_VALUE, "The status is none of a performed procedure step", (STATE,))
    merged = {**step.attributes, **given}
    if state in FINAL:
        _require(merged, "final", state)
    return replace(step, state=state, attributes=merged, changed=now)


def _same(given: Attributes, known: Attributes, tag: str) -> bool:
    return tag not in known or values(given, tag) == values(known, tag)


def _require(attributes: Attributes, when: When, state: str = "") -> None:
    """Raises NotTaken with the first kind of fault that there is: attributes that lack, then values."""
    absent: list[str] = []
    empty: list[str] = []
    for one in REQUIREMENTS:
        if when == "set" and one.tag not in attributes:
            continue
        relaxed = one.tag == SERIES and state == DISCONTINUED  # nothing may have been made by then
        _look(attributes, one, when, "2" if relaxed else getattr(one, when), (absent, empty))
    if absent:
        raise NotTaken(MISSING_ATTRIBUTE, "Attributes are missing", list(dict.fromkeys(absent)))
    if empty:
        raise NotTaken(MISSING_VALUE, "Attributes have no value", list(dict.fromkeys(empty)))


def _look(
    attributes: Attributes, one: Requirement, when: When, type: Type, faults: tuple[list[str], list[str]]
) -> None:
    absent, empty = faults
    found = [value for value in values(attributes, one.tag) if value not in (None, "", {})]
    if type in ("1", "2") and one.tag not in attributes:
        absent.append(one.tag)
    elif type == "1" and not found:
        empty.append(one.tag)
    for item in found if one.items else ():
        for inner in one.items:
            _look(item if isinstance(item, Mapping) else {}, inner, when, getattr(inner, when), faults)


def _check_values(attributes: Attributes) -> None:
    """Raises NotTaken."""
    bad = [tag for tag in _DATES if (text := first(attributes, tag)) and not _DATE.fullmatch(text)]
    bad += [tag for tag in _TIMES if (text := first(attributes, tag)) and not _TIME.fullmatch(text)]
    items = [(SCHEDULED, STUDY_UID), (SERIES, "0020000E")]
    bad += [
        inner
        for outer, inner in items
        for item in values(attributes, outer)
        if isinstance(item, Mapping) and not is_uid(first(item, inner))
    ]
    announced = list(announced_by(attributes))
    if len(announced) > MOST:
        raise NotTaken(RESOURCES, f"A step has at most {MOST} instances", (SERIES,))
    if not all(map(is_uid, announced)):
        bad.append("00081155")
    if bad:
        raise NotTaken(INVALID_VALUE, "Values are malformed", list(dict.fromkeys(bad)))


def announced_by(attributes: Attributes) -> Iterator[str]:
    """The SOP Instance UIDs that the performed series name."""
    for series in values(attributes, SERIES):
        for sequence in (IMAGES, OTHERS) if isinstance(series, Mapping) else ():
            for one in values(series, sequence):
                if isinstance(one, Mapping):
                    yield first(one, "00081155")


def scheduled_ids(step: PerformedStep) -> frozenset[tuple[str, str]]:
    """(accession number, scheduled procedure step id) of the orders that it performs."""
    return frozenset(
        (first(item, ACCESSION), first(item, "00400009"))
        for item in values(step.attributes, SCHEDULED)
        if isinstance(item, Mapping)
    )


def shown(step: PerformedStep, tags: Sequence[str]) -> dict[str, Any]:
    """What N-GET answers: those that were asked for, or everything."""
    known = {**step.attributes, STATE: {"vr": "CS", "Value": [step.state]}}
    return {tag: known[tag] for tag in (tags or sorted(known)) if tag in known}
