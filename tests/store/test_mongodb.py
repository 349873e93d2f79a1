"""What is MongoDB's own: the schema and `migrate`, addresses, and commits that are cut short."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from fhir_server.search.nodes import Everything, Reference, Select, Sort, Token
from fhir_server.settings import Settings
from fhir_server.store import migrate
from fhir_server.store.contract import Past, RaceLost, Unless
from fhir_server.store.mongo import MongoStore, journal, schema, transactions
from fhir_server.store.mongo.documents import field, safe, unfield, unsafe
from fhir_server.store.mongo.order import order_of
from profiles.outcomes import Invalid, SchemaMismatch, Unavailable
from tests.mongodb import ENGINES, FERRETDB
from tests.store.making import AT, gone, put

Database = Any


@pytest.fixture(params=[engine for engine in ENGINES if engine != "sqlite"])
def address(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(address)
    yield client.get_default_database()
    await client.close()


async def test_migrate_makes_every_index_and_notes_the_version(address: str, database: Database) -> None:
    done = await migrate(Settings(store=address))
    assert sum("indexes created" in line for line in done) == len(schema.INDEXES)
    for collection, indexes in schema.INDEXES.items():
        there = await database[collection].index_information()
        assert set(there) == {"_id_", *(index.document["name"] for index in indexes)}
    assert (await database.meta.find_one({"_id": "schema"}))["version"] == schema.SCHEMA
    again = await migrate(Settings(store=address))
    assert not any("created" in line for line in again)


async def test_migrate_makes_again_what_was_dropped_and_check_names_it(
    address: str, database: Database
) -> None:
    store = MongoStore(address)
    await store.open()
    assert await store.integrity() == []
    await database.resources.drop_index("words")
    assert await store.integrity() == ["resources: the index 'words' is missing"]
    await migrate(Settings(store=address))
    assert await store.integrity() == []
    await store.close()


@pytest.mark.parametrize("version", [schema.SCHEMA + 1, 99])
async def test_another_schema_is_refused(address: str, database: Database, version: int) -> None:
    await migrate(Settings(store=address))
    await database.meta.update_one({"_id": "schema"}, {"$set": {"version": version}})
    with pytest.raises(SchemaMismatch, match=f"schema {version}.*schema {schema.SCHEMA}"):
        await MongoStore(address).open()
    with pytest.raises(SchemaMismatch, match=f"schema {version}"):
        await migrate(Settings(store=address))


async def test_the_database_of_another_program_is_left_alone(address: str, database: Database) -> None:
    await database.theirs.insert_one({"_id": 1})
    for use in (MongoStore(address).open(), migrate(Settings(store=address))):
        with pytest.raises(SchemaMismatch, match="another program"):
            await use
    assert await database.list_collection_names() == ["theirs"]


async def test_a_making_cut_short_is_made_again(
    address: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAITS", 1)
    await database.meta.insert_one({"_id": "schema", "application": "teledossier", "version": schema.MAKING})
    store = MongoStore(address)
    await store.open()
    assert await store.integrity() == []
    await store.close()


async def test_several_may_prepare_at_once(address: str) -> None:
    stores = [MongoStore(address) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await stores[0].commit([put("Patient", "a")])
    assert [await store.count("Patient", Everything()) for store in stores] == [1] * 4
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize(
    "address", ["mongodb://127.0.0.1:1", "mongodb://127.0.0.1:1/", "mongodb://", "mongodb://u:p@h:x/d"]
)
async def test_an_address_that_is_none_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(Invalid, match="mongodb://") as refused:
        await MongoStore(address).open()
    assert "u:p" not in str(refused.value)


# The driver leaves a socket to the garbage collector when it is closed while it tries to connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setattr("fhir_server.store.mongo.store.WAIT", 50)
    store = MongoStore(f"mongodb://127.0.0.1:{free_port}/x")
    with pytest.raises(Unavailable, match="does not answer"):
        await store.open()
    with pytest.raises(Unavailable, match="not open"):
        await store.read("Patient", "a")
    gc.collect()


@pytest.mark.parametrize("text", ["", "a\x1fb", "\x1a1", "\x1a\x1a2\x1f\x00", "%2E", "$a.b%", "é\U0001f600"])
def test_escapes_can_be_undone(text: str) -> None:
    assert unsafe(safe(text)) == text
    assert not set(safe(text)) & {"\x1f", "\x00"}
    assert unfield(field(text)) == text
    assert not set(field(text)) & {".", "$", "\x00"}


def test_more_sort_keys_than_the_server_takes_are_refused() -> None:
    keys = tuple(Sort(f"p{n}", "string") for n in range(16))
    assert len(order_of(Select("Patient", Everything(), keys[:15])).fields) == 31
    with pytest.raises(Invalid, match="15 keys"):
        order_of(Select("Patient", Everything(), keys))


class Unisolated:
    """In place of a session: what a transaction writes, without what makes it one."""

    async def __aenter__(self) -> Unisolated:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def with_transaction(self, work: Callable[[None], Any], *concerns: object) -> Any:
        return await work(None)


async def test_what_a_transaction_writes(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statements of `transactions`, in their order: FerretDB judges them but has none, so what
    happens when two of them meet is shown only by a server that has."""
    address = store_url(FERRETDB)
    store = MongoStore(address)
    await store.open()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(address)
    monkeypatch.setattr(client, "start_session", Unisolated)
    writer = transactions.Transactions(client, client.get_default_database())
    (first,) = await writer.commit([put("Patient", "a")], ())
    assert await store.read("Patient", "a") == first
    for stale in ([put("Patient", "a")], [put("Task", "t"), put("Patient", "a", 7)]):
        with pytest.raises(RaceLost) as lost:
            await writer.commit(stale, ())
        assert (lost.value.type, lost.value.id) == ("Patient", "a")
    assert await store.read("Task", "t") is None
    made = await writer.commit([put("Patient", "a", 1), put("Task", "t"), put("Task", "t", 1)], ())
    assert [(each.id, each.version) for each in made] == [("a", 2), ("t", 1), ("t", 2)]
    await writer.commit([gone("Patient", "a", 2)], ())
    past = await store.history(Past(count=9))
    assert [(each.id, each.version) for each in past] == [("a", 3), ("t", 2), ("t", 1), ("a", 2), ("a", 1)]
    assert await store.integrity() == []
    unless = Unless("Task", Everything())
    with pytest.raises(RaceLost):
        await writer.commit([put("Patient", "b")], [unless])
    await writer.commit([gone("Task", "t", 2)], ())
    assert [each.id for each in await writer.commit([put("Patient", "b")], [unless])] == ["b"]
    await client.close()
    await store.close()


