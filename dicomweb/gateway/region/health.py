"""What the region knows of its gateways: the last report, the last sign of life, and an hour's worst of each
hour for two weeks; and what of it is an alarm.

    never        it has never been seen
    silent       not seen for two minutes
    waiting      an instance has waited for delivery for more than a quarter of an hour
    disk         less than a tenth of its disk is free
    refused      the platform did not take instances: a person must look
    clock        its clock is more than a minute off ours

A report is on disk when it is acknowledged. Times are UTC microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from dicomweb.gateway.region.board import Board
from dicomweb.gateway.report import Report, of_json
from profiles.outcomes import Invalid

Alarm = Literal["never", "silent", "waiting", "disk", "refused", "steps", "clock"]
SECOND = 1_000_000
HOUR = 3600 * SECOND
KEPT = 14 * 24  # hours
SILENT = 120 * SECOND
WAITING = 15 * 60.0  # seconds
DISK = 0.1
CLOCK = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Hour:
    """The worst of one hour; `disk` is the least part that was free, 1 = all."""

    start: int
    reports: int
    waiting: int
    oldest: float
    refused: int
    disk: float


@dataclass(frozen=True, slots=True)
class Health:
    """`seen` 0 = never; `reported` when the last report came."""

    seen: int = 0
    reported: int = 0
    report: Report | None = None

    def alarms(self, now: int) -> list[Alarm]:
        """What a person should look at, the worst first."""
        if not self.seen:
            return ["never"]
        found: list[Alarm] = ["silent"] if now - self.seen > SILENT else []
        if (report := self.report) is not None:
            state: Mapping[Alarm, bool] = {
                "waiting": report.waiting > 0 and report.oldest > WAITING,
                "disk": _free(report) < DISK,
                "refused": report.refused > 0,
                "steps": report.steps_refused > 0,
                "clock": abs(report.at - self.reported) > CLOCK,
            }
            found += [name for name, is_so in state.items() if is_so]
        return found


def _free(report: Report) -> float:
    return report.disk_free / report.disk_total if report.disk_total else 1.0


def note(board: Board, gateway: str, report: Report, now: int) -> None:
    """Keep a report; durable when it returns."""
    body = orjson.dumps(report.as_json()).decode()
    with board.writing() as connection:
        connection.execute(
            "INSERT INTO gateway(id, seen, reported, report) VALUES(?1, ?2, ?2, ?3) ON CONFLICT DO UPDATE "
            "SET seen = ?2, reported = ?2, report = ?3",
            (gateway, now, body),
        )
        connection.execute(
            "INSERT INTO hour VALUES(?, ?, 1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET reports = reports + 1, "
            "waiting = max(waiting, excluded.waiting), oldest = max(oldest, excluded.oldest), "
            "refused = max(refused, excluded.refused), disk = min(disk, excluded.disk)",
            (gateway, now // HOUR, report.waiting, report.oldest, report.refused, _free(report)),
        )
        connection.execute("DELETE FROM hour WHERE gateway = ? AND hour < ?", (gateway, now // HOUR - KEPT))


def healths(board: Board) -> dict[str, Health]:
    """Of every gateway that was ever seen, by Endpoint id."""
    rows = board.rows("SELECT id, seen, reported, report FROM gateway")
    return {str(row[0]): Health(row[1], row[2], _report(row[3])) for row in rows}


def history(board: Board, gateway: str) -> Sequence[Hour]:
    """The oldest hour first."""
    rows = board.rows(
        "SELECT hour, reports, waiting, oldest, refused, disk FROM hour WHERE gateway = ? ORDER BY hour",
        (gateway,),
    )
    return [Hour(row[0] * HOUR, *row[1:]) for row in rows]


def _report(text: str) -> Report | None:
    """None for one that cannot be read any more: one gateway does not hide the others."""
    body: Any = orjson.loads(text) if text else None
    try:
        return of_json(body) if body else None
    except Invalid:
        return None
