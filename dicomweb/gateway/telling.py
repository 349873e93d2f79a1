"""Telling the platform what became of an errand, in numbered answers: said twice, they count once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dicomweb.gateway.errand import Errand
from dicomweb.gateway.pace import Waits
from dicomweb.gateway.platform import Answer, Platform
from dicomweb.peers.session import PeerError, Unreachable

ERRANDS = "/gateway/errands"
SECONDS = 60.0  # how long the platform is tried; then it gives the errand again


class Gone(Exception):
    """The platform has taken the errand back."""


class Unusable(PeerError):
    """The platform does not take an answer as it is: it would not take it again either."""


class Untold(Exception):
    """The platform was not reached: no fault of the peer's."""


@dataclass(slots=True)
class Telling:
    """The answers of one errand; any thread. `gone`: the platform has taken it back."""

    platform: Platform
    errand: Errand
    stop: threading.Event
    told: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    held: list[Mapping[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def path(self) -> str:
        return f"{ERRANDS}/{quote(self.errand.id, safe='')}"

    def hold(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """To be told with the end, in one request."""
        self.held += answers

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Raises Gone, Untold."""
        held, self.held = self.held, []
        try:
            self.tell(held, outcome)
        except Unusable as error:
            self.tell((), {"error": "failed", "slug": error.slug})

    def tell(self, answers: Sequence[Mapping[str, Any]], over: Mapping[str, Any] | None = None) -> None:
        """Raises Gone, Unusable; Untold when the platform cannot be reached for long."""
        with self._lock:
            body: dict[str, Any] = {"attempt": self.errand.attempt, "answers": list(answers)}
            body["start"] = self.errand.start + self.told
            if over is not None:
                body["over"] = over
            content = json.dumps(body).encode()
            headers = {"Content-Type": "application/json"}
            answer = persist(
                lambda: self.platform.request(
                    "POST", self.path + "/answers", content=content, headers=headers
                ),
                self.stop,
            )
            if answer.status == 404:
                self.gone.set()
                raise Gone
            if answer.status in (400, 413, 422):
                raise Unusable("answer-refused", f"the platform answered {answer.status}")
            if answer.status >= 300:
                raise Untold(f"the platform answered {answer.status}")
            self.told += len(answers)


def persist(ask: Callable[[], Answer], stop: threading.Event) -> Answer:
    """Asked again until it is answered. Raises Untold after a while."""
    waits, until = Waits(0.2, 5.0), time.monotonic() + SECONDS
    while True:
        try:
            return ask()
        except Unreachable as error:
            if time.monotonic() > until or stop.wait(waits.next()):
                raise Untold(error.slug) from error
        except PeerError as error:
            raise Untold(error.slug) from error
