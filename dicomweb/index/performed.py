"""Performed procedure steps as rows of the SQLite index, inside the caller's connection."""
# ruff: noqa: S608 - SQL is put together from constants of this module; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dicomweb.attributes import first, values
from dicomweb.index.steps import PerformedStep

_STEP = "uid, state, ae_title, organisation, attributes, changed, revision"
OF_STUDY = "uid IN (SELECT step FROM performed_study WHERE study = ?) ORDER BY changed, uid"
FOR_ORDER = "uid IN (SELECT step FROM performed_order WHERE accession = ?) ORDER BY changed, uid"
DUE = "due IS NOT NULL AND due <= ? ORDER BY due LIMIT ?"
SETTLE = "UPDATE performed SET due = ? WHERE uid = ? AND revision = ?"
AWAIT = (
    "UPDATE performed SET due = ? WHERE due IS NULL "
    "AND uid IN (SELECT step FROM performed_study WHERE study = ?)"
)
WHEREABOUTS = (
    "SELECT i.uid, st.uid FROM instance i JOIN study st ON st.n = i.study "
    "WHERE i.uid IN (SELECT value FROM json_each(?1)) "
    "UNION ALL SELECT uid, '' FROM masked WHERE uid IN (SELECT value FROM json_each(?1))"
)


def put(connection: sqlite3.Connection, step: PerformedStep) -> bool:
    """Whether it was written: what is stored has the revision before (none: 0)."""
    attributes = orjson.dumps(step.attributes)
    if step.revision == 0:
        made = connection.execute(
            "INSERT INTO performed VALUES(?1, ?2, ?3, ?4, ?5, ?6, 1, ?6) ON CONFLICT DO NOTHING",
            (step.uid, step.state, step.ae_title, step.organisation, attributes, step.changed),
        )
    else:
        made = connection.execute(
            "UPDATE performed SET state = ?1, attributes = ?2, changed = ?3, due = ?3, "
            "revision = revision + 1 WHERE uid = ?4 AND revision = ?5",
            (step.state, attributes, step.changed, step.uid, step.revision),
        )
    if made.rowcount == 1 and step.revision == 0:
        connection.executemany(
            "INSERT INTO performed_study VALUES(?, ?, ?)",
            [(study, step.uid, place) for place, study in enumerate(step.studies)],
        )
        connection.executemany(
            "INSERT OR IGNORE INTO performed_order VALUES(?, ?)",
            [(accession, step.uid) for accession in accessions(step.attributes)],
        )
    return made.rowcount == 1


def accessions(attributes: Mapping[str, Any]) -> set[str]:
    """The accession numbers of the orders that a step performs."""
    items = values(attributes, "00400270")
    return {first(item, "00080050") for item in items if isinstance(item, Mapping)} - {""}


def read(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[PerformedStep]:
    """`where`: one of the constants above, or a condition on a column."""
    found = connection.execute(f"SELECT {_STEP} FROM performed WHERE {where}", values).fetchall()
    return [
        PerformedStep(
            uid, state, _studies(connection, uid), ae_title, organisation, orjson.loads(attributes),
            changed, revision,
        )
        for uid, state, ae_title, organisation, attributes, changed, revision in found
    ]  # fmt: skip


def _studies(connection: sqlite3.Connection, uid: str) -> tuple[str, ...]:
    found = connection.execute("SELECT study FROM performed_study WHERE step = ? ORDER BY place", (uid,))
    return tuple(row[0] for row in found.fetchall())
