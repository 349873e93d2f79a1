"""One commit: check what each Put expects, write its version, and move the index rows to it.

Runs in the writer's transaction, inside a savepoint of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from fhir_server.search.nodes import Select
from fhir_server.store.contract import Entries, Put, RaceLost, Unless, Version
from fhir_server.store.sqlite.bodies import packed
from fhir_server.store.sqlite.names import Writing
from fhir_server.store.sqlite.pages import page
from fhir_server.store.sqlite.special import store_special

INDEXES = ("tok", "ref", "dat", "str", "num", "cmp", "geo")


def commit(
    connection: sqlite3.Connection, names: Writing, puts: Sequence[Put], unless: Sequence[Unless] = ()
) -> list[Version]:
    """All puts in order. Raises RaceLost, and then the caller rolls the savepoint back."""
    for each in unless:
        if page(names, Select(each.type, each.where, count=1)):
            raise RaceLost(each.type, "")
    return [_put(connection, names, put) for put in puts]


def _put(connection: sqlite3.Connection, names: Writing, put: Put) -> Version:
    tid = names.type_added(put.type)
    found = connection.execute(
        "SELECT e.eid, e.rno, (SELECT max(ver) FROM res WHERE eid=e.eid) FROM ent e WHERE e.id=? AND e.tid=?",
        (put.id, tid),
    ).fetchall()
    eid, old, version = found[0] if found else (None, None, None)
    if (version or 0) != put.expect:
        raise RaceLost(put.type, put.id)
    if eid is None:
        eid = names.entity_added(tid, put.id)
    number = put.expect + 1
    rno = connection.execute(
        "INSERT INTO res(eid, ver, tid, at, method, body) VALUES(?, ?, ?, ?, ?, ?)",
        (eid, number, tid, put.at, put.method, packed(put.body)),
    ).lastrowid
    assert rno is not None
    if old is not None:
        for table in INDEXES:
            connection.execute(f"DELETE FROM {table} WHERE rno=?", (old,))
    connection.execute("UPDATE ent SET rno=? WHERE eid=?", (rno if put.body is not None else None, eid))
    if put.body is not None:
        connection.execute("INSERT INTO tok(pid, vid, rno) VALUES(0, ?, ?)", (tid, rno))
        _index(connection, names, put.type, rno, put.entries)
        store_special(connection, names, put.type, rno, put.entries)
    return Version(put.type, put.id, number, rno, put.at, put.method, put.body)


def _index(connection: sqlite3.Connection, names: Writing, type: str, rno: int, entries: Entries) -> None:
    pid = names.param_added
    many = connection.executemany
    if entries.tokens:
        many(
            "INSERT OR IGNORE INTO tok VALUES(?, ?, ?)",
            [
                (pid(type, name), names.token_added(system, code), rno)
                for name, system, code in entries.tokens
            ],
        )
    if entries.references:
        many(
            "INSERT OR IGNORE INTO ref VALUES(?, ?, ?)",
            [(pid(type, name), names.target_added(target), rno) for name, target in entries.references],
        )
    if entries.dates:
        many(
            "INSERT OR IGNORE INTO dat VALUES(?, ?, ?, ?)",
            [(pid(type, name), start, rno, end) for name, start, end in entries.dates],
        )
    if entries.strings:
        many(
            "INSERT OR IGNORE INTO str VALUES(?, ?, ?, ?)",
            [(pid(type, name), folded, rno, written) for name, folded, written in entries.strings],
        )
    if entries.numbers:
        many(
            "INSERT OR IGNORE INTO num VALUES(?, ?, ?, ?, ?)",
            [
                (pid(type, name), low, rno, high, names.token_added(system, code))
                for name, low, high, system, code in entries.numbers
            ],
        )
