"""The connections of an index file: one that writes, a small pool that reads.

Processes take turns at writing by a lock of the system, which wakes the next at once, where SQLite's own
would have them look again every tenth of a second. https://sqlite.org/wal.html
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from dicomweb.index.contract import IndexMismatch, Match
from dicomweb.index.queries import MATCHES
from dicomweb.index.schema import TABLES, VERSION
from dicomweb.index.upgrade import FIRST, upgrade
from dicomweb.matching import matches
from dicomweb.rows import opening


def _attribute_matches(attributes: bytes, asked: str) -> bool:
    """The SQL function behind conditions on attributes without a column."""
    return matches(orjson.loads(attributes), _match(asked))


@lru_cache(maxsize=256)
def _match(asked: str) -> Match:
    how, values, path, vr = orjson.loads(asked)
    return Match("instance", "", how, tuple(values), tuple(path), vr)


class Connections:
    """Of one file, from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._turn = -1  # a file whose lock is the right to write, in every process
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()

    def open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with opening(self._path, "the index of images", self._connect) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                for statement in TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={VERSION}")
            elif FIRST <= found < VERSION:
                upgrade(connection, found)
                connection.execute(f"PRAGMA user_version={VERSION}")
            elif found != VERSION:
                raise IndexMismatch(
                    f"{self._path} has image index schema {found}, this program has {VERSION}"
                )
            connection.execute("COMMIT")
        self._writer = connection
        self._turn = os.open(f"{self._path}-turn", os.O_RDWR | os.O_CREAT, 0o600)

    def close(self) -> None:
        with self._write_lock:
            if self._writer:
                self._writer.close()
                self._writer = None
                os.close(self._turn)
        while True:
            try:
                self._readers.get_nowait().close()
            except queue.Empty:
                return

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=20, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA temp_store=MEMORY")
        return connection

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = self._connect()
            connection.execute("PRAGMA query_only=1")
            connection.create_function(MATCHES, 2, _attribute_matches, deterministic=True)
        try:
            yield connection
        finally:
            self._readers.put(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The writer connection inside BEGIN IMMEDIATE … COMMIT; the caller holds the write lock."""
        if self._writer is None:
            raise RuntimeError("the image index is not open")
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock, self._transaction() as connection:
            yield connection

    def _write(self, sql: str, values: Sequence[object]) -> None:
        with self._write_lock, self._transaction() as connection:
            connection.execute(sql, values)

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        with self._reader() as connection:
            return connection.execute(sql, values).fetchall()
