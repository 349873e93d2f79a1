"""The one writer of a process: a thread with a queue, and group commit.

Everything queued goes into one transaction, each job in a savepoint of its own, so that one job's failure
harms no other; a job's future is resolved only after the COMMIT that holds it. `BEGIN IMMEDIATE` waits its
turn among processes.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fhir_server.store.sqlite.names import Writing
from fhir_server.store.sqlite.schema import connect
from profiles.outcomes import Unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection, Writing], T]
GROUP = 256  # jobs in one transaction at most: bounds how long the first of them waits


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    future: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: BaseException | None = None


class Writer:
    """`submit` from any thread; `close` after the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        self._thread.start()

    def submit(self, work: Work[T]) -> Future[T]:
        """Queue; the future resolves once the result is on the disk, or with what `work` raised."""
        job = _Job(work)
        with self._lock:
            if self._closed:
                raise Unavailable("store-closed", "the store is closed")
            self._queue.put(job)
        return job.future

    def close(self) -> None:
        """Finish what is queued, then stop."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = connect(self._path, read_only=False)
        names = Writing(connection)
        try:
            while (job := self._queue.get()) is not None:
                group = [job]
                last = self._gather(group)
                self._write(
                    connection, names, [each for each in group if each.future.set_running_or_notify_cancel()]
                )
                del job, group
                if last:
                    return
        finally:
            connection.close()

    def _gather(self, group: list[_Job]) -> bool:
        """Add what else is queued; True when the end marker was among it."""
        while len(group) < GROUP:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return False
            if job is None:
                return True
            group.append(job)
        return False

    def _write(self, connection: sqlite3.Connection, names: Writing, group: list[_Job]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                _in_savepoint(connection, names, job)
            names.write_texts()
            connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            names.clear()
            for job in group:
                job.future.set_exception(_as_unavailable(error))
            return
        for job in group:
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)


def _in_savepoint(connection: sqlite3.Connection, names: Writing, job: _Job) -> None:
    connection.execute("SAVEPOINT job")
    names.begin()
    try:
        job.result = job.work(connection, names)
    except Exception as error:
        if (
            not connection.in_transaction
        ):  # SQLite itself gave the whole transaction up (disk full, I/O error)
            raise
        connection.execute("ROLLBACK TO job")
        names.forget()
        job.error = error
    connection.execute("RELEASE job")


def _as_unavailable(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.Error):
        unavailable = Unavailable("store-unavailable", f"the store could not write: {error}")
        unavailable.__cause__ = error
        return unavailable
    return error
