"""How the gateway is: told to the platform every `health_seconds` and soon after changes, and written to
`state.json` in its folder for whoever stands before the machine.

The platform learns numbers, never a name; what stands apart is listed by UID on the gateway alone.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dicomweb.gateway.outgoing import Summary
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.report import Report
from dicomweb.gateway.settings import GatewaySettings
from dicomweb.gateway.steps import Counts, Steps
from dicomweb.peers.session import PeerError, Unreachable
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

HEALTH = "/gateway/health"
SOON = 2.0  # seconds between two reports at least
STATE = "state.json"
KEEP_ROWS_DAYS = 180.0  # how long a delivered instance that is sent again is known as delivered
CLEAN_SECONDS = 60.0
DAY = 86_400_000_000


def report(parts: Parts) -> Report:
    """What `POST /gateway/health` says."""
    found, now = parts.outbox.summary(), utc_microseconds()
    steps = Steps(parts.outbox).counts()
    disk = shutil.disk_usage(parts.files.root)
    return Report(
        at=now,
        version=_version(),
        waiting=found.waiting,
        waiting_bytes=found.waiting_bytes,
        oldest=max(0.0, (now - found.oldest) / 1e6) if found.oldest else 0.0,
        refused=found.apart,
        disk_free=disk.free,
        disk_total=disk.total,
        delivered=found.delivered,
        peers=parts.state.reachable(),
        steps=steps.waiting,
        steps_refused=steps.apart,
    )


def run(parts: Parts, stop: threading.Event) -> None:
    """The loop."""
    while not stop.is_set():
        heard, began = parts.bell.rung, time.monotonic()
        try:
            told = report(parts)
            _note_state(parts, told)
            _send(parts, told)
            parts.state.note("health", "")
        except PeerError as error:
            parts.state.note("health", error.slug)
            log.info("health: %s", error.slug)
        stop.wait(SOON)
        left = parts.settings.health_seconds - (time.monotonic() - began)
        while left > 0 and not stop.is_set() and parts.bell.wait(heard, min(left, 1.0)) == heard:
            left = parts.settings.health_seconds - (time.monotonic() - began)


def _note_state(parts: Parts, told: Report) -> None:
    """A disk that is full is what the platform must hear of: it is told all the same."""
    try:
        write_state(parts, told)
        parts.state.note("state", "")
    except OSError as error:
        parts.state.note("state", "not-written")
        log.warning("%s cannot be written: %s", STATE, error.strerror)


def _send(parts: Parts, told: Report) -> None:
    content = json.dumps(told.as_json()).encode()
    answer = parts.platform.request(
        "POST", HEALTH, content=content, headers={"Content-Type": "application/json"}
    )
    if not 200 <= answer.status < 300:
        raise Unreachable("health-refused", f"the platform answered {answer.status}")


def clean(parts: Parts, stop: threading.Event) -> None:
    """The loop that removes what was delivered long enough ago."""
    while not stop.is_set():
        now = utc_microseconds()
        parts.room.clean(now - int(parts.settings.keep_days * DAY))
        parts.outbox.forget(now - int(max(parts.settings.keep_days, KEEP_ROWS_DAYS) * DAY))
        Steps(parts.outbox).forget(now)
        stop.wait(CLEAN_SECONDS)


def write_state(parts: Parts, told: Report) -> None:
    """Replaced in one step, so that no reader sees half of it."""
    path = parts.settings.root / STATE
    written = {**told.as_json(), "problems": parts.state.said(), "pid": os.getpid()}
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    beside.replace(path)


def read_state(settings: GatewaySettings) -> dict[str, Any]:
    """What a gateway wrote last, {} when it never did."""
    try:
        found = json.loads((settings.root / STATE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _version() -> str:
    try:
        return version("teledossier")
    except PackageNotFoundError:
        return "development"


def lines(summary: Summary, steps: Counts, state: dict[str, Any], free: int) -> list[str]:
    """For `teledossier gateway status`."""
    now = utc_microseconds()
    age = f", the oldest since {(now - summary.oldest) // 1_000_000} s" if summary.oldest else ""
    made = [
        f"waiting    {summary.waiting} ({summary.urgent} urgent), {summary.waiting_bytes / 1e6:.1f} MB{age}",
        f"delivered  {summary.delivered_count}"
        + (f", last {(now - summary.delivered) // 1_000_000} s ago" if summary.delivered else ""),
        f"apart      {summary.apart}",
        f"steps      {steps.waiting} waiting, {steps.apart} apart",
        f"kept       {summary.kept_bytes / 1e6:.1f} MB here, {free / 1e9:.1f} GB free",
    ]
    problems = state.get("problems")
    problems = problems if isinstance(problems, dict) else {}
    made += [f"problem    {loop}: {slug}" for loop, slug in sorted(problems.items())]
    return made
