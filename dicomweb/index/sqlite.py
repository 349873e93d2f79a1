"""The index in one SQLite file beside the store: WAL, any number of processes, concurrent adds in one commit.

Writers of a process queue up behind one connection: the first to get the lock commits for all that wait (one
fsync for several associations). PS3.3 §C.7 (levels); https://sqlite.org/wal.html
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from dicomweb.index import conflicts, masking, rows, tellings
from dicomweb.index import subscriptions as told
from dicomweb.index.contract import (
    Aside,
    Body,
    Brief,
    File,
    Found,
    Instance,
    Masked,
    Origin,
    Outcome,
    Query,
    SearchTooLong,
    Series,
    Stored,
    Study,
    Trace,
)
from dicomweb.index.keeping import Keeping
from dicomweb.index.queries import (
    FEW,
    Named,
    begins,
    count_sql,
    keys_sql,
    named_sql,
    rows_sql,
    spelled_sql,
)
from dicomweb.index.schema import NAMES
from dicomweb.index.working import Working
from fhir_server.settings import Settings

Result = TypeVar("Result")
SEARCH_SECONDS = 10.0
PAGE = 200  # rows read at a time while streaming
ORDER = "s.number IS NULL, s.number, s.n, i.number IS NULL, i.number, i.n"
FILE = "st.uid, s.uid, i.uid, i.transfer_syntax, i.sha256, i.path, i.size, b.layout, i.sop_class"
JOINED = (
    "FROM study st JOIN series s ON s.study = st.n JOIN instance i ON i.series = s.n JOIN body b ON b.n = "
    "i.n "
    "WHERE st.uid = ?"
)


@dataclass(slots=True)
class _Job:
    """One caller's instances, waiting for whoever commits next."""

    instances: Sequence[Instance]
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False


def _named(connection: sqlite3.Connection, query: Query) -> Named:
    return {
        match: _listed(connection.execute(*named_sql(match)).fetchall())
        for match in query.matches
        if match.column in NAMES and not match.path
    }


def _keys(connection: sqlite3.Connection, query: Query) -> tuple[str, list[object]]:
    """A name alone is walked in the order of the page; one whose beginning is given only when it is
    frequent."""
    spelled = spelled_sql(query)
    if spelled and not begins(query.matches[0]):
        return spelled
    named = _named(connection, query)
    return spelled if spelled and None in named.values() else keys_sql(query, named)


def _listed(found: list[tuple[int]]) -> str | None:
    return orjson.dumps([row[0] for row in found]).decode() if len(found) <= FEW else None


