"""The worker's slow rounds over stored files: compress, scan, purge, each at its own pace, none needed for
an answer.

Each step is derived from the index and repeated without harm, so several workers may run and any may be
killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index
from dicomweb.storage import packing, purging, scanning
from fhir_server.clock import utc_microseconds
from fhir_server.settings import Settings

log = logging.getLogger(__name__)

ROUND = 10.0  # seconds between the beginnings of two rounds
PACKING = 4.0  # seconds of a round that may go to compressing
OPENED = 900.0  # seconds that an expanded file is kept after its last reader


@dataclass(frozen=True, slots=True)
class Upkeep:
    """`await Upkeep(…).run(stop)`."""

    index: Index
    files: DicomFiles
    settings: Settings
    now: Callable[[], int] = utc_microseconds

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        while not stop.is_set():
            began = time.monotonic()
            for step in (self.pack, self.scan, self.purge, self.tidy):
                try:
                    await asyncio.to_thread(step)
                except Exception:
                    log.exception("upkeep of the image files failed; it is tried again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(1.0, began + ROUND - time.monotonic()))

    def pack(self) -> None:
        """Compress what is old enough, for a part of the round."""
        age, until = self.settings.compress_seconds, time.monotonic() + PACKING
        while age is not None and time.monotonic() < until:
            if packing.step(self.index, self.files, self.now() - int(age * 1e6), 5) is None:
                return

    def scan(self) -> None:
        """Read on, at the rate that is set."""
        if self.settings.scan_bytes:
            scanning.step(self.index, self.files, int(self.settings.scan_bytes * ROUND), self.now())

    def purge(self) -> None:
        """Remove the files of what was masked long ago."""
        grace = self.settings.purge_seconds
        if grace is not None:
            done = purging.step(self.index, self.files, self.now() - int(grace * 1e6), self.now())
            if done:
                log.info("the files of %d masked instances were removed", done)

    def tidy(self) -> None:
        """Expanded files that nobody reads any more."""
        self.files.close_opened(OPENED)
