"""Bulk load: resources from files into the store, in batches, resumable, with exact counts.

Each resource keeps its id and replaces what is stored under it; one that is stored already with the same
content is counted as unchanged and not written again, so a load that was cut off is simply started once more.
The last line reached is recorded with the counts after each batch, which spares the reading of what is done.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fhir_server.bulk.preparing import Prepared, Preparer, Ready, Refused, Waiting, content
from fhir_server.bulk.sources import Chunk, chunks
from fhir_server.interactions import commit
from fhir_server.interactions.engine import Engine
from fhir_server.store.contract import Put, RaceLost, Version
from profiles import codec
from profiles.outcomes import Conflict, TeledossierError

ATTEMPTS = 5
REASONS = 100
NUMBERS = ("created", "updated", "unchanged", "refused")
Key = tuple[str, str]
Prepare = Callable[[Iterable[Chunk]], AsyncIterator[tuple[Chunk, list[Prepared]]]]


@dataclass(slots=True)
class Counts:
    """Resources read from the sources, by outcome. `reasons`: (file, place, why) of the first `most` that
    were refused."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    reasons: list[tuple[str, int, str]] = field(default_factory=list)
    most: int = REASONS

    @property
    def total(self) -> int:
        return self.created + self.updated + self.unchanged + self.refused

    def numbers(self) -> dict[str, int]:
        """By name."""
        return {name: getattr(self, name) for name in NUMBERS}

    def refuse(self, name: str, place: int, reason: str) -> None:
        """One more; the first reasons are kept, so that memory stays flat."""
        self.refused += 1
        if len(self.reasons) < self.most:
            self.reasons.append((name, place, reason))


async def load(
    engine: Engine,
    path: Path,
    prepare: Prepare,
    counts: Counts,
    progress: Callable[[int], None],
    *,
    step: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Load one file, its pieces made ready by `prepare`. `progress` gets the number of resources done since
    its last call; `step` is awaited after each piece, and what it raises stops the load there."""
    key = _mark(path)
    loading = _Loading(engine, Preparer(engine), path.name, counts)
    done = await loading.resumed(key)
    progress(counts.total)
    async for chunk, prepared in prepare(chunks(path, done)):
        before = counts.total
        await loading.write(prepared)
        if not chunk.document:
            await loading.record(key, chunk.last)
        progress(counts.total - before)
        if step is not None:
            await step()
    await engine.store.delete_record("load", key)


@dataclass(slots=True)
class _Loading:
    """One file on its way."""

    engine: Engine
    preparer: Preparer
    name: str
    counts: Counts
    before: dict[str, int] = field(default_factory=dict)

    async def resumed(self, key: str) -> int:
        """The last line an earlier run reached; what it counted counts here."""
        state = await self.engine.store.get_record("load", key) or {}
        self.before = self.counts.numbers()
        for name in NUMBERS:
            setattr(self.counts, name, self.before[name] + int(state.get(name, 0)))
        return int(state.get("done", 0))

    async def record(self, key: str, done: int) -> None:
        """What this file came to until now."""
        state = {name: number - self.before[name] for name, number in self.counts.numbers().items()}
        await self.engine.store.put_record("load", key, {"done": done, **state})

    async def write(self, prepared: list[Prepared]) -> None:
        """One piece, in one commit; what comes a second time in it is in the next commit, so it wins. What
        waits has its turn after the others."""
        waiting = [item for item in prepared if isinstance(item, Waiting)]
        rest: list[Ready] = []
        for item in prepared:
            if isinstance(item, Ready):
                rest.append(item)
            elif isinstance(item, Refused):
                self.counts.refuse(self.name, item.place, item.reason)
        while rest:
            now: dict[Key, Ready] = {}
            later: list[Ready] = []
            for ready in rest:
                if now.setdefault((ready.put.type, ready.put.id), ready) is not ready:
                    later.append(ready)
            await self._commit(now)
            rest = later
        if waiting:
            await self._write_waiting(waiting)

    async def _write_waiting(self, waiting: list[Waiting]) -> None:
        again = [await self.preparer.resource(item.place, item.resource) for item in waiting]
        for item in again:
            if isinstance(item, Waiting):
                self.counts.refuse(self.name, item.place, "a conditional reference of it matches nothing")
        await self.write([item for item in again if not isinstance(item, Waiting)])

    async def _commit(self, batch: dict[Key, Ready]) -> None:
        """As if nothing of it was there; when something is, compared one by one."""
        try:
            made = [each.put for each in batch.values()]
            self.counts.created += len(await self.engine.store.commit(made))
            await commit.noted(self.engine, made)
            return
        except RaceLost:
            pass
        for _ in range(ATTEMPTS):
            puts, refused = await self._compared(batch)
            try:
                await self.engine.store.commit(puts)
            except RaceLost:
                continue
            await commit.noted(self.engine, puts)
            for place, reason in refused:
                self.counts.refuse(self.name, place, reason)
            self.counts.unchanged += len(batch) - len(puts) - len(refused)
            self.counts.created += sum(put.method == "create" for put in puts)
            self.counts.updated += sum(put.method == "update" for put in puts)
            return
        raise Conflict("lost-race", f"what {self.name} holds is being changed by others; start again")

    async def _compared(self, batch: dict[Key, Ready]) -> tuple[list[Put], list[tuple[int, str]]]:
        """The Puts that replace what is there with something else, and what is refused: (place, reason)."""
        puts: list[Put] = []
        refused: list[tuple[int, str]] = []
        current = await self.engine.store.read_many(list(batch))
        for key, ready in batch.items():
            old = current.get(key) or await self.engine.store.read(*key)
            if old is None:
                puts.append(ready.put)
            elif not _same(old, ready.put):
                try:
                    puts.append(await self._replacing(ready, old))
                except TeledossierError as error:
                    refused.append((ready.place, str(error)))
        return puts, refused

    async def _replacing(self, ready: Ready, old: Version) -> Put:
        assert ready.put.body is not None
        return await self.preparer.put(ready.resource or codec.parse(ready.put.body), old)


def _same(old: Version, put: Put) -> bool:
    if old.body is None or put.body is None:
        return False
    return content(codec.parse(old.body)) == content(codec.parse(put.body))


def _mark(path: Path) -> str:
    """What the progress of a file is recorded under: another content is another file."""
    stat = path.stat()
    named = os.fsencode(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}")
    return hashlib.sha256(named).hexdigest()
