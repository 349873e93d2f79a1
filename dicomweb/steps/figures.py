"""What operators watch of performed procedure steps on their way to the RIS, as Prometheus figures; read from
the index when they are asked for."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dicomweb.index.contract import Index

PREFIX = "teledossier_steps"


@dataclass(frozen=True, slots=True)
class StepFigures(Collector):
    """One series for each system that was not told something, by its Endpoint's id. Registered once."""

    index: Index

    def collect(self) -> Iterator[Metric]:
        try:
            found = self.index.tellings.backlogs()
        except sqlite3.Error:
            return
        now = time.time_ns() // 1000
        waiting = GaugeMetricFamily(f"{PREFIX}_waiting", "Messages that wait to be told", labels=["system"])
        oldest = GaugeMetricFamily(
            f"{PREFIX}_oldest_seconds", "How long the oldest has waited", labels=["system"]
        )
        refused = GaugeMetricFamily(
            f"{PREFIX}_refused", "Messages that the system does not take", labels=["system"]
        )
        for id, one in found.items():
            waiting.add_metric([id], one.waiting)
            oldest.add_metric([id], (now - one.oldest) / 1e6 if one.waiting else 0)
            refused.add_metric([id], one.refused)
        yield from (waiting, oldest, refused)
