"""Where pynetdicom's threads meet the event loop: the only questions they have to the FHIR store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from dicomweb.visibility import visible
from fhir_server.access import Access
from fhir_server.search.nodes import Ids, Node, Select
from fhir_server.store.contract import Store

SECONDS = 20.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bridge:
    """Calls block; they come from any thread but the loop's own."""

    loop: asyncio.AbstractEventLoop
    store: Store

    def visible(self, access: Access, uids: Iterable[str] | None = None) -> frozenset[str] | None:
        """The studies this reader may see, among `uids` when given; None = every study."""
        return self._wait(visible(self.store, access, uids))

    def resources(self, access: Access, type: str, where: Node, count: int) -> Sequence[dict[str, Any]]:
        """The newest resources of a type that this reader may see."""
        select = Select(type, access.restrict(type, where), count=count)
        rows = self._wait(self.store.search(select))
        return [orjson.loads(row.version.body or b"{}") for row in rows]

    def by_id(self, access: Access, type: str, id: str) -> dict[str, Any]:
        """One resource, {} when there is none that this reader may see."""
        found = self.resources(access, type, Ids((id,)), 1)
        return found[0] if found else {}

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)
