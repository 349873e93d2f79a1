"""The collections, their indexes and their version; what the server at the other end can do.

`INDEXES` is the one list: `teledossier migrate` makes what is missing and notes the version, a start checks
the version alone. Shard keys are the operator's choice; the room's README names those that fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import CollectionInvalid, DuplicateKeyError, OperationFailure

from fhir_server.store.mongo.documents import Document, field
from profiles.outcomes import SchemaMismatch

SCHEMA = 1
APPLICATION = "teledossier"
UNINDEXED = ("counters", "guards", "journal", "locks")
MAKING = 0  # the version while the schema is being made
WAITS = 200  # tenths of a second for another process to make it

# Dates that people sort by and search ranges of; others are found by the other conditions of a search.
RANGED = ("_lastUpdated", "authored", "authored-on", "birthdate", "date", "period", "recorded", "started")


def _index(name: str, *keys: tuple[str, int], sparse: bool = False) -> IndexModel:
    return IndexModel(list(keys), name=name, **({"sparse": True} if sparse else {}))


INDEXES: Mapping[str, tuple[IndexModel, ...]] = {
    "resources": (
        _index("words", ("type", ASCENDING), ("x", ASCENDING), ("seq", DESCENDING)),
        _index("listing", ("type", ASCENDING), ("live", ASCENDING), ("seq", DESCENDING)),
        _index("order", ("seq", DESCENDING)),
        _index("moment", ("at", DESCENDING)),
        *(_index(f"from {name}", (f"k.d.{field(name)}.a", ASCENDING), sparse=True) for name in RANGED),
        *(_index(f"to {name}", (f"k.d.{field(name)}.z", ASCENDING), sparse=True) for name in RANGED),
    ),
    "history": (
        _index("versions", ("key", ASCENDING), ("seq", DESCENDING)),
        _index("listing", ("type", ASCENDING), ("seq", DESCENDING)),
        _index("order", ("seq", DESCENDING)),
        _index("moment", ("at", DESCENDING)),
    ),
    "records": (
        _index("kind", ("kind", ASCENDING), ("key", ASCENDING)),
        _index("expiry", ("expires", ASCENDING), sparse=True),
    ),
}


async def prepare(database: AsyncDatabase[Document]) -> None:
    """Create the schema in an empty database, or check what is there. Of several processes that start on an
    empty one, one makes it and the others wait. Raises SchemaMismatch."""
    found = await _found(database)
    if found is None:
        try:
            await database.meta.insert_one({"_id": "schema", "application": APPLICATION, "version": MAKING})
        except DuplicateKeyError:
            found = await _found(database)
        else:
            await _make(database)
            return
    for _ in range(WAITS):
        if found is None or found["version"] != MAKING:
            break
        await asyncio.sleep(0.1)
        found = await _found(database)
    if found is None or found["version"] == MAKING:
        await _make(database)  # whoever began has not come to an end
    elif found["version"] != SCHEMA:
        raise SchemaMismatch(
            f"the database {database.name} has schema {found['version']}, "
            f"this program needs schema {SCHEMA}: run 'teledossier migrate' of the newer of the two"
        )


async def migrate(database: AsyncDatabase[Document]) -> list[str]:
    """Bring the database to this program's schema; what was done, one line each. May be run again. Raises
    SchemaMismatch for a newer schema, or for the database of another program."""
    found = await _found(database)
    if found is not None and found["version"] > SCHEMA:
        raise SchemaMismatch(
            f"the database {database.name} has schema {found['version']}, this program knows schema {SCHEMA}"
        )
    if found is None:
        note = {"application": APPLICATION, "version": MAKING}
        await database.meta.replace_one({"_id": "schema"}, note, upsert=True)
    return await _make(database)


async def _make(database: AsyncDatabase[Document]) -> list[str]:
    """Create what is missing, then note the version."""
    done = []
    collections = await database.list_collection_names()
    for name in UNINDEXED:
        if name not in collections:  # a transaction should not have to
            with suppress(CollectionInvalid):
                await database.create_collection(name)
    with suppress(DuplicateKeyError):
        await database.counters.insert_one({"_id": "seq", "value": 0})
    for collection, indexes in INDEXES.items():
        there = await _indexes(database, collection)
        missing = [index for index in indexes if index.document["name"] not in there]
        if missing:
            await database[collection].create_indexes(missing)
            done.append(f"{collection}: {len(missing)} indexes created")
    note = {"application": APPLICATION, "version": SCHEMA}
    await database.meta.replace_one({"_id": "schema"}, note, upsert=True)
    return [*done, f"schema {SCHEMA}"]


async def missing_indexes(database: AsyncDatabase[Document]) -> list[str]:
    """Names of the indexes that are not there."""
    found = []
    for collection, indexes in INDEXES.items():
        there = await _indexes(database, collection)
        names = [str(index.document["name"]) for index in indexes]
        found += [f"{collection}: the index '{name}' is missing" for name in names if name not in there]
    return found


async def _indexes(database: AsyncDatabase[Document], collection: str) -> set[str]:
    if collection not in await database.list_collection_names():
        return set()
    return set(await database[collection].index_information())


async def _found(database: AsyncDatabase[Document]) -> Document | None:
    """The note of the schema, None in an empty database. Raises SchemaMismatch for another program's."""
    found = await database.meta.find_one({"_id": "schema"})
    if found is None and set(await database.list_collection_names()) - {"meta"}:
        # Ours is noted before any other collection is made; perhaps it was, meanwhile.
        found = await database.meta.find_one({"_id": "schema"})
        if found is None:
            raise SchemaMismatch(
                f"the database {database.name} is of another program, not a store of schema {SCHEMA}"
            )
    return found


async def has_transactions(client: AsyncMongoClient[Document], database: AsyncDatabase[Document]) -> bool:
    """Whether several documents can be written in one transaction: a replica set or a sharded cluster, and
    one such transaction that works."""
    hello = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return False
    try:
        async with client.start_session() as session, await session.start_transaction():
            await database.meta.find_one({"_id": "schema"}, session=session)
    except OperationFailure:
        return False
    return True
