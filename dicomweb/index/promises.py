"""Storage commitments that peers ask for, until the result is told: rows of the SQLite index."""

from __future__ import annotations

import sqlite3

import orjson

from dicomweb.index.contract import Promise


def put(connection: sqlite3.Connection, one: Promise, most: int) -> bool:
    """Keep it, in place of what this peer asked under the same transaction before; False when it has `most`
    others open."""
    count = connection.execute(
        "SELECT count(*) FROM commitment WHERE peer = ? AND uid <> ?", (one.peer, one.uid)
    ).fetchone()[0]
    if count >= most:
        return False
    items = orjson.dumps(one.items)
    connection.execute(
        "INSERT OR REPLACE INTO commitment VALUES(?, ?, ?, ?, ?, ?)",
        (one.uid, one.peer, one.asked, one.due, one.tries, items),
    )
    return True


def claim(connection: sqlite3.Connection, now: int, until: int) -> Promise | None:
    """The longest due, which is nobody else's until `until`."""
    row = connection.execute(
        "UPDATE commitment SET due = ?1 WHERE (uid, peer) = "
        "(SELECT uid, peer FROM commitment WHERE due <= ?2 ORDER BY due LIMIT 1) "
        "RETURNING uid, peer, asked, due, tries, items",
        (until, now),
    ).fetchone()
    if row is None:
        return None
    uid, peer, asked, due, tries, items = row
    return Promise(uid, peer, asked, tuple(map(tuple, orjson.loads(items))), due, tries)
