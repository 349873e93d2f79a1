"""Storage Commitment as a gateway can promise it: answered when the platform has every instance that was
asked about, not when this disk has them. That may be days later; the question is kept beside the outbox until
the modality took the answer.

    N-ACTION → row → (each instance delivered, or known never to be) → N-EVENT-REPORT → row gone

Only modalities whose address is set (`commitment`) may ask. PS3.4 §J (Storage Commitment Service Class)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from dicomweb.dataset import is_uid
from dicomweb.dimse import promising
from dicomweb.dimse.promising import (
    CLASS_CONFLICT,
    FAILED,
    MISSING,
    NO_RESOURCES,
    NO_SUCH_INSTANCE,
    NOT_AUTHORISED,
    Question,
    Unanswerable,
    question,
)
from dicomweb.dimse.reporting import tell
from dicomweb.gateway.outbox import FARTHEST
from dicomweb.gateway.outgoing import Asked, Fate
from dicomweb.gateway.pace import Waits
from dicomweb.gateway.parts import Parts
from dicomweb.peers.peer import Peer
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

MOST_OPEN = 500
LOOK_SECONDS = 2.0  # between two looks at what is open, at least
FIRST_WAIT, LONGEST_WAIT = 5.0, 900.0  # seconds before the modality is called again
GIVEN_UP = 14 * 86_400_000_000  # microseconds after which a modality that takes no answer is left alone
FEWEST_TRIES = 300  # before that: a clock may jump


@dataclass(frozen=True, slots=True)
class Committer:
    """Takes the questions. `peers`: AE title → where its results go."""

    parts: Parts
    peers: Mapping[str, Peer]

    def on_action(self, event: Any) -> tuple[int, Dataset | None]:
        """EVT_N_ACTION. 0x0000 says that the question is on disk."""
        title = str(event.assoc.requestor.ae_title).strip()
        if title not in self.peers:
            return NOT_AUTHORISED, None
        try:
            asked = question(event)
        except Unanswerable as error:
            return error.status, None
        if not all(is_uid(uid) for pair in asked.items for uid in pair):
            return MISSING, None
        if len(self.parts.outbox.asked()) >= MOST_OPEN:
            return NO_RESOURCES, None
        self.parts.outbox.ask(Asked(asked.transaction, title, asked.items, utc_microseconds()))
        self.parts.bell.ring()
        return 0x0000, None


def run(parts: Parts, stop: threading.Event) -> None:
    """The loop that answers."""
    peers = parts.settings.asking
    while not stop.is_set():
        heard = parts.bell.rung
        for one in parts.outbox.asked():
            if _is_due(one, utc_microseconds()) and not stop.is_set():
                _look(parts, peers, one)
        stop.wait(LOOK_SECONDS)
        parts.bell.wait(heard, 30.0)


def _is_due(one: Asked, now: int) -> bool:
    """What is farther off than any wait was written under a wrong clock."""
    return one.not_before <= now or one.not_before > now + FARTHEST


def _look(parts: Parts, peers: Mapping[str, Peer], one: Asked) -> None:
    fates = parts.outbox.fates([uid for _class, uid in one.references])
    if any(fate.state == "waiting" for fate in fates.values()):
        return
    peer, now = peers.get(one.ae_title), utc_microseconds()
    made = result(one, fates)
    if peer is not None and tell(parts.settings.ae_title, peer, made):
        parts.outbox.answered(one)
    elif now - one.at > GIVEN_UP and one.tries >= FEWEST_TRIES:
        log.error("%s took no answer to its storage commitment; given up", one.ae_title)
        parts.outbox.answered(one)
    else:
        wait = Waits(FIRST_WAIT, LONGEST_WAIT, failures=one.tries).next()
        parts.outbox.ask_later(one, now + int(wait * 1e6))


def result(one: Asked, fates: Mapping[str, Fate]) -> Dataset:
    """What the platform has, and what it has not with why. Content that it keeps aside for a person, since
    other content has its UID, is nothing that it can be asked for."""
    asked = Question(one.transaction, one.references)
    return promising.result(asked, lambda sop_class, uid: _reason(fates.get(uid), sop_class))


def _reason(fate: Fate | None, sop_class: str) -> int:
    if fate is None:
        return NO_SUCH_INSTANCE
    if fate.sop_class != sop_class:
        return CLASS_CONFLICT
    return 0 if fate.state == "delivered" and not fate.reason else FAILED
