"""A Query as SQL for the SQLite index. The visible studies are a condition inside, never a filter
afterwards."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import orjson

from dicomweb.index.contract import Level, Match, Query

# what a Match may name: level → column → SQL
SEARCHABLE: dict[Level, dict[str, str]] = {
    "study": {
        "uid": "st.uid",
        "date": "st.date",
        "time": "st.time",
        "accession": "st.accession",
        "description": "st.description",
        "study_id": "st.study_id",
        "referring": "st.referring",
        "patient_id": "st.patient_id",
        "patient_issuer": "st.patient_issuer",
        "patient_name": "st.patient_name",
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
_ORDER: dict[Level, str] = {
    "study": "st.n DESC",
    "series": "st.n DESC, s.number IS NULL, s.number, s.n",
    "instance": "st.n DESC, s.number IS NULL, s.number, s.n, i.number IS NULL, i.number, i.n",
}
_BELOW: dict[Level, str] = {
    "study": "",
    "series": "EXISTS(SELECT 1 FROM series s WHERE s.study = st.n AND {})",
    "instance": "EXISTS(SELECT 1 FROM instance i WHERE i.study = st.n AND {})",
}
_RANK = {"study": 0, "series": 1, "instance": 2}


def find_sql(query: Query) -> tuple[str, list[object]]:
    """The page, in a stable order: newest study first, then display order."""
    where, values = _where(query)
    limit = -1 if query.limit is None else query.limit
    return (
        f"SELECT {_COLUMNS[query.level]} FROM {_FROM[query.level]} WHERE {where} "
        f"ORDER BY {_ORDER[query.level]} LIMIT ? OFFSET ?",
        [*values, limit, query.offset],
    )


def count_sql(query: Query) -> tuple[str, list[object]]:
    where, values = _where(query)
    return f"SELECT count(*) FROM {_FROM[query.level]} WHERE {where}", values


def _where(query: Query) -> tuple[str, list[object]]:
    parts: list[str] = ["1"]
    values: list[object] = []
    if query.visible is not None:
        parts.append("st.uid IN (SELECT value FROM json_each(?))")
        values.append(orjson.dumps(sorted(query.visible)).decode())
    for match in query.matches:
        condition, bound = _condition(match)
        if match.column == "modalities" and match.level == "study":
            condition = f"EXISTS(SELECT 1 FROM series sx WHERE sx.study = st.n AND {condition})"
        elif _RANK[match.level] > _RANK[query.level]:
            condition = _BELOW[match.level].format(condition)
        parts.append(condition)
        values.extend(bound)
    return " AND ".join(parts), values


def _condition(match: Match) -> tuple[str, list[object]]:
    column = SEARCHABLE[match.level][match.column]
    if match.how == "exact":
        return f"{column} IN ({','.join('?' * len(match.values))})", list(match.values)
    if match.how == "like":
        return f"{column} GLOB ?", [match.values[0].replace("[", "[[]")]
    low, high = match.values
    parts, values = [f"{column} <> ''"], []
    if low:
        parts.append(f"{column} >= ?")
        values.append(low)
    if high:
        parts.append(f"{column} <= ?")
        values.append(high)
    return f"({' AND '.join(parts)})", list(values)
