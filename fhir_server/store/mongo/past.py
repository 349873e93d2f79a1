"""The versions of a history: of one resource, of types, of everything; newest first.

Current versions are asked for before the earlier ones: a version that is replaced between the two questions
is in the second answer too, never in neither.
"""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.contract import Past, Version
from fhir_server.store.mongo.documents import Document, key, version


async def versions(database: AsyncDatabase[Document], past: Past) -> list[Version]:
    """At most `count` of them."""
    if past.count <= 0:
        return []
    found: dict[tuple[str, str, int], Version] = {}
    for name in ("resources", "history"):
        asked = database[name].find(_filter(past, name)).sort("seq", -1).limit(past.count)
        for each in await asked.to_list():
            found.setdefault((each["type"], each["id"], each["ver"]), version(each))
    return sorted(found.values(), key=lambda each: each.seq, reverse=True)[: past.count]


def _filter(past: Past, collection: str) -> dict[str, Any]:
    filter: dict[str, Any] = {}
    if past.id:
        assert past.types is not None
        filter["_id" if collection == "resources" else "key"] = key(past.types[0], past.id)
    elif past.types is not None:
        filter["type"] = {"$in": list(past.types)}
    if past.before is not None:
        filter["seq"] = {"$lt": past.before}
    if past.since is not None:
        filter["at"] = {"$gte": past.since}
    if past.during is not None:
        start, end = past.during
        filter["at"] = {**filter.get("at", {}), "$lt": end}
        if collection == "history":
            filter["until"] = {"$gt": start}
    return filter