class SqliteIndex(Keeping, Working):
    """The `Index` contract on one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._waiting: list[_Job] = []
        self._waiting_lock = threading.Lock()
        self.subscriptions = told.Subscriptions(self._reader, self._writing)
        self.tellings = tellings.Tellings(self._reader, self._writing)

    # -- writing -----------------------------------------------------------------------------------
    def add(self, instances: Sequence[Instance]) -> list[Outcome]:
        job = _Job(instances)
        with self._waiting_lock:
            self._waiting.append(job)
        with self._write_lock:
            if not job.done:
                with self._waiting_lock:
                    jobs, self._waiting = self._waiting, []
                self._commit(jobs)
        if job.error:
            raise job.error
        return job.outcomes

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all; if that fails and there are several, each alone, so that one cannot spoil
        many."""
        try:
            with self._transaction() as connection:
                outcomes = [[rows.insert(connection, instance) for instance in job.instances] for job in jobs]
        except BaseException as error:
            if len(jobs) > 1 and isinstance(error, Exception):
                for job in jobs:
                    self._commit([job])
                return
            jobs[0].error, jobs[0].done = error, True
            return
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.outcomes, job.done = outcome, True

    def mark_processed(self, study: str, seq: int) -> None:
        self._write(
            "UPDATE study SET processed_seq = max(processed_seq, ?1), "
            "pending_since = CASE WHEN last_seq > ?1 THEN coalesce(pending_since, last_received) END "
            "WHERE uid = ?2",
            (seq, study),
        )

    def mark_attached(self, study: str, attached: bool) -> None:
        self._write("UPDATE study SET attached = ? WHERE uid = ?", (int(attached), study))

    def set_mark(self, name: str, value: int) -> None:
        self._write(
            "INSERT INTO mark VALUES(?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
        )

    # -- reading -----------------------------------------------------------------------------------
    def find(self, query: Query) -> list[Found]:
        return self.page(query, 0)[0]

    def page(self, query: Query, counted: int) -> tuple[list[Found], int]:
        """The numbers of the page's rows and of those counted after it are found at once, in narrow rows."""
        limit = query.limit
        asked = query if limit is None else replace(query, limit=limit + counted)

        def work(connection: sqlite3.Connection) -> tuple[list[Found], int]:
            keys = [row[0] for row in connection.execute(*_keys(connection, asked))]
            shown = keys[:limit]
            found: dict[int, Found] = {}
            for start in range(0, len(shown), PAGE):
                for key, *row in connection.execute(*rows_sql(query.level, shown[start : start + PAGE])):
                    found[key] = rows.found(query.level, tuple(row))
            return [found[key] for key in shown if key in found], len(keys) - len(shown)

        return self._searched(work)

    def count(self, query: Query, most: int | None = None) -> int:
        def work(connection: sqlite3.Connection) -> int:
            sql = count_sql(query, _named(connection, query), most)
            return int(connection.execute(*sql).fetchone()[0])

        return self._searched(work)

    def _searched(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """A search, for no longer than a reader may wait: one that has to open every instance's JSON must
        not hold a core for minutes."""
        with self._reader() as connection:
            until = time.monotonic() + SEARCH_SECONDS
            connection.set_progress_handler(lambda: time.monotonic() > until, 20_000)
            try:
                return work(connection)
            except sqlite3.OperationalError as error:
                if "interrupted" in str(error):
                    raise SearchTooLong from error
                raise
            finally:
                connection.set_progress_handler(None, 0)

    def study(self, uid: str) -> Study | None:
        found = self._studies("st.uid = ?", (uid,))
        return found[0] if found else None

    def _studies(self, where: str, values: Sequence[object]) -> list[Study]:
        with self._reader() as connection:
            cursor = connection.execute(f"SELECT {rows.STUDY} FROM study st WHERE {where}", values)
            return [rows.study(connection, row) for row in cursor.fetchall()]

    def kept_long(self, before: int, after: int, limit: int) -> list[tuple[int, Study]]:
        with self._reader() as connection:
            found = connection.execute(
                f"SELECT {rows.STUDY} FROM study st WHERE st.n > ? AND st.last_received < ? "
                "ORDER BY st.n LIMIT ?",
                (after, before, limit),
            ).fetchall()
            return [(row[0], rows.study(connection, row)) for row in found]

    def series_of(self, study: str) -> list[Series]:
        return [
            Series(uid, orjson.loads(attributes), count)
            for uid, attributes, count in self._all(
                "SELECT s.uid, s.attributes, s.instance_count FROM series s JOIN study st ON st.n = s.study "
                "WHERE st.uid = ? ORDER BY s.number IS NULL, s.number, s.n",
                (study,),
            )
        ]

    def briefs(self, study: str) -> list[Brief]:
        return [
            Brief(*row)
            for row in self._all(
                "SELECT s.uid, i.uid, i.sop_class, i.number FROM study st JOIN series s ON s.study = st.n "
                f"JOIN instance i ON i.series = s.n WHERE st.uid = ? ORDER BY {ORDER}",
                (study,),
            )
        ]

    def files(self, study: str, series: str | None = None, instance: str | None = None) -> Iterator[File]:
        for row in self._pages(FILE, study, series, instance):
            yield File(*row)

    def syntaxes(self, study: str, series: str | None = None) -> list[str]:
        found = self._all(
            "SELECT DISTINCT i.transfer_syntax FROM study st JOIN series s ON s.study = st.n "
            "JOIN instance i ON i.series = s.n WHERE st.uid = ?1 AND (?2 IS NULL OR s.uid = ?2)",
            (study, series),
        )
        return [row[0] for row in found]

    def file(self, instance: str) -> File | None:
        found = self._all(
            f"SELECT {FILE} FROM instance i JOIN series s ON s.n = i.series JOIN study st ON st.n = i.study "
            "JOIN body b ON b.n = i.n WHERE i.uid = ?",
            (instance,),
        )
        return File(*found[0]) if found else None

    def metadata(self, study: str, series: str | None = None, instance: str | None = None) -> Iterator[Body]:
        for row in self._pages("s.uid, i.uid, b.attributes", study, series, instance):
            yield Body(*row)

    def _pages(
        self, columns: str, study: str, series: str | None, instance: str | None
    ) -> Iterator[tuple[Any, ...]]:
        """The order is settled on the numbers alone, then the wide columns are read page by page, so that
        memory stays flat and no reader is held open while a slow client downloads."""
        where, values = JOINED, [study]
        if series is not None:
            where, values = where + " AND s.uid = ?", [*values, series]
        if instance is not None:
            where, values = where + " AND i.uid = ?", [*values, instance]
        numbers = [
            row[0]
            for row in self._all(
                f"SELECT i.n {where.replace('JOIN body b ON b.n = i.n ', '')} ORDER BY {ORDER}", values
            )
        ]
        for start in range(0, len(numbers), PAGE):
            page = numbers[start : start + PAGE]
            sql = (
                f"SELECT i.n, {columns} FROM instance i JOIN body b ON b.n = i.n JOIN series s ON s.n = "
                f"i.series "
                f"JOIN study st ON st.n = i.study WHERE i.n IN ({','.join('?' * len(page))})"
            )
            by_number = {row[0]: row[1:] for row in self._all(sql, page)}
            yield from (by_number[n] for n in page if n in by_number)

    def attributes(self, representative: int) -> dict[str, Any]:
        found = self._all("SELECT attributes FROM body WHERE n = ?", (representative,))
        attributes: dict[str, Any] = orjson.loads(found[0][0]) if found else {}
        return attributes

    def note_origin(self, origin: Origin) -> None:
        with self._write_lock, self._transaction() as connection:
            rows.note(connection, origin)

    def origins(self, study: str, instance: str | None = None) -> list[Origin]:
        found = self._all(
            "SELECT study, instance, gateway, sha256, dataset, ae_title, received FROM origin "
            "WHERE study = ?1 AND (?2 IS NULL OR instance = ?2) ORDER BY received, instance",
            (study, instance),
        )
        return [Origin(*row) for row in found]

    def stored(self, after: int, limit: int) -> list[Stored]:
        found = self._all(
            f"SELECT i.n, i.received, {FILE} FROM instance i JOIN series s ON s.n = i.series "
            "JOIN study st ON st.n = i.study JOIN body b ON b.n = i.n WHERE i.n > ? ORDER BY i.n LIMIT ?",
            (after, limit),
        )
        return [Stored(number, received, File(*row)) for number, received, *row in found]

    def conflicts(self, instance: str) -> list[File]:
        return [
            File(*row)
            for row in self._all(
                "SELECT study, series, uid, transfer_syntax, sha256, path, size, layout FROM conflict "
                "WHERE uid = ? "
                "ORDER BY n",
                (instance,),
            )
        ]

    def conflicted(self, limit: int = 1000) -> list[str]:
        found = self._all("SELECT uid FROM conflict GROUP BY uid ORDER BY min(n) LIMIT ?", (limit,))
        return [row[0] for row in found]

    def asides(self, study: str) -> list[Aside]:
        with self._reader() as connection:
            return conflicts.of_study(connection, study)

    def aside_counts(self, studies: Collection[str]) -> dict[str, int]:
        with self._reader() as connection:
            return conflicts.counts(connection, studies)

    def settle_asides(self, asides: Sequence[Aside], take: bool, trace: Trace) -> int:
        with self._write_lock, self._transaction() as connection:
            return sum(conflicts.settle(connection, one, take, trace) for one in asides)

    # -- out of sight ------------------------------------------------------------------------------
    def mask(self, place: tuple[str, str | None, str | None], trace: Trace) -> int:
        with self._write_lock, self._transaction() as connection:
            return masking.mask(connection, place, trace)

    def masked(self, study: str) -> list[Masked]:
        found = self._all(
            "SELECT study, series, uid, sha256, path, at, by, reason FROM masked WHERE study = ? ORDER BY n",
            (study,),
        )
        return [
            Masked(study, series, uid, sha256, path, Trace(*trace))
            for study, series, uid, sha256, path, *trace in found
        ]

    def withdrawn(self, limit: int = 50) -> list[str]:
        return [row[0] for row in self._all("SELECT study FROM withdrawn ORDER BY at LIMIT ?", (limit,))]

    def settle(self, study: str) -> None:
        self._write("DELETE FROM withdrawn WHERE study = ?", (study,))

    # -- work --------------------------------------------------------------------------------------
    def due(self, quiet_before: int, waiting_before: int, limit: int = 50) -> list[Study]:
        return self._studies(
            "st.pending_since IS NOT NULL AND (st.last_received <= ? OR st.pending_since <= ?) "
            "ORDER BY st.pending_since LIMIT ?",
            (quiet_before, waiting_before, limit),
        )

    def unattached(
        self,
        *,
        accessions: Sequence[str] = (),
        patient_values: Sequence[str] = (),
        birth_dates: Sequence[str] = (),
    ) -> list[Study]:
        return self._studies(
            "st.attached = 0 AND st.processed_seq > 0 AND ("
            "(st.accession <> '' AND st.accession IN (SELECT value FROM json_each(?))) OR "
            "st.n IN (SELECT study FROM identifier WHERE value IN (SELECT value FROM json_each(?))) OR "
            "(st.birth_date <> '' AND st.birth_date IN (SELECT value FROM json_each(?)))) ORDER BY st.n",
            [orjson.dumps(list(values)).decode() for values in (accessions, patient_values, birth_dates)],
        )

    def get_mark(self, name: str) -> int:
        found = self._all("SELECT value FROM mark WHERE name = ?", (name,))
        return int(found[0][0]) if found else 0


def open_index(settings: Settings) -> SqliteIndex:
    """The index that belongs to the store: `var/teledossier.db` → `var/teledossier-dicom.db`; beside the
    image files when the store is no file. Not yet opened."""
    if settings.store.startswith("sqlite:///"):
        path = settings.sqlite_path
        return SqliteIndex(path.with_name(path.stem + "-dicom.db"))
    return SqliteIndex(settings.files_path / "teledossier-dicom.db")
