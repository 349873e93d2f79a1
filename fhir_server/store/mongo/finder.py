"""Searches: what a filter cannot say is found out first, then the server answers the rest.

Each unknown of a tree (see `filters`) is either settled for the whole type, as a set of ids or targets of
bounded size, or left open. With open ones the server gives the resources that may match, in order, and every
batch of those is judged: which of the batch match each open node, and which then match the tree. Both ways
are exact, hold a bounded number of ids in memory, and apply what stands behind a hop (the reader's access
above all) before anything is counted or cut.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from fhir_server.search.evaluate import Memory, matches
from fhir_server.search.nodes import And, Chain, Differs, Has, Ids, Node, Reference, Select, String
from fhir_server.store.contract import Row
from fhir_server.store.mongo.documents import (
    ENTRIES,
    VERSION,
    Document,
    key,
    targets,
    version,
    view,
    word,
)
from fhir_server.store.mongo.filters import Filter, compiled, ids, leaf, live, unknowns
from fhir_server.store.mongo.order import Order, order_of

MOST = 10_000  # ids or targets that one unknown may be settled as
ROOM = 50_000  # ids and targets in all the sets of one search: a query is a document, of 16 MB at most
FEW = 1_000  # so few candidates are judged rather than any unknown settled
BATCH = 500  # candidates judged at once


@dataclass(slots=True)
class _Settled:
    """A tree of a type, with what is known of its unknowns, and which are left open."""

    type: str
    node: Node
    known: dict[Node, Filter] = field(default_factory=dict)
    open: list[Node] = field(default_factory=list)

    @property
    def filter(self) -> Filter:
        """Exact without open nodes, else what may match."""
        return compiled(self.type, self.node, self.known)


class Finder:
    """One search, with its memory of what is settled; within a transaction if there is a session."""

    def __init__(
        self, resources: AsyncCollection[Document], session: AsyncClientSession | None = None
    ) -> None:
        self._resources, self._session = resources, session
        self._cache: dict[tuple[str, Node], Filter | None] = {}
        self._room = ROOM

    async def page(self, select: Select) -> list[Row]:
        """At most `count` rows in the select's order."""
        order = order_of(select)
        searched = [await self._settle(type, where) for type, where in select.searched]
        if not any(each.open for each in searched):
            found = await self._candidates(searched, order, select.after, select.count)
        else:
            found = await self._judged(searched, order, select)
        rows = [Row(version(each), order.position(each)) for each in found]
        return rows[::-1] if select.backwards else rows

    async def count(self, type: str, where: Node) -> int:
        """Exact number of distinct resources."""
        settled = await self._settle(type, where)
        if not settled.open:
            return await self._count(live(type, settled.filter))
        return sum([len(batch) async for batch in self._batches(settled, ("_id",))])

    async def _count(self, filter: Filter, limit: int = 0) -> int:
        most = {"limit": limit} if limit else {}
        return await self._resources.count_documents(filter, session=self._session, **most)

    async def _candidates(
        self, searched: Sequence[_Settled], order: Order, after: tuple[object, ...] | None, wanted: int
    ) -> list[Document]:
        """In order, what matches or, with open nodes, may match."""
        beyond = order.beyond(after)
        also = [beyond] if beyond else []
        filters = [live(each.type, each.filter, *also) for each in searched]
        names = dict.fromkeys((*VERSION, *(path for path, _ in order.fields)), 1)
        found = self._resources.find(
            filters[0] if len(filters) == 1 else {"$or": filters}, names, session=self._session
        )
        return await found.sort(order.fields).limit(wanted).to_list()

    async def _judged(self, searched: Sequence[_Settled], order: Order, select: Select) -> list[Document]:
        """Candidates in order, a batch at a time, until enough of them match."""
        found: list[Document] = []
        after = select.after
        size = min(BATCH, max(50, 2 * select.count))
        while len(found) < select.count:
            candidates = await self._candidates(searched, order, after, size)
            matching: set[str] = set()
            for each in searched:
                keys = [document["_id"] for document in candidates if document["type"] == each.type]
                matching |= await self._matching(each, keys)
            found += [document for document in candidates if document["_id"] in matching]
            if len(candidates) < size:
                break
            after, size = order.position(candidates[-1]), BATCH
        return found[: select.count]

    async def _settle(self, type: str, node: Node) -> _Settled:
        settled = _Settled(type, node)
        hops: list[Node] = []
        for each in dict.fromkeys(unknowns(node)):
            if isinstance(each, Chain | Has):
                hops.append(each)
            else:
                await self._learn(settled, each)
        if hops and await self._count(live(type, settled.filter), FEW + 1) <= FEW:
            settled.open += hops
        else:
            for each in hops:
                await self._learn(settled, each)
        return settled

    async def _learn(self, settled: _Settled, node: Node) -> None:
        """Which resources match the unknown, if they are not too many."""
        place = (settled.type, node)
        if place not in self._cache:
            self._cache[place] = await self._found_out(settled.type, node)
        found = self._cache[place]
        if found is None:
            settled.open.append(node)
        else:
            settled.known[node] = found

    async def _found_out(self, type: str, node: Node) -> Filter | None:
        found: set[str] = set()
        async for each in self._answers(type, node):
            found.add(each)
            if len(found) > min(MOST, self._room):
                return None
        self._room -= len(found)
        if isinstance(node, Chain):
            return {"x": {"$in": [word("r", node.param, key(node.type, id)) for id in sorted(found)]}}
        return ids(type, sorted(found))

    async def _answers(self, type: str, node: Node) -> AsyncIterator[str]:
        """Ids at the far end of a Chain; else of the resources of `type` themselves, some perhaps twice."""
        match node:
            case Chain(_, far, where):
                async for batch in self._batches(await self._settle(far, where), ("id",)):
                    for document in batch:
                        yield document["id"]
            case Has(far, param, where):
                some = {"x": {"$regex": "^" + re.escape(word("r", param, type) + "/")}}
                async for batch in self._batches(await self._settle(far, where), ("x",), some):
                    for document in batch:
                        for target in targets(document, param):
                            if target.startswith(type + "/"):
                                yield target.removeprefix(type + "/")
            case _:
                async for document in self._doubtful(type, node):
                    yield document["id"]

    async def _doubtful(self, type: str, node: Node, among: Filter | None = None) -> AsyncIterator[Document]:
        """The resources on which a condition's filter is in doubt and which do match it."""
        doubt = leaf(node).doubt  # type: ignore[arg-type]
        assert doubt is not None
        written = isinstance(node, Differs) and isinstance(node.part, String) and node.part.how == "exact"
        filter = live(type, doubt, *([among] if among else []))
        async for document in self._resources.find(filter, ["type", "id", *ENTRIES], session=self._session):
            if matches(node, view(document, written=written), Memory()):
                yield document

    async def _batches(
        self, settled: _Settled, wanted: Sequence[str], also: Filter | None = None
    ) -> AsyncIterator[list[Document]]:
        """All that match, each once, by rising id in pieces, with the wanted fields."""
        last = ""
        while True:
            beyond: Filter = {"_id": {"$gt": last}}
            filter = live(settled.type, beyond, settled.filter, *([also] if also else []))
            found = self._resources.find(filter, list(wanted), session=self._session)
            batch = await found.sort("_id").limit(BATCH).to_list()
            if not batch:
                return
            last = batch[-1]["_id"]
            if settled.open:
                matching = await self._matching(settled, [each["_id"] for each in batch])
                yield [each for each in batch if each["_id"] in matching]
            else:
                yield batch
            if len(batch) < BATCH:
                return

    async def _matching(self, settled: _Settled, keys: Sequence[str]) -> set[str]:
        """Those of the candidates that match the tree."""
        if not keys:
            return set()
        among: Filter = {"_id": {"$in": list(keys)}}
        known = dict(settled.known)
        for each in settled.open:
            known[each] = {"_id": {"$in": sorted(await self._of(settled.type, each, keys))}}
        filter = live(settled.type, among, compiled(settled.type, settled.node, known))
        found = self._resources.find(filter, ["_id"], session=self._session)
        return {each["_id"] async for each in found}

    async def _of(self, type: str, node: Node, keys: Sequence[str]) -> set[str]:
        """Those of the candidates that match an open node."""
        among: Filter = {"_id": {"$in": list(keys)}}
        match node:
            case Chain(param, far, where):
                return await self._leading_to(param, far, where, among)
            case Has(far, param, where):
                return await self._referred_to(far, param, where, keys)
            case _:
                return {each["_id"] async for each in self._doubtful(type, node, among)}

    async def _leading_to(self, param: str, far: str, where: Node, among: Filter) -> set[str]:
        leading: dict[str, set[str]] = {}
        async for document in self._resources.find(among, ["x"], session=self._session):
            for target in targets(document, param):
                if target.startswith(far + "/"):
                    leading.setdefault(target.removeprefix(far + "/"), set()).add(document["_id"])
        found: set[str] = set()
        ends = sorted(leading)
        for start in range(0, len(ends), BATCH):
            some = And((Ids(tuple(ends[start : start + BATCH])), where))
            async for batch in self._batches(await self._settle(far, some), ("id",)):
                found.update(*(leading[each["id"]] for each in batch))
        return found

    async def _referred_to(self, far: str, param: str, where: Node, keys: Sequence[str]) -> set[str]:
        wanted, found = set(keys), set()
        some = And((Reference(param, tuple(keys)), where))
        async for batch in self._batches(await self._settle(far, some), ("x",)):
            for document in batch:
                found |= wanted.intersection(targets(document, param))
            if len(found) == len(wanted):
                break
        return found
