"""The lanes: what waits in the outbox goes to the platform, the urgent at once, the rest as the site allows.

    urgent lane    always, at full speed, by its own connection
    routine lane   within its hours and rate; between two pieces it lets an urgent request pass

No answer, an error of the platform's or a refused token: the same is tried again, after waits that grow to
`retry_seconds`, with jitter, for ever. An answer settles each instance on its own (`sending.verdicts`). A row
is changed only after the answer was read: whatever is killed in between, the instance is sent again and the
platform knows it by its hash.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from dicomweb.files import sha256_of
from dicomweb.gateway import sending
from dicomweb.gateway.outgoing import Entry
from dicomweb.gateway.pace import Line, Waits
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.platform import Answer, Failing
from dicomweb.gateway.sending import Verdict
from dicomweb.media import new_boundary
from dicomweb.peers.session import PeerError
from fhir_server.clock import utc_microseconds

log = logging.getLogger(__name__)

MOST_INSTANCES = 64  # in one request
GATHER_SECONDS = 0.3
FIRST_WAIT = 1.0  # seconds
LONGEST_INSTANCE_WAIT = 900.0  # seconds before one instance that failed alone is tried again
TRIES = 12  # of an instance that the platform says it failed on, before it stands apart
STORE = "/dicom-web/studies"


@dataclass(slots=True)
class Lane:
    """One of the two, run in a thread of its own."""

    parts: Parts
    line: Line
    is_urgent: bool
    alone: int = 0  # so many requests of one instance each follow, after an answer that named not every one
    plain: bool = False  # the next request is not compressed, after a refusal of how this one was
    knows_codings: bool = True  # the platform has not refused Content-Encoding as such

    def run(self, stop: threading.Event) -> None:
        waits = Waits(min(FIRST_WAIT, self.parts.settings.retry_seconds), self.parts.settings.retry_seconds)
        while not stop.is_set():
            heard = self.parts.bell.rung
            batch = self._batch()
            if batch and not self.is_urgent and self._is_growing(batch):
                stop.wait(GATHER_SECONDS)
                batch = self._batch()
            if not batch:
                self.parts.bell.wait(heard, self._idle_seconds())
                continue
            try:
                self._send(batch)
                waits.failures = 0
                self.parts.state.note(self.name, "")
            except PeerError as error:
                self.parts.state.note(self.name, error.slug)
                log.warning("forwarding: %s; tried again later", error.slug)
                stop.wait(waits.next())

    @property
    def name(self) -> str:
        return "urgent" if self.is_urgent else "routine"

    def _coding(self) -> str:
        wanted = self.parts.settings.compression
        return "" if self.plain or not self.knows_codings or wanted == "none" else wanted

    def _batch(self) -> list[Entry]:
        settings, outbox = self.parts.settings, self.parts.outbox
        if not self.is_urgent and settings.window and not settings.window.holds(settings.now()):
            return []
        most = (1 if self.alone else MOST_INSTANCES, settings.request_bytes)
        batch = outbox.next(urgent=self.is_urgent, now=utc_microseconds(), most=most)
        lost = [one for one in batch if not self.parts.files.path(one.path).is_file()]
        if lost:
            outbox.settle([], [(one.n, "file-lost") for one in lost], utc_microseconds())
            log.error("%d files of the outbox are gone", len(lost))
        return [one for one in batch if one not in lost]

    def _is_growing(self, batch: Sequence[Entry]) -> bool:
        """A request has a price of its own: while instances come in, a short wait makes one of many."""
        recent = utc_microseconds() - batch[-1].received < GATHER_SECONDS * 1e6
        small = sum(one.size for one in batch) < self.parts.settings.request_bytes / 2
        return recent and small and 1 <= len(batch) < MOST_INSTANCES and not self.alone

    def _idle_seconds(self) -> float:
        """Until the first that failed alone is due; within a minute, for the hours may begin."""
        at = self.parts.outbox.wake_at(urgent=self.is_urgent)
        wait = 60.0 if at is None else (at - utc_microseconds()) / 1e6
        return min(max(wait, 0.05 if at else 5.0), 60.0)

    def _send(self, batch: Sequence[Entry]) -> None:
        """Raises PeerError: nothing is settled."""
        coding = self._coding()
        boundary = new_boundary()
        whole = sending.body(batch, lambda one: self.parts.files.path(one.path), boundary, coding)
        content = self.line.urgent(whole) if self.is_urgent else self.line.routine(whole)
        try:
            answer = self.parts.platform.request(
                "POST", STORE, content=content, headers=sending.headers(boundary, coding)
            )
        except Failing as failing:
            if failing.answer.status not in (503, 507) or not _is_store_answer(failing.answer.json()):
                raise
            answer = failing.answer
        except sending.Unreadable as error:
            log.error("a file of the outbox cannot be read")
            self.parts.outbox.settle([], [(error.entry.n, "file-unreadable")], utc_microseconds())
            return
        finally:
            whole.close()
        self._judge(batch, answer, coding)

    def _judge(self, batch: Sequence[Entry], answer: Answer, coding: str) -> None:
        told = answer.json()
        if (
            answer.status in (400, 413, 415)
            and not _is_store_answer(told)
            and self._otherwise(batch, answer, coding)
        ):
            return
        if answer.status not in (200, 202, 400, 409, 413, 415, 503, 507):
            raise PeerError("bad-answer", f"the platform answered {answer.status} to STOW-RS")
        if answer.status in (200, 202) and not _is_store_answer(told):
            raise PeerError("bad-answer", "what answered STOW-RS is no STOW-RS service")
        found = sending.verdicts(batch, told, answer.status)
        self._settle(found)
        unnamed = sum(one.reason == "not-answered" for one in found) if len(batch) > 1 else 0
        self.alone, self.plain = unnamed or max(0, self.alone - 1), False
        if any(one.reason == sending.NO_ROOM for one in found):
            raise PeerError(sending.NO_ROOM, "the platform has no room")

    def _otherwise(self, batch: Sequence[Entry], answer: Answer, coding: str) -> bool:
        """The request as such was refused: not compressed first, then one instance at a time. False when it
        was one instance, as it is: the refusal is about that."""
        if answer.status == 415 and coding:
            self.knows_codings = False
        elif coding:
            self.plain = True
        elif len(batch) > 1:
            self.alone = len(batch)
        else:
            return False
        return True

    def _settle(self, found: Sequence[Verdict]) -> None:
        now = utc_microseconds()
        delivered = [(one.entry.n, one.reason) for one in found if one.sort == "delivered"]
        apart = [(one.entry.n, one.reason) for one in found if one.sort == "apart"]
        later: dict[str, list[tuple[int, int]]] = {}
        for one in found:
            if one.sort != "later":
                continue
            if reason := self._hopeless(one):
                apart.append((one.entry.n, reason))
                continue
            waits = Waits(FIRST_WAIT, LONGEST_INSTANCE_WAIT, failures=one.entry.attempts)
            wait = 0.0 if one.reason == "not-answered" and len(found) > 1 else waits.next()
            later.setdefault(one.reason, []).append((one.entry.n, now + int(wait * 1e6)))
        self.parts.outbox.settle(delivered, apart, now)
        for reason, rows in later.items():
            self.parts.outbox.later(rows, reason)
        for _n, reason in apart:
            log.error("an instance stands apart: %s", reason)
        self.parts.bell.ring()

    def _hopeless(self, verdict: Verdict) -> str:
        """Why an instance that failed will fail again: our own file is not what was received, or the platform
        fails on it alone again and again. No room there is nobody's fault, and passes."""
        entry = verdict.entry
        if verdict.reason == "altered" and sha256_of(self.parts.files.path(entry.path)) != entry.sha256:
            return "file-damaged"
        if entry.attempts + 1 >= TRIES and verdict.reason != sending.NO_ROOM:
            return verdict.reason
        return ""


def _is_store_answer(told: object) -> bool:
    """A Store Instances Response Module has attributes by tag; an error of ours or of a proxy has not."""
    found = told[0] if isinstance(told, list) and told else told
    return isinstance(found, dict) and any(tag in found for tag in ("00081198", "00081199", "0008119A"))


def urgent(parts: Parts, stop: threading.Event) -> None:
    """The loop of what is urgent."""
    Lane(parts, parts.line, is_urgent=True).run(stop)


def routine(parts: Parts, stop: threading.Event) -> None:
    """The loop of everything else."""
    Lane(parts, parts.line, is_urgent=False).run(stop)
