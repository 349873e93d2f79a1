"""The transfers as rows of one SQLite file beside the image index: every process may add, one lane per peer
works.

What is asked, cancelled or ended is synced to disk before it is acknowledged. An instance's own row is not (a
power cut may forget the last of them): then it is transferred again, and recognised by its hash.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import ClassVar

import orjson

from dicomweb.rows import Rows
from dicomweb.transfers.record import VITAL, Item, Order, Proof, State, Transfer
from fhir_server.settings import Settings

TABLES = """
CREATE TABLE transfer(
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, peer TEXT NOT NULL, study TEXT NOT NULL,
  urgency INTEGER NOT NULL, request TEXT NOT NULL, asker TEXT NOT NULL, series TEXT NOT NULL, key TEXT NOT
  NULL, created INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', reason TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0, listed INTEGER NOT NULL
  DEFAULT 0,
  total INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0, bytes_total INTEGER NOT NULL DEFAULT 0, rate REAL NOT NULL DEFAULT 0,
  started INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0,
  receipt TEXT NOT NULL DEFAULT '', recorded INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX transfer_key ON transfer(key) WHERE state = 'waiting';
CREATE INDEX transfer_next ON transfer(peer, urgency, n) WHERE state = 'waiting';
CREATE INDEX transfer_request ON transfer(request);
CREATE INDEX transfer_study ON transfer(study);
CREATE INDEX transfer_unrecorded ON transfer(n) WHERE state <> 'waiting' AND recorded = 0;
CREATE TABLE item(
  transfer INTEGER NOT NULL, n INTEGER NOT NULL, series TEXT NOT NULL, instance TEXT NOT NULL,
  sop_class TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, size INTEGER NOT NULL,
  source TEXT NOT NULL, stored TEXT NOT NULL, attempts INTEGER NOT NULL,
  PRIMARY KEY(transfer, instance)) WITHOUT ROWID;
CREATE INDEX item_waiting ON item(transfer, attempts, n) WHERE state = 'waiting';
CREATE TABLE mark(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE wish(study TEXT NOT NULL, request TEXT NOT NULL, asker TEXT NOT NULL, at INTEGER NOT NULL,
  granted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(study, request)) WITHOUT ROWID;
CREATE INDEX wish_open ON wish(at) WHERE granted = 0;
"""
DELIVERED = """
CREATE TABLE delivered(
  peer TEXT NOT NULL, instance TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL,
  sop_class TEXT NOT NULL, request TEXT NOT NULL, patient TEXT NOT NULL, identity TEXT NOT NULL, at INTEGER
  NOT NULL,
  corrected INTEGER NOT NULL DEFAULT 0, salt TEXT NOT NULL DEFAULT '', rejected TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(peer, instance)) WITHOUT ROWID;
CREATE INDEX delivered_study ON delivered(study, peer);
CREATE INDEX delivered_patient ON delivered(patient, study);
CREATE INDEX delivered_request ON delivered(request, study);
CREATE TABLE identity(digest TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rejection(
  note TEXT PRIMARY KEY, peer TEXT NOT NULL, study TEXT NOT NULL, salt TEXT NOT NULL, identity TEXT NOT NULL,
  at INTEGER NOT NULL, title TEXT NOT NULL, instances TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX rejection_study ON rejection(peer, study);
"""
SELECTION = (
    "CREATE TABLE selection(request TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL, "
    "PRIMARY KEY(request, study)) WITHOUT ROWID"
)
COMMITMENT = """
CREATE TABLE commitment(
  transaction_uid TEXT PRIMARY KEY, transfer TEXT NOT NULL, peer TEXT NOT NULL,
  at INTEGER NOT NULL, answered INTEGER NOT NULL DEFAULT 0, kept TEXT NOT NULL DEFAULT '[]',
  failed TEXT NOT NULL DEFAULT '{}') WITHOUT ROWID;
CREATE INDEX commitment_transfer ON commitment(transfer);
"""
STANDING = tuple(one.name for one in fields(Transfer) if one.name not in ("id", "order"))
COLUMNS = "id, kind, peer, study, urgency, request, asker, series, " + ", ".join(STANDING)
ITEM = "series, instance, sop_class, state, reason, size, source, stored, attempts, sent, proof"
STEPS = {
    1: TABLES,
    2: "ALTER TABLE item ADD COLUMN sent TEXT NOT NULL DEFAULT ''; "
    "ALTER TABLE item ADD COLUMN proof TEXT NOT NULL DEFAULT ''",
    3: DELIVERED,
    4: "CREATE INDEX IF NOT EXISTS delivered_request ON delivered(request, study)",
    5: COMMITMENT,
    6: SELECTION,
}
SMOOTH = 0.2  # weight of the newest instance in the average rate


class Queue(Rows):
    """Orders, their instances, and what is known of what was delivered."""

    WHAT: ClassVar[str] = "the transfers"
    STEPS: ClassVar[Mapping[int, str]] = STEPS

    def _transfers(self, where: str, values: Sequence[object]) -> list[Transfer]:
        return [_transfer(row) for row in self.rows(f"SELECT {COLUMNS} FROM transfer WHERE {where}", values)]  # noqa: S608

    # -- orders
    def submit(self, order: Order, now: int) -> Transfer:
        """The transfer of this order: a new one, or the one still waiting, made more urgent if this is."""
        with self.writing() as connection:
            submit(connection, order, now)
        return self._transfers("key = ? AND state = 'waiting'", (order.key,))[0]

    def ever(self, key: str) -> Transfer | None:
        """The newest transfer of such an order, over or not."""
        found = self._transfers("key = ? ORDER BY n DESC LIMIT 1", (key,))
        return found[0] if found else None

    def get(self, id: str) -> Transfer | None:
        found = self._transfers("id = ?", (id,))
        return found[0] if found else None

    def of_request(self, request: str, most: int = 100) -> list[Transfer]:
        """Newest first."""
        return self._transfers("request = ? AND request <> '' ORDER BY n DESC LIMIT ?", (request, most))

    def cancel(self, id: str, now: int) -> bool:
        """Whether it was still waiting; its lane stops at the next instance."""
        with self.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE transfer SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'waiting'",
                    (now, id),
                ).rowcount
            )

    # -- lanes
    def peers(self, now: int) -> list[str]:
        """Those with something to do."""
        rows = self.rows(
            "SELECT DISTINCT peer FROM transfer WHERE state = 'waiting' AND not_before <= ?", (now,)
        )
        return [str(row[0]) for row in rows]

    def next(self, peer: str, now: int, *, least: int) -> Transfer | None:
        """The most urgent one of a peer, the oldest of equals; only as urgent as `least` or more."""
        found = self._transfers(
            "peer = ? AND state = 'waiting' AND not_before <= ? AND urgency <= ? ORDER BY urgency, n LIMIT 1",
            (peer, now, least),
        )
        return found[0] if found else None

    def list_items(self, id: str, items: Iterable[Item], now: int) -> int:
        """What is to be transferred, in that order; what is listed already stays as it is. Returns how many
        are new."""
        with self.writing() as connection:
            (number,) = connection.execute("SELECT n FROM transfer WHERE id = ?", (id,)).fetchone()
            (known,) = connection.execute(
                "SELECT count(*) FROM item WHERE transfer = ?", (number,)
            ).fetchone()
            rows = [
                (number, known + place, one.series, one.instance, one.sop_class, one.size)
                for place, one in enumerate(items)
            ]
            made = connection.executemany(
                "INSERT INTO item(transfer, n, series, instance, sop_class, state, reason, size, source, "
                "stored, attempts) VALUES(?, ?, ?, ?, ?, 'waiting', '', ?, '', '', 0) ON CONFLICT DO NOTHING",
                rows,
            ).rowcount
            connection.execute(
                "UPDATE transfer SET listed = 1, started = CASE WHEN started THEN started ELSE ?2 END, "
                "total = (SELECT count(*) FROM item WHERE transfer = ?1), "
                "bytes_total = (SELECT coalesce(sum(size), 0) FROM item WHERE transfer = ?1) WHERE n = ?1",
                (number, now),
            )
        return int(made)

    def waiting(self, id: str, most: int) -> list[Item]:
        """Those tried least first, then in the order of the list."""
        rows = self.rows(
            f"SELECT {ITEM} FROM item WHERE transfer = (SELECT n FROM transfer WHERE id = ?) "  # noqa: S608
            "AND state = 'waiting' ORDER BY attempts, item.n LIMIT ?",
            (id, most),
        )
        return [Item(*row) for row in rows]

    def items(self, id: str) -> list[Item]:
        rows = self.rows(
            f"SELECT {ITEM} FROM item WHERE transfer = (SELECT n FROM transfer WHERE id = ?) ORDER BY n",  # noqa: S608
            (id,),
        )
        return [Item(*row) for row in rows]

    def settle(self, id: str, items: Sequence[Item], seconds: float = 0.0) -> None:
        """What became of instances; `seconds` is how long they took. A success forgives earlier failures."""
        with self.writing("NORMAL") as connection:
            (number,) = connection.execute("SELECT n FROM transfer WHERE id = ?", (id,)).fetchone()
            for one in items:
                connection.execute(
                    "UPDATE item SET state = ?, reason = ?, size = ?, source = ?, stored = ?, attempts = ?, "
                    "sent = ?, proof = ? WHERE transfer = ? AND instance = ?",
                    (
                        one.state,
                        one.reason,
                        one.size,
                        one.source,
                        one.stored,
                        one.attempts,
                        one.sent,
                        one.proof,
                        number,
                        one.instance,
                    ),
                )
            moved = sum(one.size for one in items if one.state == "done")
            came = any(one.state == "done" for one in items)
            counts = [
                "(SELECT count(*) FROM item WHERE transfer = ?1 AND state = 'done')",
                "(SELECT count(*) FROM item WHERE transfer = ?1 AND state = 'failed')",
                "(SELECT coalesce(sum(size), 0) FROM item WHERE transfer = ?1 AND state = 'done')",
            ]
            if (
                len(items) == 1 and seconds
            ):  # the common case keeps running totals: a count would be quadratic
                done, failed = (items[0].state == state for state in ("done", "failed"))
                counts = [f"done + {done:d}", f"failed + {failed:d}", f"bytes + {int(moved)}"]
            connection.execute(
                f"UPDATE transfer SET done = {counts[0]}, failed = {counts[1]}, bytes = {counts[2]}, "  # noqa: S608
                "attempts = CASE WHEN ?2 THEN 0 ELSE attempts END, "
                "reason = CASE WHEN ?2 THEN '' ELSE reason END, "
                "rate = CASE WHEN ?3 <= 0 THEN rate WHEN rate = 0 THEN ?4 / ?3 "
                "ELSE rate * (1 - ?5) + ?4 / ?3 * ?5 END WHERE n = ?1",
                (number, came, seconds, float(moved), SMOOTH),
            )

    def postpone(self, id: str, reason: str, not_before: int) -> None:
        """It broke; it is tried again from `not_before` on."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE transfer SET reason = ?, not_before = ?, attempts = attempts + 1, rate = 0 "
                "WHERE id = ? AND state = 'waiting'",
                (reason, not_before, id),
            )

    def pause(self, id: str, reason: str, not_before: int) -> None:
        """It waits for somebody, through nobody's fault; not for a storage commitment that was answered
        meanwhile."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE transfer SET reason = ?1, not_before = CASE WHEN EXISTS(SELECT 1 FROM commitment "
                "WHERE transfer = ?3 AND answered > 0) THEN 0 ELSE ?2 END "
                "WHERE id = ?3 AND state = 'waiting'",
                (reason, not_before, id),
            )

    def finish(self, id: str, state: State, reason: str, receipt: str, now: int) -> None:
        """Over; nothing of one that was cancelled meanwhile."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE transfer SET state = ?, reason = ?, receipt = ?, ended = ? "
                "WHERE id = ? AND state = 'waiting'",
                (state, reason, receipt, now, id),
            )

    # -- what the rest of the platform learns
    def importing(self, study: str) -> tuple[tuple[str, ...], bool]:
        """The instances that imports of a study have on their lists, and whether one of them is not over."""
        rows = self.rows(
            "SELECT i.instance, t.state FROM transfer t LEFT JOIN item i ON i.transfer = t.n "
            "WHERE t.study = ? AND t.kind = 'import' AND t.state <> 'cancelled' ORDER BY t.n, i.n",
            (study,),
        )
        listed = dict.fromkeys(str(instance) for instance, _state in rows if instance)
        return tuple(listed), any(state == "waiting" for _instance, state in rows)

    def is_wanted(self, study: str) -> bool:
        """Whether a transfer or a wish for it is not over."""
        return bool(
            self.rows(
                "SELECT 1 FROM transfer WHERE study = ?1 AND state = 'waiting' "
                "UNION ALL SELECT 1 FROM wish WHERE study = ?1 AND granted = 0 LIMIT 1",
                (study,),
            )
        )

    def receipt(self, id: str) -> str:
        found = self.rows("SELECT receipt FROM transfer WHERE id = ?", (id,))
        return str(found[0][0]) if found else ""

    def proofs(self, id: str) -> frozenset[Proof]:
        """How it is known of its instances that they came."""
        found = self.rows(
            "SELECT DISTINCT proof FROM item JOIN transfer ON transfer.n = item.transfer "
            "WHERE transfer.id = ? AND item.state = 'done'",
            (id,),
        )
        return frozenset(proof for (proof,) in found)

    def unrecorded(self, most: int = 20) -> list[Transfer]:
        """Those over of which the télédossier does not say so yet."""
        return self._transfers("state <> 'waiting' AND recorded = 0 ORDER BY n LIMIT ?", (most,))

    def record(self, id: str) -> None:
        with self.writing() as connection:
            connection.execute("UPDATE transfer SET recorded = 1 WHERE id = ?", (id,))

    def select(self, request: str, study: str, series: Sequence[str]) -> None:
        """Only these series of an exam go to the recipients of a télédossier; () = all."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO selection VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET series = excluded.series",
                (request, study, orjson.dumps(list(series)).decode()),
            )

    def selected(self, request: str, study: str) -> tuple[str, ...]:
        """() = all."""
        found = self.rows("SELECT series FROM selection WHERE request = ? AND study = ?", (request, study))
        return tuple(map(str, orjson.loads(str(found[0][0])))) if found else ()

    def wish(self, study: str, request: str, asker: str, now: int) -> None:
        """A person wants this study in that télédossier."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO wish(study, request, asker, at) VALUES(?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "granted = 0, at = excluded.at",
                (study, request, asker, now),
            )

    def open_wishes(self, most: int = 50) -> list[tuple[str, str]]:
        """(study, request) of those not answered yet, newest first: a study that never comes stops nobody."""
        rows = self.rows(
            "SELECT study, request FROM wish WHERE granted = 0 ORDER BY at DESC LIMIT ?", (most,)
        )
        return [(str(study), str(request)) for study, request in rows]

    def grant(self, study: str, request: str, now: int) -> None:
        """It is attached, or proposed to a person."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE wish SET granted = ? WHERE study = ? AND request = ?", (now, study, request)
            )

    def get_mark(self, name: str) -> int:
        found = self.rows("SELECT value FROM mark WHERE name = ?", (name,))
        return int(str(found[0][0])) if found else 0

    def set_mark(self, name: str, value: int) -> None:
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO mark VALUES(?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (name, value),
            )


def submit(connection: sqlite3.Connection, order: Order, now: int) -> None:
    """Inside the caller's transaction."""
    made = (
        secrets.token_urlsafe(15), order.kind, order.peer, order.study, order.urgency, order.request,
        order.asker, orjson.dumps(order.series).decode(), order.key, now,
    )  # fmt: skip
    connection.execute(
        "INSERT INTO transfer(id, kind, peer, study, urgency, request, asker, series, key, created) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) WHERE state = 'waiting' DO UPDATE SET "
        "urgency = min(urgency, excluded.urgency), not_before = 0",
        made,
    )


def least_urgent(*, vital_only: bool) -> int:
    return VITAL if vital_only else 9


def _transfer(row: Sequence[object]) -> Transfer:
    id, kind, peer, study, urgency, request, asker, series = row[:8]
    order = Order(kind, peer, study, urgency, request, asker, tuple(orjson.loads(str(series))))  # type: ignore[arg-type]
    standing = dict(zip(STANDING, row[8:], strict=True))
    standing["listed"] = bool(standing["listed"])
    return Transfer(id=id, order=order, **standing)  # type: ignore[arg-type]


def open_queue(settings: Settings) -> Queue:
    """Beside the image index. Not yet opened."""
    if settings.store.startswith("sqlite:///"):
        path = settings.sqlite_path
        return Queue(path.with_name(path.stem + "-transfers.db"))
    return Queue(settings.files_path / "teledossier-transfers.db")
