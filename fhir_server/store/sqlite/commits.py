"""One commit: check what each Put expects, write its version, and move the index rows to it.

Runs in the writer's transaction, inside a savepoint of its own. The index rows of all puts are gathered and
written table by table, in the order of the table's key: a commit of thousands takes two thirds of the time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from fhir_server.search.nodes import Select
from fhir_server.store.bodies import packed
from fhir_server.store.contract import Entries, Indexed, Put, RaceLost, Unless, Version
from fhir_server.store.sqlite.names import Writing
from fhir_server.store.sqlite.pages import page
from fhir_server.store.sqlite.pairs import pair_rows
from fhir_server.store.sqlite.special import columns, text_row

COLUMNS = {"tok": 3, "ref": 3, "dat": 4, "str": 4, "num": 5, "cmp": 11, "geo": 4}
INDEXES = tuple(COLUMNS)


def commit(
    connection: sqlite3.Connection, names: Writing, puts: Sequence[Put], unless: Sequence[Unless] = ()
) -> list[Version]:
    """All puts in order. Raises RaceLost, and then the caller rolls the savepoint back."""
    if unless:
        names.write_texts()
    for each in unless:
        if page(names, Select(each.type, each.where, count=1)):
            raise RaceLost(each.type, "")
    writing = _Commit(connection, names)
    versions = [writing.put(put) for put in puts]
    writing.flush()
    return versions


def reindex(connection: sqlite3.Connection, names: Writing, items: Sequence[Indexed]) -> int:
    """The rows of current versions, made anew; how many versions were current."""
    writing = _Commit(connection, names)
    done = sum([writing.again(item) for item in items])
    writing.flush()
    return done


@dataclass(slots=True)
class _Commit:
    """What is gathered and not written yet: `rows` of the index by table, and `moved`: which version (None:
    none) is now current of which identity."""

    connection: sqlite3.Connection
    names: Writing
    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: {t: [] for t in INDEXES})
    moved: dict[int, int | None] = field(default_factory=dict)

    def put(self, put: Put) -> Version:
        """One version. Raises RaceLost."""
        tid = self.names.type_added(put.type)
        eid, old, version = self._current(put, tid)
        if (version or 0) != put.expect:
            raise RaceLost(put.type, put.id)
        if eid is None:
            eid = self.names.entity_added(tid, put.id)
        number = put.expect + 1
        rno = self.connection.execute(
            "INSERT INTO res(eid, ver, tid, at, method, body) VALUES(?, ?, ?, ?, ?, ?)",
            (eid, number, tid, put.at, put.method, packed(put.body)),
        ).lastrowid
        assert rno is not None
        if old is not None:
            for table in INDEXES:
                self.connection.execute(f"DELETE FROM {table} WHERE rno=?", (old,))
        self.moved[eid] = rno if put.body is not None else None
        if put.body is not None:
            self.rows["tok"].append((0, tid, rno))
            self._gather(put.type, rno, put.entries)
        return Version(put.type, put.id, number, rno, put.at, put.method, put.body)

    def _current(self, put: Put, tid: int) -> tuple[int | None, int | None, int | None]:
        """(eid, rno, version number) of what the put replaces. What this commit itself wrote of it is written
        out first."""
        sql = (
            "SELECT e.eid, e.rno, (SELECT max(ver) FROM res WHERE eid=e.eid) FROM ent e "
            "WHERE e.id=? AND e.tid=?"
        )
        found = self.connection.execute(sql, (put.id, tid)).fetchall()
        if found and found[0][0] in self.moved:
            self.flush()
            found = self.connection.execute(sql, (put.id, tid)).fetchall()
        return found[0] if found else (None, None, None)

    def again(self, item: Indexed) -> bool:
        """One current version's rows; False when it is not current."""
        found = self.connection.execute(
            "SELECT r.rno, r.tid FROM ent e JOIN typ y ON y.tid=e.tid JOIN res r ON r.rno=e.rno "
            "WHERE e.id=? AND y.name=? AND r.ver=?",
            (item.id, item.type, item.version),
        ).fetchall()
        for rno, tid in found:
            listed = self.connection.execute("SELECT pid, name FROM par WHERE tid=?", (tid,)).fetchall()
            pids = [pid for pid, name in listed if "&" in name or item.concerns(name)]
            for table in INDEXES if pids else ():
                marks = ",".join("?" * len(pids))
                self.connection.execute(f"DELETE FROM {table} WHERE rno=? AND pid IN ({marks})", (rno, *pids))
            self._gather(item.type, rno, _chosen(item), item.entries)
        return bool(found)

    def _gather(self, type: str, rno: int, entries: Entries, whole: Entries | None = None) -> None:
        """`whole`: all entries of the version, where `entries` are only some."""
        pid, token, rows = self.names.param_added, self.names.token_added, self.rows
        rows["tok"] += [(pid(type, name), token(system, code), rno) for name, system, code in entries.tokens]
        target = self.names.target_added
        rows["ref"] += [(pid(type, name), target(reference), rno) for name, reference in entries.references]
        rows["dat"] += [(pid(type, name), start, rno, end) for name, start, end in entries.dates]
        rows["str"] += [(pid(type, name), folded, rno, written) for name, folded, written in entries.strings]
        rows["num"] += [
            (pid(type, name), low, rno, high, token(system, code))
            for name, low, high, system, code in entries.numbers
        ]

        rows["cmp"] += [
            (pid(type, name), rno, *columns(self.names, each)) for name, each in entries.composites
        ]
        rows["cmp"] += pair_rows(self.names, type, rno, whole or entries)
        rows["geo"] += [(pid(type, name), lat, rno, lon) for name, lat, lon in entries.positions]
        if entries.texts:
            self.names.texts.append(text_row(rno, entries))

    def flush(self) -> None:
        """Everything gathered is in its tables."""
        many = self.connection.executemany
        for table, rows in self.rows.items():
            if rows:
                rows.sort()
                many(f"INSERT OR IGNORE INTO {table} VALUES({','.join('?' * COLUMNS[table])})", rows)
                rows.clear()
        if self.moved:
            current = [(rno, eid) for eid, rno in self.moved.items()]
            self.connection.executemany("UPDATE ent SET rno=? WHERE eid=?", current)
            self.moved.clear()


def _chosen(item: Indexed) -> Entries:
    """The entries that may differ, without texts."""
    given = item.entries
    kinds = ("tokens", "references", "dates", "strings", "numbers", "composites", "positions")
    return Entries(**{kind: tuple(e for e in getattr(given, kind) if item.concerns(e[0])) for kind in kinds})
