"""Instances as one zip archive, streamed as it is made: memory flat whatever the study.

Nothing is compressed again: pixels that compress are better compressed by their transfer syntax. PS3.18
§10.4.4 (application/zip)
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator

from dicomweb.media import CHUNK, Part, pieces

ZIP = "application/zip"


class _Pending:
    """What the archive has written and nobody has sent yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, content: bytes) -> int:
        self._bytes += content
        return len(content)

    def flush(self) -> None:
        """Asked for by zipfile; there is nothing behind."""

    def __len__(self) -> int:
        return len(self._bytes)

    def taken(self) -> bytes:
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken


def zipped(parts: Iterable[Part]) -> Iterator[bytes]:
    """The archive's bytes: one entry a part, `{series}/{instance}.dcm`."""
    pending = _Pending()
    with zipfile.ZipFile(pending, "w") as archive:  # type: ignore[call-overload]
        for part in parts:
            with archive.open(zipfile.ZipInfo(_name(part)), "w", force_zip64=True) as entry:
                for piece in pieces(part.content):
                    entry.write(piece)
                    if len(pending) >= CHUNK:
                        yield pending.taken()
    yield pending.taken()


def _name(part: Part) -> str:
    """From the instance's address `…/series/{series}/instances/{instance}`."""
    series, _, instance = part.location.split("/")[-3:]
    return f"{series}/{instance}.dcm"
