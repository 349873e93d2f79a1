"""What is stored is indexed anew: by a search parameter of one's own, or by all there are.

It walks each type in the order of writing, a batch at a time, so that what is written meanwhile comes last
and is met too. How far it is stands in a record; stopped anywhere, by whoever, it goes on from there. When
the end is reached it waits a moment for writes that began before the parameter was known, and looks at those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhir_server.access import SYSTEM
from fhir_server.conformance.held import REINDEX, Snapshot
from fhir_server.conformance.search_parameters import Own
from fhir_server.search.index import VERSION, extract
from fhir_server.search.nodes import Everything, Select, Sort
from fhir_server.store.contract import Indexed, Store, Version
from profiles import codec, definitions
from profiles.outcomes import SchemaMismatch, TooManyRequests

if TYPE_CHECKING:
    from fhir_server.interactions.engine import Engine
    from fhir_server.jobs.record import Job
    from fhir_server.jobs.runner import Report

BATCH = 200
GRACE = 2.0
"""Seconds that a write may take from reading what parameters there are to its commit."""
EVERYTHING = "*"
"""In place of a URL: by all parameters."""
_ORDER = (Sort("_lastUpdated", "date"),)
Json = dict[str, Any]
Tell = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Target:
    """`key` names its record, `print` what it is indexed by; `names` are the entries that may differ."""

    key: str
    print: str
    types: tuple[str, ...]
    names: frozenset[str] | None

    @property
    def name(self) -> str:
        """For people; plain letters, as a header takes them."""
        return "everything" if self.names is None else ", ".join(sorted(self.names))

    @classmethod
    def of(cls, own: Own) -> Target:
        return cls(own.url, own.print, own.types, frozenset({own.parameter.code}))

    @classmethod
    def everything(cls) -> Target:
        return cls(EVERYTHING, f"index {VERSION}", tuple(sorted(definitions.resource_types())), None)


def pending(snapshot: Snapshot) -> list[Own]:
    """Those that not all that is stored is indexed by."""
    own = snapshot.search_parameters
    return [each for each in own.all if each.print not in own.ready]


async def submit(engine: Engine) -> None:
    """Have a serving process do what is pending, unless it is asked for already."""
    if pending(await engine.held.current()):
        try:
            await engine.jobs.submit("reindex", SYSTEM, {}, most=2)
        except TooManyRequests:
            return


async def work(engine: Engine, _job: Job, report: Report) -> Mapping[str, Any]:
    """As a job of a serving process."""
    return {"parameters": await catch_up(engine, report)}


async def catch_up(engine: Engine, tell: Tell) -> int:
    """Everything that is pending, and what becomes so meanwhile; how many parameters were done."""
    await _forget(engine)
    done = 0
    while waiting := pending(await engine.held.current()):
        await run(engine, Target.of(waiting[0]), tell)
        done += 1
    return done


async def run(engine: Engine, target: Target, tell: Tell) -> None:
    """Goes on where it stopped. Ends early when the parameter is changed or taken away."""
    state = await engine.store.get_record(REINDEX, target.key) or {}
    if state.get("print") != target.print or state.get("state") == "ready":
        state = {"print": target.print, "state": "running", "done": 0, "places": {}}
        await engine.store.put_record(REINDEX, target.key, state)
    for last in (False, True):
        if last:
            await asyncio.sleep(GRACE)
        for type in target.types:
            if not await _type(engine, target, state, type, tell):
                return
    await engine.store.put_record(REINDEX, target.key, {**state, "state": "ready", "places": {}})
    if target.key == EVERYTHING:
        await engine.store.put_record("index", "version", {"version": VERSION})
    await engine.held.mark()


async def _type(engine: Engine, target: Target, state: Json, type: str, tell: Tell) -> bool:
    """From where it stands to the end of the type; False when the target is no longer what it was."""
    while True:
        place = state["places"].get(type)
        after = tuple(place) if place is not None else None
        rows = await engine.store.search(Select(type, Everything(), _ORDER, BATCH, after))
        if not rows:
            return True
        snapshot = await engine.held.current()
        own = snapshot.search_parameters
        if target.key != EVERYTHING and all(each.print != target.print for each in own.all):
            return False
        versions = [row.version for row in rows]
        await engine.store.reindex(await asyncio.to_thread(_items, engine, target, snapshot, versions))
        state["places"][type] = list(rows[-1].position)
        state["done"] += len(rows)
        await engine.store.put_record(REINDEX, target.key, state)
        await tell(f"{target.name}: {state['done']} resources, now {type}")


def _items(engine: Engine, target: Target, snapshot: Snapshot, versions: Sequence[Version]) -> list[Indexed]:
    base, zone = engine.settings.fhir_base, engine.settings.zone
    found = []
    for version in versions:
        assert version.body is not None
        entries = extract(codec.parse(version.body), base, zone, snapshot.search_parameters.on(version.type))
        found.append(Indexed(version.type, version.id, version.version, entries, target.names))
    return found


async def again(engine: Engine, own: Sequence[Own]) -> None:
    """They count as not indexed, until they are once more."""
    for each in own:
        await engine.store.delete_record(REINDEX, each.url)
    await engine.held.mark()


async def _forget(engine: Engine) -> None:
    """The records of parameters that are no more: one that comes back begins anew."""
    snapshot = await engine.held.current()
    there = {own.url for own in snapshot.search_parameters.all} | {EVERYTHING}
    gone = [url for url in snapshot.states if url not in there]
    for url in gone:
        await engine.store.delete_record(REINDEX, url)
    if gone:
        await engine.held.mark()


async def check_version(store: Store) -> None:
    """The index of an empty store is made by this program; one made by another is refused. Raises
    SchemaMismatch."""
    found = await store.get_record("index", "version")
    if found is None:
        await store.put_record("index", "version", {"version": VERSION}, only_if_absent=True)
    elif found["version"] != VERSION:
        raise SchemaMismatch(
            f"the search index of this store has version {found['version']}, this program makes "
            f"version {VERSION}: run 'teledossier reindex --all'"
        )
