"""Who is told of which work items, and what they have not been told yet; rows of the SQLite index.

An event is written in the transaction of the change it tells of, whichever process makes it, and stays
until its
subscriber's channel has sent it. Work items that come later are subscribed to by `every`: conditions in the
form of `queries`, none for all. PS3.4 §CC.2.3 (subscriptions), §CC.2.4 (events)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import orjson

from dicomweb.index.contract import Match
from dicomweb.index.steps import Subscriber, WorkItem
from dicomweb.matching import matches
from dicomweb.ups_events import Event, of_change, state_report

MOST = 10_000  # events kept for one subscriber; the oldest go first
Connecting = Callable[[], AbstractContextManager[sqlite3.Connection]]


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The `Subscriptions` contract; `reading` and `writing` give the index's connections."""

    reading: Connecting
    writing: Connecting

    def subscribe(self, who: Subscriber, items: Sequence[WorkItem], lock: bool) -> bool:
        with self.writing() as connection:
            if not _is_owner(connection, who):
                return False
            _add(connection, who.ae_title, items, lock)
            return True

    def subscribe_every(
        self, who: Subscriber, wanted: Sequence[Match], items: Sequence[WorkItem], lock: bool
    ) -> bool:
        asked = orjson.dumps([[one.how, one.values, one.path, one.vr] for one in wanted]).decode()
        with self.writing() as connection:
            if not _is_owner(connection, who):
                return False
            connection.execute(
                "UPDATE subscriber SET every = ?, every_lock = ? WHERE ae_title = ?",
                (asked, lock, who.ae_title),
            )
            _add(connection, who.ae_title, items, lock)
            return True

    def unsubscribe(self, who: Subscriber, workitem: str) -> bool:
        with self.writing() as connection:
            if not _is_owner(connection, who):
                return False
            if workitem:
                connection.execute(
                    "DELETE FROM subscription WHERE workitem = ? AND ae_title = ?", (workitem, who.ae_title)
                )
            else:
                connection.execute("DELETE FROM subscription WHERE ae_title = ?", (who.ae_title,))
                connection.execute("UPDATE subscriber SET every = NULL WHERE ae_title = ?", (who.ae_title,))
            _forget_unused(connection, who.ae_title)
            return True

    def suspend(self, who: Subscriber) -> bool:
        with self.writing() as connection:
            changed = connection.execute(
                "UPDATE subscriber SET every = NULL WHERE ae_title = ? AND owner = ? AND every IS NOT NULL",
                (who.ae_title, who.owner),
            )
            return changed.rowcount == 1

    def titles(self, owner: str) -> frozenset[str]:
        with self.reading() as connection:
            rows = connection.execute("SELECT ae_title FROM subscriber WHERE owner = ?", (owner,)).fetchall()
        return frozenset(row[0] for row in rows)

    def request_cancel(self, item: WorkItem, event: Event) -> bool:
        with self.writing() as connection:
            told = _subscribers(connection, item.uid)
            _tell(connection, told, [event])
            return bool(told)

    def claim(self, who: Subscriber, channel: str) -> bool:
        with self.writing() as connection:
            changed = connection.execute(
                "UPDATE subscriber SET channel = ? WHERE ae_title = ? AND owner = ?",
                (channel, who.ae_title, who.owner),
            )
            return changed.rowcount == 1

    def holds(self, ae_title: str, channel: str) -> bool:
        sql = "SELECT 1 FROM subscriber WHERE ae_title = ? AND channel = ?"
        with self.reading() as connection:
            return connection.execute(sql, (ae_title, channel)).fetchone() is not None

    def waiting(self, ae_title: str, most: int = 100) -> list[tuple[int, Event]]:
        sql = "SELECT n, workitem, kind, attributes FROM event WHERE ae_title = ? ORDER BY n LIMIT ?"
        with self.reading() as connection:
            rows = connection.execute(sql, (ae_title, most)).fetchall()
        return [(n, Event(uid, kind, orjson.loads(attributes))) for n, uid, kind, attributes in rows]

    def delivered(self, ae_title: str, until: int) -> None:
        with self.writing() as connection:
            connection.execute("DELETE FROM event WHERE ae_title = ? AND n <= ?", (ae_title, until))

    def latest(self) -> int:
        with self.reading() as connection:
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return int(found[0]) if found else 0


def note(connection: sqlite3.Connection, before: WorkItem | None, after: WorkItem) -> None:
    """A work item was written: its subscribers are told, in the same transaction."""
    if before is None:
        rows = connection.execute(
            "SELECT ae_title, every, every_lock FROM subscriber WHERE every IS NOT NULL"
        ).fetchall()
        connection.executemany(
            "INSERT OR IGNORE INTO subscription VALUES(?, ?, ?)",
            [(after.uid, ae_title, lock) for ae_title, every, lock in rows if _fits(after, every)],
        )
    _tell(connection, _subscribers(connection, after.uid), of_change(before, after))


def _fits(item: WorkItem, every: str) -> bool:
    return all(
        matches(item.attributes, Match("instance", "", how, tuple(values), tuple(path), vr))
        for how, values, path, vr in orjson.loads(every)
    )


def _is_owner(connection: sqlite3.Connection, who: Subscriber) -> bool:
    """An AE title is whose subscribes by it first, until it has no subscription left."""
    connection.execute(
        "INSERT INTO subscriber(ae_title, owner) VALUES(?, ?) ON CONFLICT DO NOTHING",
        (who.ae_title, who.owner),
    )
    found = connection.execute("SELECT owner FROM subscriber WHERE ae_title = ?", (who.ae_title,)).fetchone()
    return bool(found[0] == who.owner)


def _add(connection: sqlite3.Connection, ae_title: str, items: Sequence[WorkItem], lock: bool) -> None:
    """A new subscriber of a work item is told its state at once. PS3.4 §CC.2.3.3"""
    for item in items:
        made = connection.execute(
            "INSERT INTO subscription VALUES(?, ?, ?) ON CONFLICT DO NOTHING", (item.uid, ae_title, lock)
        )
        if made.rowcount == 1:
            _tell(connection, [ae_title], [state_report(item)])
        else:
            connection.execute(
                "UPDATE subscription SET lock = ? WHERE workitem = ? AND ae_title = ?",
                (lock, item.uid, ae_title),
            )


def _subscribers(connection: sqlite3.Connection, workitem: str) -> list[str]:
    found = connection.execute("SELECT ae_title FROM subscription WHERE workitem = ?", (workitem,))
    return [row[0] for row in found.fetchall()]


def _tell(connection: sqlite3.Connection, subscribers: Sequence[str], events: Iterable[Event]) -> None:
    if not subscribers:
        return
    for event in events:
        body = orjson.dumps(event.attributes)
        connection.executemany(
            "INSERT INTO event(ae_title, workitem, kind, attributes) VALUES(?, ?, ?, ?)",
            [(ae_title, event.workitem, event.kind, body) for ae_title in subscribers],
        )
    connection.executemany(
        "DELETE FROM event WHERE ae_title = ?1 AND n <= "
        "(SELECT n FROM event WHERE ae_title = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)",
        [(ae_title, MOST) for ae_title in subscribers],
    )


def _forget_unused(connection: sqlite3.Connection, ae_title: str) -> None:
    connection.execute(
        "DELETE FROM subscriber WHERE ae_title = ?1 AND every IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM subscription WHERE ae_title = ?1)",
        (ae_title,),
    )
    connection.execute(
        "DELETE FROM event WHERE ae_title = ?1 AND NOT EXISTS (SELECT 1 FROM subscriber WHERE ae_title = ?1)",
        (ae_title,),
    )
