"""MongoDB behind `store.contract`: PyMongo's asynchronous client, one database."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pymongo import AsyncMongoClient, ReadPreference, UpdateOne, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from fhir_server.clock import utc_microseconds
from fhir_server.search.nodes import Node, Select
from fhir_server.store.contract import Indexed, Past, Put, Row, Unless, Version
from fhir_server.store.mongo import past as history
from fhir_server.store.mongo import records, schema
from fhir_server.store.mongo.documents import (
    SEPARATOR,
    VERSION,
    Document,
    key,
    one_of,
    reindexed,
    unsafe,
    version,
    word,
)
from fhir_server.store.mongo.finder import Finder
from fhir_server.store.mongo.integrity import findings
from fhir_server.store.mongo.journal import Journal
from fhir_server.store.mongo.transactions import Transactions
from profiles.outcomes import Invalid, TooLarge, Unavailable

T = TypeVar("T")
BATCH = 500  # versions of a scan in memory at once
SWEEP = 60_000_000  # microseconds between two removals of expired records
WAIT = 10_000  # milliseconds until a server that is not there is given up

log = logging.getLogger(__name__)


class MongoStore:
    """`uri` names server and database; `now` tells the time, UTC microseconds."""

    def __init__(self, uri: str, now: Callable[[], int] = utc_microseconds) -> None:
        self._uri, self._now = uri, now
        self._client: AsyncMongoClient[Document] | None = None
        self._database: AsyncDatabase[Document] | None = None
        self._writer: Transactions | Journal | None = None
        self._writing: set[asyncio.Task[Any]] = set()
        self._swept = 0

    @property
    def atomic_commits(self) -> bool:
        return isinstance(self._writer, Transactions)

    async def open(self) -> None:
        """Raises Invalid for an address that is none, Unavailable, SchemaMismatch."""
        client, database = await _connected(self._uri)
        try:
            with _answering():
                await schema.prepare(database)
                able = await schema.has_transactions(client, database)
            self._writer = Transactions(client, database) if able else Journal(database, self._now)
            self._client, self._database = client, database
            if not able:
                log.warning(
                    "this MongoDB server has no transactions: bundles of type transaction with several "
                    "entries are refused (501); use a replica set or a sharded cluster"
                )
            with _answering():
                await self._writer.settle()
        except BaseException:
            await client.close()
            self._client = self._database = self._writer = None
            raise

    async def close(self) -> None:
        """Finish what is being written; a closed store answers nothing more."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        client = self._client
        self._client = self._database = self._writer = None
        if client is not None:
            await client.close()

    # What follows is the contract, method by method.
    async def commit(self, puts: Sequence[Put], unless: Sequence[Unless] = ()) -> list[Version]:
        writer = self._open_writer
        return await self._write(writer.commit(puts, unless)) if puts or unless else []

    async def reindex(self, items: Sequence[Indexed]) -> int:
        changes = [UpdateOne(*reindexed(item)) for item in items]

        async def work() -> int:
            async with self._open_writer.alone():
                done = await self._here.resources.bulk_write(changes, ordered=False)
                return done.matched_count

        return await self._write(work()) if changes else 0

    async def read(self, type: str, id: str) -> Version | None:
        with _answering():
            found = await (await self._whole()).resources.find_one({"_id": key(type, id)}, list(VERSION))
        return version(found) if found else None

    async def read_many(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Version]:
        wanted = [key(*each) for each in dict.fromkeys(keys)]
        if not wanted:
            return {}
        with _answering():
            asked = (await self._whole()).resources.find({"_id": one_of(wanted), "live": True}, list(VERSION))
            return {(each["type"], each["id"]): version(each) async for each in asked}

    async def vread(self, type: str, id: str, version: int) -> Version | None:
        now = await self.read(type, id)
        if now is None or now.version <= version:
            return now if now is not None and now.version == version else None
        with _answering():
            found = await self._here.history.find_one(
                {"_id": f"{key(type, id)}/{version}", "key": key(type, id)}
            )
        return _version(found) if found else None

    async def history(self, past: Past) -> list[Version]:
        with _answering():
            return await history.versions(await self._whole(), past)

    async def search(self, select: Select) -> list[Row]:
        if select.count <= 0:
            return []
        with _answering():
            return await Finder((await self._whole()).resources).page(select)

    async def count(self, type: str, where: Node) -> int:
        with _answering():
            return await Finder((await self._whole()).resources).count(type, where)

    async def tokens(self, type: str, name: str) -> list[tuple[str, str]]:
        beginning = word("t", name) + SEPARATOR
        said = {"x": {"$regex": "^" + re.escape(beginning)}}
        with _answering():
            asked = await (await self._whole()).resources.aggregate(
                [
                    {"$match": {**({"type": type} if type else {}), "live": True, **said}},
                    {"$project": {"x": 1}},
                    {"$unwind": "$x"},
                    {"$match": said},
                    {"$group": {"_id": "$x"}},
                ]
            )
            found = [str(each["_id"]).removeprefix(beginning) async for each in asked]
        pairs = (text.split(SEPARATOR) for text in found)
        return sorted((unsafe(system), unsafe(code)) for system, code in pairs)

    async def latest(self) -> int:
        with _answering():
            newest = (
                await (await self._whole()).resources.find({}, ["seq"]).sort("seq", -1).limit(1).to_list()
            )
        return int(newest[0]["seq"]) if newest else 0

    async def scan(self, type: str | None = None) -> AsyncIterator[Version]:
        """By rising id, so each is seen once; each batch is a question of its own."""
        bound: dict[str, Any] = {"$gt": "" if type is None else key(type, "")}
        if type is not None:
            bound["$lt"] = type + "0"  # the character after the slash
        while True:
            with _answering():
                asked = (await self._whole()).resources.find({"_id": bound, "live": True}, list(VERSION))
                found = await asked.sort("_id", 1).limit(BATCH).to_list()
            for each in found:
                yield version(each)
            if len(found) < BATCH:
                return
            bound["$gt"] = found[-1]["_id"]

    async def integrity(self) -> list[str]:
        with _answering():
            return await findings(await self._whole())

    async def put_record(
        self,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        expires: int | None = None,
        only_if_absent: bool = False,
    ) -> bool:
        made, stored = records.document(kind, key, value, expires), self._here.records

        async def work() -> bool:
            async with self._open_writer.alone():
                await self._sweep()
                if only_if_absent:
                    return await records.put_if_absent(stored, made, self._now())
                await records.put(stored, made)
                return True

        return await self._write(work())

    async def get_record(self, kind: str, key: str) -> dict[str, Any] | None:
        with _answering():
            return await records.get(self._here.records, kind, key, self._now())

    async def take_record(self, kind: str, key: str) -> dict[str, Any] | None:
        stored = self._here.records

        async def work() -> dict[str, Any] | None:
            async with self._open_writer.alone():
                return await records.take(stored, kind, key, self._now())

        return await self._write(work())

    async def delete_record(self, kind: str, key: str) -> bool:
        return await self.take_record(kind, key) is not None

    async def list_records(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        with _answering():
            return await records.listed(self._here.records, kind, self._now())

    async def next_number(self, name: str) -> int:
        return await self._write(self._open_writer.number("number " + name))

    # How work reaches the server.
    @property
    def _here(self) -> AsyncDatabase[Document]:
        if self._database is None:
            raise Unavailable("store-closed", "the store is not open")
        return self._database

    @property
    def _open_writer(self) -> Transactions | Journal:
        if self._database is None or self._writer is None:
            raise Unavailable("store-closed", "the store is not open")
        return self._writer

    async def _whole(self) -> AsyncDatabase[Document]:
        """The database, with nothing in it that another process has left half done."""
        await self._open_writer.settle()
        return self._here

    async def _sweep(self) -> None:
        if self._now() - self._swept > SWEEP:
            self._swept = self._now()
            await records.sweep(self._here.records, self._now())

    async def _write(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, even when the caller is cancelled: what is begun is not left half done."""
        task = asyncio.ensure_future(work)
        self._writing.add(task)
        task.add_done_callback(self._written)
        with _answering():
            return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # a cancelled caller never asks for it


async def migrated(uri: str) -> list[str]:
    """Create or complete the schema of the database; what was done, one line each. Raises as `open` does."""
    client, database = await _connected(uri)
    try:
        with _answering():
            done = await schema.migrate(database)
            able = await schema.has_transactions(client, database)
    finally:
        await client.close()
    can = "has transactions" if able else "has no transactions: bundles that need one are refused (501)"
    return [f"{database.name}: {line}" for line in [*done, f"the server {can}"]]


_version = version  # `vread` has a parameter of that name


async def _connected(uri: str) -> tuple[AsyncMongoClient[Document], AsyncDatabase[Document]]:
    """A majority of the servers has journalled what is acknowledged, and has what is read."""
    try:
        parsed = parse_uri(uri, validate=True)
        name = parsed["database"]
        wait: dict[str, Any] = (
            {} if "serverSelectionTimeoutMS" in parsed["options"] else {"serverSelectionTimeoutMS": WAIT}
        )
        if not name:
            raise Invalid("store-address", "the mongodb:// address names no database: mongodb://HOST/NAME")
        client: AsyncMongoClient[Document] = AsyncMongoClient(
            uri, appname="teledossier", retryWrites=True, retryReads=True, **wait
        )
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise Invalid(
            "store-address",
            "the mongodb:// address cannot be read: mongodb://[USER:PASSWORD@]HOST[:PORT]/NAME",
        ) from error
    database = client.get_database(
        name,
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern("majority", j=True),
    )
    return client, database


@contextmanager
def _answering() -> Iterator[None]:
    """The driver's errors in our terms. No text of the server's goes out: it may hold values."""
    try:
        yield
    except DocumentTooLarge as error:
        raise TooLarge("too-large-to-store", "the resource is larger than the database can hold") from error
    except ConnectionFailure as error:
        raise Unavailable("store-unavailable", "the database does not answer; try again") from error
    except OperationFailure as error:
        log.error("MongoDB refused an operation: code %s", error.code)
        raise Unavailable("store-refused", f"the database refused (code {error.code}); try again") from error
    except PyMongoError as error:
        log.error("MongoDB driver: %s", type(error).__name__)
        raise Unavailable("store-unavailable", "the database could not be used; try again") from error
