"""What a store is: the Protocol that SQLite and MongoDB both keep, and the values that pass through it.

One suite of tests (`tests/store/`) holds both engines to this page. A store knows nothing of FHIR's meaning:
it keeps byte-identical bodies, an immutable record per version, the index entries extracted from the current
version, plain records (OAuth state, accounts, counters), and answers the search tree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from fhir_server.search.nodes import Node, Select

Method = Literal["create", "update", "delete"]


Value = (
    tuple[Literal["token", "string"], str, str]
    | tuple[Literal["reference"], str]
    | tuple[Literal["date"], int, int]
    | tuple[Literal["number"], float, float, str, str]
)
"""One component of a composite: an entry with its kind in place of its name."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What is indexed of one resource: (entry name, value …) tuples. Written by `search.index`, read by
    engines and by the reference evaluator. A start is never after its end, a low never above its high. A
    composite has one to three components, of the same kinds in every entry of that name; where an element
    gives several values for one (a concept with two codings), each combination is an entry. A resource has
    each of the two texts at most once."""

    tokens: tuple[tuple[str, str, str], ...] = ()  # (name, system or "", code)
    references: tuple[tuple[str, str], ...] = ()  # (name, "Type/id" or absolute URL)
    dates: tuple[tuple[str, int, int], ...] = ()  # (name, start, end) UTC microseconds, half-open
    strings: tuple[tuple[str, str, str], ...] = ()  # (name, folded, as written)
    numbers: tuple[tuple[str, float, float, str, str], ...] = ()  # (name, low, high, unit system, unit code)
    composites: tuple[
        tuple[str, tuple[Value, ...]], ...
    ] = ()  # (name, one value per component, same element)
    positions: tuple[tuple[str, float, float], ...] = ()  # (name, latitude, longitude) degrees, WGS 84
    texts: tuple[tuple[str, str], ...] = ()  # ("_text" or "_content", folded words joined by single spaces)


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version. `body` is the JSON as served, meta.versionId and meta.lastUpdated included; None
    after a delete. `seq` rises with every write of the store; `at` is UTC microseconds."""

    type: str
    id: str
    version: int
    seq: int
    at: int
    method: Method
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Put:
    """Write one version. `expect` is the current version number it replaces (0 = there must be none, a
    deleted resource counts with its tombstone's number); the new number is `expect + 1` and stands in `body`
    already."""

    type: str
    id: str
    expect: int
    at: int
    method: Method
    body: bytes | None
    entries: Entries = field(default_factory=Entries)


@dataclass(frozen=True, slots=True)
class Indexed:
    """A version and all of its entries as they should be. Only those of `names`, and of names made from them
    (`name:…`), differ from what is stored; None: any may, but for the texts, which come with a version."""

    type: str
    id: str
    version: int
    entries: Entries
    names: frozenset[str] | None = None

    def concerns(self, name: str) -> bool:
        """Whether entries of that name may differ."""
        return self.names is None or name.partition(":")[0] in self.names


@dataclass(frozen=True, slots=True)
class Row:
    """A page's row: the version and the position a cursor continues after."""

    version: Version
    position: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """Which versions a history asks for, newest first: of these types (None: of all), of one `id` if it is
    given (then of one type). `before` is a seq; `since` and `during` are UTC microseconds: written at or
    after it; current at some moment of the half-open interval."""

    types: tuple[str, ...] | None = None
    id: str = ""
    count: int = 20
    before: int | None = None
    since: int | None = None
    during: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Unless:
    """What a commit rests on: no current resource of `type` matches `where`. `str()` of it names it: two
    commits that rest on the same are never both written unseen by each other."""

    type: str
    where: Node

    def __str__(self) -> str:
        return f"{self.type} {self.where}"


class RaceLost(Exception):
    """Some Put's `expect`, or some Unless (then `id` is empty), is no longer true; nothing of the commit was
    written. Carries which."""

    def __init__(self, type: str, id: str) -> None:
        super().__init__(f"{type}/{id} changed meanwhile")
        self.type, self.id = type, id


class Store(Protocol):
    """Durable means: when `commit` or a record call returns, the data survives `kill -9` of every process."""

    @property
    def atomic_commits(self) -> bool:
        """Whether other readers see a commit of several Puts whole or not at all. Without it the commit is
        still all or nothing in the end, but is seen in part for a moment. Known once the store is open."""

    async def open(self) -> None:
        """Connect; create an empty schema; refuse a schema version that is not ours (SchemaMismatch)."""

    async def close(self) -> None: ...

    async def commit(self, puts: Sequence[Put], unless: Sequence[Unless] = ()) -> list[Version]:
        """All or nothing, in order; `unless` is judged just before, with nobody writing between. Whoever has
        read a seq will see no lower one appear: the order of seqs is that of commits. Raises RaceLost."""

    async def reindex(self, items: Sequence[Indexed]) -> int:
        """Each that is still the current version is found by these entries from now on; how many those are.
        What was written meanwhile has brought its own. Not atomic as a whole: it can be done again."""

    async def read(self, type: str, id: str) -> Version | None:
        """The current version, a tombstone included; None if never there."""

    async def read_many(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Version]:
        """Current versions of those that exist and are not deleted."""

    async def vread(self, type: str, id: str, version: int) -> Version | None: ...

    async def history(self, past: Past) -> list[Version]:
        """Tombstones included, newest first by seq."""

    async def search(self, select: Select) -> list[Row]:
        """At most `count` rows in order; default order is newest first (`seq` descending)."""

    async def count(self, type: str, where: Node) -> int:
        """Exact number of distinct matching resources."""

    async def tokens(self, type: str, name: str) -> list[tuple[str, str]]:
        """The distinct (system, code) of the token entries `name` of current resources of the type, of all
        types when it is empty; sorted."""

    async def latest(self) -> int:
        """The highest seq written so far, 0 when empty."""

    def scan(self, type: str | None = None) -> AsyncIterator[Version]:
        """Every current, undeleted version; for integrity checks and exports, bounded memory."""

    async def integrity(self) -> list[str]:
        """What the engine finds wrong in its own files, one line each; empty when all is well."""

    # Plain records: small JSON objects with an optional expiry; not versioned, not searched.
    async def put_record(
        self,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        expires: int | None = None,
        only_if_absent: bool = False,
    ) -> bool:
        """True if written. `expires` is UTC microseconds; an expired record counts as absent."""

    async def get_record(self, kind: str, key: str) -> dict[str, Any] | None: ...

    async def take_record(self, kind: str, key: str) -> dict[str, Any] | None:
        """Read and remove in one atomic act: of several callers exactly one gets it."""

    async def delete_record(self, kind: str, key: str) -> bool: ...

    async def list_records(self, kind: str) -> list[tuple[str, dict[str, Any]]]: ...

    async def next_number(self, name: str) -> int:
        """1, 2, 3 … for each name; never the same twice, from any process."""
