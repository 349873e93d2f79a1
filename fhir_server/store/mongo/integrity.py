"""What is wrong in the database itself, one line each: missing indexes, missing versions, leftovers."""

from __future__ import annotations

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.mongo.documents import Document
from fhir_server.store.mongo.schema import missing_indexes

BATCH = 500


async def findings(database: AsyncDatabase[Document]) -> list[str]:
    """Reads every current document's head and counts its earlier versions, in bounded memory."""
    found = await missing_indexes(database)
    if await database.journal.find_one({"_id": "mark"}) is not None:
        found.append("a commit is being finished, or waits for the next writer to finish it")
    last = ""
    while (
        batch := await database.resources.find({"_id": {"$gt": last}}, ["ver", "live", "x", "body"])
        .sort("_id", 1)
        .limit(BATCH)
        .to_list()
    ):
        last = batch[-1]["_id"]
        found += [f"{each['_id']}: {line}" for each in batch for line in _of_one(each)]
        found += await _lost(database, {each["_id"]: each["ver"] for each in batch})
    return found


def _of_one(document: Document) -> list[str]:
    if document["live"] is not (document["body"] is not None):
        return ["is current without a body, or deleted with one"]
    if not document["live"] and document.get("x"):
        return ["is deleted and still found by searches"]
    return []


async def _lost(database: AsyncDatabase[Document], numbers: dict[str, int]) -> list[str]:
    """Earlier versions that are not there."""
    there: dict[str, set[int]] = {}
    asked = database.history.find({"key": {"$in": list(numbers)}}, ["key", "ver"])
    async for each in asked:
        there.setdefault(each["key"], set()).add(each["ver"])
    return [
        f"{key}: {missing} of its earlier versions are missing"
        for key, number in numbers.items()
        if (missing := len(set(range(1, number)) - there.get(key, set())))
    ]
