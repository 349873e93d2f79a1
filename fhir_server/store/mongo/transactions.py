"""Commits on a server that has transactions (a replica set or a sharded cluster).

The server judges conflicts: of two transactions that change the same document one is made to start again,
and then finds that its expectation no longer holds. Every commit changes the counter of `seq` within its
transaction, so commits follow one another: whoever has seen a `seq` will never see a lower one appear, which
all that asks "what was written since" relies on.
https://www.mongodb.com/docs/manual/core/transactions/
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pymongo import AsyncMongoClient, ReadPreference, ReplaceOne, ReturnDocument, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern

from fhir_server.search.nodes import Select
from fhir_server.store.contract import Put, RaceLost, Unless, Version
from fhir_server.store.mongo.commits import check, plan
from fhir_server.store.mongo.documents import DUPLICATE, VERSION, Document, key, one_of
from fhir_server.store.mongo.finder import Finder


class Transactions:
    """Writes in the server's own transactions."""

    atomic = True

    def __init__(self, client: AsyncMongoClient[Document], database: AsyncDatabase[Document]) -> None:
        self._client, self._database = client, database
        # All commits change the counter of `seq`: those of one process need not make each other start again.
        self._turn = asyncio.Lock()

    async def commit(self, puts: Sequence[Put], unless: Sequence[Unless]) -> list[Version]:
        """All or nothing. Raises RaceLost."""

        async def work(session: AsyncClientSession) -> list[Version]:
            return await self._written(puts, unless, session)

        async with self._turn, self._client.start_session() as session:
            return await session.with_transaction(
                work, ReadConcern("snapshot"), WriteConcern("majority", j=True), ReadPreference.PRIMARY
            )

    async def settle(self) -> None:
        """Nothing is ever left half done."""

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """The server's changes of one document are atomic: nobody needs to be kept out."""
        yield

    async def number(self, name: str) -> int:
        """The counter, one further."""
        while True:
            try:
                return await self._counted(name, 1)
            except DuplicateKeyError:  # two made it at once; now it is there
                continue

    async def _counted(self, name: str, step: int, session: AsyncClientSession | None = None) -> int:
        found = await self._database.counters.find_one_and_update(
            {"_id": name},
            {"$inc": {"value": step}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        assert found is not None
        return int(found["value"])

    async def _written(
        self, puts: Sequence[Put], unless: Sequence[Unless], session: AsyncClientSession
    ) -> list[Version]:
        database = self._database
        for each in unless:
            await self._judged(each, session)
        places = list({key(put.type, put.id) for put in puts})
        found = database.resources.find({"_id": one_of(places)}, list(VERSION), session=session)
        olds = {each["_id"]: each async for each in found}
        check(puts, olds)
        last = await self._counted("seq", len(puts), session)
        planned = plan(puts, olds, last - len(puts) + 1)
        if planned.earlier:
            await database.history.insert_many(planned.earlier, session=session)
        if planned.replaced:
            swaps = [ReplaceOne({"_id": new["_id"], "ver": old}, new) for old, new in planned.replaced]
            done = await database.resources.bulk_write(swaps, session=session)
            if done.matched_count != len(swaps):
                raise RaceLost(puts[0].type, puts[0].id)
        if planned.made:
            try:
                await database.resources.insert_many(planned.made, session=session)
            except BulkWriteError as error:
                raise _lost(error) from error
        return list(planned.versions)

    async def _judged(self, unless: Unless, session: AsyncClientSession) -> None:
        """Two commits that rest on the same write the same guard, so that one of them starts again and then
        sees what the other wrote. Raises RaceLost."""
        name = hashlib.sha256(str(unless).encode()).hexdigest()
        try:
            await self._database.guards.update_one(
                {"_id": name}, {"$inc": {"times": 1}}, upsert=True, session=session
            )
        except DuplicateKeyError:
            raise RaceLost(unless.type, "") from None
        finder = Finder(self._database.resources, session)
        if await finder.page(Select(unless.type, unless.where, count=1)):
            raise RaceLost(unless.type, "")


def _lost(error: BulkWriteError) -> Exception:
    """A new id that another commit has taken meanwhile; anything else is passed on as it is."""
    for each in (error.details or {}).get("writeErrors", ()):
        if each.get("code") == DUPLICATE:
            type, _, id = str(each["op"]["_id"]).partition("/")
            return RaceLost(type, id)
    return error
