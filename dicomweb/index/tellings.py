"""What modalities said of their performed procedure steps, until the systems that want to know were told;
rows of the SQLite index.

A message is written in the transaction of the change that it made, so what a modality was answered is never
without it. Its content goes as soon as nobody is to be told it any more; the row stays a while, since the
sets of a step are for whom its creation was for. PS3.4 §F.7 (MPPS)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb.index.steps import Backlog, StepMessage, Telling
from dicomweb.index.subscriptions import Connecting

_MESSAGE = "m.step, m.kind, m.syntax, m.body, m.at, m.source"
_EMPTIED = (
    "UPDATE step_message SET body = x'' WHERE n = ?1 AND NOT EXISTS "
    "(SELECT 1 FROM step_telling WHERE message = ?1 AND state <> 'told')"
)
# The first that waits of each step: earlier ones are told, or refused. `<> 'told'` is what the index has.
_DUE = (
    "t.state <> 'told' AND t.state = 'waiting' AND t.due <= ? AND NOT EXISTS (SELECT 1 FROM step_telling e "
    "WHERE e.peer = t.peer AND e.step = t.step AND e.message < t.message AND e.state <> 'told' "
    "AND e.state = 'waiting')"
)


def note(connection: sqlite3.Connection, said: StepMessage) -> None:
    """Inside the caller's transaction. Raises IntegrityError for a gateway's message that is known."""
    connection.execute(
        "INSERT INTO step_message(step, kind, syntax, body, at, source) VALUES(?, ?, ?, ?, ?, ?)",
        (said.step, said.kind, said.syntax, said.body, said.at, said.source),
    )


@dataclass(frozen=True, slots=True)
class Tellings:
    """The `Tellings` contract; `reading` and `writing` give the index's connections."""

    reading: Connecting
    writing: Connecting

    def knows(self, source: str) -> bool:
        with self.reading() as connection:
            found = connection.execute("SELECT 1 FROM step_message WHERE source = ?", (source,))
            return bool(source) and found.fetchone() is not None

    def fresh(self, limit: int = 100) -> list[tuple[int, StepMessage]]:
        with self.reading() as connection:
            found = connection.execute(
                f"SELECT m.n, {_MESSAGE} FROM step_message m WHERE m.addressed = 0 ORDER BY m.n LIMIT ?",  # noqa: S608
                (limit,),
            ).fetchall()
        return [(number, StepMessage(*row)) for number, *row in found]

    def recipients(self, step: str) -> list[str]:
        with self.reading() as connection:
            found = connection.execute(
                "SELECT DISTINCT t.peer FROM step_message m JOIN step_telling t ON t.message = m.n "
                "WHERE m.step = ? AND m.kind = 'create' ORDER BY t.peer",
                (step,),
            ).fetchall()
        return [row[0] for row in found]

    def address(self, number: int, peers: Sequence[str]) -> None:
        with self.writing() as connection:
            fresh = connection.execute(
                "UPDATE step_message SET addressed = 1 WHERE n = ? AND addressed = 0 RETURNING step, source",
                (number,),
            ).fetchone()
            if fresh is None:
                return  # another process did
            step, source = fresh
            for peer in dict.fromkeys(peers):
                connection.execute(
                    "INSERT INTO step_telling(peer, message, step, state, reason) "
                    "SELECT ?1, ?2, ?3, iif(refused, 'refused', 'waiting'), iif(refused, 'not-created', '') "
                    "FROM (SELECT EXISTS(SELECT 1 FROM step_telling t JOIN step_message m ON m.n = t.message "
                    "WHERE t.peer = ?1 AND t.step = ?3 AND m.kind = 'create' AND t.state = 'refused') "
                    "AS refused)",
                    (peer, number, step),
                )
            if peers or source:
                connection.execute(_EMPTIED, (number,))
            else:
                connection.execute("DELETE FROM step_message WHERE n = ?", (number,))

    def due(self, now: int) -> list[str]:
        with self.reading() as connection:
            found = connection.execute(
                f"SELECT DISTINCT t.peer FROM step_telling t WHERE {_DUE}",  # noqa: S608
                (now,),
            ).fetchall()
        return [row[0] for row in found]

    def next(self, peer: str, now: int) -> Telling | None:
        found = self._read(f"{_DUE} AND t.peer = ? ORDER BY t.message LIMIT 1", (now, peer), _MESSAGE)
        return found[0] if found else None

    def _read(self, where: str, values: Sequence[object], columns: str) -> list[Telling]:
        """`where` is put together from constants of this module."""
        sql = (
            f"SELECT t.message, t.peer, t.state, t.sent, t.tries, t.reason, {columns} "  # noqa: S608
            f"FROM step_telling t JOIN step_message m ON m.n = t.message WHERE {where}"
        )
        with self.reading() as connection:
            found = connection.execute(sql, values).fetchall()
        return [
            Telling(number, peer, StepMessage(*said), state, bool(sent), tries, reason)
            for number, peer, state, sent, tries, reason, *said in found
        ]

    def begin(self, one: Telling) -> None:
        self._change("UPDATE step_telling SET sent = 1 WHERE message = ? AND peer = ?", one)

    def told(self, one: Telling) -> None:
        with self.writing() as connection:
            connection.execute(
                "UPDATE step_telling SET state = 'told', reason = '' WHERE message = ? AND peer = ?",
                (one.number, one.peer),
            )
            connection.execute(_EMPTIED, (one.number,))

    def refuse(self, one: Telling, reason: str) -> None:
        with self.writing() as connection:
            connection.execute(
                "UPDATE step_telling SET state = 'refused', reason = ? WHERE message = ? AND peer = ?",
                (reason, one.number, one.peer),
            )
            if one.said.kind == "create":
                connection.execute(
                    "UPDATE step_telling SET state = 'refused', reason = 'not-created' "
                    "WHERE peer = ? AND step = ? AND state = 'waiting'",
                    (one.peer, one.said.step),
                )

    def later(self, one: Telling, reason: str, due: int) -> None:
        with self.writing() as connection:
            connection.execute(
                "UPDATE step_telling SET tries = tries + 1, reason = ? WHERE message = ? AND peer = ?",
                (reason, one.number, one.peer),
            )
            connection.execute(
                "UPDATE step_telling SET due = max(due, ?) WHERE peer = ? AND state = 'waiting'",
                (due, one.peer),
            )

    def _change(self, sql: str, one: Telling) -> None:
        with self.writing() as connection:
            connection.execute(sql, (one.number, one.peer))

    def backlogs(self) -> dict[str, Backlog]:
        with self.reading() as connection:
            found = connection.execute(
                "SELECT t.peer, sum(t.state = 'waiting'), "
                "coalesce(min(iif(t.state = 'waiting', m.at, NULL)), 0), sum(t.state = 'refused') "
                "FROM step_telling t JOIN step_message m ON m.n = t.message WHERE t.state <> 'told' "
                "GROUP BY t.peer"
            ).fetchall()
        return {peer: Backlog(*counts) for peer, *counts in found}

    def open(self, peer: str, limit: int = 200) -> list[Telling]:
        without = "m.step, m.kind, m.syntax, x'', m.at, m.source"
        return self._read(
            "t.peer = ? AND t.state <> 'told' ORDER BY t.message LIMIT ?", (peer, limit), without
        )

    def retry(self, peer: str) -> int:
        with self.writing() as connection:
            connection.execute(
                "UPDATE step_telling SET due = 0 WHERE peer = ? AND state = 'waiting'", (peer,)
            )
            return connection.execute(
                "UPDATE step_telling SET state = 'waiting', reason = '', due = 0, tries = 0 "
                "WHERE peer = ? AND state = 'refused'",
                (peer,),
            ).rowcount

    def forget(self, before: int) -> int:
        with self.writing() as connection:
            gone = [
                (row[0],)
                for row in connection.execute(
                    "SELECT m.n FROM step_message m WHERE m.at < ? AND m.addressed = 1 AND NOT EXISTS "
                    "(SELECT 1 FROM step_telling t WHERE t.message = m.n AND t.state = 'waiting')",
                    (before,),
                ).fetchall()
            ]
            connection.executemany("DELETE FROM step_telling WHERE message = ?", gone)
            connection.executemany("DELETE FROM step_message WHERE n = ?", gone)
        return len(gone)
