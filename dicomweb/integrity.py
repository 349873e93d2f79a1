"""Whether every indexed instance still has the bytes that were acknowledged, and every file is known. One
line per finding; UIDs and paths name things, nothing names a patient.

A file nobody knows (an orphan) is left by a process killed between putting it in place and the commit of the
index: it was never acknowledged. It is adopted by taking it in again as if it came now.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from dicomweb.dataset import identify
from dicomweb.files import SLOW_SPOOL, DicomFiles, sha256_of
from dicomweb.index.contract import Index
from dicomweb.ingest import Arrival, ingest
from dicomweb.reasons import Refused
from dicomweb.storage import packed
from dicomweb.wholeness import CLOSED, UNREADABLE, state

PAGE = 500
SETTLED = 300.0  # seconds: a younger file may be on its way into the index
_CONTENT = re.compile(r"dicom/[0-9a-f]{2}/[0-9a-f]{64}")


def findings(index: Index, files: DicomFiles) -> Iterator[str]:
    """Everything wrong in what is stored; reads every file, in bounded memory."""
    last = 0
    while found := index.stored(last, PAGE):
        for one in found:
            if wrong := state(files, one.file):
                yield f"instance {one.file.uid}: {wrong}"
        last = found[-1].number
    for uid in index.conflicted():
        for other in index.conflicts(uid):
            if wrong := state(files, other):
                yield f"instance {uid}, the other content: {wrong}"
    for path in orphans(index, files):
        advice = "check --adopt takes it in" if _is_content(files, path) else "it is none of ours"
        yield f"file {path}: no instance has it ({advice})"


def notes(index: Index, files: DicomFiles) -> Iterator[str]:
    """What a person has to judge: another content that came under the UID of a stored instance. Nothing is
    wrong: the first is served, the other is kept."""
    for uid in index.conflicted():
        for other in index.conflicts(uid):
            yield f"instance {uid}: another content came, kept as {files.path(other.path)}"


def orphans(index: Index, files: DicomFiles, settled: float = SETTLED) -> Iterator[str]:
    """The paths of files that no instance, conflict or masked instance has, and that are older than `settled`
    seconds. The known paths go through a table on disk: an archive has millions."""
    before = time.time() - settled
    known = sqlite3.connect("")  # a private file, gone when it is closed
    try:
        known.execute("CREATE TABLE known(path TEXT PRIMARY KEY) WITHOUT ROWID")
        known.executemany("INSERT OR IGNORE INTO known VALUES(?)", ((path,) for path in index.paths()))
        for path, changed in _there(files):
            row = known.execute("SELECT 1 FROM known WHERE path = ?", (path,)).fetchone()
            if row is None and changed < before:
                yield path
    finally:
        known.close()


def _there(files: DicomFiles) -> Iterator[tuple[str, float]]:
    """The path of each file in place, compressed or not, and when it came there. Also whatever else lies in
    the folders; what goes while we look is not there."""
    for room in ("dicom", "packed"):
        root = files.root / room
        for folder in sorted(root.iterdir()) if root.exists() else ():
            if folder.is_dir():
                for entry in os.scandir(folder):
                    if room == "dicom" or not files.original(f"dicom/{folder.name}/{entry.name}").exists():
                        with suppress(FileNotFoundError):
                            changed = entry.stat(follow_symlinks=False).st_ctime
                            yield _shown(f"dicom/{folder.name}/{entry.name}"), changed


def _shown(path: str) -> str:
    """A path as it may be told and kept: others may have named what lies there as they liked."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def adopt(index: Index, files: DicomFiles, path: str, now: int) -> str:
    """Take an orphan in; what became of it, in a line. `now`: UTC microseconds."""
    if not _is_content(files, path):
        return f"file {path}: left where it is, it is no file that is named by its content"
    name = Path(path).name
    spooled = files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    try:
        if files.original(path).exists():
            os.link(files.original(path), spooled)
        else:
            packed.expand(files.packed(path), spooled)
        if sha256_of(spooled) != name:
            return f"file {path}: left where it is, its content is not what its name says"
        outcome = ingest(spooled, Arrival(now, sha256=name), files, index)
    except packed.Broken:
        return f"file {path}: left where it is, {UNREADABLE}"
    except Refused as refused:
        return f"file {path}: left where it is, {refused.reason.slug}"
    except OSError:
        return f"file {path}: left where it is, {CLOSED}"
    finally:
        spooled.unlink(missing_ok=True)
    if outcome == "duplicate":
        known = index.file(identify(files.path(path))[1])
        if known and known.path != path:
            files.remove(path, time.time() + 1)
            return f"file {path}: removed, its instance is stored already"
    return f"file {path}: {outcome}"


def _is_content(files: DicomFiles, path: str) -> bool:
    """A regular file of its own, under a name of ours: no link out of the folder, pipe or device."""
    if not _CONTENT.fullmatch(path):
        return False
    for place in (files.original(path), files.packed(path)):
        with suppress(FileNotFoundError):
            return stat.S_ISREG(place.lstat().st_mode)
    return False
