"""A peer that only its site's gateway reaches: each question is an errand on the board, each answer is read
from there.

What is fetched comes by the gateway's own STOW-RS and is in our index before it is told; what is sent is
had by the gateway as a download. Whoever waits here looks at the board every few milliseconds while an errand
is under way (about 20 µs), says that he still waits, and gives up when the gateway was not seen for a while.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicomweb.files import sha256_of
from dicomweb.gateway.errand import MOVING, Kind, raised
from dicomweb.gateway.region.board import Asked, Board, Standing
from dicomweb.gateway.saying import MOST_PACKED, packed
from dicomweb.index.steps import StepMessage
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import (
    Attributes,
    Fetched,
    Incapable,
    Level,
    PeerError,
    Sendable,
    StepAnswer,
    Taker,
    Unreachable,
    Wanted,
)
from dicomweb.reasons import Refused, by_slug

SILENT = 40.0  # seconds without a sign of life: a poll waits 25 s at most
UNTAKEN = 10.0  # seconds within which a gateway that is there takes an errand
LONGEST: Mapping[Kind, float] = {"find": 120.0, "echo": 30.0, "step": 120.0}
TOUCH = 5.0
Answers = Generator[Mapping[str, Any], None, None]
QUICK, CALM = 0.004, 0.02  # seconds between two looks: at first, and after a second without an answer


def _now() -> int:
    return time.time_ns() // 1000


@dataclass(slots=True)
class GatewaySession:
    """Questions go before what moves images, when a gateway has more to do than it takes at once."""

    peer: Peer
    board: Board
    now: Callable[[], int] = _now
    line: str = field(default_factory=lambda: secrets.token_urlsafe(9))

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
        asked = {
            "instance": one.instance, "sop_class": one.sop_class, "transfer_syntax": one.transfer_syntax,
            "size": one.path.stat().st_size, "sha256": sha256_of(one.path),
        }  # fmt: skip
        answers = list(self._answers("send", asked, one))
        if not answers:
            raise PeerError("bad-answer", "the gateway did not say what became of an instance")
        return str(answers[-1]["syntax"])

    def perform(self, said: StepMessage, begin: Callable[[], None]) -> StepAnswer:
        """Raises PeerError, Incapable for a step of too many instances."""
        asked = packed(said)
        if len(asked["body"]) > MOST_PACKED:
            raise Incapable("too-large", "the step names too many instances")
        self._is_there()
        begin()
        answers = list(self._answers("step", asked))
        if not answers:
            raise Unreachable("bad-answer", "the gateway did not say what became of a step")
        found = answers[-1]
        return StepAnswer(int(found["status"]), int(found["error"]), bool(found["again"]))

    def _answers(self, kind: Kind, asked: Mapping[str, Any], file: Sendable | None = None) -> Answers:
        self._is_there()
        body = Asked(
            self.peer.via, kind, self.peer, self.line, asked, kind in MOVING, file.path if file else None
        )
        return self._awaited(self.board.ask(body, self.now()), kind)

    def _is_there(self) -> None:
        if self.now() - self.board.seen(self.peer.via) > SILENT * 1e6:
            raise Unreachable("gateway-silent", "the gateway of the site does not answer")

    def _awaited(self, id: str, kind: Kind) -> Answers:
        """Answers as they come, of a `find` at its end; leaving early takes the errand back."""
        began = touched = news = time.monotonic()
        read = 0
        try:
            while True:
                found = self.board.standing(id, read)
                if found is None:
                    raise Unreachable("errand-lost", "the errand is gone from the board")
                over = found.outcome is not None
                if found.answers and (over or kind != "find"):
                    read += len(found.answers)
                    yield from found.answers
                    news = time.monotonic()
                if found.outcome is not None:
                    if error := raised(found.outcome):
                        raise error
                    return
                at = time.monotonic()
                if at - touched > TOUCH:
                    touched = at
                    self.board.touch(id, self.now())
                    self._is_there()
                self._in_time(found, kind, at - began)
                time.sleep(QUICK if at - news < 1 else CALM)
        finally:
            self.board.drop(id)

    def _in_time(self, found: Standing, kind: Kind, seconds: float) -> None:
        if found.state == "waiting" and found.attempt == 0 and seconds > UNTAKEN:
            raise Unreachable("gateway-silent", "the gateway of the site does not answer")
        if seconds > LONGEST.get(kind, float("inf")):
            raise Unreachable("no-answer", "the peer behind the gateway did not answer in time")


def _rows(wanted: Sequence[Wanted]) -> list[list[str]]:
    return [[one.study, one.series, one.instance, one.sop_class] for one in wanted]


def _fetched(answer: Mapping[str, Any]) -> Fetched:
    instance = str(answer["instance"])
    if "refused" in answer:
        return Fetched(instance, Refused(by_slug(answer["refused"])))
    return Fetched(instance, missing=answer.get("missing", ""), source=answer.get("source", ""))
