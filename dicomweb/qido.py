"""QIDO-RS: a query string → a Query, and rows → DICOM JSON.

PS3.18 §10.6 (Search Transaction), PS3.4 §C.2.2.2 (matching)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dicomweb.dataset import is_uid, tag_of
from dicomweb.index.contract import Found, Index, Level, Match, Query
from dicomweb.index.schema import INSTANCE_TAGS, SERIES_TAGS, STUDY_TAGS
from dicomweb.names import fold, fold_wildcards
from profiles.outcomes import Invalid

MAXIMUM = 10_000  # rows in one answer when the client names no lower limit

# tag → (level, column) of every matching key
KEYS: Mapping[str, tuple[Level, str]] = {
    "0020000D": ("study", "uid"),
    "00080020": ("study", "date"),
    "00080030": ("study", "time"),
    "00080050": ("study", "accession"),
    "00081030": ("study", "description"),
    "00200010": ("study", "study_id"),
    "00080090": ("study", "referring"),
    "00100020": ("study", "patient_id"),
    "00100021": ("study", "patient_issuer"),
    "00100010": ("study", "patient_name"),
    "00100030": ("study", "birth_date"),
    "00100040": ("study", "sex"),
    "00080061": ("study", "modalities"),
    "0020000E": ("series", "uid"),
    "00080060": ("series", "modality"),
    "00200011": ("series", "number"),
    "0008103E": ("series", "description"),
    "00180015": ("series", "body_part"),
    "00080021": ("series", "date"),
    "00080031": ("series", "time"),
    "00400244": ("series", "performed_date"),
    "00400245": ("series", "performed_time"),
    "00080018": ("instance", "uid"),
    "00080016": ("instance", "sop_class"),
    "00200013": ("instance", "number"),
}
UID_COLUMNS = frozenset({"uid", "sop_class"})
_ALWAYS: Mapping[Level, tuple[str, ...]] = {
    "study": ("00080061", "00201206", "00201208"),
    "series": ("00201209",),
    "instance": (),
}
_REQUIRED: Mapping[Level, Mapping[str, str]] = {
    "study": {
        "00080020": "DA",
        "00080030": "TM",
        "00080050": "SH",
        "00080090": "PN",
        "00100010": "PN",
        "00100020": "LO",
        "00100030": "DA",
        "00100040": "CS",
        "00200010": "SH",
    },
    "series": {"00080060": "CS", "00200011": "IS"},
    "instance": {"00200013": "IS"},
}
_TAGS: Mapping[Level, tuple[str, ...]] = {
    "study": STUDY_TAGS,
    "series": SERIES_TAGS,
    "instance": INSTANCE_TAGS,
}
_LEVELS: tuple[Level, ...] = ("study", "series", "instance")


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed request: the query (its `visible` still open), the fields to add, and what was not
    understood."""

    query: Query
    include: frozenset[str] | None  # None = all
    ignored: tuple[str, ...]

    def study_uids(self) -> tuple[str, ...] | None:
        """The studies named exactly, when the request names any."""
        for match in self.query.matches:
            if (match.level, match.column, match.how) == ("study", "uid", "exact"):
                return match.values
        return None


def parse(level: Level, path: Mapping[str, str], params: Sequence[tuple[str, str]]) -> Search:
    """`path` gives the study and series of the route. Raises Invalid for a value that cannot be one."""
    matches = [Match(one, "uid", "exact", (uid,)) for one in ("study", "series") if (uid := path.get(one))]
    include: set[str] | None = set()
    ignored = []
    limit, offset, fuzzy = MAXIMUM, 0, False
    for name, value in params:
        match name.lower():
            case "limit":
                limit = min(_count(name, value), MAXIMUM)
            case "offset":
                offset = _count(name, value)
            case "fuzzymatching":
                fuzzy = value.lower() == "true"
            case "includefield":
                include = _included(include, value)
            case "accept" | "charset":
                pass
            case _:
                found = tag_of(name)
                if found is None or found[0] not in KEYS:
                    ignored.append(name)
                elif value:
                    matches.extend(_match(name, found[0], found[1], value))
    if fuzzy:
        matches = [fuzzed for match in matches for fuzzed in _fuzzy(match)]
    return Search(
        Query(level, tuple(matches), None, limit, offset),
        None if include is None else frozenset(include),
        tuple(ignored),
    )


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise Invalid("bad-parameter", f"{name} takes a number, zero or more")
    return int(value)


def _included(include: set[str] | None, value: str) -> set[str] | None:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if include is None or "all" in names:
        return None
    for name in names:
        found = tag_of(name)
        if found is None:
            raise Invalid("bad-parameter", "includefield takes attribute keywords, tags or 'all'")
        include.add(found[0])
    return include


