"""Instances out of sight, for the SQLite index: moved, with who, when and why, into a table that no search
and no retrieval reads. The files stay. Inside the caller's transaction."""
# ruff: noqa: S608 - SQL is put together from constants of this module; values are bound

from __future__ import annotations

import sqlite3

from dicomweb.index import spelling
from dicomweb.index.contract import Trace

_KEPT = (
    "uid, study, series, sop_class, transfer_syntax, sha256, path, size, received, calling_ae, source, layout"
)
_FOUND = (
    "FROM instance i JOIN series s ON s.n = i.series JOIN study st ON st.n = i.study JOIN body b ON "
    "b.n = i.n "
    "WHERE st.uid = ?1 AND (?2 IS NULL OR s.uid = ?2) AND (?3 IS NULL OR i.uid = ?3)"
)


def mask(connection: sqlite3.Connection, place: tuple[str, str | None, str | None], trace: Trace) -> int:
    """How many instances of that study, series or instance are out of sight now."""
    numbers = [row[0] for row in connection.execute(f"SELECT i.n {_FOUND}", place).fetchall()]
    if not numbers:
        return 0
    connection.execute(
        f"INSERT INTO masked({_KEPT}, attributes, at, by, reason) SELECT i.uid, st.uid, s.uid, i.sop_class, "
        "i.transfer_syntax, i.sha256, i.path, i.size, i.received, i.calling_ae, i.source, b.layout, "
        "b.attributes, "
        f"?4, ?5, ?6 {_FOUND}",
        (*place, trace.at, trace.by, trace.reason),
    )
    connection.executemany("DELETE FROM body WHERE n = ?", [(number,) for number in numbers])
    connection.executemany("DELETE FROM instance WHERE n = ?", [(number,) for number in numbers])
    _settle(connection, place[0], trace.at)
    return len(numbers)


def _settle(connection: sqlite3.Connection, uid: str, at: int) -> None:
    """Counts, representatives and modalities as what is left has them; the worker is told."""
    (study,) = connection.execute("SELECT n FROM study WHERE uid = ?", (uid,)).fetchone()
    connection.execute(
        "UPDATE series SET instance_count = (SELECT count(*) FROM instance i WHERE i.series = series.n), "
        "representative = coalesce((SELECT min(i.n) FROM instance i WHERE i.series = series.n), 0) "
        "WHERE study = ?",
        (study,),
    )
    connection.execute("DELETE FROM series WHERE study = ? AND instance_count = 0", (study,))
    left = connection.execute(
        "SELECT count(*), coalesce(sum(instance_count), 0), coalesce(min(representative), 0), "
        "coalesce(group_concat(DISTINCT nullif(modality, '')), '') FROM series WHERE study = ?",
        (study,),
    ).fetchone()
    if left[0]:
        connection.execute(
            "UPDATE study SET series_count = ?, instance_count = ?, representative = ?, modalities = ?, "
            "pending_since = coalesce(pending_since, ?), last_received = max(last_received, ?) WHERE n = ?",
            (*left[:3], "\\".join(sorted(filter(None, left[3].split(",")))), at, at, study),
        )
        return
    spelling.drop(connection, study)
    for table in ("identifier", "name"):
        connection.execute(f"DELETE FROM {table} WHERE study = ?", (study,))
    connection.execute("DELETE FROM study WHERE n = ?", (study,))
    connection.execute("INSERT OR REPLACE INTO withdrawn VALUES(?, ?, '')", (uid, at))
