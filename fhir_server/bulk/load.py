"""Bulk load: resources from files into the store, in batches, resumable, with exact counts.

Each resource keeps its id and replaces what is stored under it; one that is stored already with the same
content is counted as unchanged and not written again, so a load that was cut off is simply started once more.
The last place reached is recorded with each batch, which spares the reading of what is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from fhir_server.access import SYSTEM
from fhir_server.bulk.sources import Item, items
from fhir_server.interactions import prepare
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.store.contract import Put, Version
from profiles import codec
from profiles.outcomes import Invalid, TeledossierError

BATCH = 500
Key = tuple[str, str]


@dataclass(slots=True)
class Counts:
    """Resources read from the sources, by outcome. `refused` has (file, place, reason) of each."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.created + self.updated + self.unchanged + len(self.refused)


async def load(engine: Engine, path: Path, counts: Counts, progress: Callable[[int], None]) -> None:
    """Load one file. `progress` gets the number of resources done since its last call."""
    key = _mark(path)
    state = await engine.store.get_record("load", key) or {"done": 0}
    done = int(state["done"])
    source = islice(items(path), done, None)
    progress(done)
    while batch := list(islice(source, BATCH)):
        await _write(engine, path.name, batch, counts)
        done += len(batch)
        await engine.store.put_record("load", key, {"done": done})
        progress(len(batch))
    await engine.store.delete_record("load", key)


async def _write(engine: Engine, name: str, batch: list[Item], counts: Counts) -> None:
    """One batch in one commit. What comes a second time in a batch is in the next commit, so it wins."""
    rest = batch
    while rest:
        now: dict[Key, Item] = {}
        later: list[Item] = []
        for item in rest:
            key = _key(item)
            if key is None:
                counts.refused.append((name, item.place, _unnamed(item)))
            elif key in now:
                later.append(item)
            else:
                now[key] = item
        await _commit(engine, name, now, counts)
        rest = later


async def _commit(engine: Engine, name: str, batch: dict[Key, Item], counts: Counts) -> None:
    puts: list[Put] = []
    current = await engine.store.read_many(list(batch))
    for key, item in batch.items():
        assert item.resource is not None  # _key saw it
        old = current.get(key) or await engine.store.read(*key)
        if old is not None and old.body is not None and _same(old.body, item.resource):
            counts.unchanged += 1
            continue
        try:
            puts.append(await _put(engine, item.resource, key[1], old))
        except TeledossierError as error:
            counts.refused.append((name, item.place, str(error)))
    if puts:
        await engine.store.commit(puts)
    counts.created += sum(put.method == "create" for put in puts)
    counts.updated += sum(put.method == "update" for put in puts)


async def _put(engine: Engine, resource: Resource, id: str, old: Version | None) -> Put:
    """The way of every other write: validation, write rules, index entries."""
    return await prepare.draft(engine, SYSTEM, resource, id, old=old, at=prepare.moment(engine))


def _key(item: Item) -> Key | None:
    """(type, id) of a resource that has both, else None."""
    if item.resource is None or not isinstance(item.resource.get("id"), str):
        return None
    try:
        return prepare.type_of(item.resource), item.resource["id"]
    except Invalid:
        return None


def _unnamed(item: Item) -> str:
    return str(item.error) if item.error else "has no resourceType or no id; a bulk load keeps ids"


def _same(body: bytes, resource: Resource) -> bool:
    return codec.dump(_content(codec.parse(body))) == codec.dump(_content(resource))


def _content(resource: Resource) -> dict[str, Any]:
    """What a client gave, in one order: without the version and the time that the server sets."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    rest = {k: v for k, v in resource.items() if k != "meta"}
    return dict(sorted({**rest, **({"meta": meta} if meta else {})}.items()))


def _mark(path: Path) -> str:
    """What the progress of a file is recorded under: another content is another file."""
    stat = path.stat()
    return hashlib.sha256(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()
