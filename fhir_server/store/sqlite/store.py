"""The embedded engine behind `store.contract`: one file, several processes, one writer in each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fhir_server.clock import utc_microseconds
from fhir_server.search.nodes import Node, Select
from fhir_server.store.contract import Indexed, Past, Put, Row, Unless, Version
from fhir_server.store.sqlite import commits, history, pages, reader, records, schema
from fhir_server.store.sqlite.reader import Readers, Reading
from fhir_server.store.sqlite.writer import Work, Writer
from profiles.outcomes import Unavailable

T = TypeVar("T")
BATCH = 500  # versions of a scan in memory at once


class SqliteStore:
    """`path` is the database file; `now` tells the time for records that expire, UTC microseconds."""

    def __init__(self, path: Path, now: Callable[[], int] = utc_microseconds) -> None:
        self.path, self._now = path, now
        self._readers: Readers | None = None
        self._writer: Writer | None = None

    @property
    def atomic_commits(self) -> bool:
        return True

    async def open(self) -> None:
        await asyncio.to_thread(schema.prepare, self.path)
        self._readers = Readers(self.path)
        self._writer = Writer(self.path)
        self._writer.start()

    async def close(self) -> None:
        """Finish queued writes; a closed store answers nothing more."""
        writer, readers = self._writer, self._readers
        self._writer = self._readers = None
        if writer is not None:
            await asyncio.to_thread(writer.close)
        if readers is not None:
            await asyncio.to_thread(readers.close)

    # What follows is the contract, method by method.
    async def commit(self, puts: Sequence[Put], unless: Sequence[Unless] = ()) -> list[Version]:
        return await self._write(lambda connection, names: commits.commit(connection, names, puts, unless))

    async def reindex(self, items: Sequence[Indexed]) -> int:
        return await self._write(lambda connection, names: commits.reindex(connection, names, items))

    async def read(self, type: str, id: str) -> Version | None:
        return reader.current(self._here, type, id)

    async def read_many(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Version]:
        def work(reading: Reading) -> dict[tuple[str, str], Version]:
            found = ((key, reader.current(reading, *key)) for key in dict.fromkeys(keys))
            return {
                key: version for key, version in found if version is not None and version.body is not None
            }

        return await self._read(work)

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        return reader.one_version(self._here, type, id, version)

    async def history(self, past: Past) -> list[Version]:
        return await self._read(lambda reading: history.versions(reading, past))

    async def search(self, select: Select) -> list[Row]:
        def work(reading: Reading) -> list[Row]:
            hits = pages.page(reading.names, select)
            versions = reader.at_numbers(reading, [rno for rno, _ in hits])
            return [Row(versions[rno], position) for rno, position in hits]

        return await self._read(work) if select.count > 0 else []

    async def count(self, type: str, where: Node) -> int:
        return await self._read(lambda reading: pages.count(reading.names, type, where))

    async def tokens(self, type: str, name: str) -> list[tuple[str, str]]:
        return await self._read(lambda reading: reader.tokens(reading, type, name))

    async def latest(self) -> int:
        return int(self._here.rows("SELECT coalesce(max(rno), 0) FROM res")[0][0])

    async def scan(self, type: str | None = None) -> AsyncIterator[Version]:
        """In the order the resources were first named; each batch is a snapshot of its own."""
        after = 0
        while True:

            def work(reading: Reading, after: int = after) -> list[tuple[int, Version]]:
                tid = None if type is None else reading.names.type(type)
                return [] if type is not None and tid is None else reader.batch(reading, tid, after, BATCH)

            found = await self._read(work)
            for eid, version in found:
                after = eid
                yield version
            if len(found) < BATCH:
                return

    async def integrity(self) -> list[str]:
        return await self._read(lambda reading: reader.integrity(reading.connection))

    async def put_record(
        self,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        expires: int | None = None,
        only_if_absent: bool = False,
    ) -> bool:
        packed = records.packed(value)
        return await self._write(
            lambda connection, _: records.put(
                connection, kind, key, packed, expires=expires, now=self._now(), only_if_absent=only_if_absent
            )
        )

    async def get_record(self, kind: str, key: str) -> dict[str, Any] | None:
        return records.get(self._here.connection, kind, key, self._now())

    async def take_record(self, kind: str, key: str) -> dict[str, Any] | None:
        return await self._write(lambda connection, _: records.take(connection, kind, key, self._now()))

    async def delete_record(self, kind: str, key: str) -> bool:
        return await self.take_record(kind, key) is not None

    async def list_records(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        return await self._read(lambda reading: records.listed(reading.connection, kind, self._now()))

    async def next_number(self, name: str) -> int:
        return await self._write(lambda connection, _: records.number(connection, name))

    # How work reaches the connections.
    @property
    def _here(self) -> Reading:
        if self._readers is None:
            raise Unavailable("store-closed", "the store is not open")
        return self._readers.here

    async def _read(self, work: Callable[[Reading], T]) -> T:
        if self._readers is None:
            raise Unavailable("store-closed", "the store is not open")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers.threads, self._readers.snapshot, work)

    async def _write(self, work: Work[T]) -> T:
        if self._writer is None:
            raise Unavailable("store-closed", "the store is not open")
        return await asyncio.wrap_future(self._writer.submit(work))
