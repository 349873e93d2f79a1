"""Commits on a server without transactions: one writer at a time, and a journal.

A writer holds the store's lock (a document with a unique id, so only one can be inserted), judges what the
commit expects, and writes the new documents into `journal` before it touches anything else; the journal's
mark, inserted last, is the moment from which the commit is. Then the documents go to their places and the
journal is emptied. A process that dies before the mark has written nothing; after it, the next writer, or
the next start, or a reader that finds the lock run out, finishes the work. Putting a document in its place
twice changes nothing. A commit of one version needs no journal: its place is one document.

What this does not give is isolation: while the documents of one commit go to their places, another reader
may see some of them and not yet the others. So bundles that ask for a transaction are refused on such a
server (`atomic_commits`), and it is not what a region should run on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from pymongo import ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError

from fhir_server.search.nodes import Select
from fhir_server.store.contract import Put, RaceLost, Unless, Version
from fhir_server.store.mongo.commits import Plan, check, plan
from fhir_server.store.mongo.documents import DUPLICATE, VERSION, Document, key, one_of
from fhir_server.store.mongo.finder import Finder
from profiles.outcomes import Unavailable

LEASE = 10_000_000  # microseconds that a lock holds without a sign of life
PATIENCE = 30.0  # seconds that a commit waits for the lock
PIECE = 200  # documents between two signs of life
GLANCE = 1_000_000  # microseconds between a reader's looks at what others left half done
MARK = "mark"
HISTORY, CHANGED, MADE = "history", "resources", "made"  # where a journal's entry goes; made: a new resource


class Journal:
    """Writes one commit at a time. `now` tells the time, UTC microseconds."""

    atomic = False

    def __init__(self, database: AsyncDatabase[Document], now: Callable[[], int]) -> None:
        self._database, self._now = database, now
        self._turn = asyncio.Lock()
        self._owner = ""
        self._looked = 0

    async def commit(self, puts: Sequence[Put], unless: Sequence[Unless]) -> list[Version]:
        """All or nothing. Raises RaceLost, Unavailable."""
        if not puts:
            return []
        async with self.alone():
            for each in unless:
                finder = Finder(self._database.resources)
                if await finder.page(Select(each.type, each.where, count=1)):
                    raise RaceLost(each.type, "")
            places = list({key(put.type, put.id) for put in puts})
            found = self._database.resources.find({"_id": one_of(places)}, list(VERSION))
            olds = {each["_id"]: each async for each in found}
            check(puts, olds)
            last = await self._counted("seq", len(puts))
            planned = plan(puts, olds, last - len(puts) + 1)
            if len(puts) > 1:
                await self._journalled(planned)
                await self._finish()
            else:
                await self._place(_placed(planned))
            return list(planned.versions)

    async def number(self, name: str) -> int:
        """The counter, one further."""
        async with self.alone():
            return await self._counted(name, 1)

    async def settle(self) -> None:
        """Finish what a writer that died has left; at most one look a second."""
        if self._now() - self._looked < GLANCE:
            return
        self._looked = self._now()
        if await self._database.journal.find_one({"_id": MARK}) is None or not await self._run_out():
            return
        async with self.alone():
            pass  # whoever gets the lock finishes first what is marked

    async def _counted(self, name: str, step: int) -> int:
        counters = self._database.counters
        found = await counters.find_one({"_id": name})
        value = (int(found["value"]) if found else 0) + step
        await counters.replace_one({"_id": name}, {"value": value}, upsert=True)
        return value

    async def _journalled(self, planned: Plan) -> None:
        journal = self._database.journal
        entries = _placed(planned)
        for start in range(0, len(entries), PIECE):
            await self._sign_of_life()
            some = entries[start : start + PIECE]
            await journal.insert_many([{"_id": f"{start + n:08}", **each} for n, each in enumerate(some)])
        await self._sign_of_life()
        await journal.insert_one({"_id": MARK})

    async def _finish(self) -> None:
        """Put what is marked in its place; drop what is not."""
        journal = self._database.journal
        newest = await journal.find({}, ["_id"]).sort("_id", -1).limit(1).to_list()
        if not newest:
            return
        if newest[0]["_id"] != MARK:
            await journal.delete_many({})
            return
        last = ""
        while (
            entries := await journal.find({"_id": {"$gt": last, "$lt": MARK}})
            .sort("_id", 1)
            .limit(PIECE)
            .to_list()
        ):
            await self._sign_of_life()
            await self._place(entries)
            last = entries[-1]["_id"]
        await journal.delete_many({"_id": {"$lt": MARK}})
        await journal.delete_one({"_id": MARK})

    async def _place(self, entries: Sequence[Document]) -> None:
        """History first: a version is never missing from both. May be done again."""
        for place in (HISTORY, CHANGED):
            swaps = [
                ReplaceOne({"_id": each["document"]["_id"]}, each["document"], upsert=True)
                for each in entries
                if each["place"] == place
            ]
            if swaps:
                await self._database[place].bulk_write(swaps)
        made = [each["document"] for each in entries if each["place"] == MADE]
        if made:
            try:
                await self._database[CHANGED].insert_many(made, ordered=False)
            except BulkWriteError as error:
                _only_again(error)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Alone among all processes, with nothing left half done. Raises Unavailable."""
        async with self._turn:
            await self._acquire()
            try:
                await self._finish()
                yield
            finally:
                await self._database.locks.delete_one({"_id": "writer", "owner": self._owner})

    async def _acquire(self) -> None:
        self._owner = uuid4().hex
        until = asyncio.get_running_loop().time() + PATIENCE
        while True:
            lock = {"_id": "writer", "owner": self._owner, "until": self._now() + LEASE}
            try:
                await self._database.locks.insert_one(lock)
            except DuplicateKeyError:
                await self._run_out()
            else:
                return
            if asyncio.get_running_loop().time() > until:
                raise Unavailable("store-busy", "the store is busy with other writers; try again")
            await asyncio.sleep(random.uniform(0.001, 0.01))  # noqa: S311

    async def _run_out(self) -> bool:
        """Whether nobody holds the lock; one that has run out is removed, by one only."""
        locks = self._database.locks
        held = await locks.find_one({"_id": "writer"})
        if held is not None and held["until"] < self._now():
            await locks.delete_one({"_id": "writer", "owner": held["owner"]})
            return True
        return held is None

    async def _sign_of_life(self) -> None:
        """Hold the lock for longer. Raises Unavailable if it was taken away."""
        done = await self._database.locks.replace_one(
            {"_id": "writer", "owner": self._owner}, {"owner": self._owner, "until": self._now() + LEASE}
        )
        if done.matched_count == 0:
            raise Unavailable(
                "store-slow", "the store is slow; whether this write was kept shows on reading it"
            )


def _placed(planned: Plan) -> list[Document]:
    """The entries of the journal: each document and its place."""
    return [
        *({"place": HISTORY, "document": each} for each in planned.earlier),
        *({"place": CHANGED, "document": new} for _, new in planned.replaced),
        *({"place": MADE, "document": each} for each in planned.made),
    ]


def _only_again(error: BulkWriteError) -> None:
    """New documents that are there already have been placed before. Raises what else went wrong."""
    for each in (error.details or {}).get("writeErrors", ()):
        if each.get("code") != DUPLICATE:
            raise error
