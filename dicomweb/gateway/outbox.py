"""What the gateway has promised to deliver: one row an instance, beside the files, until the platform has it.

    waiting ──(platform: stored)──▶ delivered ──(keep time over)──▶ forgotten
       │  ▲                                        its file goes first, its row some months later
       │  └──(`teledossier gateway retry`, or the modality sends it again)──┐
       └──(platform: refused)──▶ apart ─────────────────────────────────────┘

A method that returns is durable (WAL, synchronous FULL): whatever is killed, a row is as it was told. One
process at a time, any thread. Times are UTC microseconds, sizes bytes. https://sqlite.org/wal.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import orjson

from dicomweb.gateway import promises, steps
from dicomweb.gateway.outgoing import Apart, Asked, Entry, Exam, Fate, Kept, Received, Standing, Summary
from dicomweb.rows import Rows

TABLES = """
CREATE TABLE instance(n INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL, study TEXT NOT NULL,
  series TEXT NOT NULL, sop_class TEXT NOT NULL, sha256 TEXT NOT NULL, dataset TEXT NOT NULL,
  size INTEGER NOT NULL, path TEXT NOT NULL, ae_title TEXT NOT NULL, received INTEGER NOT NULL,
  urgent INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '', not_before INTEGER NOT NULL DEFAULT 0,
  settled INTEGER NOT NULL DEFAULT 0, kept INTEGER NOT NULL DEFAULT 1, UNIQUE(uid, dataset));
