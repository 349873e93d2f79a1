"""A spool folder for each process: where datasets are written while they come in.

<files>/spool/node-0/.held   locked by the process that spools there
<files>/spool/node-0/…       being received by it

A process takes the first folder that nobody holds and empties it: what is in there was left by one that died,
and was never acknowledged. The lock goes with its process, however that ends, so no sweep touches what
another process is receiving.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dicomweb.files import SLOW_SPOOL

FOLDER, HELD = "node-", ".held"
ABANDONED_SECONDS = 900.0  # a file of the common spool not written to for so long belongs to nobody
SLOW_SECONDS = 6 * 3600.0  # the same for what the web tier spools


@contextlib.contextmanager
def own(spool: Path) -> Iterator[Path]:
    """A folder under `spool` that is this process's alone, empty."""
    folder, held = _first_free(spool)
    try:
        _empty(folder)
        _sweep_others(spool, folder)
        yield folder.absolute()
    finally:
        os.close(held)


def _first_free(spool: Path) -> tuple[Path, int]:
    number = 0
    while (held := _hold(spool / f"{FOLDER}{number}")) is None:
        number += 1
    return spool / f"{FOLDER}{number}", held


def _hold(folder: Path) -> int | None:
    """The lock's descriptor; None when another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / HELD, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != HELD:
            path.unlink(missing_ok=True)


def _sweep_others(spool: Path, mine: Path) -> None:
    """Folders of processes that are gone, when fewer start than ran before."""
    for folder in spool.glob(f"{FOLDER}*"):
        if folder != mine and (held := _hold(folder)) is not None:
            try:
                _empty(folder)
            finally:
                os.close(held)


def drop_abandoned(spool: Path) -> int:
    """Remove files of the common spool that nobody writes to any more; returns how many."""
    now, dropped = time.time(), 0
    for path in spool.iterdir():
        allowed = SLOW_SECONDS if path.name.startswith(SLOW_SPOOL) else ABANDONED_SECONDS
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < now - allowed:
                path.unlink()
                dropped += 1
    return dropped


@contextlib.contextmanager
def spooling(folder: Path) -> Iterator[None]:
    """pynetdicom's chunked receive writes to Python's temporary folder: make that our spool, on the same disk
    as the files, so that a rename files an instance. Process-wide, hence the node's own process."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
