"""Several processes as one: started together, restarted when one dies, stopped to the last.

Children get SIGTERM and, after a grace, SIGKILL. On Linux the kernel also ends them should this process
itself be killed, so that nothing is ever left running.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

GRACE = 8.0  # seconds between SIGTERM and SIGKILL
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Program:
    """One process: its name for messages, its arguments after the interpreter, whether it is started
    again."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    lasting: bool = True


class Supervisor:
    """Runs programs until `stop`; `say` gets one line for each death and restart."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    def start(self, program: Program) -> asyncio.Task[None]:
        """Begin running and watching a program. The task ends with a program that is not lasting."""
        task = asyncio.create_task(self._keep(program), name=program.name)
        self._tasks.append(task)
        return task

    async def stop(self) -> None:
        """End all programs and wait until they are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, program: Program) -> None:
        pause = 0.5
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **program.environment},
                # Ctrl-C is to reach this process alone, which then stops the others.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
            self._processes[program.name] = process
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await _end(process)
                raise
            if not program.lasting:
                if code:
                    self._say(f"{program.name} ended with code {code}")
                return
            self._say(f"{program.name} ended with code {code}; started again")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL after the grace."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