CREATE INDEX instance_waiting ON instance(urgent, n) WHERE state = 'waiting';
CREATE INDEX instance_apart ON instance(settled) WHERE state = 'apart';
CREATE INDEX instance_delivered ON instance(kept, settled) WHERE state = 'delivered';
CREATE TABLE mark(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
STEPS = {
    1: TABLES,
    2: """CREATE TABLE asked(txn TEXT NOT NULL, ae_title TEXT NOT NULL, refs BLOB NOT NULL,
  at INTEGER NOT NULL, not_before INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(txn, ae_title)) WITHOUT ROWID""",
    3: "CREATE INDEX instance_kept ON instance(study, size) WHERE kept = 1",
    4: steps.TABLES,
    5: promises.TABLES,
}  # version → what it added
FARTHEST = 3_600_000_000  # no wait is longer: what is farther off was written under a wrong clock
_ENTRY = "uid, study, series, sop_class, sha256, dataset, size, path, ae_title, received, urgent, n, attempts"


class Outbox(Rows):
    """One for a gateway's folder."""

    WHAT, STEPS = "the outbox's instances", STEPS

    # -- life --------------------------------------------------------------------------------------
    def begin(self) -> None:
        """A gateway starts on it: every wait begins anew, as a wrong clock must hold nothing back."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE instance SET not_before = 0 WHERE state = 'waiting' AND not_before > 0"
            )

    # -- reception ---------------------------------------------------------------------------------
    def known(self, uid: str, dataset: str) -> Standing | None:
        """What became of this very content; None when it never came."""
        with self.using() as connection:
            row = connection.execute(
                "SELECT n, state, sha256, size, path FROM instance WHERE uid = ? AND dataset = ?",
                (uid, dataset),
            ).fetchone()
        return None if row is None else Standing(*row)

    def again(self, n: int) -> None:
        """What stood apart waits again: whoever sends it again wants it delivered."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE instance SET state = 'waiting', attempts = 0, not_before = 0, settled = 0 "
                "WHERE n = ? AND state = 'apart'",
                (n,),
            )

    def replace(self, n: int, one: Received) -> None:
        """It came again after its file was lost or damaged here: it waits, with the file that came now."""
        with self.writing() as connection:
            connection.execute(
                "UPDATE instance SET state = 'waiting', attempts = 0, not_before = 0, settled = 0, kept = 1, "
                "sha256 = ?, size = ?, path = ? WHERE n = ?",
                (one.sha256, one.size, one.path, n),
            )

    def add(self, one: Received) -> bool:
        """False when it was there already."""
        values = (
            one.uid, one.study, one.series, one.sop_class, one.sha256, one.dataset, one.size, one.path,
            one.ae_title, one.received, int(one.urgent),
        )  # fmt: skip
        with self.writing() as connection:
            made = connection.execute(
                "INSERT INTO instance(uid, study, series, sop_class, sha256, dataset, size, path, ae_title, "
                "received, urgent) VALUES(?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
                values,
            )
            return made.rowcount == 1

    def paths(self) -> set[str]:
        """Of every file that a row needs."""
        with self.using() as connection:
            return {row[0] for row in connection.execute("SELECT path FROM instance WHERE kept = 1")}

    # -- forwarding --------------------------------------------------------------------------------
    def next(self, *, urgent: bool, now: int, most: tuple[int, int]) -> list[Entry]:
        """What goes together into one request, oldest first: at most `most` (instances, bytes), at least one.
        Never twice the same SOP Instance UID, since an answer names instances by it."""
        count, size = most
        with self.using() as connection:
            rows = connection.execute(
                f"SELECT {_ENTRY} FROM instance WHERE state = 'waiting' AND urgent = ? "  # noqa: S608
                "AND (not_before <= ? OR not_before > ?) ORDER BY n LIMIT ?",
                (int(urgent), now, now + FARTHEST, count),
            ).fetchall()
        chosen: list[Entry] = []
        seen: set[str] = set()
        for row in rows:
            entry = Entry(*row)
            size -= entry.size
            if entry.uid in seen or (chosen and size < 0):
                break
            chosen.append(entry)
            seen.add(entry.uid)
        return chosen

    def wake_at(self, *, urgent: bool) -> int | None:
        """When the first that waits may be tried; None when nothing waits."""
        with self.using() as connection:
            row = connection.execute(
                "SELECT min(not_before) FROM instance WHERE state = 'waiting' AND urgent = ?", (int(urgent),)
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def settle(self, delivered: Sequence[tuple[int, str]], apart: Sequence[tuple[int, str]], at: int) -> None:
        """One request's results: (number, note or reason)."""
        with self.writing() as connection:
            for state, rows in (("delivered", delivered), ("apart", apart)):
                connection.executemany(
                    f"UPDATE instance SET state = '{state}', reason = ?, settled = ? WHERE n = ?",  # noqa: S608
                    [(reason, at, n) for n, reason in rows],
                )
            if delivered:
                self._count(connection, len(delivered), at)

    @staticmethod
    def _count(connection: sqlite3.Connection, more: int, at: int) -> None:
        for name, value, how in (
            ("delivered", more, "value + excluded.value"),
            ("last", at, "max(value, excluded.value)"),
        ):
            connection.execute(
                f"INSERT INTO mark VALUES(?, ?) ON CONFLICT DO UPDATE SET value = {how}",
                (name, value),
            )

    def later(self, entries: Sequence[tuple[int, int]], reason: str) -> None:
        """(number, not before): tried again then."""
        with self.writing() as connection:
            connection.executemany(
                "UPDATE instance SET attempts = attempts + 1, reason = ?, not_before = ? WHERE n = ?",
                [(reason, not_before, n) for n, not_before in entries],
            )

    def retry(self) -> int:
        """What stood apart waits again; returns how many."""
        with self.writing() as connection:
            return connection.execute(
                "UPDATE instance SET state = 'waiting', attempts = 0, not_before = 0, settled = 0 "
                "WHERE state = 'apart'"
            ).rowcount

    # -- storage commitment ------------------------------------------------------------------------
    def ask(self, one: Asked) -> None:
        """Asked again under the same transaction, the newest question counts."""
        with self.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO asked(txn, ae_title, refs, at) VALUES(?,?,?,?)",
                (one.transaction, one.ae_title, orjson.dumps(one.references), one.at),
            )

    def asked(self) -> list[Asked]:
        """Oldest first."""
        with self.using() as connection:
            rows = connection.execute(
                "SELECT txn, ae_title, refs, at, not_before, tries FROM asked ORDER BY at"
            ).fetchall()
        return [
            Asked(txn, title, tuple((kind, uid) for kind, uid in orjson.loads(refs)), *rest)
            for txn, title, refs, *rest in rows
        ]

    def ask_later(self, one: Asked, not_before: int) -> None:
        with self.writing() as connection:
            connection.execute(
                "UPDATE asked SET tries = tries + 1, not_before = ? WHERE txn = ? AND ae_title = ?",
                (not_before, one.transaction, one.ae_title),
            )

    def answered(self, one: Asked) -> None:
        """Unless it was asked anew meanwhile."""
        with self.writing() as connection:
            connection.execute(
                "DELETE FROM asked WHERE txn = ? AND ae_title = ? AND at = ?",
                (one.transaction, one.ae_title, one.at),
            )

    # -- keeping -----------------------------------------------------------------------------------
    def removable(self, before: int, limit: int = 200) -> list[tuple[int, str, int]]:
        """(number, path, size) of delivered files settled before an instant, oldest first."""
        with self.using() as connection:
            return connection.execute(
                "SELECT n, path, size FROM instance WHERE state = 'delivered' AND kept = 1 AND settled < ? "
                "ORDER BY settled LIMIT ?",
                (before, limit),
            ).fetchall()

    def removed(self, numbers: Sequence[int]) -> None:
        with self.writing() as connection:
            connection.executemany("UPDATE instance SET kept = 0 WHERE n = ?", [(n,) for n in numbers])

    def forget(self, before: int) -> int:
        """Rows of what was delivered before, and whose file is gone."""
        with self.writing() as connection:
            return connection.execute(
                "DELETE FROM instance WHERE state = 'delivered' AND kept = 0 AND settled < ?", (before,)
            ).rowcount

    # -- telling -----------------------------------------------------------------------------------
    def fates(self, uids: Sequence[str]) -> dict[str, Fate]:
        """UID → what became of what came last under it."""
        found: dict[str, Fate] = {}
        with self.using() as connection:
            for uid in uids:
                row = connection.execute(
                    "SELECT state, reason, sop_class FROM instance WHERE uid = ? ORDER BY n DESC LIMIT 1",
                    (uid,),
                ).fetchone()
                if row:
                    found[uid] = Fate(*row)
        return found

    def apart(self, limit: int = 100) -> list[Apart]:
        with self.using() as connection:
            rows = connection.execute(
                "SELECT uid, study, ae_title, received, reason FROM instance WHERE state = 'apart' "
                "ORDER BY settled LIMIT ?",
                (limit,),
            ).fetchall()
        return [Apart(*row) for row in rows]

    def exams(self, limit: int = 500) -> list[Exam]:
        """Those whose files are here, newest first."""
        with self.using() as connection:
            rows = connection.execute(
                "SELECT study, min(ae_title), min(received), count(*), sum(size), sum(state <> 'delivered'), "
                "min(path) FROM instance WHERE kept = 1 GROUP BY study ORDER BY min(received) DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [Exam(*row) for row in rows]

    def kept(self, study: str) -> list[Kept]:
        """Its files, in the order they came."""
        with self.using() as connection:
            rows = connection.execute(
                "SELECT uid, path FROM instance WHERE study = ? AND kept = 1 ORDER BY n", (study,)
            ).fetchall()
        return [Kept(*row) for row in rows]

    def summary(self) -> Summary:
        with self.using() as connection:
            waiting = connection.execute(
                "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(urgent), 0), "
                "coalesce(min(received), 0) FROM instance WHERE state = 'waiting'"
            ).fetchone()
            apart = connection.execute("SELECT count(*) FROM instance WHERE state = 'apart'").fetchone()[0]
            marks = dict(connection.execute("SELECT name, value FROM mark").fetchall())
            kept = connection.execute("SELECT coalesce(sum(size), 0) FROM instance WHERE kept = 1").fetchone()
        count, size, urgent, oldest = waiting
        last, total = marks.get("last", 0), marks.get("delivered", 0)
        return Summary(count, size, urgent, oldest, apart, last, total, kept[0])
