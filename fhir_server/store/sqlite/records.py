"""Plain records and counters. An expired record counts as absent from the moment it expires; a sweep removes
it later."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson


def put(
    connection: sqlite3.Connection,
    kind: str,
    key: str,
    value: bytes,
    *,
    expires: int | None,
    now: int,
    only_if_absent: bool,
) -> bool:
    """True if written. `now` and `expires` are UTC microseconds."""
    connection.execute("DELETE FROM rec WHERE expires IS NOT NULL AND expires<=?", (now,))
    verb = "IGNORE" if only_if_absent else "REPLACE"
    done = connection.execute(
        f"INSERT OR {verb} INTO rec(kind, key, value, expires) VALUES(?, ?, ?, ?)",
        (kind, key, value, expires),
    )
    return done.rowcount == 1


def get(connection: sqlite3.Connection, kind: str, key: str, now: int) -> dict[str, Any] | None:
    rows = connection.execute("SELECT value, expires FROM rec WHERE kind=? AND key=?", (kind, key)).fetchall()
    return _live(rows, now)


def take(connection: sqlite3.Connection, kind: str, key: str, now: int) -> dict[str, Any] | None:
    rows = connection.execute(
        "DELETE FROM rec WHERE kind=? AND key=? RETURNING value, expires", (kind, key)
    ).fetchall()
    return _live(rows, now)


def listed(connection: sqlite3.Connection, kind: str, now: int) -> list[tuple[str, dict[str, Any]]]:
    """In the order of the keys."""
    rows = connection.execute(
        "SELECT key, value FROM rec WHERE kind=? AND (expires IS NULL OR expires>?) ORDER BY key", (kind, now)
    )
    return [(key, orjson.loads(value)) for key, value in rows.fetchall()]


def number(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(
        "INSERT INTO counter(name, value) VALUES(?, 1) "
        "ON CONFLICT(name) DO UPDATE SET value=value+1 RETURNING value",
        (name,),
    ).fetchall()[0]
    return int(value)


def packed(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(dict(value))


def _live(rows: list[Any], now: int) -> dict[str, Any] | None:
    if not rows or (rows[0][1] is not None and rows[0][1] <= now):
        return None
    return dict(orjson.loads(rows[0][0]))
