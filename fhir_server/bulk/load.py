"""Bulk load: resources from files into the store, in batches, resumable, with exact counts.

Each resource keeps its id and replaces what is stored under it; one that is stored already with the same content is
counted as unchanged and not written again, so a load that was cut off is simply started once more. The last place
reached is recorded with each batch, which spares the reading of what is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from fhir_server.bulk.sources import Item, items
from fhir_server.interactions.engine import Engine
from fhir_server.search.index import extract
from fhir_server.store.contract import Put, Version
from profiles import codec
from profiles.dates import instant_text
from profiles.validation import validate

BATCH = 500


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
    key = _key(path)
    state = await engine.store.get_record("load", key) or {"done": 0}
    source = islice(items(path), state["done"], None)
    done = int(state["done"])
    progress(done)
    while batch := list(islice(source, BATCH)):
        await _write(engine, path.name, batch, counts)
        done += len(batch)
        await engine.store.put_record("load", key, {"done": done})
        progress(len(batch))
    await engine.store.delete_record("load", key)


async def _write(engine: Engine, name: str, batch: list[Item], counts: Counts) -> None:
    """One batch in one commit. A resource twice in a batch: the later one wins, in a commit of its own."""
    fitting = list(_fitting(name, batch, counts))
    while fitting:
        unique: dict[tuple[str, str], dict[str, Any]] = {}
        rest: list[dict[str, Any]] = []
        for resource in fitting:
            key = (resource["resourceType"], resource["id"])
            if key in unique:
                rest.append(resource)
            else:
                unique[key] = resource
        await _commit(engine, unique, counts)
        fitting = rest


async def _commit(engine: Engine, unique: dict[tuple[str, str], dict[str, Any]], counts: Counts) -> None:
    current = await engine.store.read_many(list(unique))
    gone = {key: await engine.store.read(*key) for key in unique if key not in current}
    puts: list[Put] = []
    for key, resource in unique.items():
        known = current.get(key) or gone.get(key)
        if known is not None and known.body is not None and _same(known.body, resource):
            counts.unchanged += 1
            continue
        puts.append(_put(engine, resource, known))
        if known is not None and known.body is not None:
            counts.updated += 1
        else:
            counts.created += 1
    if puts:
        await engine.store.commit(puts)


def _put(engine: Engine, resource: dict[str, Any], known: Version | None) -> Put:
    expect = known.version if known else 0
    at = engine.now()
    meta = {**resource.get("meta", {}), "versionId": str(expect + 1), "lastUpdated": instant_text(at)}
    stored = {"resourceType": resource["resourceType"], "id": resource["id"], "meta": meta, **_without(resource)}
    entries = extract(stored, engine.settings.fhir_base, engine.settings.zone)
    method = "update" if known and known.body is not None else "create"
    return Put(resource["resourceType"], resource["id"], expect, at, method, codec.dump(stored), entries)  # type: ignore[arg-type]


def _fitting(name: str, batch: list[Item], counts: Counts) -> Iterator[dict[str, Any]]:
    for item in batch:
        reason = _refusal(item)
        if reason:
            counts.refused.append((name, item.place, reason))
        elif item.resource is not None:
            yield item.resource


def _refusal(item: Item) -> str:
    if item.resource is None:
        return str(item.error)
    if not isinstance(item.resource.get("id"), str):
        return "has no id; a bulk load keeps ids"
    errors = [issue for issue in validate(item.resource) if issue.severity in ("error", "fatal")]
    return f"{errors[0].expression}: {errors[0].diagnostics}" if errors else ""


def _same(body: bytes, resource: dict[str, Any]) -> bool:
    return codec.dump(_content(codec.parse(body))) == codec.dump(_content(resource))


def _content(resource: dict[str, Any]) -> dict[str, Any]:
    """What a client gave: without the version and the time that the server sets."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    return dict(sorted({**_without(resource), **({"meta": meta} if meta else {})}.items()))


def _without(resource: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in resource.items() if k not in ("resourceType", "id", "meta")}


def _key(path: Path) -> str:
    stat = path.stat()
    return hashlib.sha256(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()
