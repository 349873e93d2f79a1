"""The files of masked images leave the disk after a time of grace; who masked them, when and why stays for
ever.

    file removed → row emptied (`Index.mark_purged`)

Killed between the two, the next round finds the row and nothing to remove. A file that is also another
row's stays.
"""

from __future__ import annotations

from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index

FRESH = 3600.0  # seconds: a file placed since may be on its way into the index again


def step(index: Index, files: DicomFiles, before: int, now: int) -> int:
    """Purge some of those masked before; returns how many rows. UTC microseconds. Blocking."""
    done = 0
    for number, masked in index.purgeable(before, 200):
        if index.is_needed(number) or files.remove(masked.path, now / 1e6 - FRESH):
            index.mark_purged(number, now)
            done += 1
    return done
