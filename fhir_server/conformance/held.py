"""The definitions that the server stores, current for every request of every process.

A `Snapshot` is what they mean at one moment. `Held.current` gives the newest: a commit that touches a
definition leaves a mark in the store, and a mark that is not the one last seen (one record read,
microseconds) makes the next asker read what changed since, and no more. A process that dies between its
commit and its mark is found out by looking all the same every `LONGEST` seconds.

FHIR R4 conformance-module.html
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from fhir_server.conformance.search_parameters import OwnParameters, own_parameters
from fhir_server.search.nodes import Everything, Select, Sort
from fhir_server.store.contract import Past, Put, Store, Version
from profiles import codec
from profiles.schema.packages import Package
from profiles.validation import Validator
from terminology import library
from terminology.library import Load
from terminology.service import Terminology

Json = dict[str, Any]
JUDGING = ("StructureDefinition", "Questionnaire")
"""What other resources are judged by: profiles and extensions, and the questions of answers."""
CODED = ("CodeSystem", "ValueSet")
TYPES = (*CODED, "SearchParameter", *JUDGING)
REINDEX = "reindex"
"""The kind of record that says how far a search parameter is indexed, by its URL."""
LONGEST = 30.0
"""Seconds after which a change without a mark is found."""
_PAGE = 200
_WRITTEN = (Sort("_lastUpdated", "date"),)
_SMALL = 4_000
"""Bytes of a body that are kept as they are; larger ones are compressed."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One stored definition: where it is, its canonical URL or "", and its body. `whole`: of a code system
    the value set that it names as all of its codes."""

    type: str
    id: str
    seq: int
    url: str
    version: str
    body: bytes
    whole: str = ""

    @classmethod
    def of(cls, version: Version) -> Definition:
        """Of a version that is no tombstone."""
        assert version.body is not None
        resource = codec.parse(version.body)
        body = version.body if len(version.body) <= _SMALL else zlib.compress(version.body, 3)
        url, named, whole = (resource.get(name) or "" for name in ("url", "version", "valueSet"))
        return cls(version.type, version.id, version.seq, url, named, body, whole)

    def load(self) -> Json:
        """The resource."""
        return codec.parse(self.body if self.body[:1] == b"{" else zlib.decompress(self.body))


@dataclass(frozen=True)
class Installed:
    """What comes in packages: read when first asked for. `folder` is that of the installed ones; None: what
    is built in alone."""

    folder: Path | None = None

    @cached_property
    def terminology(self) -> Terminology:
        """Without anything stored."""
        return Terminology(library.standard() if self.folder is None else library.installed(self.folder))

    @cached_property
    def search_parameters(self) -> tuple[Json, ...]:
        """Of installed packages; those that are built in are among the definitions."""
        names = sorted(self.folder.glob("*.zip")) if self.folder is not None and self.folder.is_dir() else []
        packages = [Package(path.stem, lambda path=path: path.open("rb")) for path in names]  # type: ignore[misc]
        return tuple(
            found
            for package in packages
            for url, entry in package.entries.items()
            if entry["resourceType"] == "SearchParameter" and (found := package.load(url)) is not None
        )


class Stored(Mapping[tuple[str, str], Mapping[str, Load]]):
    """Code systems and value sets as an overlay: by URL, and value sets by their place too. `definitions` are
    newest first, and of one URL and version the first counts."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._named: dict[tuple[str, str], tuple[Definition, ...]] = {}
        for each in definitions:
            if each.url:
                self._named[each.type, each.url] = (*self._named.get((each.type, each.url), ()), each)
            if each.type == "ValueSet":
                self._named[each.type, f"ValueSet/{each.id}"] = (each,)

    def __getitem__(self, key: tuple[str, str]) -> Mapping[str, Load]:
        found: dict[str, Load] = {}
        for each in self._named[key]:
            found.setdefault(each.version, each.load)
        return found

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __contains__(self, key: object) -> bool:
        return key in self._named


