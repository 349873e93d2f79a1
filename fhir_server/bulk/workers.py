"""Preparing in several processes: each has its own engine; results come back in the order of the pieces.

A process answers one piece at a time over its pipe. Some pieces are always under way, so neither the
processes nor the writer wait for each other, and memory stays flat.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from fhir_server.bulk.preparing import Prepared, Preparer
from fhir_server.bulk.sources import Chunk
from fhir_server.interactions.engine import Engine
from profiles.outcomes import Unavailable

AHEAD = 2  # pieces under way for each process
Opened = Callable[[], AbstractAsyncContextManager[Engine]]
"""Opens an engine; it is called in the other process, so it can be pickled."""


async def here(preparer: Preparer, chunks: Iterable[Chunk]) -> AsyncIterator[tuple[Chunk, list[Prepared]]]:
    """Without other processes."""
    for chunk in chunks:
        yield chunk, await preparer.chunk(chunk)


class Workers:
    """`number` processes, from `start` to `stop`."""

    def __init__(self, number: int, opened: Opened) -> None:
        self._number, self._opened = number, opened
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(number, "load")

    def start(self) -> None:
        """Processes that are ready as soon as they have imported what they need."""
        for _ in range(self._number):
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_run, args=(theirs, self._opened), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)
            self._free.put(ours)

    def stop(self) -> None:
        """They end when their pipe does."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    async def prepared(self, chunks: Iterable[Chunk]) -> AsyncIterator[tuple[Chunk, list[Prepared]]]:
        """Each piece with what became of it, in order. Raises Unavailable when a process died."""
        under_way: deque[tuple[Chunk, Future[list[Prepared]]]] = deque()
        for chunk in chunks:
            under_way.append((chunk, self._threads.submit(self._ask, chunk)))
            if len(under_way) >= AHEAD * self._number:
                first, future = under_way.popleft()
                yield first, await asyncio.wrap_future(future)
        for chunk, future in under_way:
            yield chunk, await asyncio.wrap_future(future)

    def _ask(self, chunk: Chunk) -> list[Prepared]:
        pipe = self._free.get()
        try:
            pipe.send(chunk)
            answer: list[Prepared] = pipe.recv()
        except (EOFError, OSError) as error:
            raise Unavailable("worker-lost", "a loading process ended; start the load again") from error
        finally:
            self._free.put(pipe)
        return answer


def _run(pipe: Connection, opened: Opened) -> None:
    """The other process: until the pipe is closed. An interrupt is the first process's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(pipe, opened))


async def _serve(pipe: Connection, opened: Opened) -> None:
    async with opened() as engine:
        preparer = Preparer(engine)
        while True:
            try:
                chunk = pipe.recv()
            except EOFError:
                return
            pipe.send(await preparer.chunk(chunk))
