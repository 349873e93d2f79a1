"""The interactions for code in the same process: dicts in, dicts out, one reader's Access throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fhir_server.access import Access
from fhir_server.bundle import process
from fhir_server.interactions import create, delete, read, search, update
from fhir_server.interactions.engine import Engine
from fhir_server.store.contract import Version
from profiles import codec

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Fhir:
    """`Fhir(engine, access)`. Raises what the interactions raise: NotFound for what may not be seen."""

    engine: Engine
    access: Access

    async def read(self, type: str, id: str) -> dict[str, Any]:
        """The current version."""
        return _resource(await read.read(self.engine, self.access, type, id))

    async def search(
        self, type: str, params: Sequence[tuple[str, str]] = (), *, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """The matches of all pages in order, at most `limit`; no included resources."""
        found: list[dict[str, Any]] = []
        asked = list(params)
        if not any(name == "_count" for name, _ in asked):
            asked.append(("_count", str(min(limit, _PAGE))))
        while True:
            bundle = await self.bundle(type, asked)
            found += [e["resource"] for e in bundle.get("entry", ()) if e["search"]["mode"] == "match"]
            next = [link["url"] for link in bundle.get("link", ()) if link["relation"] == "next"]
            if not next or len(found) >= limit:
                return found[:limit]
            asked = parse_qsl(urlsplit(next[0]).query, keep_blank_values=True)

    async def bundle(self, type: str, params: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """One page as its searchset Bundle, included resources with it."""
        return await search.search(self.engine, self.access, type, params)

    async def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """As stored: with its id and meta."""
        return _resource(await create.create(self.engine, self.access, resource))

    async def update(self, resource: dict[str, Any], *, if_match: int | None = None) -> dict[str, Any]:
        """As stored."""
        return _resource(await update.update(self.engine, self.access, resource, if_match=if_match))

    async def delete(self, type: str, id: str, *, if_match: int | None = None) -> None:
        """Nothing happens where nothing is."""
        await delete.delete(self.engine, self.access, type, id, if_match=if_match)

    async def transaction(self, bundle: dict[str, Any]) -> dict[str, Any]:
        """All or nothing; the response Bundle, entries in the order they were given."""
        return await process(self.engine, self.access, bundle)


def _resource(version: Version) -> dict[str, Any]:
    assert version.body is not None
    return codec.parse(version.body)
