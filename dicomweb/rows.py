"""A small SQLite file of rows that several threads and processes share: one writer at a time, a schema by
version.

The queue of transfers, the board of errands and a gateway's outbox are such files.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from profiles.outcomes import SchemaMismatch, Unavailable

BUSY_SECONDS = 20.0
Durable = Literal["FULL", "NORMAL"]


class RowsMismatch(SchemaMismatch):
    """The file has a schema that this program does not know; the text names both."""


class Rows:
    """Synchronous. `WHAT` names the rows for messages; `STEPS` are the statements that lead from each version
    to the next, from the empty file on."""

    WHAT: ClassVar[str]
    STEPS: ClassVar[Mapping[int, str]]

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Makes the file, or brings it to this program's version. Raises SchemaMismatch, Unavailable."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with opening(self.path, self.WHAT, partial(connect, self.path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            found, version = connection.execute("PRAGMA user_version").fetchone()[0], max(self.STEPS)
            if not 0 <= found <= version:
                raise RowsMismatch(
                    f"{self.path}: {self.WHAT} have schema {found}, this program has {version}"
                )
            for step, statements in sorted(self.STEPS.items()):
                for statement in statements.split(";") if step > found else ():
                    connection.execute(statement)
            if found != version:  # nothing is written otherwise: a full disk can still be looked at
                connection.execute(f"PRAGMA user_version={version}")
            connection.execute("COMMIT")
        self._connection = connection

    def integrity(self) -> list[str]:
        """What SQLite finds wrong in the file, one line each."""
        return page_faults(self.rows)

    def close(self) -> None:
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    @contextmanager
    def writing(self, durable: Durable = "FULL") -> Iterator[sqlite3.Connection]:
        """One transaction. FULL: on disk when it is over; NORMAL: a power cut may forget it, but tears
        nothing."""
        with self.using() as connection:
            connection.execute(f"PRAGMA synchronous={durable}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self.using() as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """To read by several statements, no other thread between them."""
        with self._lock:
            if self._connection is None:
                raise RuntimeError(f"{self.WHAT} are not open")
            yield self._connection


@contextmanager
def opening(path: Path, what: str, connect: Callable[[], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
    """A new connection to the file at `path`, closed when it does not come to use; the library's errors in
    our words, with the file's name. Raises SchemaMismatch, Unavailable."""
    try:
        connection = connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise Unavailable("file-unavailable", f"{path} ({what}) cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SchemaMismatch(f"{path} ({what}) is no database or is damaged: {error}") from error


def page_faults(ask: Callable[[str], Sequence[tuple[Any, ...]]]) -> list[str]:
    """SQLite's own check of pages and indexes, one line each.
    https://sqlite.org/pragma.html#pragma_integrity_check"""
    try:
        found = ask("PRAGMA integrity_check(100)")
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [str(row[0]) for row in found if row[0] != "ok"]


def connect(path: Path) -> sqlite3.Connection:
    """For any thread; each statement by itself unless a transaction is begun."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
