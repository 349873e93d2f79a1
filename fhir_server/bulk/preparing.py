"""From a piece of a file to what the store can commit: parsing, links, validation, rules, index entries.

Pure but for what rules and conditional references ask of the store, so it runs in other processes as well.
FHIR R4 http.html#trules
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fhir_server.access import SYSTEM
from fhir_server.bulk.sources import Chunk, Item, items
from fhir_server.conformance.held import Snapshot
from fhir_server.interactions import prepare
from fhir_server.interactions.condition import the_one
from fhir_server.interactions.engine import Engine, Resource
from fhir_server.interactions.entries import parse_query
from fhir_server.interactions.links import conditional, relinked
from fhir_server.store.contract import Put, Version
from profiles import codec
from profiles.outcomes import Invalid, TeledossierError


@dataclass(frozen=True, slots=True)
class Ready:
    """A resource as a Put that creates it. `resource`: as it came, where the Put says less than that (a
    rule added to it, its bytes went to a file)."""

    place: int
    put: Put
    resource: Resource | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    place: int
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A conditional reference leads nowhere yet; what it asks for may be committed before this one's turn."""

    place: int
    resource: Resource


Prepared = Ready | Refused | Waiting


@dataclass(slots=True)
class Preparer:
    """Prepares for one load; remembers where conditional references led."""

    engine: Engine
    known: dict[str, str] = field(default_factory=dict)
    _held: Snapshot | None = None
    _at: int = 0

    async def chunk(self, chunk: Chunk) -> list[Prepared]:
        """Everything of one piece, in order, at one moment and by the definitions of that moment."""
        self._held, self._at = await self.engine.held.current(), prepare.moment(self.engine)
        return [await self._item(item, chunk.only) for item in items(chunk)]

    async def _item(self, item: Item, only: str) -> Prepared:
        if item.resource is None or item.error is not None:
            return Refused(item.place, str(item.error))
        if only and item.resource.get("resourceType") != only:
            return Refused(item.place, f"is no {only}, as was said of all")
        return await self.resource(item.place, item.resource, asks=item.asks)

    async def resource(self, place: int, resource: Resource, *, asks: bool = True) -> Prepared:
        """Waiting only for a conditional reference that nothing answers; `asks` says whether there can be
        one."""
        try:
            links = {link: type for link, type, _ in conditional(resource)} if asks else {}
            if links:
                if not all([await self._found(link, type) for link, type in links.items()]):
                    return Waiting(place, resource)
                resource, _ = relinked(resource, self.known.get)
            return Ready(place, await self.put(resource, None), self._original(resource))
        except TeledossierError as error:
            return Refused(place, str(error))

    async def put(self, resource: Resource, old: Version | None) -> Put:
        """The way of every other write: validation, write rules, index entries. Raises TeledossierError."""
        id = resource.get("id")
        if not isinstance(id, str):
            raise Invalid("no-id", "has no id; a bulk load keeps ids")
        at = self._at or prepare.moment(self.engine)
        return await prepare.draft(self.engine, SYSTEM, resource, id, old=old, at=at, held=self._held)

    def _original(self, resource: Resource) -> Resource | None:
        type = prepare.type_of(resource)
        return resource if type in self.engine.write_rules or type == "Binary" else None

    async def _found(self, link: str, type: str) -> bool:
        if link not in self.known:
            found = await the_one(self.engine, SYSTEM, type, parse_query(link.partition("?")[2]))
            if found.version is None:
                return False
            self.known[link] = f"{type}/{found.version.id}"
        return True


def content(resource: Resource) -> bytes:
    """What a client gave, in one order: without the version and the time that the server sets."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    rest = {k: v for k, v in resource.items() if k != "meta"}
    return codec.dump(dict(sorted({**rest, **({"meta": meta} if meta else {})}.items())))
