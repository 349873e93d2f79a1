"""C-FIND identifiers: a dataset of keys → a Search, and rows → the datasets that answer. Pure.

PS3.4 §C.4.1 (C-FIND), §C.6 (information models)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset

from dicomweb.dataset import tag_vr
from dicomweb.index.contract import Level, Match, Query
from dicomweb.keys import UNMATCHED, matches_of
from dicomweb.qido import MAXIMUM, Search

LEVELS: Mapping[str, Level] = {
    "PATIENT": "study",
    "STUDY": "study",
    "SERIES": "series",
    "IMAGE": "instance",
}
_OWN = frozenset({"00080052", "00080005", "00080054", "00080056", "00080053"})  # of the query, no keys
_PATIENT_GROUP = "0010"


class BadIdentifier(ValueError):
    """The identifier is none for this information model."""


def identifier_of(event: Any) -> Dataset:
    """The identifier of a request, every key of it read. Raises BadIdentifier."""
    try:
        found: Dataset = event.identifier
        for _key in keys(found):
            pass
    except Exception as error:  # hostile input: whatever pydicom stumbles on
        raise BadIdentifier("the identifier cannot be read") from error
    return found


def level_named(identifier: Dataset, levels: Sequence[str]) -> str:
    """The query/retrieve level. Raises BadIdentifier."""
    level = str(identifier.get("QueryRetrieveLevel", "")).strip()
    if level not in levels:
        raise BadIdentifier("QueryRetrieveLevel")
    return level


def search_of(identifier: Dataset, level: str) -> Search:
    """The keys with a value match, all are returned. Raises profiles.outcomes.Invalid."""
    matches: list[Match] = []
    wanted = set()
    for path, vr, value in keys(identifier):
        if len(path) == 1:
            wanted.add(path[0])
        if value and path[0] not in UNMATCHED:
            matches += matches_of(path[-1], path, vr, value)
    return Search(Query(LEVELS[level], tuple(matches), None, MAXIMUM, 0), frozenset(wanted), ())


def keys(dataset: Dataset, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(path, VR, value) of every key, those within a sequence's first item too; the value as text."""
    for element in dataset:
        tag = f"{int(element.tag):08X}"
        if not above and tag in _OWN:
            continue
        path = (*above, tag)
        if element.VR != "SQ":
            yield path, element.VR, text_of(element.value)
            continue
        yield path, "SQ", ""
        for item in list(element.value or ())[:1]:
            yield from keys(item, path)


def text_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) or type(value).__name__ == "MultiValue":
        return "\\".join(str(one) for one in value)
    return str(value)


def uids(identifier: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a unique key."""
    found = text_of(identifier.get(keyword))
    return tuple(filter(None, (one.strip() for one in found.split("\\"))))


def response(identifier: Dataset, row: Mapping[str, Any], ae_title: str) -> Dataset:
    """What was asked for, as far as the row has it; empty where it has not."""
    asked = [f"{int(tag):08X}" for tag in identifier.keys()]  # noqa: SIM118 - iterating gives elements
    made = Dataset.from_json({tag: row[tag] for tag in asked if tag in row and tag not in _OWN})
    for tag in asked:
        if tag not in _OWN and int(tag, 16) not in made:
            made.add_new(int(tag, 16), tag_vr(int(tag, 16)), None)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.QueryRetrieveLevel = identifier.QueryRetrieveLevel
    made.RetrieveAETitle = ae_title
    made.InstanceAvailability = "ONLINE"
    return made


def patients(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One row a patient: identifier, issuer and name together, the newest study's attributes."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        who = repr([row.get(tag) for tag in ("00100020", "00100021", "00100010")])
        known = found.setdefault(
            who, {tag: one for tag, one in row.items() if tag.startswith(_PATIENT_GROUP)}
        )
        count = known.setdefault("00201200", {"vr": "IS", "Value": [0]})
        count["Value"][0] += 1
    return list(found.values())
