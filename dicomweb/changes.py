"""What was written to the FHIR store since a look at it."""

from __future__ import annotations

from typing import Any

import orjson

from fhir_server.search.nodes import Everything, Select
from fhir_server.store.contract import Store

PAGE, MOST = 100, 5000


async def changed(store: Store, type: str, mark: int) -> list[dict[str, Any]]:
    """The current resources of that type written after the sequence number `mark`, newest first; at most
    `MOST` and a page."""
    found: list[dict[str, Any]] = []
    after: tuple[object, ...] | None = None
    while len(found) < MOST:
        rows = await store.search(Select(type, Everything(), count=PAGE, after=after))
        found += [orjson.loads(row.version.body or b"{}") for row in rows if row.version.seq > mark]
        if len(rows) < PAGE or rows[-1].version.seq <= mark:
            break
        after = rows[-1].position
    return found
