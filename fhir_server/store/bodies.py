"""Bodies at rest: one zstd frame each. A frame names its dictionary, should one ever be trained."""

from __future__ import annotations

import threading

import zstandard

LEVEL = 3
LARGEST = 512 * 1024 * 1024  # bytes; a frame that claims more is damaged

_local = threading.local()  # a compression context may not be shared by threads


def packed(body: bytes | None) -> bytes | None:
    """None stays None: a tombstone."""
    if body is None:
        return None
    if not hasattr(_local, "pack"):
        _local.pack = zstandard.ZstdCompressor(level=LEVEL)
    return bytes(_local.pack.compress(body))


def unpacked(frame: bytes | None) -> bytes | None:
    if frame is None:
        return None
    if not hasattr(_local, "unpack"):
        _local.unpack = zstandard.ZstdDecompressor()
    return bytes(_local.unpack.decompress(frame, max_output_size=LARGEST))
