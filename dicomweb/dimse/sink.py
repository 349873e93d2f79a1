"""Where a received instance goes: the one thing in which the platform's node and a site's gateway differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index, Outcome
from dicomweb.ingest import Arrival, ingest


class Sink(Protocol):
    """Takes over a spooled Part 10 file: when it returns, the instance is durable and is acknowledged; the
    file is gone from the spool in every case. "conflict" is acknowledged with a warning. Raises Refused,
    whose reason is the status. Called in several threads at once."""

    def __call__(self, spooled: Path, arrival: Arrival) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Archive:
    """The platform's sink: checked, filed, indexed."""

    files: DicomFiles
    index: Index

    def __call__(self, spooled: Path, arrival: Arrival) -> Outcome:
        return ingest(spooled, arrival, self.files, self.index)
