"""QIDO-RS: a query string → a Query, and rows → DICOM JSON.

PS3.18 §10.6 (Search Transaction), PS3.4 §C.2.2.2 (matching)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dicomweb.index.contract import Found, Index, Level, Match, Query, SearchTooLong
from dicomweb.index.schema import INSTANCE_TAGS, SERIES_TAGS, STUDY_TAGS
from dicomweb.keys import UNMATCHED, alternatives, empty, fuzzy, matches_of, path_of
from profiles.outcomes import Invalid, TooLarge

COUNTED = 1000  # rows beyond a page that are counted exactly
MODES = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")  # PS3.18 §8.3.4.2, .5, .6
NO_VALUE = '""'  # what emptyvaluematching takes for "has no value"
MAXIMUM = 10_000  # rows in one answer when the client names no lower limit

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
    "instance": {"00080016": "UI", "00080018": "UI", "00200013": "IS"},
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
    limit, offset = MAXIMUM, 0
    mode = dict.fromkeys(MODES, False)
    mode |= {key: _boolean(key, value) for name, value in params if (key := name.lower()) in MODES}
    for name, value in params:
        match name.lower():
            case "limit":
                limit = min(_count(name, value), MAXIMUM)
            case "offset":
                offset = _count(name, value)
            case "includefield":
                include = _included(include, value)
            case "accept" | "charset" | "fuzzymatching" | "emptyvaluematching" | "multiplevaluematching":
                pass
            case _:
                found = path_of(name)
                if found is None or found[0][0] in UNMATCHED:
                    ignored.append(name)
                elif value == NO_VALUE and mode["emptyvaluematching"]:
                    matches.append(empty(*found))
                elif value:
                    compared = alternatives if mode["multiplevaluematching"] else matches_of
                    matches.extend(compared(name, *found, value))
    return Search(
        Query(level, tuple(map(fuzzy, matches) if mode["fuzzymatching"] else matches), None, limit, offset),
        None if include is None else frozenset(include),
        tuple(ignored),
    )


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        raise Invalid("bad-parameter", f"{name} takes a number, zero or more")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise Invalid("bad-parameter", f"{name} takes true or false")
    return value.lower() == "true"


def _included(include: set[str] | None, value: str) -> set[str] | None:
    """An attribute within a sequence brings the sequence."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    if include is None or "all" in names:
        return None
    for name in names:
        found = path_of(name)
        if found is None:
            raise Invalid("bad-parameter", "includefield takes attribute keywords, tags or 'all'")
        include.add(found[0][0])
    return include


def narrowed(search: Search, visible: frozenset[str] | None) -> Search:
    """The same search among the studies a reader may see: before counting, limit and order."""
    return replace(search, query=replace(search.query, visible=visible))


@dataclass(frozen=True, slots=True)
class Page:
    """The rows as DICOM JSON, and how many more could be asked for (at most COUNTED are counted)."""

    rows: list[dict[str, Any]]
    more: int


def answer(index: Index, search: Search, base: str) -> Page:
    """`base` is the DICOMweb address. Raises TooLarge. Blocking."""
    query = search.query
    limit = MAXIMUM if query.limit is None else query.limit
    try:
        rows, more = index.page(replace(query, limit=limit), COUNTED)
    except SearchTooLong as error:
        raise TooLarge(
            "too-broad", "the search reads too much; name a patient, a study or a date besides"
        ) from error
    return Page([_row(index, search, row, base) for row in rows], more)


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
