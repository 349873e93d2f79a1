"""Exams that a site's rule says to keep no longer: masked with a trace, then purged with the other masked
files.

An exam is due when its site has a rule, each télédossier that it is attached to (also as a prior) is
closed, and the time of the rule has passed since the last of: its newest image, the last change of those
télédossiers. One that no télédossier has is due by its newest image alone. Never due: an exam of an open
télédossier, one that a person is asked about, one that a transfer or a wish still needs, one that is not
recorded yet.

    Index.kept_long → ImagingStudy.basedOn → each ServiceRequest → Due → Index.mask → the worker withdraws the
    ImagingStudy, with a Provenance → purge
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from dicomweb.index.contract import EXPIRY, Index, Study, Trace
from fhir_server.amounts import of_site
from fhir_server.clock import utc_microseconds
from profiles.outcomes import Gone, NotFound

log = logging.getLogger(__name__)

CLOSED = frozenset({"completed", "revoked", "entered-in-error"})
EACH = 6 * 3600.0  # seconds between the beginnings of two rounds
PAGE = 100


class Reading(Protocol):
    """What is needed of the FHIR store."""

    async def read(self, type: str, id: str) -> dict[str, Any]: ...

    async def search(
        self, type: str, params: Sequence[tuple[str, str]] = (), *, limit: int = 1000
    ) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Due:
    """An exam to be masked: its site, how many instances, and since when its time runs (UTC microseconds)."""

    study: str
    site: str
    instances: int
    since: int


@dataclass(frozen=True, slots=True)
class Retention:
    """`await Retention(…).run(stop)`. `rules`: site → seconds; `is_wanted`: whether work in hand needs the
    study."""

    index: Index
    fhir: Reading
    is_wanted: Callable[[str], bool]
    rules: Mapping[str, float]
    now: Callable[[], int] = utc_microseconds

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; without a rule nothing is done."""
        while self.rules and not stop.is_set():
            began = time.monotonic()
            try:
                await self.apply()
            except Exception:
                log.exception("retention of images failed; it is tried again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(1.0, began + EACH - time.monotonic()))

    async def apply(self) -> int:
        """Mask what is due; returns how many exams."""
        done = 0
        async for due in self.due():
            day = f"{datetime.fromtimestamp(due.since / 1e6, UTC):%Y-%m-%d}"
            reason = f"the time that {due.site or 'its site'} keeps exams is over, since {day}"
            trace = Trace(self.now(), EXPIRY, reason)
            done += await asyncio.to_thread(self.index.mask, (due.study, None, None), trace) > 0
        if done:
            log.info("%d exams were put out of sight by their sites' rules of retention", done)
        return done

    async def due(self) -> AsyncIterator[Due]:
        """What `apply` would mask now, by the age of the rows; nothing is changed."""
        if not self.rules:
            return
        now, last = self.now(), 0
        newest = now - int(min(self.rules.values()) * 1e6)
        asked = await self._asked()
        while found := await asyncio.to_thread(self.index.kept_long, newest, last, PAGE):
            last = found[-1][0]
            for _number, study in found:
                since = await self._since(study, now)
                if since is not None and f"ImagingStudy/{study.uid}" not in asked:
                    yield Due(study.uid, study.source, study.instance_count, since)

    async def _since(self, study: Study, now: int) -> int | None:
        """Since when its time runs, when it is over; else None."""
        kept = of_site(self.rules, study.source)
        oldest = now - int(kept * 1e6) if kept is not None else -1
        if study.last_received >= oldest or study.last_seq > study.processed_seq:
            return None
        try:
            current = await self.fhir.read("ImagingStudy", study.uid)
        except (NotFound, Gone):
            return None
        since = study.last_received
        for reference in (str(one.get("reference", "")) for one in current.get("basedOn", ())):
            ended = await self._ended(reference)
            if ended is None:
                return None
            since = max(since, ended)
        if since >= oldest or await asyncio.to_thread(self.is_wanted, study.uid):
            return None
        return since

    async def _ended(self, reference: str) -> int | None:
        """When the télédossier was last changed, when it is closed; 0 when it is gone; None while it is
        open, or when it cannot be told what is meant."""
        type, _, id = reference.partition("/")
        if type != "ServiceRequest":
            return None
        try:
            request = await self.fhir.read(type, id)
        except (NotFound, Gone):
            return 0
        if request.get("status") not in CLOSED:
            return None
        return int(datetime.fromisoformat(request["meta"]["lastUpdated"]).timestamp() * 1e6)

    async def _asked(self) -> frozenset[str]:
        """The exams that a person is asked about."""
        query = [("code", "associate-exam"), ("status", "requested")]
        tasks = await self.fhir.search("Task", query, limit=100_000)
        parts = [part for task in tasks for part in task.get("input", ())]
        return frozenset(str(part.get("valueReference", {}).get("reference", "")) for part in parts)
