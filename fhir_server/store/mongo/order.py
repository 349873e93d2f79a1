"""The order of a page: what the server sorts by, what a position is, and what comes after one.

A key's values stand under `k` as least (`a`) and greatest (`z`); resources without any come last, by `h`.
The last key is always `seq`, in the direction of the first key; `_lastUpdated` is `seq` itself, so it
ends the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.search.nodes import Select, Sort
from fhir_server.store.mongo.documents import LETTERS, field
from fhir_server.store.mongo.filters import NONE, Filter
from profiles.outcomes import Invalid

MOST = 15  # keys; two fields each and the seq, and the server takes 32


@dataclass(frozen=True, slots=True)
class Order:
    """Keys; whether ties run newest first; `backwards`: the same order walked from its other end."""

    keys: tuple[Sort, ...]
    newest_first: bool
    backwards: bool

    @property
    def fields(self) -> list[tuple[str, int]]:
        """For the server's sort: (path, 1 or -1), no path twice."""
        turn = -1 if self.backwards else 1
        found: dict[str, int] = {}
        for key in self.keys:
            if key.param != "_id":
                found.setdefault(_has(key), -turn)
            found.setdefault(_value(key), -turn if key.descending else turn)
        found.setdefault("seq", -turn if self.newest_first else turn)
        return list(found.items())

    def position(self, document: Mapping[str, Any]) -> tuple[object, ...]:
        """The keys' values, None where there is none, and the seq."""
        return (*(_at(document, _value(key)) for key in self.keys), document["seq"])

    def beyond(self, position: tuple[object, ...] | None) -> Filter:
        """Strictly after a position: the first key beyond, or equal and the next beyond, … or the seq."""
        if position is None:
            return {}
        falls = self.newest_first != self.backwards
        same: list[Filter] = []
        either: list[Filter] = []
        for key, value in zip(self.keys, position[:-1], strict=True):
            either.append({"$and": [*same, self._further(key, value)]})
            same.append({_has(key): {"$exists": False}} if value is None else {_value(key): value})
        either.append({"$and": [*same, {"seq": {"$lt" if falls else "$gt": position[-1]}}]})
        return {"$or": either}

    def _further(self, key: Sort, value: object) -> Filter:
        if value is None:
            return {_has(key): 1} if self.backwards else NONE
        falls = key.descending != self.backwards
        further: Filter = {_value(key): {"$lt" if falls else "$gt": value}}
        if self.backwards or key.param == "_id":
            return further
        return {"$or": [further, {_has(key): {"$exists": False}}]}


def order_of(select: Select) -> Order:
    """Raises Invalid."""
    keys: list[Sort] = []
    newest_first = not select.sort or select.sort[0].descending
    for key in select.sort:
        if key.param == "_lastUpdated":
            newest_first = key.descending
            break
        keys.append(key)
    if len(keys) > MOST:
        raise Invalid("too-many-sort-keys", f"this store sorts by at most {MOST} keys")
    return Order(tuple(keys), newest_first, select.backwards)


def _path(key: Sort) -> str:
    return f"k.{LETTERS[key.kind]}.{field(key.param)}"


def _has(key: Sort) -> str:
    return _path(key) + ".h"


def _value(key: Sort) -> str:
    if key.param == "_id":
        return "id"
    return _path(key) + (".z" if key.descending else ".a")


def _at(document: Mapping[str, Any], path: str) -> object:
    found: Any = document
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found
