"""Changed duplicates as pages show them: what came under the number of an image that is here. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from smart_launch.app import words
from smart_launch.app.views import times
from smart_launch.app.views.reading import Json, many


@dataclass(frozen=True, slots=True)
class Disputed:
    """Images that came alike: from one sender, different in the same way. `values`: their numbers."""

    sender: str
    received: str
    count: str
    differs: str
    values: tuple[int, ...]


def disputed(rows: Iterable[Json], zone: tzinfo) -> list[Disputed]:
    """In the order in which they came; those that are alike together."""
    alike: dict[tuple[str, tuple[str, ...]], list[Json]] = {}
    for row in rows:
        alike.setdefault((str(row.get("from", "")), tuple(map(str, many(row, "differs")))), []).append(row)
    made = []
    for (sender, tags), found in alike.items():
        first = min(int(one.get("received", 0)) for one in found)
        at = datetime.fromtimestamp(first / 1e6, UTC).astimezone(zone)
        count = len(found)
        made.append(
            Disputed(
                sender or words.UNKNOWN_SENDER,
                times.date_at_time(at),
                f"{count} image{'s' if count > 1 else ''}",
                ", ".join(map(_named, tags)) or words.PIXELS_DIFFER,
                tuple(int(one["number"]) for one in found),
            )
        )
    return made


def _named(tag: str) -> str:
    return words.ATTRIBUTES.get(tag, f"({tag[:4]},{tag[4:]})")
