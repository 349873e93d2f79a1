"""What the index keeps of procedure steps: those to be done (work items), those that modalities performed,
and who is told of either.

PS3.4 §CC (Unified Procedure Step), §F (Modality Performed Procedure Step). Times are UTC microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from dicomweb.index.contract import Match
    from dicomweb.ups_events import Event


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A Unified Procedure Step. `owner` is its Transaction UID, "" while nobody has it; `studies` are those
    that it is about; `revision` rises with each change."""

    uid: str
    state: str
    owner: str
    studies: tuple[str, ...]
    attributes: Mapping[str, Any]
    revision: int = 0


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """A Modality Performed Procedure Step as its modality told it. `studies` are those it names; `ae_title`
    and `organisation` who told it; `changed` when (UTC microseconds); `revision` rises with each change."""

    uid: str
    state: str
    studies: tuple[str, ...]
    ae_title: str
    organisation: str
    attributes: Mapping[str, Any]
    changed: int
    revision: int = 0


@dataclass(frozen=True, slots=True)
class StepMessage:
    """An N-CREATE or N-SET of a performed procedure step as its modality said it: `body` is the dataset in
    the transfer syntax `syntax`. `source`: the name that a gateway gave it, "" when it came straight."""

    step: str
    kind: Literal["create", "set"]
    syntax: str
    body: bytes
    at: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class Telling:
    """A message (`number`, in the order they came) for one peer (the id of its Endpoint). `sent`: it may have
    been told before; `tries`: how often in vain."""

    number: int
    peer: str
    said: StepMessage
    state: Literal["waiting", "told", "refused"] = "waiting"
    sent: bool = False
    tries: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a peer was not told: messages that wait, since when (UTC microseconds, 0: none), and those it does
    not take."""

    waiting: int
    oldest: int
    refused: int


class Tellings(Protocol):
    """Messages and whom they are for. A message is written with the change that it made; its peers are
    settled later, in the order in which messages came. Of one step a peer is told one after the other."""

    def knows(self, source: str) -> bool:
        """Whether a gateway's message of that name was taken."""

    def fresh(self, limit: int = 100) -> list[tuple[int, StepMessage]]:
        """Those of which it is not settled yet whom they are for, with their numbers."""

    def recipients(self, step: str) -> list[str]:
        """The peers whom the step's creation is for."""

    def address(self, number: int, peers: Sequence[str]) -> None:
        """Settle it; a message for nobody is dropped."""

    def due(self, now: int) -> list[str]:
        """Peers with something to be told."""

    def next(self, peer: str, now: int) -> Telling | None:
        """The oldest that is due; no later one of a step of which an earlier one waits."""

    def begin(self, one: Telling) -> None:
        """It is being sent: from now on it may have been told."""

    def told(self, one: Telling) -> None: ...

    def refuse(self, one: Telling, reason: str) -> None:
        """The peer does not take it as it is. What follows a creation that is refused is not told either."""

    def later(self, one: Telling, reason: str, due: int) -> None:
        """It failed, as would whatever else waits for this peer: nothing is tried before `due`."""

    def backlogs(self) -> dict[str, Backlog]:
        """By peer, those with something."""

    def open(self, peer: str, limit: int = 200) -> list[Telling]:
        """What waits or was refused, oldest first, without its content."""

    def retry(self, peer: str) -> int:
        """What was refused waits again, and what waits is due; how many were refused."""

    def forget(self, before: int) -> int:
        """Drop messages of before that wait for nobody, refused ones too."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An AE title that is told of work items, and the subject of the Access that speaks for it."""

    ae_title: str
    owner: str


class Subscriptions(Protocol):
    """Who is told of which work items, and the events that wait to be told. Events come from `put_workitem`,
    in its transaction, in whichever process."""

    def subscribe(self, who: Subscriber, items: Sequence[WorkItem], lock: bool) -> bool:
        """To these; a new subscription begins with the state. False: the AE title is another's."""

    def subscribe_every(
        self, who: Subscriber, wanted: Sequence[Match], items: Sequence[WorkItem], lock: bool
    ) -> bool:
        """To these, and to those to come that fit `wanted`. False as above."""

    def unsubscribe(self, who: Subscriber, workitem: str) -> bool:
        """From one, or "" for all, those to come too. False as above."""

    def suspend(self, who: Subscriber) -> bool:
        """Not to those to come; False when that was not subscribed to."""

    def titles(self, owner: str) -> frozenset[str]:
        """The AE titles by which this reader subscribes."""

    def request_cancel(self, item: WorkItem, event: Event) -> bool:
        """Tell `event` to its subscribers; False when there is none."""

    def claim(self, who: Subscriber, channel: str) -> bool:
        """That channel tells from now on. False: no such subscriber of that owner."""

    def holds(self, ae_title: str, channel: str) -> bool: ...

    def waiting(self, ae_title: str, most: int = 100) -> list[tuple[int, Event]]:
        """What was not told yet with its number, oldest first."""

    def delivered(self, ae_title: str, until: int) -> None: ...

    def latest(self) -> int:
        """The number of the newest event of all."""