class Killed(BaseException):
    """Stands for the end of the process: nothing after it reaches the server."""


class Mortal:
    """Lets so many writes through to the server, then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lives: int) -> None:
        self.lives = lives
        for name in ("insert_one", "insert_many", "replace_one", "bulk_write", "delete_one", "delete_many"):
            monkeypatch.setattr(AsyncCollection, name, self._mortal(getattr(AsyncCollection, name)))

    def _mortal(self, real: Any) -> Any:
        async def write(*arguments: Any, **more: Any) -> Any:
            if self.lives == 0:
                raise Killed
            self.lives -= 1
            return await real(*arguments, **more)

        return write


SUBJECT = Reference("subject", ("Patient/a",))
BEFORE = [put("Patient", "a", tokens=[("code", "s", "1")]), put("Patient", "gone"), put("Task", "t")]
COMMIT = [
    put("Patient", "a", 1, tokens=[("code", "s", "2")], at=AT + 1),
    put("Observation", "o", references=[("subject", "Patient/a")], at=AT + 1),
    put("Observation", "p", references=[("subject", "Patient/a")], at=AT + 1),
    gone("Patient", "gone", 1),
]


async def seen(store: MongoStore) -> tuple[object, ...]:
    """What a reader sees of the commit, by every way."""
    a = await store.read("Patient", "a")
    assert a is not None
    return (
        a.version,
        await store.count("Patient", Token("code", (("s", "2"),))),
        await store.count("Observation", SUBJECT),
        [row.version.id for row in await store.search(Select("Patient", Everything()))],
        [(each.id, each.version) for each in await store.history(Past(("Patient",), count=9))],
        len([each async for each in store.scan()]),
    )


OLD = (1, 0, 0, ["gone", "a"], [("gone", 1), ("a", 1)], 3)
NEW = (2, 1, 2, ["a"], [("gone", 2), ("a", 2), ("gone", 1), ("a", 1)], 4)


async def test_a_commit_cut_short_at_any_write_is_whole_or_nothing(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before each of its writes in turn; the next one, once the lock has run out, sees all
    of the commit or nothing of it, and writes on. On a server without transactions."""
    address = store_url(FERRETDB)
    clock = [AT]
    store = MongoStore(address, lambda: clock[0])
    await store.open()
    await store.commit(BEFORE)
    results, lives = [], 0
    while True:
        with monkeypatch.context() as patch:
            mortal = Mortal(patch, lives)
            try:
                await store.commit(COMMIT)
            except Killed:
                done = False
            else:
                done = mortal.lives >= 0
        clock[0] += journal.LEASE + journal.GLANCE + 1
        later = MongoStore(address, lambda: clock[0])
        await later.open()
        state = await seen(later)
        assert state in (OLD, NEW), (lives, state)
        assert await later.integrity() == []
        results.append(state == NEW)
        await later.close()
        if done or state == NEW:
            break
        lives += 1
    assert results == sorted(results)
    assert results[-1]
    assert len(results) > 4
    (made,) = await store.commit([put("Patient", "a", 2)])
    assert made.version == 3
    await store.close()


