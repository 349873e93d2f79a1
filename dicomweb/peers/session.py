"""What a transfer asks of a peer, however it is reached; and what may go wrong.

    PeerError
      Unreachable    no connection, or it broke: everything is tried again later
      Denied         the peer does not want us: AE title, credentials, no such service
      Incapable      the peer cannot do this for this instance; others may still go

Sessions block; lanes run them in threads of their own. Messages carry no patient data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from dicomweb.index.steps import StepMessage
from dicomweb.reasons import Refused

Level = Literal["study", "series", "instance", "order"]  # "order": of the modality worklist
Attributes = Mapping[str, Any]
MOST = 500  # results of a person's search


class PeerError(Exception):
    """The root. `slug` is stable; the text is for the operator."""

    def __init__(self, slug: str, text: str = "") -> None:
        super().__init__(text or slug)
        self.slug = slug


class Unreachable(PeerError):
    """Not reached, or cut off."""


class Denied(PeerError):
    """Reached, and turned away."""


class Incapable(PeerError):
    """This one instance cannot go that way."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance to fetch. `sop_class` "" when the peer's list did not say."""

    study: str
    series: str
    instance: str
    sop_class: str = ""


@dataclass(frozen=True, slots=True)
class Sendable:
    """An instance to send: a Part 10 file in that transfer syntax. `sha256` of the whole file, "" where
    nobody has read it yet."""

    instance: str
    sop_class: str
    transfer_syntax: str
    path: Path
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an instance that was sent; `fault`: the slug of why it cannot go that way, "" = it is
    there."""

    instance: str
    fault: str = ""


Answered = Callable[[Iterable[str], Mapping[str, int]], object]
"""What is kept, and what is not with the code of the reason."""


class Taker(Protocol):
    """Takes over a received file. Raises Refused; when it returns, the instance is durable."""

    def __call__(self, spooled: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one wanted instance. `refused`: it came and we did not take it; `missing`: the peer did
    not give it. `source`: the SHA-256 of its dataset as a gateway had it from the peer, when one did."""

    instance: str
    refused: Refused | None = None
    missing: str = ""
    source: str = ""


class Session(Protocol):
    """An open way to one peer; `close` when done."""

    def echo(self) -> None:
        """Whether it answers us. Raises PeerError."""

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        """DICOM JSON of each match. `keys` by keyword. Raises PeerError."""

    def fetch(self, wanted: Sequence[Wanted], take: Taker) -> Iterator[Fetched]:
        """Each as soon as it is settled; abandoning the iteration stops the rest. Raises PeerError."""

    def send(self, one: Sendable) -> str:
        """Returns the transfer syntax that the peer stored it in. Raises PeerError."""

    def close(self) -> None: ...


@runtime_checkable
class Committing(Protocol):
    """A session that can ask the peer to take responsibility for what it got."""

    def commit(self, transaction: str, wanted: Mapping[str, str], answered: Answered) -> None:
        """Ask for `wanted` (SOP Instance UID → class). `answered` is called when the answer comes in time
        on this session; a later one comes to our node. Raises PeerError, Denied where that is not offered."""


@runtime_checkable
class Shipping(Protocol):
    """A session over which one instance at a time is slow: several are under way at once."""

    def ship(self, ready: Iterator[Sendable], window: int) -> Iterator[Sent]:
        """Each as soon as it is settled, in the order in which `ready` gives them, which may have more again
        after it had none; no more than `window` bytes under way, or one instance. A file stays until its
        instance is settled. Abandoning the iteration stops after the instance that is just being sent. Raises
        PeerError: those not settled may be there or not."""


@runtime_checkable
class Heeding(Protocol):
    """A session that looks up while it waits for what may take long."""

    def heed(self, idle: Callable[[], None]) -> None:
        """`idle` is called every few milliseconds while nothing comes; what it raises, passing through
        `fetch` or `ship`, stops them after the instance that is just being moved."""


@runtime_checkable
class Digesting(Protocol):
    """A session that can have what a peer holds read back and hashed at the peer's own site."""

    def digests(self, wanted: Sequence[Wanted]) -> dict[str, str]:
        """The SHA-256 of each dataset that the peer gave, by instance. Raises PeerError."""


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """The status of an N-CREATE or N-SET, and its Error ID (0: none). `again`: it may have been told before,
    the peer's answer got lost."""

    status: int
    error_id: int = 0
    again: bool = False


@runtime_checkable
class Performing(Protocol):
    """A session that can tell the peer of performed procedure steps."""

    def perform(self, said: StepMessage, begin: Callable[[], None]) -> StepAnswer:
        """`begin` is called before the first byte of it goes. Raises PeerError, Incapable for what cannot be
        encoded."""
