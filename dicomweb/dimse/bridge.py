"""Where pynetdicom's threads meet the event loop: the only questions they have to the FHIR store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import orjson

from dicomweb.visibility import visible
from fhir_server.access import Access
from fhir_server.search.nodes import Ids, Node, Reference, Select
from fhir_server.store.contract import Row, Store

SECONDS = 20.0
DEEPEST, MOST = 5, 1000  # steps from a site down to its communities, organisations looked at in each
T = TypeVar("T")


async def parts_of(store: Store, audience: frozenset[str]) -> frozenset[str]:
    """The same with the organisations that are part of those in it. FHIR R4 Organization.partOf"""
    found, newest = set(audience), {one for one in audience if one.startswith("Organization/")}
    for _step in range(DEEPEST):
        if not newest:
            break
        rows = await store.search(
            Select("Organization", Reference("partof", tuple(sorted(newest))), count=MOST)
        )
        newest = {f"Organization/{row.version.id}" for row in rows} - found
        found |= newest
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Calls block; they come from any thread but the loop's own."""

    loop: asyncio.AbstractEventLoop
    store: Store
    _known: dict[frozenset[str], tuple[int, frozenset[str]]] = field(default_factory=dict)

    def visible(self, access: Access, uids: Iterable[str] | None = None) -> frozenset[str] | None:
        """The studies this reader may see, among `uids` when given; None = every study."""

        async def seen() -> frozenset[str] | None:
            return await visible(self.store, await self._whole(access), uids)

        return self._wait(seen())

    def resources(self, access: Access, type: str, where: Node, count: int) -> Sequence[dict[str, Any]]:
        """The newest resources of a type that this reader may see."""

        async def rows() -> Sequence[Row]:
            whole = await self._whole(access)
            return await self.store.search(Select(type, whole.restrict(type, where), count=count))

        return [orjson.loads(row.version.body or b"{}") for row in self._wait(rows())]

    def by_id(self, access: Access, type: str, id: str) -> dict[str, Any]:
        """One resource, {} when there is none that this reader may see."""
        found = self.resources(access, type, Ids((id,)), 1)
        return found[0] if found else {}

    async def _whole(self, access: Access) -> Access:
        """A site's system sees what the site's communities see: télédossiers name those, not the site."""
        if not access.audience:
            return access
        seq, (at, found) = await self.store.latest(), self._known.get(access.audience, (-1, frozenset[str]()))
        if at != seq:
            found = await parts_of(self.store, access.audience)
            self._known[access.audience] = seq, found
        return replace(access, audience=found)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)
