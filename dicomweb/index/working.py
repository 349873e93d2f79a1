"""Procedure steps and promises in the SQLite index: work items, storage commitments, performed steps; inside
`SqliteIndex`."""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from dicomweb.index import performed, promises, tellings
from dicomweb.index import subscriptions as told
from dicomweb.index.connections import Connections
from dicomweb.index.contract import Promise
from dicomweb.index.steps import PerformedStep, StepMessage, WorkItem

WORKITEM = "uid, state, owner, studies, attributes, changed"


def _workitem(row: tuple[Any, ...]) -> WorkItem:
    uid, state, owner, studies, attributes, revision = row
    return WorkItem(uid, state, owner, tuple(orjson.loads(studies)), orjson.loads(attributes), revision)


def _read_workitem(connection: sqlite3.Connection, uid: str) -> WorkItem | None:
    found = connection.execute(f"SELECT {WORKITEM} FROM workitem WHERE uid = ?", (uid,)).fetchone()
    return _workitem(found) if found else None


class Working(Connections):
    """The part of the `Index` contract that is about what is to be done, and was."""

    # -- work items --------------------------------------------------------------------------------
    def workitems(self) -> list[WorkItem]:
        return [_workitem(row) for row in self._all(f"SELECT {WORKITEM} FROM workitem ORDER BY n, uid")]

    def workitem(self, uid: str) -> WorkItem | None:
        with self._reader() as connection:
            return _read_workitem(connection, uid)

    def put_workitem(self, item: WorkItem) -> bool:
        values = (item.state, item.owner, orjson.dumps(item.studies).decode(), orjson.dumps(item.attributes))
        with self._writing() as connection:
            before = _read_workitem(connection, item.uid)
            if item.revision != (before.revision if before else 0):
                return False
            if before is None:
                connection.execute(
                    "INSERT INTO workitem(uid, n, state, owner, studies, attributes, changed) "
                    "SELECT ?, coalesce(max(n), 0) + 1, ?, ?, ?, ?, 1 FROM workitem",
                    (item.uid, *values),
                )
            else:
                connection.execute(
                    "UPDATE workitem SET state = ?, owner = ?, studies = ?, attributes = ?, "
                    "changed = changed + 1 WHERE uid = ?",
                    (*values, item.uid),
                )
            told.note(connection, before, item)
            return True

    # -- storage commitments -----------------------------------------------------------------------
    def put_promise(self, one: Promise, most: int) -> bool:
        with self._write_lock, self._transaction() as connection:
            return promises.put(connection, one, most)

    def claim_promise(self, now: int, until: int) -> Promise | None:
        if not self._all("SELECT 1 FROM commitment WHERE due <= ? LIMIT 1", (now,)):
            return None  # looked at often, and nothing is written for it
        with self._write_lock, self._transaction() as connection:
            return promises.claim(connection, now, until)

    def later_promise(self, one: Promise, due: int) -> None:
        self._write(
            "UPDATE commitment SET due = ?, tries = tries + 1 WHERE uid = ? AND peer = ?",
            (due, one.uid, one.peer),
        )

    def drop_promise(self, one: Promise) -> None:
        self._write("DELETE FROM commitment WHERE uid = ? AND peer = ?", (one.uid, one.peer))

    # -- performed procedure steps -----------------------------------------------------------------
    def performed(self, uid: str) -> PerformedStep | None:
        with self._reader() as connection:
            return next(iter(performed.read(connection, "uid = ?", (uid,))), None)

    def put_performed(self, step: PerformedStep, said: StepMessage | None = None) -> bool:
        with self._write_lock, self._transaction() as connection:
            written = performed.put(connection, step)
            if written and said is not None:
                tellings.note(connection, said)
            return written

    def performed_of(self, study: str) -> list[PerformedStep]:
        with self._reader() as connection:
            return performed.read(connection, performed.OF_STUDY, (study,))

    def performed_for(self, accession: str) -> list[PerformedStep]:
        with self._reader() as connection:
            return performed.read(connection, performed.FOR_ORDER, (accession,))

    def performed_due(self, now: int, limit: int = 50) -> list[PerformedStep]:
        with self._reader() as connection:
            return performed.read(connection, performed.DUE, (now, limit))

    def settle_performed(self, step: PerformedStep, again: int | None) -> None:
        self._write(performed.SETTLE, (again, step.uid, step.revision))

    def await_performed(self, study: str, again: int) -> None:
        self._write(performed.AWAIT, (again, study))

    def whereabouts(self, instances: Sequence[str]) -> dict[str, str]:
        return dict(self._all(performed.WHEREABOUTS, (orjson.dumps(list(instances)).decode(),)))
