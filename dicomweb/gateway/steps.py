"""What modalities of the site say of their performed procedure steps, kept beside the instances until the
platform has it: rows of the outbox's file.

A modality is judged here as the platform would judge it, and answered when the step and what was said of it
are on disk. Messages go up in the order they came; `passing` sends them. PS3.4 §F.7 (MPPS)
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from uuid import uuid4

import orjson

from dicomweb.index.steps import PerformedStep, StepMessage
from dicomweb.performed import FINAL
from dicomweb.rows import Rows

TABLES = """CREATE TABLE step(uid TEXT PRIMARY KEY, state TEXT NOT NULL, ae_title TEXT NOT NULL,
  attributes BLOB NOT NULL, changed INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE said(n INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, step TEXT NOT NULL,
  kind TEXT NOT NULL, syntax TEXT NOT NULL, body BLOB NOT NULL, ae_title TEXT NOT NULL, at INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '');
CREATE INDEX said_waiting ON said(n) WHERE state = 'waiting'"""
_SAID = "n, name, ae_title, step, kind, syntax, body, at, tries, reason"
DAY = 86_400_000_000  # microseconds
KEPT_FINAL, KEPT_OPEN = 30 * DAY, 180 * DAY  # how long a step is known after its modality's last word


@dataclass(frozen=True, slots=True)
class Said:
    """A message that waits, or that the platform does not take (`reason`). `name`: by which the platform
    knows it when it comes twice; `ae_title`: who said it."""

    number: int
    name: str
    ae_title: str
    message: StepMessage
    tries: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    waiting: int
    apart: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Of the outbox whose file it is; any thread. A method that returns is durable."""

    rows: Rows

    # -- what `taking` works with
    def performed(self, uid: str) -> PerformedStep | None:
        found = self.rows.rows(
            "SELECT uid, state, ae_title, attributes, changed, revision FROM step WHERE uid = ?", (uid,)
        )
        if not found:
            return None
        uid, state, title, attributes, changed, revision = found[0]
        return PerformedStep(uid, state, (), title, "", orjson.loads(attributes), changed, revision)

    def put_performed(self, step: PerformedStep, said: StepMessage | None = None) -> bool:
        with self.rows.writing() as connection:
            if not _written(connection, step):
                return False
            if said is not None:
                connection.execute(
                    "INSERT INTO said(name, step, kind, syntax, body, ae_title, at) VALUES(?,?,?,?,?,?,?)",
                    (uuid4().hex, said.step, said.kind, said.syntax, said.body, step.ae_title, said.at),
                )
        return True

    # -- passing on
    def next(self) -> Said | None:
        """The oldest that waits."""
        found = self._read("state = 'waiting' ORDER BY n LIMIT 1")
        return found[0] if found else None

    def apart(self, limit: int = 100) -> list[Said]:
        return self._read("state = 'apart' ORDER BY n LIMIT ?", limit)

    def _read(self, where: str, *values: object) -> list[Said]:
        """`where` is one of the texts above."""
        found = self.rows.rows(f"SELECT {_SAID} FROM said WHERE {where}", values)  # noqa: S608
        return [
            Said(number, name, title, StepMessage(step, kind, syntax, body, at), tries, reason)
            for number, name, title, step, kind, syntax, body, at, tries, reason in found
        ]

    def delivered(self, one: Said) -> None:
        self._change("DELETE FROM said WHERE n = ?", one.number)

    def put_apart(self, one: Said, reason: str) -> None:
        """The platform does not take it as it is."""
        self._change("UPDATE said SET state = 'apart', reason = ? WHERE n = ?", reason, one.number)

    def failed(self, one: Said) -> None:
        """The platform failed on it, once more."""
        self._change("UPDATE said SET tries = tries + 1 WHERE n = ?", one.number)

    def retry(self) -> int:
        """What stood apart waits again, in its order; how many."""
        with self.rows.writing() as connection:
            return connection.execute(
                "UPDATE said SET state = 'waiting', tries = 0, reason = '' WHERE state = 'apart'"
            ).rowcount

    def _change(self, sql: str, *values: object) -> None:
        with self.rows.writing() as connection:
            connection.execute(sql, values)

    # -- keeping, telling
    def counts(self) -> Counts:
        found = self.rows.rows(
            "SELECT coalesce(sum(state = 'waiting'), 0), coalesce(sum(state = 'apart'), 0) FROM said"
        )
        return Counts(*found[0])

    def forget(self, now: int) -> int:
        """Steps of which nothing is to be passed on any more; how many."""
        with self.rows.writing() as connection:
            return connection.execute(
                "DELETE FROM step WHERE changed < iif(state IN (SELECT value FROM json_each(?)), ?, ?) "
                "AND uid NOT IN (SELECT step FROM said)",
                (orjson.dumps(sorted(FINAL)).decode(), now - KEPT_FINAL, now - KEPT_OPEN),
            ).rowcount


def _written(connection: sqlite3.Connection, step: PerformedStep) -> bool:
    """Whether what is kept has the revision before (none: 0)."""
    attributes = orjson.dumps(step.attributes)
    if step.revision == 0:
        made = connection.execute(
            "INSERT INTO step VALUES(?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
            (step.uid, step.state, step.ae_title, attributes, step.changed),
        )
    else:
        made = connection.execute(
            "UPDATE step SET state = ?, attributes = ?, changed = ?, revision = revision + 1 "
            "WHERE uid = ? AND revision = ?",
            (step.state, attributes, step.changed, step.uid, step.revision),
        )
    return made.rowcount == 1
