"""Image files on disk, named by content: spool → fsync → rename → fsync of the folder. Synchronous.

<files>/spool/…            being received
<files>/dicom/ab/<sha256>  in place, never changed
<files>/packed/ab/<sha256> the same, compressed without loss (`storage.packed`), instead of it
<files>/opened/<sha256>    expanded again for a reader who wants the whole file; removed after a while
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from uuid import uuid4

from dicomweb import reasons
from dicomweb.reasons import Refused
from dicomweb.storage import packed

log = logging.getLogger(__name__)

RESERVE = 100_000_000  # bytes left free: below, instances are refused before the disk is full
SLOW_SPOOL = "stow-"  # how spool files begin that the web tier writes, at the pace of its clients
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DicomFiles:
    """The folder of image files. Paths handed out are relative to it, so that it can move."""

    def __init__(self, root: Path, quotas: Mapping[str, int] = MappingProxyType({})) -> None:
        self.root = root
        self.quotas = quotas  # site → bytes
        self.spool = root / "spool"

    def open(self) -> None:
        self.spool.mkdir(parents=True, exist_ok=True)
        (self.root / "dicom").mkdir(exist_ok=True)
        (self.root / "opened").mkdir(exist_ok=True)

    def sweep(self) -> int:
        """Remove what a killed process left, but what the web tier receives. Only when nobody else spools in
        this folder."""
        left = [
            path for path in self.spool.iterdir() if path.is_file() and not path.name.startswith(SLOW_SPOOL)
        ]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def room(self) -> None:
        """Raises Refused when the disk is nearly full."""
        if shutil.disk_usage(self.spool).free < RESERVE:
            raise Refused(reasons.OUT_OF_RESOURCES)

    def path(self, relative: str) -> Path:
        """The original file: in place, or expanded for this and the next readers. One that is not there is
        found by nobody."""
        original = self.original(relative)
        if original.exists() or not self.packed(relative).exists():
            return original
        opened = self.root / "opened" / original.name
        try:
            os.utime(opened)
        except FileNotFoundError:
            made, is_expanded = self.once(relative)
            if not is_expanded:
                return original
            made.replace(opened)
        return opened

    def once(self, relative: str) -> tuple[Path, bool]:
        """The original file for one reader, and whether it was expanded for him: then he removes it."""
        original = self.original(relative)
        if original.exists() or not self.packed(relative).exists():
            return original, False
        made = self.spool / f"{SLOW_SPOOL}{uuid4().hex}"
        try:
            packed.expand(self.packed(relative), made)
        except packed.Broken:
            log.exception("a compressed file cannot be read back")
            made.unlink()
            return original, False
        return made, True

    def original(self, relative: str) -> Path:
        """Where the file is, unless it was compressed."""
        return self.root / relative

    def packed(self, relative: str) -> Path:
        """Where it is when it was compressed."""
        return self.root / "packed" / relative.removeprefix("dicom/")

    def read(self, relative: str, ranges: Sequence[tuple[int, int]]) -> bytes:
        """Those ranges (offset, length) of the original. Raises FileNotFoundError."""
        try:
            fd = os.open(self.original(relative), os.O_RDONLY)
        except FileNotFoundError:
            try:
                return packed.read(self.packed(relative), ranges)
            except packed.Broken as error:
                log.exception("a compressed file cannot be read back")
                raise FileNotFoundError(relative) from error
        try:
            return b"".join(os.pread(fd, length, offset) for offset, length in ranges)
        finally:
            os.close(fd)

    def remove(self, relative: str, placed: float) -> bool:
        """Take a file off the disk in every form, durably. False, and nothing removed that matters, when it
        came in place at `placed` (UTC seconds) or later: then the same content is just being stored
        again."""
        for path in (
            self.original(relative),
            self.packed(relative),
            self.root / "opened" / Path(relative).name,
        ):
            aside = self.spool / f"{SLOW_SPOOL}{uuid4().hex}"
            try:
                was = path.stat()
                if was.st_ctime >= placed and path.parent.name != "opened":
                    return False
                path.replace(aside)
            except FileNotFoundError:
                continue
            if aside.stat().st_ino != was.st_ino:  # stored again between the two lines above
                aside.replace(path)
                return False
            aside.unlink()
            synced(path.parent)
        return True

    def close_opened(self, older: float) -> int:
        """Remove expanded files that nobody asked for in `older` seconds."""
        before, removed = time.time() - older, 0
        for path in (self.root / "opened").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed

    def place(self, spooled: Path, sha256: str) -> str:
        """Move a spooled file into place, durably; returns its relative path. Raises Refused when the disk is
        full."""
        relative = f"dicom/{sha256[:2]}/{sha256}"
        target = self.root / relative
        try:
            try:
                _moved(spooled, target)
            except FileNotFoundError:
                target.parent.mkdir(exist_ok=True)
                synced(target.parent.parent)
                _moved(spooled, target)
            synced(target.parent)
        except OSError as error:
            raise Refused(reasons.OUT_OF_RESOURCES if error.errno in _FULL else reasons.FAILED) from error
        return relative


def _moved(spooled: Path, target: Path) -> None:
    """The file under its name, on disk. Named before it is synced, so that one write of the disk's journal
    serves file and folder; but a file that has the name already may be acknowledged: then the new one is
    on disk before it takes its place."""
    try:
        target.hardlink_to(spooled)
    except FileExistsError:
        synced(spooled)
        spooled.replace(target)
    else:
        synced(target)
        spooled.unlink()


def synced(path: Path) -> None:
    """fsync of a file or a folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
