"""A peer that only its site's gateway reaches: each question is an errand on the board, each answer is read
from there.

What is fetched comes by the gateway's own STOW-RS and is in our index before it is told; what is sent is
had by the gateway as a download, several instances an errand (`consignment`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicomweb.gateway.errand import Kind
from dicomweb.gateway.region.board import Board
from dicomweb.gateway.saying import MOST_PACKED, packed
from dicomweb.index.steps import StepMessage
from dicomweb.peers.awaiting import Awaited, Desk
from dicomweb.peers.consignment import Consignment
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import (
    Answered,
    Attributes,
    Fetched,
    Incapable,
    Level,
    Sendable,
    Sent,
    StepAnswer,
    Taker,
    Unreachable,
    Wanted,
)
from dicomweb.reasons import Refused, by_slug
from fhir_server.clock import utc_microseconds

Answers = Generator[Mapping[str, Any], None, None]


@dataclass(slots=True)
class GatewaySession:
    """Questions go before what moves images, when a gateway has more to do than it takes at once."""

    peer: Peer
    board: Board
    now: Callable[[], int] = utc_microseconds
    line: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    _idle: Callable[[], None] = lambda: None

    def heed(self, idle: Callable[[], None]) -> None:
        """`idle` is called while nothing comes; what it raises takes the errands back."""
        self._idle = idle

    def close(self) -> None:
        """The next errand gets an association of its own."""
        self.line = secrets.token_urlsafe(9)

    def echo(self) -> None:
        """C-ECHO, or the like. Raises PeerError."""
        for _ in self._answers("echo", {}):
            pass

    def find(self, level: Level, keys: Mapping[str, str], most: int) -> list[Attributes]:
        """Raises PeerError. A gateway that begins anew has its first answers forgotten: they are read at the
        end."""
        asked = {"level": level, "keys": dict(keys), "most": most}
        return [row for answer in self._answers("find", asked) for row in answer["rows"]][:most]

    def fetch(self, wanted: Sequence[Wanted], _take: Taker) -> Iterator[Fetched]:
        """Each once the platform has it. Raises PeerError."""
        left = {one.instance for one in wanted}
        answers = self._answers("fetch", {"wanted": _rows(wanted)})
        try:
            for answer in answers:
                if answer["instance"] in left:
                    left.discard(answer["instance"])
                    yield _fetched(answer)
        finally:
            answers.close()
        for instance in sorted(left):
            yield Fetched(instance, missing="not-given")

    def digests(self, wanted: Sequence[Wanted]) -> dict[str, str]:
        """Read back and hashed at the site: nothing of it travels. Raises PeerError."""
        answers = self._answers("digest", {"wanted": _rows(wanted)})
        return {one["instance"]: one["source"] for one in answers if one.get("source")}

    def send(self, one: Sendable) -> str:
        """Raises PeerError."""
        for sent in self.ship(iter((one,)), 0):
            if sent.fault:
                raise Incapable(sent.fault)
        return one.transfer_syntax

    def commit(self, transaction: str, wanted: Mapping[str, str], _answered: Answered) -> None:
        """The gateway asks; the answer comes from there by itself, soon or later (`region.commitments`).
        Raises PeerError."""
        by_class: dict[str, list[str]] = {}
        for uid, sop_class in wanted.items():
            by_class.setdefault(sop_class, []).append(uid)
        for _ in self._answers("commit", {"transaction": transaction, "wanted": by_class}):
            pass

    def perform(self, said: StepMessage, begin: Callable[[], None]) -> StepAnswer:
        """Raises PeerError, Incapable for a step of too many instances."""
        asked = packed(said)
        if len(asked["body"]) > MOST_PACKED:
            raise Incapable("too-large", "the step names too many instances")
        self._desk.is_there()
        begin()
        answers = list(self._answers("step", asked))
        if not answers:
            raise Unreachable("bad-answer", "the gateway did not say what became of a step")
        found = answers[-1]
        return StepAnswer(int(found["status"]), int(found["error"]), bool(found["again"]))

    def ship(self, ready: Iterator[Sendable], window: int) -> Iterator[Sent]:
        """As many an errand as are ready while those before them are on their way. Raises PeerError."""
        return Consignment(self._desk, self.line, ready, window).settled()

    @property
    def _desk(self) -> Desk:
        return Desk(self.peer, self.board, self.now, self._idle)

    def _answers(self, kind: Kind, asked: Mapping[str, Any]) -> Answers:
        """As they come; leaving early takes the errand back."""
        errand: Awaited = self._desk.ask(kind, self.line, asked)
        try:
            while True:
                found = errand.look()
                yield from found.answers
                if found.answers:
                    continue
                if found.outcome is not None:
                    return
                errand.pause()
        finally:
            errand.drop()


def _rows(wanted: Sequence[Wanted]) -> list[list[str]]:
    return [[one.study, one.series, one.instance, one.sop_class] for one in wanted]


def _fetched(answer: Mapping[str, Any]) -> Fetched:
    instance = str(answer["instance"])
    if "refused" in answer:
        return Fetched(instance, Refused(by_slug(answer["refused"])))
    return Fetched(instance, missing=answer.get("missing", ""), source=answer.get("source", ""))
