"""An index file of an earlier schema version is brought to this one, inside the transaction that opens it."""

from __future__ import annotations

import re
import sqlite3

import orjson

from dicomweb.index import spelling
from dicomweb.index.rows import names
from dicomweb.index.schema import TABLES

FIRST = 1
_SINCE = {  # version → the tables it began with
    2: ("name", "masked", "workitem"),
    3: ("withdrawn",),
    4: ("origin",),
    5: ("performed", "performed_study"),
    6: ("spelling", "usage", "damage"),
    7: ("subscriber", "subscription", "event"),
    8: ("commitment",),
    9: ("performed_order",),
    10: ("step_message", "step_telling"),
}


def upgrade(connection: sqlite3.Connection, found: int) -> None:
    """From `found` to the present version."""
    for version, tables in _SINCE.items():
        if found < version:
            for statement in TABLES.split(";"):
                if any(re.search(rf" (ON )?{table}(\(| USING )", statement) for table in tables):
                    connection.execute(statement)
    if found < 2:
        _names(connection)
    if found < 10:  # steps that go on are looked at again from now on
        connection.execute("UPDATE performed SET due = changed WHERE state = 'IN PROGRESS' AND due IS NULL")
    if found < 6:
        _storage(connection, found)


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


def _storage(connection: sqlite3.Connection, found: int) -> None:
    """Names by their letters, what each site takes, and which masked files are gone."""
    if found >= 2:
        connection.execute("ALTER TABLE masked ADD COLUMN purged INTEGER NOT NULL DEFAULT 0")
        connection.execute("CREATE INDEX masked_kept ON masked(at) WHERE purged = 0")
    for (number,) in connection.execute("SELECT n FROM study ORDER BY n").fetchall():
        spelling.add(connection, number)
    connection.execute(
        "INSERT INTO usage SELECT source, count(*), sum(size) FROM (SELECT source, size FROM instance "
        "UNION ALL SELECT source, size FROM conflict UNION ALL SELECT source, size FROM masked) "
        "GROUP BY source"
    )
