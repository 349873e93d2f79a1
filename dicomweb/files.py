"""Image files on disk, named by content: spool → fsync → rename → fsync of the folder. Synchronous.

<files>/spool/…            being received
<files>/dicom/ab/<sha256>  in place, never changed
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from dicomweb import reasons
from dicomweb.reasons import Refused

RESERVE = 100_000_000  # bytes left free: below, instances are refused before the disk is full
SLOW_SPOOL = "stow-"  # how spool files begin that the web tier writes, at the pace of its clients
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DicomFiles:
    """The folder of image files. Paths handed out are relative to it, so that it can move."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = root / "spool"

    def open(self) -> None:
        self.spool.mkdir(parents=True, exist_ok=True)
        (self.root / "dicom").mkdir(exist_ok=True)

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
        return self.root / relative

    def place(self, spooled: Path, sha256: str) -> str:
        """Move a spooled file into place, durably; returns its relative path. Raises Refused when the disk is
        full."""
        relative = f"dicom/{sha256[:2]}/{sha256}"
        target = self.root / relative
        try:
            folder_is_new = not target.parent.exists()
            target.parent.mkdir(exist_ok=True)
            _fsync(spooled)
            spooled.replace(target)
            _fsync(target.parent)
            if folder_is_new:
                _fsync(target.parent.parent)
        except OSError as error:
            raise Refused(reasons.OUT_OF_RESOURCES if error.errno in _FULL else reasons.FAILED) from error
        return relative


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
