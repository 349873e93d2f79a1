"""What `load` reads: NDJSON files and Bundles, plain or compressed, and folders of them.

Bytes are streamed: a piece of NDJSON or one Bundle file is in memory at a time for each process.
"""

from __future__ import annotations

import bz2
import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from fhir_server.interactions.links import relinked, resolver
from profiles import codec
from profiles.outcomes import Invalid

SUFFIXES = (".ndjson", ".jsonl", ".json")


LINES, BYTES = 1_000, 8_000_000
"""A piece of NDJSON has so many lines at most, and is closed after so many bytes."""
_UUID = re.compile(r"urn:uuid:([0-9a-f\-]{36})")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file: raw lines with their numbers from 1, or one whole JSON document. `only`: the one
    type it may hold; empty for any."""

    source: str
    lines: tuple[tuple[int, bytes], ...]
    document: bool = False
    only: str = ""

    @property
    def last(self) -> int:
        """The number of its last line."""
        return self.lines[-1][0]


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of a source: its place for messages (line, or entry number, from 1) and the resource, or
    the error that reading it gave. `asks` False: no reference in it can be conditional."""

    place: int
    resource: dict[str, Any] | None
    error: Invalid | None = None
    full_url: str = ""
    asks: bool = True


def find(paths: Iterable[Path]) -> list[Path]:
    """The files to load, in a stable order. Raises FileNotFoundError; Invalid for a file of another kind."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and _inner(p).suffix in SUFFIXES)
        elif not path.exists():
            raise FileNotFoundError(2, "No such file", str(path))
        elif _inner(path).suffix not in SUFFIXES:
            raise Invalid("unknown-source", f"{path.name}: only {', '.join(SUFFIXES)}, also with .gz or .bz2")
        else:
            found.append(path)
    return found


def chunks(path: Path, after: int = 0) -> Iterator[Chunk]:
    """One file in pieces, in order; `after` lines are passed over, they are done. A document is one piece."""
    with _open(path) as stream:
        if _inner(path).suffix == ".json":
            if not after:
                yield Chunk(path.name, ((1, stream.read()),), document=True)
            return
        lines: list[tuple[int, bytes]] = []
        size = 0
        for number, line in enumerate(stream, 1):
            if number <= after or not line.strip():
                continue
            lines.append((number, line))
            size += len(line)
            if len(lines) == LINES or size > BYTES:
                yield Chunk(path.name, tuple(lines))
                lines, size = [], 0
        if lines:
            yield Chunk(path.name, tuple(lines))


def items(chunk: Chunk) -> list[Item]:
    """The resources of a piece; a malformed one is an Item with its error, the rest goes on."""
    if chunk.document:
        return _document(chunk.lines[0][1])
    return [_item(number, line) for number, line in chunk.lines]


def _document(body: bytes) -> list[Item]:
    first = _item(1, body)
    if first.resource is None or first.resource.get("resourceType") != "Bundle":
        return [first]
    entries = first.resource.get("entry", [])
    if not isinstance(entries, list):
        return [Item(1, None, Invalid("bad-bundle", "Bundle.entry is not an array"))]
    found = [_entry(number, entry) for number, entry in enumerate(entries, 1)]
    return linked([item for item in found if item is not None])


def _entry(number: int, entry: Any) -> Item | None:
    """None for an entry without a resource: a Bundle may hold reads and deletions too, which are no data."""
    if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
        return None
    url = entry.get("fullUrl")
    return Item(number, _named(entry["resource"], url), full_url=url if isinstance(url, str) else "")


def _named(resource: dict[str, Any], url: object) -> dict[str, Any]:
    """A resource without id takes the UUID of its fullUrl, so that loading it again finds it again."""
    if "id" in resource or not isinstance(url, str):
        return resource
    uuid = _UUID.fullmatch(url)
    return {**resource, "id": uuid[1]} if uuid else resource


def linked(found: list[Item]) -> list[Item]:
    """Links between entries by their fullUrl lead to what will be stored; one to no entry is refused."""
    known = {
        item.full_url: f"{item.resource.get('resourceType')}/{item.resource.get('id')}"
        for item in found
        if item.full_url and item.resource is not None
    }
    done = []
    for item in found:
        assert item.resource is not None
        resource, lost = relinked(item.resource, resolver(known, item.full_url))
        if lost:
            error = Invalid("unresolved-reference", f"no entry has the fullUrl that {lost[0]} names")
            done.append(Item(item.place, None, error))
        else:
            done.append(Item(item.place, resource, full_url=item.full_url))
    return done


def _item(place: int, body: bytes) -> Item:
    try:
        return Item(place, codec.parse(body), asks=b"?" in body)
    except Invalid as error:
        return Item(place, None, error)


def _inner(path: Path) -> Path:
    return path.with_suffix("") if path.suffix in (".gz", ".bz2") else path


def _open(path: Path) -> BinaryIO:
    match path.suffix:
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case ".bz2":
            return cast(BinaryIO, bz2.open(path, "rb"))
    return path.open("rb")
