"""A Query as SQL for the SQLite index. The visible studies are a condition inside, never a filter
afterwards."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from dicomweb.index import spelling
from dicomweb.index.contract import Level, Match, Query
from dicomweb.index.schema import INSTANCE_TAGS, NAMES

# what a Match may name: level → column → SQL
SEARCHABLE: dict[Level, dict[str, str]] = {
    "study": {
        "uid": "st.uid",
        "date": "st.date",
        "time": "st.time",
        "accession": "st.accession",
        "description": "st.description",
        "study_id": "st.study_id",
        "patient_id": "st.patient_id",
        "patient_issuer": "st.patient_issuer",
        "birth_date": "st.birth_date",
        "sex": "st.sex",
        "modalities": "sx.modality",
    },
    "series": {
        "uid": "s.uid",
        "number": "CAST(s.number AS TEXT)",
        "modality": "s.modality",
        "description": "s.description",
        "body_part": "s.body_part",
        "date": "s.date",
        "time": "s.time",
        "performed_date": "s.performed_date",
        "performed_time": "s.performed_time",
    },
    "instance": {"uid": "i.uid", "sop_class": "i.sop_class", "number": "CAST(i.number AS TEXT)"},
}
_STUDY = "st.uid, st.modalities, st.series_count, st.instance_count, st.attributes"
_FROM: dict[Level, str] = {
    "study": "study st",
    "series": "study st JOIN series s ON s.study = st.n",
    "instance": "study st JOIN series s ON s.study = st.n JOIN instance i ON i.series = s.n",
}
_COLUMNS: dict[Level, str] = {
    "study": f"{_STUDY}, st.representative",
    "series": f"{_STUDY}, s.uid, s.instance_count, s.attributes, s.representative",
    "instance": f"{_STUDY}, s.uid, s.instance_count, s.attributes, i.uid, i.brief, i.n",
}
_KEY: dict[Level, str] = {"study": "st.n", "series": "s.n", "instance": "i.n"}
_ORDER: dict[Level, str] = {
    "study": "st.n DESC",
    "series": "st.n DESC, s.number IS NULL, s.number, s.n",
    "instance": "st.n DESC, s.number IS NULL, s.number, s.n, i.number IS NULL, i.number, i.n",
}
_RANK = {"study": 0, "series": 1, "instance": 2}
# (level asked for, level of the condition below it) → how it is reached
_BELOW: dict[tuple[Level, Level], str] = {
    ("study", "series"): "EXISTS(SELECT 1 FROM series s WHERE s.study = st.n AND {})",
    ("study", "instance"): (
        "EXISTS(SELECT 1 FROM series s JOIN instance i ON i.series = s.n WHERE s.study = st.n AND {})"
    ),
    ("series", "instance"): "EXISTS(SELECT 1 FROM instance i WHERE i.series = s.n AND {})",
}
_JSON: dict[Level, str] = {
    "study": "st.attributes",
    "series": "s.attributes",
    "instance": "(SELECT attributes FROM body WHERE n = i.n)",
}
_BRIEF = "i.brief"
MATCHES = "attribute_matches"  # the SQL function made of `matching.matches`: (JSON, Match as JSON) → 0 or 1


FEW = 2000  # studies with a name: so many are listed, more are met soon enough in the order of the page
Named = Mapping[Match, str | None]  # match on a name → the study numbers as JSON; None: more than FEW


def named_sql(match: Match) -> tuple[str, list[object]]:
    """The studies with such a name, at most one more than FEW."""
    condition, values = _compared("folded", match)
    found = None if begins(match) else spelling.asked(match)
    if found is None:
        return f"SELECT study FROM name WHERE role = ? AND {condition} LIMIT ?", [
            match.column,
            *values,
            FEW + 1,
        ]
    sql = (
        "SELECT study FROM spelling JOIN name ON study = spelling.rowid "
        f"WHERE spelling MATCH ? AND role = ? AND {condition} LIMIT ?"
    )
    return sql, [found[0], match.column, *values, FEW + 1]


def begins(match: Match) -> bool:
    """Whether the names that fit lie together in `name`."""
    return match.how == "exact" or (match.how == "like" and match.values[0][:1] not in ("*", "?"))


def spelled_sql(query: Query) -> tuple[str, list[object]] | None:
    """The numbers of the studies of a page that asks for one name and nothing else, newest first; None for
    any other search."""
    if query.level != "study" or query.visible is not None or len(query.matches) != 1:
        return None
    match = query.matches[0]
    found = spelling.asked(match) if match.column in NAMES and not match.path else None
    if found is None:
        return None
    expression, whole = found
    compared, values = ("1", []) if whole else _compared("folded", match)
    checked = (
        "" if whole else
        f"AND EXISTS(SELECT 1 FROM name nm WHERE nm.study = spelling.rowid AND nm.role = ? AND {compared}) "
    )  # fmt: skip
    bound = [] if whole else [match.column, *values]
    limit = -1 if query.limit is None else query.limit
    sql = f"SELECT rowid FROM spelling WHERE spelling MATCH ? {checked}ORDER BY rowid DESC LIMIT ? OFFSET ?"
    return sql, [expression, *bound, limit, query.offset]


def keys_sql(query: Query, named: Named) -> tuple[str, list[object]]:
    """The row numbers of the page, in a stable order: newest study first, then display order."""
    where, values = _where(query, named)
    limit = -1 if query.limit is None else query.limit
    return (
        f"SELECT {_KEY[query.level]} FROM {_FROM[query.level]} WHERE {where} "
        f"ORDER BY {_ORDER[query.level]} LIMIT ? OFFSET ?",
        [*values, limit, query.offset],
    )


def rows_sql(level: Level, keys: Sequence[int]) -> tuple[str, list[object]]:
    """The rows with those numbers, each after its number, in no order."""
    return (
        f"SELECT {_KEY[level]}, {_COLUMNS[level]} FROM {_FROM[level]} "
        f"WHERE {_KEY[level]} IN (SELECT value FROM json_each(?))",
        [orjson.dumps(keys).decode()],
    )


def count_sql(query: Query, named: Named, most: int | None = None) -> tuple[str, list[object]]:
    where, values = _where(query, named)
    return (
        f"SELECT count(*) FROM (SELECT 1 FROM {_FROM[query.level]} WHERE {where} LIMIT ? OFFSET ?)",
        [*values, -1 if most is None else most, query.offset],
    )


def _where(query: Query, named: Named) -> tuple[str, list[object]]:
    """Conditions on columns first: what reads JSON is asked of what is left."""
    parts: list[str] = ["1"]
    values: list[object] = []
    if query.visible is not None:
        parts.append("st.uid IN (SELECT value FROM json_each(?))")
        values.append(orjson.dumps(sorted(query.visible)).decode())
    for match in sorted(query.matches, key=lambda one: (bool(one.path), _RANK[one.level])):
        condition, bound = _condition(match, named)
        if match.column == "modalities" and match.level == "study":
            condition = f"EXISTS(SELECT 1 FROM series sx WHERE sx.study = st.n AND {condition})"
        elif _RANK[match.level] > _RANK[query.level]:
            condition = _BELOW[query.level, match.level].format(condition)
        parts.append(condition)
        values.extend(bound)
    return " AND ".join(parts), values


def _condition(match: Match, named: Named) -> tuple[str, list[object]]:
    if match.path:
        asked = orjson.dumps([match.how, match.values, match.path, match.vr]).decode()
        where = _BRIEF if match.level == "instance" and match.path[0] in INSTANCE_TAGS else _JSON[match.level]
        return f"{MATCHES}({where}, ?)", [asked]
    if match.column in NAMES:
        listed = named[match]
        if listed is not None:
            return "st.n IN (SELECT value FROM json_each(?))", [listed]
        condition, values = _compared("folded", match)
        return (
            f"EXISTS(SELECT 1 FROM name nm WHERE nm.study = st.n AND nm.role = ? AND {condition})",
            [match.column, *values],
        )
    return _compared(SEARCHABLE[match.level][match.column], match)


def _compared(column: str, match: Match) -> tuple[str, list[object]]:
    if match.how == "exact":
        return f"{column} IN ({','.join('?' * len(match.values))})", list(match.values)
    if match.how == "like":
        return f"{column} GLOB ?", [match.values[0].replace("[", "[[]")]
    if match.how == "words":
        found = " AND ".join(f"instr({column}, ?)" for _word in match.values)
        return found or "1", list(match.values)
    low, high = match.values
    parts, values = [f"{column} <> ''"], []
    if low:
        parts.append(f"{column} >= ?")
        values.append(low)
    if high:
        parts.append(f"{column} <= ?")
        values.append(high)
    return f"({' AND '.join(parts)})", list(values)
