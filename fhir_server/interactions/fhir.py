"""The interactions for code in the same process: dicts in, dicts out, one reader's Access throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine


@dataclass(frozen=True, slots=True)
class Fhir:
    """`Fhir(engine, access)`. Raises what the interactions raise: NotFound for what this reader may not see."""

    engine: Engine
    access: Access

    async def read(self, type: str, id: str) -> dict[str, Any]:
        """The current version."""
        raise NotImplementedError

    async def search(
        self, type: str, params: Sequence[tuple[str, str]] = (), *, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """The matches of all pages in order, at most `limit`; no included resources."""
        raise NotImplementedError

    async def bundle(self, type: str, params: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """One page as its searchset Bundle, included resources with it."""
        raise NotImplementedError

    async def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """As stored: with its id and meta."""
        raise NotImplementedError

    async def update(self, resource: dict[str, Any], *, if_match: int | None = None) -> dict[str, Any]:
        """As stored."""
        raise NotImplementedError

    async def delete(self, type: str, id: str, *, if_match: int | None = None) -> None:
        raise NotImplementedError

    async def transaction(self, bundle: dict[str, Any]) -> dict[str, Any]:
        """All or nothing; the response Bundle, entries in the order they were given."""
        raise NotImplementedError
