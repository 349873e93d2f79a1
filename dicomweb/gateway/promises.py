"""Storage commitments that the platform asked of the site's PACS through here: open questions and results,
rows of the outbox's file.

A result is taken for a question that is open, from the AE title that was asked; it stays until the platform
was told. PS3.4 §J
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from dicomweb.rows import Rows

TABLES = """CREATE TABLE promise(txn TEXT PRIMARY KEY, ae_title TEXT NOT NULL, at INTEGER NOT NULL,
  result BLOB NOT NULL DEFAULT '') WITHOUT ROWID"""
GIVEN_UP = 14 * 86_400_000_000  # microseconds that a question stays open


@dataclass(frozen=True, slots=True)
class Promises:
    """Of the outbox whose file it is; any thread. A method that returns is durable."""

    rows: Rows

    def ask(self, transaction: str, ae_title: str, now: int) -> None:
        """A question is open; asked again it is the same one."""
        with self.rows.writing() as connection:
            connection.execute("DELETE FROM promise WHERE at < ?", (now - GIVEN_UP,))
            connection.execute(
                "INSERT INTO promise(txn, ae_title, at) VALUES(?, ?, ?) ON CONFLICT DO NOTHING",
                (transaction, ae_title, now),
            )

    def answer(self, transaction: str, ae_title: str, kept: Iterable[str], failed: Mapping[str, int]) -> bool:
        """The first result counts. False for a question that is not open, or was asked of another."""
        result = orjson.dumps({"transaction": transaction, "kept": sorted(kept), "failed": dict(failed)})
        with self.rows.writing() as connection:
            connection.execute(
                "UPDATE promise SET result = ? WHERE txn = ? AND ae_title = ? AND result = ''",
                (result, transaction, ae_title),
            )
            sql = "SELECT 1 FROM promise WHERE txn = ? AND ae_title = ?"
            return connection.execute(sql, (transaction, ae_title)).fetchone() is not None

    def answered(self) -> tuple[str, bytes] | None:
        """A result that the platform is to be told, with its transaction."""
        found = self.rows.rows("SELECT txn, result FROM promise WHERE result <> '' ORDER BY at LIMIT 1")
        return (str(found[0][0]), bytes(found[0][1])) if found else None

    def drop(self, transaction: str) -> None:
        with self.rows.writing() as connection:
            connection.execute("DELETE FROM promise WHERE txn = ?", (transaction,))
