"""The record half of the store's contract in memory, on a clock that a test turns by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smart_launch.clock import SECOND


@dataclass
class Clock:
    """UTC microseconds, standing still until moved."""

    at: int = 1_790_000_000 * SECOND

    def __call__(self) -> int:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


@dataclass
class MemoryRecords:
    """Records as JSON values with an expiry; `seq` stands for the resources' latest write."""

    clock: Clock
    seq: int = 1
    kept: dict[tuple[str, str], tuple[dict[str, Any], int | None]] = field(default_factory=dict)
    writes: int = 0

    async def put_record(
        self,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        expires: int | None = None,
        only_if_absent: bool = False,
    ) -> bool:
        if only_if_absent and await self.get_record(kind, key) is not None:
            return False
        self.writes += 1
        self.kept[kind, key] = (copy.deepcopy(dict(value)), expires)
        return True

    async def get_record(self, kind: str, key: str) -> dict[str, Any] | None:
        value, expires = self.kept.get((kind, key), (None, None))
        if value is None or (expires is not None and expires <= self.clock()):
            return None
        return copy.deepcopy(value)

    async def take_record(self, kind: str, key: str) -> dict[str, Any] | None:
        value = await self.get_record(kind, key)
        self.kept.pop((kind, key), None)
        return value

    async def delete_record(self, kind: str, key: str) -> bool:
        return self.kept.pop((kind, key), None) is not None

    async def list_records(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        return [(key, value) for (found, key), (value, _) in self.kept.items() if found == kind]

    async def latest(self) -> int:
        return self.seq
