"""What the platform asks of the site's PACS, done here: a long poll, a thread for each errand, answers.

    poll ──▶ errand ──▶ session with the peer (`associations`) ──▶ its kind (`doing`) ──▶ answers (`telling`)
                                                                     └─ fetch ──▶ STOW-RS (`bringing`)

Each poll names what is in hand, so what got lost on the way is given again. An errand that the platform takes
back (404 at the next answer) stops there. Only peers that this site's own settings list are ever called:
whoever held the platform could otherwise reach anything in the hospital through here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dicomweb.gateway.associations import Associations
from dicomweb.gateway.doing import DOING
from dicomweb.gateway.errand import Errand, fault_of, of_json
from dicomweb.gateway.pace import Waits
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.telling import ERRANDS, Gone, Telling, Untold
from dicomweb.peers.session import Denied, PeerError, Unreachable

log = logging.getLogger(__name__)

WAIT = 25  # seconds that a poll may wait
MOST_IN_HAND = 16
LONGEST_WAIT = 10.0  # seconds between two polls while the platform does not answer: people wait for answers


@dataclass(slots=True)
class Errands:
    """The loop. `in_hand`: what this process has not told the end of, by its id."""

    parts: Parts
    stop: threading.Event
    associations: Associations
    in_hand: dict[str, Telling] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        waits = Waits(0.5, min(LONGEST_WAIT, self.parts.settings.retry_seconds))
        while not self.stop.is_set():
            if not self._has_room():
                continue
            try:
                self._start(self._poll())
                waits.failures = 0
                self.parts.state.note("errands", "")
            except PeerError as error:
                if not self.stop.is_set():
                    self.parts.state.note("errands", error.slug)
                    log.info("errands: %s; asked again later", error.slug)
                    self.stop.wait(waits.next())

    def _has_room(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.in_hand) < MOST_IN_HAND, 1.0)

    def _poll(self) -> list[Errand]:
        """Raises PeerError."""
        with self._changed:
            hand = quote(",".join(sorted(self.in_hand)), safe=",")
        answer = self.parts.platform.request("GET", f"{ERRANDS}?wait={WAIT}&hand={hand}", timeout=WAIT + 15.0)
        if answer.status == 204:
            return []
        try:
            told = answer.json()
            self._leave(told.get("gone", ()))
            return [of_json(one) for one in told["errands"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unreachable("bad-answer", "the platform's errands cannot be read") from error

    def _leave(self, gone: Sequence[str]) -> None:
        """What the platform has taken back need not be finished."""
        with self._changed:
            for one in gone:
                if one in self.in_hand:
                    self.in_hand[one].gone.set()

    def _start(self, errands: Sequence[Errand]) -> None:
        for one in errands:
            telling = Telling(self.parts.platform, one, self.stop)
            with self._changed:
                self.in_hand[one.id] = telling
            name, given = f"errand-{one.kind}", (one, telling)
            threading.Thread(target=self._do, args=given, name=name, daemon=True).start()

    def _do(self, errand: Errand, telling: Telling) -> None:
        try:
            telling.end(self._outcome(errand, telling))
        except Gone:
            log.info("an errand was taken back")
        except Untold as error:
            log.info("errands: the platform is not reached (%s): it gives this one again", error)
        finally:
            with self._changed:
                if self.in_hand.get(errand.id) is telling:
                    del self.in_hand[errand.id]
                self._changed.notify_all()

    def _outcome(self, errand: Errand, telling: Telling) -> dict[str, Any]:
        """How it ended. Raises Gone, Untold."""
        try:
            if errand.kind not in DOING:
                raise Denied("not-offered", "this gateway is older than the platform")
            DOING[errand.kind](self.parts, errand, self.associations, telling)
        except PeerError as error:
            self.parts.state.found(errand.peer.id, reachable=not isinstance(error, Unreachable))
            return fault_of(error)
        except (Gone, Untold):
            raise
        except Exception:
            log.exception("an errand failed here")
            return {"error": "failed", "slug": "failed-there"}
        self.parts.state.found(errand.peer.id, reachable=True)
        return {"ok": True}


def run(parts: Parts, stop: threading.Event) -> None:
    """The loop of the gateway's command. A poll that waits does not hold up the end."""
    associations, failed = Associations(parts), list[Exception]()

    def poll() -> None:
        try:
            Errands(parts, stop, associations).run()
        except Exception as error:
            failed.append(error)

    polling = threading.Thread(target=poll, name="polling", daemon=True)
    polling.start()
    try:
        while polling.is_alive() and not stop.wait(0.5):
            pass
        if failed and not stop.is_set():
            raise failed[0]
    finally:
        associations.close()