def _match(name: str, tag: str, vr: str, value: str) -> list[Match]:
    """PS3.4 §C.2.2.2: UID lists, ranges, wildcards, single values; `*` alone matches everything."""
    level, column = KEYS[tag]
    if len(value) > 10_000 or "\x00" in value:
        raise Invalid("bad-parameter", f"{name} is too long or has a forbidden character")
    if set(value) == {"*"}:
        return []
    if column in UID_COLUMNS:
        uids = tuple(value.replace("\\", ",").split(","))
        if not all(map(is_uid, uids)):
            raise Invalid("bad-parameter", f"{name} takes UIDs")
        return [Match(level, column, "exact", uids)]
    if vr in ("DA", "TM"):
        return [_range(name, level, column, vr, value)]
    if vr == "PN":
        if "*" in value or "?" in value:
            return [Match(level, column, "like", (fold_wildcards(value),))]
        return [Match(level, column, "exact", (fold(value),))]
    if vr == "IS":
        return [Match(level, column, "exact", (str(_count(name, value.strip().removeprefix("+"))),))]
    if "*" in value or "?" in value:
        return [Match(level, column, "like", (value,))]
    return [Match(level, column, "exact", (value.strip(),))]


def _range(name: str, level: Level, column: str, vr: str, value: str) -> Match:
    low, dash, high = value.partition("-")
    low, high = low.strip(), high.strip() if dash else low.strip()
    for bound in (low, high):
        digits = bound.replace(".", "", 1) if vr == "TM" else bound
        if bound and not (digits.isascii() and digits.isdigit() and (vr == "TM" or len(digits) == 8)):
            raise Invalid("bad-parameter", f"{name} takes YYYYMMDD or HHMMSS, or a range of them with '-'")
    if vr == "TM" and high:
        high += "\uffff"  # 0508 means the whole minute
    return Match(level, column, "range", (low, high))


def _fuzzy(match: Match) -> list[Match]:
    """Names by words in any order, accents and case aside."""
    if match.column not in ("patient_name", "referring"):
        return [match]
    words = match.values[0].replace("*", " ").replace("?", " ").split()
    return [Match(match.level, match.column, "like", (f"*{word}*",)) for word in words]


def narrowed(search: Search, visible: frozenset[str] | None) -> Search:
    """The same search among the studies a reader may see: before counting, limit and order."""
    return replace(search, query=replace(search.query, visible=visible))


def answer(index: Index, search: Search, base: str) -> tuple[list[dict[str, Any]], bool]:
    """The rows as DICOM JSON, and whether more could be asked for. `base` is the DICOMweb address.
    Blocking."""
    query = search.query
    limit = MAXIMUM if query.limit is None else query.limit
    rows = index.find(replace(query, limit=limit + 1))
    return [_row(index, search, row, base) for row in rows[:limit]], len(rows) > limit


def _row(index: Index, search: Search, row: Found, base: str) -> dict[str, Any]:
    level = search.query.level
    named = {level for level, column in (("study", row.series), ("series", row.instance)) if column}
    fixed = {
        m.level for m in search.query.matches if m.column == "uid" and m.how == "exact" and len(m.values) == 1
    }
    # attributes of a level above that the route or query already names are left out, its UID excepted
    levels = [
        one for one in _LEVELS[: _LEVELS.index(level) + 1] if one == level or one not in (named & fixed)
    ]
    result: dict[str, Any] = {"0020000D": {"vr": "UI", "Value": [row.study]}}
    if row.series:
        result["0020000E"] = {"vr": "UI", "Value": [row.series]}
    for one in levels:
        for tag in (*_TAGS[one], *_ALWAYS[one]):
            if tag in row.attributes:
                result[tag] = row.attributes[tag]
        for tag, vr in _REQUIRED[one].items():
            result.setdefault(tag, {"vr": vr})
    result["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
    result["00081190"] = {"vr": "UR", "Value": [_url(row, base)]}
    if search.include is None or search.include - result.keys():
        full = index.attributes(row.representative)
        told = {tag for tag, element in full.items() if "BulkDataURI" not in element}
        wanted = told if search.include is None else search.include & told
        result.update({tag: full[tag] for tag in wanted if tag not in result and _belongs(tag, level)})
    return dict(sorted(result.items()))


def _belongs(tag: str, level: Level) -> bool:
    """Whether a representative's value may stand for the level: of an instance everything, of a study or
    series only what is not told by a lower level's own attributes."""
    lower = _LEVELS[_LEVELS.index(level) + 1 :]
    return not any(tag in _TAGS[one] for one in lower)


def _url(row: Found, base: str) -> str:
    url = f"{base}/studies/{row.study}"
    if row.series:
        url += f"/series/{row.series}"
    if row.instance:
        url += f"/instances/{row.instance}"
    return url
