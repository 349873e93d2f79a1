"""Whether a stored file still is the one that was acknowledged."""

from __future__ import annotations

from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import File
from dicomweb.storage import packed

MISSING, ALTERED = "its file is missing", "its file is not what was acknowledged"
UNREADABLE = "its compressed copy cannot be read back"
CLOSED = "its file cannot be read"


def state(files: DicomFiles, file: File) -> str:
    """What is wrong with it; "" when it is whole. A compressed file is expanded, piece by piece. A disk that
    fails on one file tells nothing of the others: that is a finding too."""
    original, copy = files.original(file.path), files.packed(file.path)
    try:
        if original.exists():
            is_whole = (
                original.is_file()
                and original.stat().st_size == file.size
                and sha256_of(original) == file.sha256
            )
            if not is_whole:
                return ALTERED
        if not copy.exists():
            return "" if original.exists() else MISSING
        return "" if copy.is_file() and packed.sha256_of(copy) == file.sha256 else UNREADABLE
    except packed.Broken:
        return UNREADABLE
    except OSError:
        return CLOSED
