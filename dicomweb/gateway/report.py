"""What a gateway says of itself, every 30 s and after changes: `POST /gateway/health`, JSON.

    {"version": "1.4", "at": "2026-03-02T08:00:00Z", "delivered": "2026-03-02T07:59:40Z", "refused": 0,
     "waiting": {"instances": 3, "bytes": 1574000, "oldest": 12.5},
     "disk": {"free": 90000000000, "total": 250000000000},
     "steps": {"waiting": 1, "refused": 0}, "peers": [{"id": "pacs-auch", "reachable": true}]}

`at` is the gateway's own clock; `oldest` in seconds, `delivered` null before the first delivery, `refused`
the instances that the platform would not take and a person must look at; `steps` the messages of performed
procedure steps. What is outside is hostile: nothing
here names a patient, lengths and numbers are bounded, and an unknown key is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from profiles.outcomes import Invalid

MOST_PEERS = 50
LONGEST = 64  # characters of a version or an id
LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Reachable:
    """A system of the site as the gateway last found it. `id` is the Endpoint's, or an AE title."""

    id: str
    reachable: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Bytes, seconds, UTC microseconds; `delivered` 0 = nothing yet."""

    at: int
    version: str = ""
    waiting: int = 0
    waiting_bytes: int = 0
    oldest: float = 0.0
    refused: int = 0
    disk_free: int = 0
    disk_total: int = 0
    delivered: int = 0
    peers: tuple[Reachable, ...] = ()
    steps: int = 0
    steps_refused: int = 0

    def as_json(self) -> dict[str, Any]:
        """What `of_json` reads."""
        return {
            "version": self.version,
            "at": written(self.at),
            "waiting": {"instances": self.waiting, "bytes": self.waiting_bytes, "oldest": self.oldest},
            "refused": self.refused,
            "disk": {"free": self.disk_free, "total": self.disk_total},
            "delivered": written(self.delivered) if self.delivered else None,
            "steps": {"waiting": self.steps, "refused": self.steps_refused},
            "peers": [{"id": one.id, "reachable": one.reachable} for one in self.peers],
        }


def of_json(body: Mapping[str, Any]) -> Report:
    """Raises Invalid."""
    waiting, disk, peers = _object(body, "waiting"), _object(body, "disk"), body.get("peers", [])
    steps = _object(body, "steps")
    if not isinstance(peers, list) or len(peers) > MOST_PEERS:
        raise _wrong(f"peers is a list of at most {MOST_PEERS}")
    delivered = body.get("delivered")
    return Report(
        at=_instant(body.get("at")),
        version=_text(body.get("version", "")),
        waiting=int(_number(waiting, "instances")),
        waiting_bytes=int(_number(waiting, "bytes")),
        oldest=_number(waiting, "oldest"),
        refused=int(_number(body, "refused")),
        disk_free=int(_number(disk, "free")),
        disk_total=int(_number(disk, "total")),
        delivered=0 if delivered is None else _instant(delivered),
        peers=tuple(_reachable(one) for one in peers),
        steps=int(_number(steps, "waiting")),
        steps_refused=int(_number(steps, "refused")),
    )


def _reachable(value: object) -> Reachable:
    if not isinstance(value, Mapping) or not isinstance(value.get("reachable"), bool):
        raise _wrong("each of peers has an id and reachable, true or false")
    return Reachable(_text(value.get("id")), value["reachable"])


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, Mapping):
        raise _wrong(f"{name} is an object")
    return value


def _number(body: Mapping[str, Any], name: str) -> float:
    value = body.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise _wrong(f"{name} is a number, not negative")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise _wrong(f"version and ids are printable texts of at most {LONGEST} characters")
    return value


def _instant(value: object) -> int:
    """The year is looked at in UTC: what is kept is written so, and read again by these same rules."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        found = found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        found = None
    if found is None or not 1970 <= found.year < 9999:
        raise _wrong("at and delivered are instants with a time zone")
    return round(found.timestamp() * 1_000_000)


def written(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def _wrong(text: str) -> Invalid:
    return Invalid("bad-report", f"the report cannot be used: {text}")
