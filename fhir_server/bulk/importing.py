"""The work of `$import`: each input loaded as a file is, prepared in a process of its own.

An import that was cut off begins again and goes on at the line it had reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from fhir_server.access import SYSTEM
from fhir_server.bulk.load import Counts, load
from fhir_server.bulk.preparing import Prepared
from fhir_server.bulk.sources import Chunk
from fhir_server.bulk.workers import Workers
from fhir_server.interactions import content, prepare
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.visibility import current
from fhir_server.jobs.record import Job
from fhir_server.jobs.runner import Report
from fhir_server.settings import Settings
from profiles import codec
from profiles.outcomes import Issue, Unavailable, operation_outcome

REASONS = 10_000
"""Refusals that are told one by one."""
LARGEST = 1_600_000_000
TIMEOUT = httpx.Timeout(30.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class Input:
    """NDJSON of one type, at this server's `Binary/[id]` or at an address."""

    type: str
    url: str

    def binary(self, fhir_base: str) -> str:
        """The id of the Binary, empty for an address elsewhere."""
        type, _, id = self.url.removeprefix(f"{fhir_base}/").partition("/")
        return id if type == "Binary" else ""


async def import_(
    opened: Callable[[Settings], AbstractAsyncContextManager[Engine]],
    engine: Engine,
    job: Job,
    report: Report,
) -> Mapping[str, Any]:
    """The work. `opened` gives the other process its engine. The result holds the manifest's parts."""
    output: list[dict[str, Any]] = []
    outcomes: list[bytes] = []
    workers = Workers(1, partial(opened, engine.settings))
    workers.start()
    try:
        for type, url in job.request["inputs"]:
            counts = Counts(most=REASONS)
            file = await _file(engine, Input(type, url), report)
            read = partial(_of_type, workers, type)
            await load(engine, file, read, counts, lambda _: None, step=partial(_told, report, type, counts))
            output.append({"type": type, "inputUrl": url, "count": counts.total, **counts.numbers()})
            outcomes += [_outcome(url, place, reason) for _, place, reason in counts.reasons]
    finally:
        await asyncio.to_thread(workers.stop)
    error = []
    if outcomes:
        name = "OperationOutcome.1.ndjson"
        await asyncio.to_thread((report.folder / name).write_bytes, b"\n".join(outcomes) + b"\n")
        error = [{"type": "OperationOutcome", "file": name, "count": len(outcomes)}]
    at = prepare.instant(prepare.moment(engine))
    return {"transactionTime": at, "request": job.request["url"], "output": output, "error": error}


async def _told(report: Report, type: str, counts: Counts) -> None:
    await report(f"{type}: {counts.total} resources")


async def _of_type(workers: Workers, type: str, chunks: Any) -> AsyncIterator[tuple[Chunk, list[Prepared]]]:
    only = (Chunk(each.source, each.lines, each.document, type) for each in chunks)
    async for found in workers.prepared(only):
        yield found


async def _file(engine: Engine, input: Input, report: Report) -> Path:
    binary = input.binary(engine.settings.fhir_base)
    if not binary:
        return await _fetched(input.url, report)
    body = (await current(engine, SYSTEM, "Binary", binary)).body
    assert body is not None
    found = content.content_of(codec.parse(body))
    if found.data is None:
        return engine.files.path(found.sha256)
    path = report.folder / f"{binary}.ndjson"
    await asyncio.to_thread(path.write_bytes, found.data)
    return path


async def _fetched(url: str, report: Report) -> Path:
    """Raises Unavailable."""
    path = report.folder / "fetched.ndjson"
    size = 0
    try:
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise Unavailable("not-fetched", f"an input answered with the status {answer.status_code}")
            with path.open("wb") as file:
                async for piece in answer.aiter_bytes():
                    size += len(piece)
                    if size > LARGEST:
                        raise Unavailable("not-fetched", f"an input has more than {LARGEST} bytes")
                    await asyncio.to_thread(file.write, piece)
                    await report(f"fetching: {size} bytes")
    except httpx.HTTPError as error:
        raise Unavailable("not-fetched", f"an input could not be fetched: {type(error).__name__}") from error
    return path


def _outcome(url: str, place: int, reason: str) -> bytes:
    issue = Issue("error", "processing", "not-imported", f"{url}, line {place}: {reason}")
    return codec.dump(operation_outcome([issue]))
