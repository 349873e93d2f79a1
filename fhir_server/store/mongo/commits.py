"""What a commit changes, settled before anything is written: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_server.store.contract import Put, RaceLost, Version
from fhir_server.store.mongo.documents import Document, archived, current, key


@dataclass(frozen=True, slots=True)
class Plan:
    """`versions` answer the puts in their order; `earlier` go into the history; `made` are new current
    documents, `replaced` take the place of the version with that number."""

    versions: tuple[Version, ...]
    earlier: tuple[Document, ...]
    made: tuple[Document, ...]
    replaced: tuple[tuple[int, Document], ...]


def check(puts: Sequence[Put], olds: Mapping[str, Document]) -> None:
    """Whether every put still meets the version it expects. `olds`: current documents by key. Raises
    RaceLost."""
    numbers = {place: int(old["ver"]) for place, old in olds.items()}
    for put in puts:
        place = key(put.type, put.id)
        if numbers.get(place, 0) != put.expect:
            raise RaceLost(put.type, put.id)
        numbers[place] = put.expect + 1


def plan(puts: Sequence[Put], olds: Mapping[str, Document], first: int) -> Plan:
    """`first` is the seq of the first put; those of a checked commit follow one another."""
    now: dict[str, Document] = dict(olds)
    earlier: list[Document] = []
    versions: list[Version] = []
    for seq, put in enumerate(puts, first):
        place = key(put.type, put.id)
        if place in now:
            earlier.append(archived(now[place], put.at))
        now[place] = current(put, seq)
        versions.append(Version(put.type, put.id, put.expect + 1, seq, put.at, put.method, put.body))
    touched = dict.fromkeys(key(put.type, put.id) for put in puts)
    return Plan(
        tuple(versions),
        tuple(earlier),
        tuple(now[place] for place in touched if place not in olds),
        tuple((olds[place]["ver"], now[place]) for place in touched if place in olds),
    )
