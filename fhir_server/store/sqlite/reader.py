"""Reads: one connection for the event loop, a few for threads.

A read by id takes about 15 µs, less than handing it to a thread, so it runs where it is called; searches,
counts and lists run in threads. Every read starts a transaction of its own, so it sees all that any process
has committed.
"""

from __future__ import annotations

import queue
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fhir_server.store.bodies import unpacked
from fhir_server.store.contract import Version
from fhir_server.store.sqlite.commits import INDEXES
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.schema import connect

T = TypeVar("T")
THREADS = 4

COLUMNS = "r.ver, r.rno, r.at, r.method, r.body"


@dataclass(frozen=True, slots=True)
class Reading:
    """A read-only connection and its dictionary."""

    connection: sqlite3.Connection
    names: Names

    def rows(self, sql: str, params: Iterable[object] = ()) -> list[Any]:
        """All rows: the statement is done, so it holds no old snapshot."""
        return self.connection.execute(sql, tuple(params)).fetchall()


class Readers:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.here = self._open()
        self._free: queue.SimpleQueue[Reading] = queue.SimpleQueue()
        self._opened = [self.here]
        self.threads = ThreadPoolExecutor(THREADS, "store-reader")
        for _ in range(THREADS):
            reading = self._open()
            self._opened.append(reading)
            self._free.put(reading)

    def _open(self) -> Reading:
        connection = connect(self._path, read_only=True)
        return Reading(connection, Names(connection))

    def snapshot(self, work: Callable[[Reading], T]) -> T:
        """Run in a pool thread, all statements on one state of the store."""
        reading = self._free.get()
        try:
            reading.connection.execute("BEGIN")
            try:
                return work(reading)
            finally:
                reading.connection.execute("ROLLBACK")
        finally:
            self._free.put(reading)

    def close(self) -> None:
        self.threads.shutdown(wait=True)
        for reading in self._opened:
            reading.connection.close()


def version(type: str, id: str, row: tuple[Any, ...]) -> Version:
    """From COLUMNS."""
    number, seq, at, method, body = row
    return Version(type, id, number, seq, at, method, unpacked(body))


def current(reading: Reading, type: str, id: str) -> Version | None:
    """The newest version, a tombstone included."""
    tid = reading.names.type(type)
    if tid is None:
        return None
    rows = reading.rows(
        f"SELECT {COLUMNS} FROM ent e CROSS JOIN res r ON r.rno=e.rno WHERE e.id=? AND e.tid=?", (id, tid)
    )
    if not rows:
        rows = reading.rows(
            f"SELECT {COLUMNS} FROM ent e CROSS JOIN res r ON r.eid=e.eid "
            "WHERE e.id=? AND e.tid=? ORDER BY r.ver DESC LIMIT 1",
            (id, tid),
        )
    return version(type, id, rows[0]) if rows else None


def one_version(reading: Reading, type: str, id: str, number: int) -> Version | None:
    eid = reading.names.entity(type, id)
    if eid is None:
        return None
    rows = reading.rows(f"SELECT {COLUMNS} FROM res r WHERE r.eid=? AND r.ver=?", (eid, number))
    return version(type, id, rows[0]) if rows else None


def at_numbers(reading: Reading, rnos: list[int]) -> dict[int, Version]:
    """The versions at these write numbers."""
    marks = ",".join("?" * len(rnos))
    rows = reading.rows(
        f"SELECT y.name, e.id, {COLUMNS} FROM res r CROSS JOIN ent e ON e.eid=r.eid "
        f"CROSS JOIN typ y ON y.tid=r.tid WHERE r.rno IN ({marks})",
        rnos,
    )
    return {row[3]: version(row[0], row[1], row[2:]) for row in rows}


def tokens(reading: Reading, type: str, name: str) -> list[tuple[str, str]]:
    """The distinct tokens of one entry name."""
    only, params = ("AND y.name=?", (name, type)) if type else ("", (name,))
    rows = reading.rows(
        "SELECT DISTINCT v.sys, v.code FROM par p JOIN typ y ON y.tid=p.tid CROSS JOIN tok t ON t.pid=p.pid "
        f"JOIN tv v ON v.vid=t.vid WHERE p.name=? {only} ORDER BY 1, 2",
        params,
    )
    return [(system, code) for system, code in rows]


def batch(reading: Reading, tid: int | None, after: int, size: int) -> list[tuple[int, Version]]:
    """Current versions by rising identity number, from the one after `after`."""
    only = "" if tid is None else "AND e.tid=? "
    rows = reading.rows(
        f"SELECT e.eid, y.name, e.id, {COLUMNS} FROM ent e CROSS JOIN res r ON r.rno=e.rno "
        f"CROSS JOIN typ y ON y.tid=e.tid WHERE e.eid>? {only}ORDER BY e.eid LIMIT ?",
        (after, size) if tid is None else (after, tid, size),
    )
    return [(row[0], version(row[1], row[2], row[3:])) for row in rows]


def integrity(connection: sqlite3.Connection) -> list[str]:
    """SQLite's own check of pages and indexes, then ours: every current number has its version, and no index
    row belongs to a version that is not current."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(100)") if row[0] != "ok"]
    lost = connection.execute(
        "SELECT count(*) FROM ent e LEFT JOIN res r ON r.rno = e.rno AND r.eid = e.eid"
        " WHERE e.rno IS NOT NULL AND r.rno IS NULL"
    ).fetchone()[0]
    if lost:
        found.append(f"{lost} current resources have no stored version")
    for table in INDEXES:
        stale = connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT rno FROM {table}) t"
            " LEFT JOIN res r ON r.rno = t.rno LEFT JOIN ent e ON e.eid = r.eid AND e.rno = r.rno"
            " WHERE e.eid IS NULL"
        ).fetchone()[0]
        if stale:
            found.append(f"{stale} index entries of {table} belong to no current version")
    return found