class Snapshot:
    """What the stored definitions mean, all of one moment. Nothing in it changes; what it is asked for is
    worked out once."""

    def __init__(
        self,
        definitions: Iterable[Definition],
        installed: Installed,
        states: Mapping[str, Json],
        before: Snapshot | None = None,
    ) -> None:
        """`before` is the snapshot that this one follows: what has not changed since is kept."""
        self.definitions = tuple(sorted(definitions, key=lambda each: -each.seq))
        self._installed = installed
        self.states = states
        self._judging = tuple(each for each in self.definitions if each.type in JUDGING)
        self._coded = tuple(each for each in self.definitions if each.type in CODED)
        self._searched = tuple(each for each in self.definitions if each.type == "SearchParameter")
        self._judge: Validator | None = None
        if before is not None and before._judging == self._judging:
            self._judge = before._judge
        if before is not None and before._coded == self._coded:
            self.terminology = before.terminology
        if before is not None and (before._searched, before.states) == (self._searched, self.states):
            self.search_parameters = before.search_parameters

    def judge(self, validator: Validator) -> Validator:
        """The validator with the stored profiles and questionnaires, and the terminology as it is. A URL that
        a package has is not taken over by what is stored. FHIR R4 profiling.html"""
        if self._judge is None and self._judging:
            known = validator.profiles.packages
            stored = [each.load() for each in self._judging if each.url and known.find(each.url) is None]
            self._judge = validator.over(known.with_resources(reversed(stored)))
        return replace(self._judge or validator, codes=self.terminology)

    @cached_property
    def search_parameters(self) -> OwnParameters:
        """Stored ones, then those of installed packages. FHIR R4 searchparameter.html"""
        stored = [each.load() for each in self._searched]
        ready = {str(state["print"]) for state in self.states.values() if state.get("state") == "ready"}
        return own_parameters([*stored, *self._installed.search_parameters], frozenset(ready))

    @cached_property
    def terminology(self) -> Terminology:
        """Stored code systems and value sets before those of the packages; of several with one URL and
        version the newest. A value set is also found by its place, as `ValueSet/[id]`."""
        whole = {each.whole.partition("|")[0]: each.url for each in reversed(self._coded) if each.whole}
        base = self._installed.terminology
        return base.overlaid(Stored(self._coded), whole) if self._coded else base


class Held:
    """`Held(store, installed)`, one for each process."""

    def __init__(self, store: Store, installed: Installed = Installed()) -> None:
        self._store = store
        self._installed = installed
        self._lock = asyncio.Lock()
        self._found: dict[tuple[str, str], Definition] = {}
        self._read: int | None = None
        self._mark: Mapping[str, Any] | None = None
        self._at = 0.0
        self._snapshot = Snapshot((), installed, {})

    async def current(self) -> Snapshot:
        """Everything committed before this was called is in it."""
        mark = await self._store.get_record("definitions", "mark")
        if not self._stale(mark):
            return self._snapshot
        async with self._lock:
            mark = await self._store.get_record("definitions", "mark")
            if self._stale(mark):
                await self._refresh()
                self._mark, self._at = mark, time.monotonic()
        return self._snapshot

    def _stale(self, mark: Mapping[str, Any] | None) -> bool:
        return self._read is None or mark != self._mark or time.monotonic() - self._at > LONGEST

    async def noted(self, puts: Iterable[Put]) -> None:
        """After a commit: leave the mark if it touched a definition."""
        if any(put.type in TYPES for put in puts):
            await self.mark()

    async def mark(self) -> None:
        """What is known is to be looked at again, in every process."""
        await self._store.put_record("definitions", "mark", {"mark": uuid4().hex})

    async def _refresh(self) -> None:
        """Read what changed; make a new snapshot if anything did."""
        latest = await self._store.latest()
        states = dict(await self._store.list_records(REINDEX))
        changed = states != self._snapshot.states
        for type in TYPES:
            if self._read is None:
                async for version in self._current(type):
                    changed = self._take(version) or changed
            else:
                changed = await self._take_since(type, self._read) or changed
        self._read = latest
        if changed:
            self._snapshot = Snapshot(self._found.values(), self._installed, states, self._snapshot)

    async def _current(self, type: str) -> AsyncIterator[Version]:
        """Every one of a type, by its listing: a scan would walk past everything else that is stored."""
        after: tuple[object, ...] | None = None
        while rows := await self._store.search(Select(type, Everything(), _WRITTEN, _PAGE, after)):
            for row in rows:
                yield row.version
            after = rows[-1].position

    async def _take_since(self, type: str, read: int) -> bool:
        """The newest version of each resource written after the seq `read`."""
        newest: dict[str, Version] = {}
        before: int | None = None
        while True:
            page = await self._store.history(Past((type,), count=_PAGE, before=before))
            for version in page:
                if version.seq > read:
                    newest.setdefault(version.id, version)
            if len(page) < _PAGE or page[-1].seq <= read:
                break
            before = page[-1].seq
        taken = [self._take(version) for version in newest.values()]
        return any(taken)

    def _take(self, version: Version) -> bool:
        key = (version.type, version.id)
        if version.body is None:
            return self._found.pop(key, None) is not None
        self._found[key] = Definition.of(version)
        return True
