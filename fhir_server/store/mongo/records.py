"""Plain records, as `records` documents `kind/key`. An expired record counts as absent from the moment it
expires; a sweep removes it later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from fhir_server.store.mongo.documents import Document


def document(kind: str, key: str, value: Mapping[str, Any], expires: int | None) -> Document:
    """`expires` is UTC microseconds."""
    made = {"_id": f"{kind}/{key}", "kind": kind, "key": key, "value": orjson.dumps(dict(value))}
    return made if expires is None else {**made, "expires": expires}


async def put(records: AsyncCollection[Document], made: Document) -> None:
    """In place of what is there, if anything."""
    while True:
        try:
            await records.replace_one({"_id": made["_id"]}, made, upsert=True)
        except DuplicateKeyError:  # two put it at once; now it is there
            continue
        return


async def put_if_absent(records: AsyncCollection[Document], made: Document, now: int) -> bool:
    """True if there was none, or an expired one."""
    await records.delete_one({"_id": made["_id"], "expires": {"$lte": now}})
    try:
        await records.insert_one(made)
    except DuplicateKeyError:
        return False
    return True


async def get(records: AsyncCollection[Document], kind: str, key: str, now: int) -> dict[str, Any] | None:
    return _live(await records.find_one({"_id": f"{kind}/{key}"}), now)


async def take(records: AsyncCollection[Document], kind: str, key: str, now: int) -> dict[str, Any] | None:
    """Read and removed in one atomic act."""
    return _live(await records.find_one_and_delete({"_id": f"{kind}/{key}"}), now)


async def listed(records: AsyncCollection[Document], kind: str, now: int) -> list[tuple[str, dict[str, Any]]]:
    """In the order of the keys."""
    found = await records.find({"kind": kind}).sort("key", 1).to_list()
    each = ((record["key"], _live(record, now)) for record in found)
    return [(key, value) for key, value in each if value is not None]


async def sweep(records: AsyncCollection[Document], now: int) -> None:
    await records.delete_many({"expires": {"$lte": now}})


def _live(found: Mapping[str, Any] | None, now: int) -> dict[str, Any] | None:
    if found is None or found.get("expires", now + 1) <= now:
        return None
    return dict(orjson.loads(found["value"]))
