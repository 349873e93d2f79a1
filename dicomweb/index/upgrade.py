"""An index file of an earlier schema version is brought to this one, inside the transaction that opens it."""

from __future__ import annotations

import sqlite3

import orjson

from dicomweb.index.rows import names
from dicomweb.index.schema import TABLES

FIRST = 1
_SINCE = {  # version → the tables it began with
    2: ("name", "masked", "workitem"),
    3: ("withdrawn",),
    4: ("origin",),
    5: ("performed", "performed_study"),
}


def upgrade(connection: sqlite3.Connection, found: int) -> None:
    """From `found` to the present version."""
    for version, tables in _SINCE.items():
        if found < version:
            for statement in TABLES.split(";"):
                if any(f" {table}(" in statement or f" ON {table}(" in statement for table in tables):
                    connection.execute(statement)
    if found < 2:
        _names(connection)


def _names(connection: sqlite3.Connection) -> None:
    """The names move from two columns to a table of their own."""
    for number, attributes in connection.execute("SELECT n, attributes FROM study").fetchall():
        connection.executemany(
            "INSERT OR IGNORE INTO name VALUES(?,?,?)",
            [(role, folded, number) for role, folded in names(orjson.loads(attributes))],
        )
    connection.execute("DROP INDEX IF EXISTS study_name")
    connection.execute("ALTER TABLE study DROP COLUMN referring")
    connection.execute("ALTER TABLE study DROP COLUMN patient_name")
