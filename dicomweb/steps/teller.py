"""One peer is told what waits for it, one message after the other, over one association.

    waiting ──▶ 0x0000, a warning, or that it knows this already ──▶ told
       ▲  └───▶ no answer, no room ──▶ later, with whatever else waits for this peer
       │  └───▶ any other status ──▶ refused, with the reason; kept until somebody has it told again
       └─────────────────────────────────┘

Nothing is told twice in a way that would change what the peer has: before a message goes, its row says so.
Whoever is killed then tells it again, and a creation that the peer has (0x0111) or an end that it has
(Error ID 0xA710) was that message. PS3.4 §F.7.2; PS3.7 Annex C
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dicomweb.index.steps import Telling, Tellings
from dicomweb.locks import alone
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Incapable, PeerError, Performing, Session, StepAnswer
from dicomweb.performed import DUPLICATE, NO_LONGER, RESOURCES

log = logging.getLogger(__name__)

SECOND = 1_000_000
FIRST_WAIT, LONGEST_WAIT = 2.0, 900.0  # seconds before a peer that could not be told is tried again
AWAY_WAIT = 30.0  # the longest for a peer of which it is known that it is away
AWAY = frozenset({"gateway-silent", "peer-not-active", "no-such-peer"})
GIVEN_UP = 14 * 24 * 3600 * SECOND  # after which a message is kept as not taken
SUCCESS = frozenset({0x0000, 0x0001, 0x0107, 0x0116})  # and its warnings


@dataclass(slots=True)
class Teller:
    """`run` until nothing is due for this peer or `stop` is set. Blocks; a thread of its own. `now`: UTC
    microseconds."""

    peer: Peer
    tellings: Tellings
    session: Session
    locks: Path
    now: Callable[[], int]
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Returns at once when another process tells this peer."""
        with alone(self.locks / f"steps-{self.peer.id}.lock") as is_alone:
            try:
                while is_alone and not self.stop.is_set():
                    one = self.tellings.next(self.peer.id, self.now())
                    if one is None:
                        return
                    self._tell(one)
            finally:
                self.session.close()

    def _tell(self, one: Telling) -> None:
        try:
            answer = self._asked(one)
        except Incapable as error:
            self._refused(one, error.slug)
        except PeerError as error:
            self._broke(one, error.slug)
        except Exception:
            log.exception("a performed procedure step could not be told")
            self._broke(one, "failed-here")
        else:
            self._settle(one, answer)

    def _asked(self, one: Telling) -> StepAnswer:
        if not self.peer.active:
            raise PeerError("peer-not-active", "the site has switched it off")
        if not isinstance(self.session, Performing):
            raise Incapable("not-offered", "performed procedure steps are told by DIMSE alone")
        return self.session.perform(one.said, lambda: self.tellings.begin(one))

    def _settle(self, one: Telling, answer: StepAnswer) -> None:
        if is_told(one, answer):
            self.tellings.told(one)
        elif answer.status == RESOURCES or 0xA700 <= answer.status <= 0xA7FF:
            self._broke(one, "out-of-resources")
        else:
            error = f" ({answer.error_id:#06x})" if answer.error_id else ""
            self._refused(one, f"{answer.status:#06x}{error}")

    def _refused(self, one: Telling, reason: str) -> None:
        log.warning("%s does not take a performed procedure step: %s", self.peer.id, reason)
        self.tellings.refuse(one, reason)

    def _broke(self, one: Telling, slug: str) -> None:
        self.session.close()
        postpone(self.tellings, one, slug, self.now())


def postpone(tellings: Tellings, one: Telling, slug: str, now: int) -> None:
    """Told later, or given up."""
    if now - one.said.at > GIVEN_UP:
        log.error("%s was not told a performed procedure step for two weeks: %s; given up", one.peer, slug)
        tellings.refuse(one, f"given-up: {slug}")
        return
    longest = AWAY_WAIT if slug in AWAY else LONGEST_WAIT
    wait = min(longest, FIRST_WAIT * 2 ** min(one.tries, 12)) * random.uniform(0.75, 1.0)  # noqa: S311
    log.warning("%s cannot be told a performed procedure step: %s; again in %.0f s", one.peer, slug, wait)
    tellings.later(one, slug, now + int(wait * SECOND))


def is_told(one: Telling, answer: StepAnswer) -> bool:
    """Whether the peer has it by now. Pure."""
    if answer.status in SUCCESS or answer.status & 0xF000 == 0xB000:
        return True
    if one.said.kind == "create":
        return answer.status == DUPLICATE
    return answer.error_id == NO_LONGER and (one.sent or answer.again)
