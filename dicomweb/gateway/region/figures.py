"""The gateways' health for Prometheus, read from the board when it is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dicomweb.gateway.region.board import Board
from dicomweb.gateway.region.health import Health, healths
from dicomweb.gateway.report import Report
from fhir_server.clock import utc_microseconds

NAMES: Mapping[str, tuple[str, Callable[[Report], float]]] = {
    "waiting_instances": ("Instances that wait for delivery", lambda one: one.waiting),
    "waiting_bytes": ("Bytes that wait for delivery", lambda one: one.waiting_bytes),
    "oldest_seconds": ("How long the oldest has waited", lambda one: one.oldest),
    "refused_instances": ("Instances that the platform did not take", lambda one: one.refused),
    "disk_free_bytes": ("Free on its disk", lambda one: one.disk_free),
    "disk_bytes": ("Size of its disk", lambda one: one.disk_total),
}


@dataclass(frozen=True, slots=True)
class GatewayFigures(Collector):
    """One series for each gateway that was ever seen, by its Endpoint's id."""

    board: Board

    def collect(self) -> Iterable[GaugeMetricFamily]:
        try:
            found = healths(self.board)
        except (RuntimeError, sqlite3.Error):  # not open yet, or closed already
            return
        now = utc_microseconds()
        seen = _family("unseen_seconds", "Time since its last sign of life")
        alarms = _family("alarms", "How many alarms it has")
        for id, health in found.items():
            seen.add_metric((id,), (now - health.seen) / 1e6)
            alarms.add_metric((id,), len(health.alarms(now)))
        yield from (seen, alarms)
        for name, (text, value) in NAMES.items():
            yield _of_reports(_family(name, text), found, value)


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"teledossier_gateway_{name}", text, labels=("gateway",))


def _of_reports(
    family: GaugeMetricFamily, found: Mapping[str, Health], value: Callable[[Report], float]
) -> GaugeMetricFamily:
    for id, health in found.items():
        if health.report is not None:
            family.add_metric((id,), value(health.report))
    return family
