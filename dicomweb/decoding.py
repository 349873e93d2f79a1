"""Decompressing frames in child processes: a codec that crashes on hostile data kills a child, nothing else.

The pool is small, made at the first compressed frame, and made anew when a child dies or does not come back
in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from profiles.outcomes import NotAcceptable

WORKERS = 2
SECONDS = 20.0
MEMORY = 2_000_000_000  # bytes of address space that a child may use beyond what it starts with
MAX_FRAME = 400_000_000  # bytes of one decoded frame


@dataclass(frozen=True, slots=True)
class Pixels:
    """One decoded frame: little-endian samples as numpy would store them."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]
    photometric: str


class Decoder:
    """The pool of children."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    async def decode(self, path: Path, frame: int, *, colours: bool) -> Pixels:
        """Frame `frame` (1 is the first); `colours`: converted to RGB, else as the codec gives it. Raises
        NotAcceptable when it cannot be decoded here."""
        pool = self._get()
        try:
            found = await asyncio.wait_for(
                asyncio.get_running_loop().run_in_executor(pool, decode_frame, str(path), frame, colours),
                SECONDS,
            )
        except (TimeoutError, BrokenProcessPool) as error:
            self._drop(pool)
            raise NotAcceptable("cannot-decode", "this frame cannot be decoded here") from error
        if found is None:
            raise NotAcceptable("cannot-decode", "this frame cannot be decoded here")
        return found

    def _get(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=limit_memory
                )
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool:
            pool.shutdown(wait=True, cancel_futures=True)


def limit_memory() -> None:
    """In the child: bounded address space, no core files."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def decode_frame(path: str, frame: int, colours: bool) -> Pixels | None:
    """In the child. None when no codec here reads it; a crash is the parent's BrokenProcessPool."""
    import warnings

    import numpy
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            head = dcmread(path, stop_before_pixels=True, defer_size=1_000_000)
            samples = int(head.get("SamplesPerPixel", 1))
            if int(head.Rows) * int(head.Columns) * samples * int(head.BitsAllocated) // 8 > MAX_FRAME:
                return None
            array = pixel_array(path, index=frame - 1, raw=not colours)
        except Exception:
            return None
    photometric = str(head.get("PhotometricInterpretation", "MONOCHROME2"))
    if colours and samples == 3:
        photometric = "RGB"
    array = numpy.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    return Pixels(array.tobytes(), array.dtype.str, array.shape, photometric)
