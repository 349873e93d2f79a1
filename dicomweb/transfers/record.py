"""What a transfer is: one study (or some of its series) from a peer to here, or from here to a peer; or a
note by which a peer learns that what it got is to be withdrawn ("reject", whose `series` is the note's UID).

    waiting ── item by item ──▶ done       every instance is there and was verified
       │  ▲                  ├▶ partial    some instances are named that are not
       │  └── broke: later ──┴▶ failed     nothing came through, and it was tried often enough
       └──────────────────────▶ cancelled  by a person

Times are UTC microseconds, sizes bytes, rates bytes per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["import", "relay", "reject"]
State = Literal["waiting", "done", "partial", "failed", "cancelled"]
ItemState = Literal["waiting", "done", "failed"]
Proof = Literal["", "presence", "content", "committed"]
"""How it is known that the receiver has an instance: it lists it, it was read back and compared, the receiver
took responsibility for it (storage commitment); "": it was acknowledged when it came, no more."""
URGENCIES: Mapping[str, int] = {"stat": 0, "asap": 1, "urgent": 1, "routine": 2}
VITAL = 0


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked. `peer` is an Endpoint's id; `series` empty = all; `request` a ServiceRequest's id or "";
    `asker` who asked, "System" for the platform. The same order twice is one transfer while it is not
    over."""

    kind: Kind
    peer: str
    study: str
    urgency: int
    request: str = ""
    asker: str = "System"
    series: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return "|".join((self.kind, self.peer, self.study, self.request, *sorted(self.series)))


@dataclass(frozen=True, slots=True)
class Transfer:
    """How an order stands. `reason` is the slug of what went wrong last; `rate` a moving average."""

    id: str
    order: Order
    created: int
    state: State = "waiting"
    reason: str = ""
    attempts: int = 0
    not_before: int = 0
    listed: bool = False
    total: int = 0
    done: int = 0
    failed: int = 0
    bytes: int = 0
    bytes_total: int = 0
    rate: float = 0.0
    started: int = 0
    ended: int = 0

    @property
    def left(self) -> float | None:
        """Seconds that remain at the present pace; None while that cannot be said."""
        remaining = self.total - self.done - self.failed
        if self.state != "waiting" or not self.rate or not self.done:
            return None
        return remaining * (self.bytes / self.done) / self.rate


@dataclass(frozen=True, slots=True)
class Item:
    """One instance. `source`, `sent`, `stored`: SHA-256 of its dataset (without file meta information) where
    it came from, as it was sent where that differs (coerced identity), and where it went; "" while unknown.
    `proof`: how `stored`, or that it is there at all, is known."""

    series: str
    instance: str
    sop_class: str = ""
    state: ItemState = "waiting"
    reason: str = ""
    size: int = 0
    source: str = ""
    stored: str = ""
    attempts: int = 0
    sent: str = ""
    proof: Proof = ""
