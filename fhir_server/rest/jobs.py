"""A job's address: how far it is, what came of it, its files; DELETE stops it or removes what it made.

Only who asked for it sees it; for everyone else it is not there. Bulk Data Access IG 2.0.0
export.html#bulk-data-status-request; FHIR R4 async.html
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson

from fhir_server.interactions.engine import Engine
from fhir_server.jobs.record import Job
from fhir_server.jobs.runner import folder_of
from fhir_server.rest.answer import Answer, Call
from fhir_server.rest.binary import FileAnswer
from profiles import codec
from profiles.outcomes import NotFound

RETRY = "1"  # seconds
_NAME = re.compile(r"[A-Za-z]{1,64}\.[0-9]{1,6}\.ndjson")
_PIECE = 1 << 18
_PARTS = ("output", "deleted", "error")


async def status(engine: Engine, call: Call) -> Answer:
    """GET _job/[id]"""
    job = await _mine(engine, call)
    if job.state == "waiting":
        return Answer(202, headers={"X-Progress": job.progress or "waiting", "Retry-After": RETRY})
    if job.state == "failed":
        return Answer(int(job.result["status"]), codec.dump(job.result["outcome"]))
    expires = format_datetime(datetime.fromtimestamp(job.expires / 1_000_000, UTC), usegmt=True)
    body = orjson.dumps(_manifest(engine, job))
    return Answer(200, body, {"Content-Type": "application/json", "Expires": expires})


def _manifest(engine: Engine, job: Job) -> dict[str, Any]:
    """The result, its files as addresses."""
    base = f"{engine.settings.fhir_base}/_job/{job.id}"
    return {
        "requiresAccessToken": True,
        **job.result,
        **{part: [_addressed(base, each) for each in job.result.get(part, [])] for part in _PARTS},
    }


def _addressed(base: str, part: dict[str, Any]) -> dict[str, Any]:
    """A file of the job by its address; what an import says of its inputs stays as it is."""
    if "file" not in part:
        return part
    return {"url": f"{base}/{part['file']}", **{key: value for key, value in part.items() if key != "file"}}


async def cancel(engine: Engine, call: Call) -> Answer:
    """DELETE _job/[id]: 202; from now on it is not there."""
    job = await _mine(engine, call)
    await engine.jobs.cancel(job.id)
    return Answer(202)


async def file(engine: Engine, call: Call) -> FileAnswer:
    """GET _job/[id]/[file], streamed."""
    job = await _mine(engine, call)
    name = call.segments[2]
    path = folder_of(engine, job.id) / name
    if job.state != "done" or not _NAME.fullmatch(name) or not path.is_file():
        raise NotFound("no-such-file", "there is no such file of that job")
    headers = {"Content-Type": "application/fhir+ndjson", "Cache-Control": "no-store"}
    return FileAnswer(200, _read(path), path.stat().st_size, headers)


async def _mine(engine: Engine, call: Call) -> Job:
    job = await engine.jobs.find(call.segments[1])
    if job is None or job.access.subject != call.access.subject:
        raise NotFound("no-such-job", "there is no such job")
    return job


async def _read(path: Path) -> AsyncIterator[bytes]:
    handle = await asyncio.to_thread(os.open, path, os.O_RDONLY)
    try:
        while piece := await asyncio.to_thread(os.read, handle, _PIECE):
            yield piece
    finally:
        os.close(handle)
