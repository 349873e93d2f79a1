"""Doing the jobs, in every serving process: whoever takes a job's lease does it.

One job at a time in each process. A process that is killed leaves a lease that expires; the job then begins
again, in another process or this one's successor. Requests come first: a work gives the event loop its turn
at each of its steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_server.interactions.engine import Engine
from fhir_server.jobs.record import SECOND, Job, Jobs
from profiles.outcomes import TeledossierError, operation_outcome

LOOK = 20.0  # seconds between two looks for what another process left
TELL = 2 * SECOND  # microseconds between two tellings of progress

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The job is not wanted any more."""


@dataclass(slots=True)
class Report:
    """What a work says while it goes on. `folder` is its own, empty at the start."""

    jobs: Jobs
    id: str
    folder: Path
    now: Callable[[], int]
    told: int = 0

    async def __call__(self, text: str) -> None:
        """At each step. Raises Cancelled."""
        if self.now() - self.told >= TELL:
            self.told = self.now()
            if await self.jobs.cancelled(self.id):
                raise Cancelled
            await self.jobs.tell(self.id, text)


Work = Callable[[Engine, Job, Report], Awaitable[Mapping[str, Any]]]


class Runner:
    """`start` and `stop` in the serving process. `works` by a job's kind."""

    def __init__(self, engine: Engine, works: Mapping[str, Work]) -> None:
        self._engine, self._works = engine, works
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """A job that is under way begins again in the next process."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        jobs = self._engine.jobs
        while True:
            try:
                await self.once()
            except Exception:
                log.exception("jobs could not be looked at")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(jobs.woken.wait(), LOOK)
            jobs.woken.clear()

    async def once(self) -> None:
        """Everything that waits and that nobody else does; then folders nobody wants are removed."""
        jobs = self._engine.jobs
        for id in await jobs.waiting():
            if await jobs.take(id):
                await self._do(id)
        known = await jobs.known()
        await asyncio.to_thread(_swept, folder_of(self._engine, ""), known)

    async def _do(self, id: str) -> None:
        jobs = self._engine.jobs
        job = await jobs.find(id)
        if job is None or job.state != "waiting":
            return
        folder = folder_of(self._engine, id)
        await asyncio.to_thread(_emptied, folder)
        try:
            work = self._works[job.kind]
            result = await work(self._engine, job, Report(jobs, id, folder, self._engine.now))
        except Cancelled:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        except TeledossierError as error:
            outcome = operation_outcome(error.issues)
            await jobs.end(id, "failed", {"status": error.status, "outcome": outcome})
        except Exception:
            log.exception("job of kind %s failed", job.kind)
            await jobs.end(id, "failed", {"status": 503, "outcome": _unknown()})
        else:
            await jobs.end(id, "done", result)


def folder_of(engine: Engine, id: str) -> Path:
    """Where a job's files are."""
    return engine.settings.files_path / "jobs" / id


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _swept(root: Path, known: frozenset[str]) -> None:
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def _unknown() -> dict[str, Any]:
    issue = {"severity": "error", "code": "exception", "diagnostics": "the job failed; see the server's log"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
