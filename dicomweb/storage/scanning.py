"""Every stored file is read again from time to time, slowly: a disk that forgets is found before the image
is needed.

What is wrong is kept (`Index.damaged`) until a later scan sees it whole: `/metrics` and `teledossier check`
tell it.
"""

from __future__ import annotations

from dicomweb import integrity, wholeness
from dicomweb.files import DicomFiles
from dicomweb.index.contract import Damage, Index

AT, BEGAN, ENDED = "scanned", "scan-began", "scan-ended"  # marks: number of a row, UTC microseconds
PAUSE = 86_400_000_000  # between the beginnings of two scans
BATCH = 50


def step(index: Index, files: DicomFiles, budget: int, now: int) -> int:
    """Read on where the last step stopped, about `budget` bytes; returns how many files were read.
    Blocking."""
    last, read = index.get_mark(AT), 0
    if last == 0:
        if now - index.get_mark(BEGAN) < PAUSE:
            return 0
        index.set_mark(BEGAN, now)
    while budget > 0:
        found = index.stored(last, BATCH)
        if not found:
            _end(index, files, now)
            last = 0
            break
        for one in found:
            wrong = wholeness.state(files, one.file)
            if wrong:
                index.put_damage(Damage(one.file.path, one.file.uid, wrong, now))
            else:
                index.clear_damage(one.file.path)
            budget, last, read = budget - one.file.size, one.number, read + 1
            if budget <= 0:
                break
    index.set_mark(AT, last)
    return read


def _end(index: Index, files: DicomFiles, now: int) -> None:
    """Files that nobody knows; what was masked or adopted meanwhile is damage no more."""
    strangers = set(integrity.orphans(index, files))
    for damage in index.damaged():
        file = index.file(damage.uid) if damage.uid else None
        if damage.path not in strangers and (file is None or file.path != damage.path):
            index.clear_damage(damage.path)
    for path in strangers:
        index.put_damage(Damage(path, "", "no instance has it", now))
    index.set_mark(ENDED, now)
