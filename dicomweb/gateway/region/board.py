"""Errands as rows of one SQLite file beside the image index: any process asks, any web process hands out.

    ask ──▶ waiting ── offered to the gateway's newest poll ──▶ taken ── answers ──▶ over ──▶ dropped
               ▲                                                  │
               └── a later poll does not name it as in hand ──────┤
                                                                  └── dropped ──▶ withdrawn, until it is told

Whoever asks waits, and says so by `touch`; an errand that nobody waits for any more is not given. So nothing
here needs to survive a power cut: transfers ask again. A poll names what the gateway has in hand, hence an
answer that was lost on the way, or a gateway that died, leads to the errand being given again at once, and
only the newest poll of a gateway takes anything. Times are UTC microseconds.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson

from dicomweb.gateway.errand import Errand, Kind, called, unanswered
from dicomweb.peers.peer import Peer
from dicomweb.rows import Rows
from fhir_server.settings import Settings

TABLES = """
CREATE TABLE errand(
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, gateway TEXT NOT NULL, kind TEXT NOT NULL,
  peer TEXT NOT NULL, line TEXT NOT NULL, urgency INTEGER NOT NULL, asked TEXT NOT NULL, file TEXT NOT NULL,
  touched INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', attempt INTEGER NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL DEFAULT '');
CREATE INDEX errand_waiting ON errand(gateway, urgency, n) WHERE state = 'waiting';
CREATE INDEX errand_touched ON errand(touched);
CREATE TABLE answer(errand INTEGER NOT NULL, n INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY(errand, n)) WITHOUT ROWID;
CREATE TABLE gateway(id TEXT PRIMARY KEY, poll TEXT NOT NULL DEFAULT '', seen INTEGER NOT NULL DEFAULT 0,
  reported INTEGER NOT NULL DEFAULT 0, report TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE hour(gateway TEXT NOT NULL, hour INTEGER NOT NULL, reports INTEGER NOT NULL,
  waiting INTEGER NOT NULL, oldest REAL NOT NULL, refused INTEGER NOT NULL, disk REAL NOT NULL,
  PRIMARY KEY(gateway, hour)) WITHOUT ROWID;
"""
FORGOTTEN = 60_000_000  # a question that nobody touched for so long
FORGOTTEN_MOVING = (
    900_000_000  # the same of images: a lane that keeps to a site's rate stands still between two
)
MOST_GIVEN = 8  # errands at once


@dataclass(frozen=True, slots=True)
class Asked:
    """What a session wants done. `files`: what goes down with a `send`, in the order of its instances."""

    gateway: str
    kind: Kind
    peer: Peer
    line: str
    body: Mapping[str, Any]
    urgency: int = 1
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How an errand stands for who asked it: `answers` from the number that was asked on, `outcome` None
    until it is over, `attempt` how often a gateway was given it."""

    state: str
    attempt: int
    answers: Sequence[Mapping[str, Any]]
    outcome: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a poll brings: errands, and the ids of those in hand that nobody waits for any more."""

    errands: Sequence[Errand] = ()
    gone: Sequence[str] = ()


class Board(Rows):
    """One beside the image index. Its rows are written with `NORMAL`: see above."""

    WHAT: ClassVar[str] = "the errands of gateways"
    STEPS: ClassVar[Mapping[int, str]] = {1: TABLES}

    # -- who asks
    def ask(self, asked: Asked, now: int) -> str:
        """Post an errand; its id."""
        id = secrets.token_urlsafe(15)
        with self.writing("NORMAL") as connection:
            connection.execute(
                "INSERT INTO errand(id, gateway, kind, peer, line, urgency, asked, file, touched) "
                "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id, asked.gateway, asked.kind, orjson.dumps(called(asked.peer)).decode(), asked.line,
                    asked.urgency, orjson.dumps(asked.body).decode(), _dumped(asked.files), now,
                ),
            )  # fmt: skip
        return id

    def touch(self, id: str, now: int) -> None:
        """Somebody still waits for it."""
        with self.writing("NORMAL") as connection:
            connection.execute("UPDATE errand SET touched = ? WHERE id = ?", (now, id))

    def standing(self, id: str, start: int) -> Standing | None:
        """None when it is not there. The outcome is read first, so that no answer is missed after it."""
        found = self.rows("SELECT n, state, attempt, outcome FROM errand WHERE id = ?", (id,))
        if not found:
            return None
        number, state, attempt, outcome = found[0]
        answers = self.rows("SELECT body FROM answer WHERE errand = ? AND n >= ? ORDER BY n", (number, start))
        over = orjson.loads(outcome) if state == "over" else None
        return Standing(state, attempt, [orjson.loads(row[0]) for row in answers], over)

    def drop(self, id: str) -> None:
        """Nobody waits for it any more: the gateway that has it in hand is told so."""
        with self.writing("NORMAL") as connection:
            sql = "UPDATE errand SET state = 'withdrawn' WHERE id = ? AND state = 'taken'"
            if not connection.execute(sql, (id,)).rowcount:
                _delete(connection, connection.execute("SELECT n FROM errand WHERE id = ?", (id,)).fetchall())

    def seen(self, gateway: str) -> int:
        """When it last showed a sign of life; 0 = never."""
        found = self.rows("SELECT seen FROM gateway WHERE id = ?", (gateway,))
        return int(found[0][0]) if found else 0

    # -- the gateway
    def poll(self, gateway: str, in_hand: Iterable[str], now: int) -> str:
        """A new poll, the only one of this gateway from now on; its name. What was taken and is not in hand
        waits again."""
        name, kept = secrets.token_urlsafe(9), set(in_hand)
        with self.writing("NORMAL") as connection:
            connection.execute(
                "INSERT INTO gateway(id, poll, seen) VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET poll = ?2, "
                "seen = ?3",
                (gateway, name, now),
            )
            _delete(
                connection,
                connection.execute(
                    "SELECT n FROM errand WHERE touched < ?1 "
                    "AND (kind IN ('find', 'echo', 'step') OR touched < ?2)",
                    (now - FORGOTTEN, now - FORGOTTEN_MOVING),
                ).fetchall(),
            )
            taken = connection.execute(
                "SELECT n, id, kind FROM errand WHERE gateway = ? AND state = 'taken'", (gateway,)
            ).fetchall()
            for number, id, kind in taken:
                if id in kept:
                    continue
                connection.execute("UPDATE errand SET state = 'waiting' WHERE n = ?", (number,))
                if kind == "find":  # it begins anew
                    connection.execute("DELETE FROM answer WHERE errand = ?", (number,))
        return name

    def take(self, gateway: str, poll: str, now: int) -> Taken | None:
        """The most urgent errands, now in this gateway's hands, and what it may leave; None when a newer poll
        has come."""
        with self.writing("NORMAL") as connection:
            newest = connection.execute("SELECT poll FROM gateway WHERE id = ?", (gateway,)).fetchone()
            if newest is None or newest[0] != poll:
                return None
            connection.execute("UPDATE gateway SET seen = ? WHERE id = ?", (now, gateway))
            rows = connection.execute(
                "SELECT n, id, attempt + 1, kind, peer, line, asked FROM errand WHERE gateway = ? AND "
                "state = 'waiting' ORDER BY urgency, n LIMIT ?",
                (gateway, MOST_GIVEN),
            ).fetchall()
            connection.executemany(
                "UPDATE errand SET state = 'taken', attempt = attempt + 1 WHERE n = ?",
                [(row[0],) for row in rows],
            )
            gone = connection.execute(
                "SELECT n, id FROM errand WHERE gateway = ? AND state = 'withdrawn'", (gateway,)
            ).fetchall()
            _delete(connection, [row[:1] for row in gone])
            return Taken([_given(connection, row) for row in rows], [row[1] for row in gone])

    def kind_of(self, gateway: str, id: str) -> Kind | None:
        """Of an errand in this gateway's hands; None for any other."""
        found = self.rows(
            "SELECT kind FROM errand WHERE id = ? AND gateway = ? AND state = 'taken'", (id, gateway)
        )
        return found[0][0] if found else None

    def report(self, gateway: str, told: Told, now: int) -> bool:
        """What a gateway answered; said twice, it counts once. False when it is not in its hands any more."""
        with self.writing("NORMAL") as connection:
            connection.execute("UPDATE gateway SET seen = ? WHERE id = ?", (now, gateway))
            found = connection.execute(
                "SELECT n FROM errand WHERE id = ? AND gateway = ? AND state = 'taken' AND attempt = ?",
                (told.errand, gateway, told.attempt),
            ).fetchone()
            if found is None:
                return False
            connection.executemany(
                "INSERT INTO answer VALUES(?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (found[0], told.start + place, orjson.dumps(one).decode())
                    for place, one in enumerate(told.answers)
                ],
            )
            if told.outcome is not None:
                connection.execute(
                    "UPDATE errand SET state = 'over', outcome = ? WHERE n = ?",
                    (orjson.dumps(told.outcome).decode(), found[0]),
                )
        return True

    def files(self, gateway: str, id: str) -> list[Path]:
        """What goes down with an errand that this gateway has in hand; nothing with any other."""
        found = self.rows(
            "SELECT file FROM errand WHERE id = ? AND gateway = ? AND state = 'taken' AND file <> ''",
            (id, gateway),
        )
        return [Path(one) for one in orjson.loads(found[0][0])] if found else []


@dataclass(frozen=True, slots=True)
class Told:
    """A gateway's report on an errand: answers numbered from `start`, and how it ended, if it did."""

    errand: str
    attempt: int
    start: int
    answers: Sequence[Mapping[str, Any]]
    outcome: Mapping[str, Any] | None = None


def _dumped(files: Sequence[Path]) -> str:
    return orjson.dumps([str(one) for one in files]).decode() if files else ""


def _given(connection: sqlite3.Connection, row: Sequence[Any]) -> Errand:
    number, id, attempt, kind, peer, line, asked = row
    rows = connection.execute("SELECT body FROM answer WHERE errand = ? ORDER BY n", (number,)).fetchall()
    body, answers = orjson.loads(asked), [orjson.loads(one[0]) for one in rows]
    if kind in ("fetch", "digest"):
        body["wanted"] = unanswered(body["wanted"], answers)
    called_peer = Peer(name="", organization="", **orjson.loads(peer))
    return Errand(id, attempt, kind, called_peer, line, body, len(answers))


def _delete(connection: sqlite3.Connection, numbers: Sequence[Sequence[int]]) -> None:
    connection.executemany("DELETE FROM answer WHERE errand = ?", numbers)
    connection.executemany("DELETE FROM errand WHERE n = ?", numbers)


def open_board(settings: Settings) -> Board:
    """Beside the image index. Not yet opened."""
    if settings.store.startswith("sqlite:///"):
        path = settings.sqlite_path
        return Board(path.with_name(path.stem + "-gateways.db"))
    return Board(settings.files_path / "teledossier-gateways.db")
