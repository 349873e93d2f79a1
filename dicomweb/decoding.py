"""Work with native codecs in child processes: one that crashes on hostile data kills a child, nothing else.

The pool is small, made at the first need, and made anew when a child dies or does not come back in time.
Calls block and are safe from several threads; endpoints call them in worker threads.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomweb.attributes import Attributes, integer
from fhir_server.parent import leave_with_parent
from profiles.outcomes import NotAcceptable

WORKERS = 2
SECONDS = 20.0
SECONDS_A_FRAME = 0.5
MEMORY = 2_000_000_000  # bytes of address space that a child may use beyond what it starts with
_IMAGE = ("00280002", "00280004", "00280006", "00280008", "00280010", "00280011", "00280100", "00280101",
"00280102", "00280103")  # fmt: skip


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

    def decode(self, data: bytes, syntax: str, attributes: Attributes, *, colours: bool) -> Pixels:
        """One compressed frame; `colours`: converted to RGB, else as the codec gives it. Raises
        NotAcceptable."""
        pixels: Pixels = self._call(SECONDS, "decode", data, syntax, _image(attributes), colours)
        return pixels

    def decode_file(self, path: Path, number: int, *, colours: bool) -> Pixels:
        """The same for a frame that cannot be told apart in its file (deflated datasets). Raises
        NotAcceptable."""
        pixels: Pixels = self._call(SECONDS, "decode_file", str(path), number, colours)
        return pixels

    def recode(self, data: bytes, syntax: str, attributes: Attributes, target: str) -> bytes:
        """One frame in another transfer syntax. Raises NotAcceptable."""
        made: bytes = self._call(SECONDS, "recode", data, syntax, _image(attributes), target)
        return made

    def transcode(self, source: Path, where: bytes, attributes: Attributes, target: str, to: Path) -> None:
        """A whole instance in another transfer syntax, written to `to`. Raises NotAcceptable."""
        image = _image(attributes)
        frames = integer(image, "00280008") or 1
        seconds = SECONDS + SECONDS_A_FRAME * min(frames, 2000)
        self._call(seconds, "transcode", str(source), where, image, target, str(to))

    def picture(self, path: Path) -> Any:
        """A photograph (`creating.Picture`). Raises NotAcceptable."""
        return self._call(SECONDS, "picture", str(path))

    def warm(self) -> None:
        """Start a child now, if there is none, without waiting: its imports take a third of a second."""
        if self.is_cold:
            with contextlib.suppress(RuntimeError, BrokenProcessPool):
                self._get().submit(_in_child, "register")

    @property
    def is_cold(self) -> bool:
        return self._pool is None

    def _call(self, seconds: float, work: str, *arguments: object) -> Any:
        pool = self._get()
        try:
            found = pool.submit(_in_child, work, *arguments).result(seconds)
        except (NotInTime, BrokenProcessPool, CancelledError) as error:
            self._drop(pool)
            raise _cannot() from error
        except RuntimeError as error:  # another thread has just dropped this pool
            raise _cannot() from error
        if not found:
            raise _cannot()
        return found

    def _get(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_settle
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


def _in_child(work: str, *arguments: object) -> object:
    """The codecs are imported by the children alone: a restarted web tier answers without waiting for
    them."""
    from dicomweb import codecs

    try:
        return getattr(codecs, work)(*arguments)
    except BaseException:  # a panic of a native codec is no Exception, and cannot travel back either
        return None


def _image(attributes: Attributes) -> dict[str, object]:
    """What a codec needs to know: no patient data goes to a child."""
    return {tag: attributes[tag] for tag in _IMAGE if tag in attributes}


def _cannot() -> NotAcceptable:
    return NotAcceptable("cannot-decode", "these pixels cannot be decoded or encoded here as asked")


def _settle() -> None:
    """In the child, before its first work."""
    leave_with_parent(lambda: os._exit(1))
    limit_memory()


def limit_memory() -> None:
    """In the child: bounded address space, no core files, and silence: a native codec that stumbles on
    hostile data writes pages to the error output."""
    import resource

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    with contextlib.suppress(ValueError, OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
