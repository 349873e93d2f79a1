"""The node in several processes on one port: they inherit the listening sockets, and one that dies is started
again.

A connection that waits while a process dies is taken by another: the sockets are this process's, which does
nothing else. Each child stops when its standard input ends, so that none outlives this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dicomweb.dimse.lines import Lines, inherited, lines
from fhir_server.settings import Settings

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a process that died is started again
LASTING = 60.0  # one that ran so long has not died of its start
STOP_SECONDS = 25.0  # the node's own grace, and some
READY = b"ready\n"
YOUNG_OBJECTS = 20_000  # made since the last look for circles, before the next


@dataclass(frozen=True, slots=True)
class Plan:
    """How many processes; `command` starts one, with `--inherit` and the descriptors of its sockets after
    it. `inherit`: those descriptors, when this process is one of several."""

    command: Sequence[str]
    count: int = 1
    inherit: tuple[int, ...] = ()


async def run(settings: Settings, plan: Plan, stop: asyncio.Event, ready: Callable[[Lines], None]) -> None:
    """The node as planned, until `stop`. One process alone needs no supervisor. Raises OSError when a port
    is taken."""
    if plan.count > 1 and not plan.inherit:
        await supervise(settings, plan, stop, ready=ready)
        return
    from dicomweb.dimse import node  # a supervisor does without

    gc.freeze()  # what is loaded now stays: looking through it took 4 % of the time of a C-STORE
    gc.set_threshold(YOUNG_OBJECTS)
    if plan.inherit:
        stop_with_parent(stop)
        ours = inherited(plan.inherit)
        await node.serve(settings, stop, on=ours, ready=lambda _lines: print("ready", flush=True))
    else:
        await node.serve(settings, stop, ready=ready)


async def supervise(
    settings: Settings, plan: Plan, stop: asyncio.Event, *, ready: Callable[[Lines], None]
) -> None:
    """Run the node's processes until `stop`."""
    taken = lines(settings)
    started: asyncio.Queue[None] = asyncio.Queue()
    try:
        keepers = [asyncio.create_task(_keep(plan, taken, stop, started)) for _ in range(plan.count)]
        for _ in range(plan.count):
            await started.get()
        ready(taken)
        await asyncio.gather(*keepers)
    finally:
        taken.close()


async def _keep(plan: Plan, taken: Lines, stop: asyncio.Event, started: asyncio.Queue[None]) -> None:
    """One place among the processes: what stands in it is replaced when it dies."""
    wait = FIRST_WAIT
    while not stop.is_set():
        began = time.monotonic()
        process = await _start(plan.command, taken)
        try:
            await _watch(process, stop, started)
        finally:
            await _end(process)
        if stop.is_set():
            return
        wait = FIRST_WAIT if time.monotonic() - began > LASTING else min(2 * wait, LONGEST_WAIT)
        log.error("a node process ended with %s and is started again", process.returncode)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)


async def _start(command: Sequence[str], taken: Lines) -> asyncio.subprocess.Process:
    numbers = [str(one.fileno()) for one in (taken.plain, taken.tls) if one is not None]
    return await asyncio.create_subprocess_exec(
        *command, *(part for number in numbers for part in ("--inherit", number)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        pass_fds=[int(one) for one in numbers], start_new_session=True,
    )  # fmt: skip


async def _watch(
    process: asyncio.subprocess.Process, stop: asyncio.Event, started: asyncio.Queue[None]
) -> None:
    """Until it ends or we do."""
    assert process.stdout is not None
    stopping = asyncio.create_task(stop.wait())
    try:
        while True:
            line = asyncio.create_task(process.stdout.readline())
            await asyncio.wait({line, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not line.done():
                line.cancel()
                return
            if line.result() == READY:
                started.put_nowait(None)
            elif not line.result():
                await process.wait()
                return
    finally:
        stopping.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def stop_with_parent(stop: asyncio.Event) -> None:
    """In a child: the parent's end of our standard input closes with it."""
    loop = asyncio.get_running_loop()

    def closed() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), closed)
