"""What `load` reads: NDJSON files and Bundles, plain or compressed, and folders of them.

Bytes are streamed: one line (NDJSON) or one Bundle file is in memory at a time.
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from profiles import codec
from profiles.outcomes import Invalid

SUFFIXES = (".ndjson", ".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of a source: its place for messages (line, or entry number, from 1) and the resource, or
    the error that reading it gave."""

    place: int
    resource: dict[str, Any] | None
    error: Invalid | None = None


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


def items(path: Path) -> Iterator[Item]:
    """Every resource of one file, in order; a malformed line is an Item with its error, the rest goes on."""
    with _open(path) as stream:
        if _inner(path).suffix == ".json":
            yield from _document(stream.read())
            return
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _item(number, line)


def _document(body: bytes) -> Iterator[Item]:
    first = _item(1, body)
    if first.resource is None or first.resource.get("resourceType") != "Bundle":
        yield first
        return
    entries = first.resource.get("entry", [])
    for number, entry in enumerate(entries if isinstance(entries, list) else [], 1):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            yield Item(number, resource)


def _item(place: int, body: bytes) -> Item:
    try:
        return Item(place, codec.parse(body))
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