async def test_every_write_after_the_mark_is_made_up_for(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is from the mark on: a death at any later write is made up for by a reader."""
    for after in range(8):
        address, clock = store_url(FERRETDB), [AT]
        store = MongoStore(address, lambda clock=clock: clock[0])  # type: ignore[misc]
        await store.open()
        await store.commit(BEFORE)
        with monkeypatch.context() as patch:
            mortal = Mortal(patch, -1)
            real = AsyncCollection.insert_one

            async def insert_one(self: Any, document: Any, *rest: Any, real: Any = real, **more: Any) -> Any:
                done = await real(self, document, *rest, **more)
                if document.get("_id") == journal.MARK:
                    mortal.lives = after  # noqa: B023
                return done

            patch.setattr(AsyncCollection, "insert_one", insert_one)
            try:
                await store.commit(COMMIT)
            except Killed:
                died = True
            else:
                died = False
        other = MongoStore(address, lambda clock=clock: clock[0])  # type: ignore[misc]
        await other.open()
        clock[0] += journal.LEASE + journal.GLANCE + 1
        assert await seen(other) == NEW, after
        await other.close()
        await store.close()
        if not died:
            return
    pytest.fail("the commit never came to its end")


async def test_a_writer_waits_for_a_dead_ones_lock_and_no_longer(store_url: Callable[[str], str]) -> None:
    address, clock = store_url(FERRETDB), [AT]
    store = MongoStore(address, lambda: clock[0])
    await store.open()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(address)
    locks = client.get_default_database().locks
    await locks.insert_one({"_id": "writer", "owner": "dead", "until": AT + journal.LEASE})
    writing = asyncio.ensure_future(store.commit([put("Patient", "a")]))
    assert await store.read("Patient", "a") is None
    assert not writing.done()
    clock[0] += journal.LEASE + 1
    assert (await writing)[0].version == 1
    assert await locks.find_one({}) is None
    await client.close()
    await store.close()


async def test_no_longer_than_patience(
    store_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0.05)
    address = store_url(FERRETDB)
    store = MongoStore(address, lambda: AT)
    await store.open()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(address)
    await client.get_default_database().locks.insert_one({"_id": "writer", "owner": "busy", "until": 2 * AT})
    with pytest.raises(Unavailable, match="busy"):
        await store.commit([put("Patient", "a")])
    await client.close()
    await store.close()


def test_the_address_of_a_given_server_is_used_when_there_is_one() -> None:
    assert ("mongodb" in ENGINES) == bool(os.environ.get("TELEDOSSIER_TEST_MONGODB_URI"))
