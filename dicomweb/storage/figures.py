"""What operators watch of the stored images, as Prometheus figures; read from the index when they are asked
for."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index
from dicomweb.storage import scanning

PREFIX = "teledossier_images"


@dataclass(frozen=True, slots=True)
class Figures(Collector):
    """Registered once; a figure that cannot be read is left out."""

    index: Index
    files: DicomFiles

    def collect(self) -> Iterator[Metric]:
        try:
            yield from self._collected()
        except (sqlite3.Error, OSError):
            return

    def _collected(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(f"{PREFIX}_bytes", "Bytes of images as they came, by site", labels=["site"])
        count = GaugeMetricFamily(f"{PREFIX}_instances", "Instances, by site", labels=["site"])
        for site, usage in self.index.usage().items():
            used.add_metric([site], usage.bytes)
            count.add_metric([site], usage.instances)
        quota = GaugeMetricFamily(f"{PREFIX}_quota_bytes", "Quota, by site (*: every other)", labels=["site"])
        for site, allowed in self.files.quotas.items():
            quota.add_metric([site], allowed)
        yield from (used, count, quota)
        yield _one("damaged", "Files missing, altered or of no instance, as the last scans saw them",
                   len(self.index.damaged()))  # fmt: skip
        yield _one("scan_ended_seconds", "When the last whole scan ended, UTC (0: never)",
                   self.index.get_mark(scanning.ENDED) / 1e6)  # fmt: skip
        yield _one("free_bytes", "Bytes free where the images are", shutil.disk_usage(self.files.root).free)


def _one(name: str, text: str, value: float) -> Metric:
    figure = GaugeMetricFamily(f"{PREFIX}_{name}", text)
    figure.add_metric([], value)
    return figure
