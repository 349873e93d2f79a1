"""Stored files compressed without loss some time after they came, when their original can be proved to come
back.

    read and compare its hash → packed in the spool (synced) → expanded again, hash compared
    → renamed into place (synced) → the original removed

Killed anywhere, either the original is there, or what brings it back; both for a moment, which the next
round ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from uuid import uuid4

from dicomweb import layout
from dicomweb.attributes import Attributes, integer
from dicomweb.files import DicomFiles, sha256_of, synced
from dicomweb.index.contract import File, Index
from dicomweb.storage import packed
from dicomweb.storage.packed import Shape

DONE = "packed"  # the number of the last instance that was looked at
WORTH = 0.9  # of the original: above, it stays as it is
SPOOLED = "stow-pack-"


@dataclass(frozen=True, slots=True)
class Saved:
    """How many files were packed, and bytes before and after."""

    files: int = 0
    before: int = 0
    after: int = 0


def step(index: Index, files: DicomFiles, before: int, limit: int = 50) -> Saved | None:
    """Pack the next files of those received before (UTC microseconds); None when there are none left.
    Blocking."""
    last = index.get_mark(DONE)
    found = list(takewhile(lambda one: one.received < before, index.stored(last, limit)))
    if not found:
        return None
    saved = Saved()
    for one in found:
        after = pack(files, one.file, lambda number=one.number: index.attributes(number))  # type: ignore[misc]
        if after:
            saved = Saved(saved.files + 1, saved.before + one.file.size, saved.after + after)
        index.set_mark(DONE, one.number)
    return saved


def pack(files: DicomFiles, file: File, attributes: Callable[[], Attributes]) -> int:
    """The size of the packed file; 0 when it stays as it is (compressed already, not worth it, or not what
    was acknowledged)."""
    original, target = files.original(file.path), files.packed(file.path)
    if not original.exists():
        return 0
    if target.exists() and _proved(target, file.sha256):
        _remove(original)
        return target.stat().st_size
    where = layout.load(file.layout)
    if where.kind in ("encapsulated", "deflated", "stream") or sha256_of(original) != file.sha256:
        return 0
    made = files.spool / f"{SPOOLED}{uuid4().hex}"
    try:
        frames = [where.frame(number)[0] for number in range(1, where.frames + 1)]
        packed.write(original, made, packed.cut(file.size, frames, shape(attributes())))
        size = made.stat().st_size
        if size > WORTH * file.size or not _proved(made, file.sha256):
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, target)
        synced(target.parent)
        synced(target.parent.parent)
    finally:
        made.unlink(missing_ok=True)
    _remove(original)
    return size


def _remove(original: Path) -> None:
    original.unlink(missing_ok=True)
    synced(original.parent)


def _proved(path: Path, sha256: str) -> bool:
    """Whether the original comes back."""
    try:
        return packed.sha256_of(path) == sha256
    except packed.Broken:
        return False


def shape(attributes: Attributes) -> Shape:
    """How the samples of native frames lie. PS3.3 §C.7.6.3"""
    bits, columns = integer(attributes, "00280100") or 0, integer(attributes, "00280011") or 0
    samples = integer(attributes, "00280002") or 1
    if bits not in (8, 16) or columns <= 0:
        return packed.RAW
    apart = samples > 1 and integer(attributes, "00280006") == 1
    return Shape(bits // 8, columns, 1) if apart else Shape(bits // 8, columns * samples, samples)
