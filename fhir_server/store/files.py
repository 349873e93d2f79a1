"""Content-addressed files: bytes of any size under the SHA-256 of what they are.

A write streams into a spool file beside its place (same filesystem), is synced, then renamed to
`ab/cd/<sha256>` and the folder synced; so a file that has its name is whole and durable, and an interrupted
write leaves only a spool file, which `sweep` removes. Equal bytes are kept once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SPOOL = "spool"
PIECE = 256 * 1024  # bytes read or written at once
NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stored:
    """`sha256` in lower-case hex; `size` in bytes."""

    sha256: str
    size: int


class Files:
    """A folder of content files; safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def write(self, chunks: AsyncIterator[bytes]) -> Stored:
        """Stream in; memory holds one chunk. When the source fails, nothing stays behind and its error goes
        on."""
        spool = await asyncio.to_thread(self._new_spool)
        digest, size = hashlib.sha256(), 0
        try:
            with spool.open("wb") as file:
                async for chunk in chunks:
                    await asyncio.to_thread(_append, file, digest, chunk)
                    size += len(chunk)
                await asyncio.to_thread(_sync, file)
            sha256 = digest.hexdigest()
            await asyncio.to_thread(self._into_place, spool, sha256)
        except BaseException:
            spool.unlink(missing_ok=True)
            raise
        return Stored(sha256, size)

    def path(self, sha256: str) -> Path:
        """Where these bytes are, or would be. Raises ValueError for what is no SHA-256 in lower-case hex."""
        if not NAME.fullmatch(sha256):
            raise ValueError("not a SHA-256 in lower-case hex")
        return self.root / sha256[:2] / sha256[2:4] / sha256

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int:
        """Bytes. Raises FileNotFoundError."""
        return self.path(sha256).stat().st_size

    def open(self, sha256: str) -> BinaryIO:
        """For reading; the caller closes. Raises FileNotFoundError."""
        return self.path(sha256).open("rb")

    async def read(self, sha256: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes [start, end) in pieces, fewer where the file ends sooner. Raises FileNotFoundError."""
        file = await asyncio.to_thread(self.open, sha256)
        try:
            await asyncio.to_thread(file.seek, start)
            left = None if end is None else max(0, end - start)
            while left is None or left > 0:
                piece = await asyncio.to_thread(file.read, PIECE if left is None else min(PIECE, left))
                if not piece:
                    return
                if left is not None:
                    left -= len(piece)
                yield piece
        finally:
            file.close()

    def remove(self, sha256: str) -> bool:
        """True if it was there. Only for a caller that knows no record names it any more."""
        try:
            self.path(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def sweep(self, older_than: float = 24 * 3600) -> int:
        """Remove spool files not written to for that many seconds; returns how many."""
        removed = 0
        limit = time.time() - older_than
        for spool in (self.root / SPOOL).glob("*.part"):
            try:
                if spool.stat().st_mtime <= limit:
                    spool.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
        return removed

    def _new_spool(self) -> Path:
        folder = self.root / SPOOL
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{os.getpid()}-{secrets.token_hex(8)}.part"

    def _into_place(self, spool: Path, sha256: str) -> None:
        place = self.path(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_file():
            spool.unlink()
        else:
            spool.replace(place)
        for folder in (place.parent, place.parent.parent, self.root):
            _sync_folder(folder)


def _append(file: BinaryIO, digest: hashlib._Hash, chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
