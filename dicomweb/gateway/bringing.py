"""What a fetch brings, on its way up: as many as wait go in one STOW-RS request, while the next come.

    take (any thread) → spool → hashes → queue ──▶ uploader thread ──▶ STOW-RS ──▶ settled, told

The first goes alone and at once; those that come while a request is under way go together in the next. The
queue is short, so a slow line slows the peer and not the disk down. PS3.18 §10.5
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from dicomweb.dataset import digests, identify
from dicomweb.gateway import sending
from dicomweb.gateway.outgoing import Entry
from dicomweb.gateway.parts import Parts
from dicomweb.gateway.platform import Answer, Failing
from dicomweb.gateway.telling import persist
from dicomweb.media import new_boundary
from dicomweb.reasons import DUPLICATE
from fhir_server.clock import utc_microseconds

STORE = "/dicom-web/studies"
MOST_TOGETHER, MOST_BYTES = 32, 8_000_000  # of one request
MOST_WAITING = 24  # instances between the peer and the platform
TRIES = 3  # of an instance that the platform says it failed on
DELIVERY_SECONDS = 600.0  # until what came by C-MOVE must be delivered
Tell = Callable[[Sequence[Mapping[str, Any]]], None]


@dataclass(slots=True)
class Bringing:
    """Of one errand. `tell` reports what is settled; it raises Gone, Untold."""

    parts: Parts
    tell: Tell
    _came: queue.Queue[Entry | None] = field(default_factory=lambda: queue.Queue(MOST_WAITING))
    _taken: set[str] = field(default_factory=set)
    _broke: list[Exception] = field(default_factory=list)
    _given_up: threading.Event = field(default_factory=threading.Event)

    def take(self, spooled: Path) -> None:
        """`Taker`; the peer waits while the queue is full."""
        path = self.parts.files.spool / f"errand-{uuid4().hex}"
        spooled.rename(path)
        whole, dataset = digests(path)
        sop_class, uid = identify(path)
        self._taken.add(uid)
        entry = Entry(
            uid, "", "", sop_class, whole, dataset, path.stat().st_size, str(path), "",
            utc_microseconds(), urgent=False, n=0, attempts=0,
        )  # fmt: skip
        while not self._given_up.is_set():
            try:
                self._came.put(entry, timeout=0.2)
                return
            except queue.Full:
                continue
        path.unlink(missing_ok=True)

    def settled(self, answer: Mapping[str, Any]) -> None:
        """Something that needs no bringing. Raises Gone, Untold."""
        self.tell([answer])

    def fetched(self, uid: str) -> None:
        """The peer says that it gave an instance: taken here, or by C-MOVE in our outbox."""
        self.check()
        if uid not in self._taken:
            self._delivered(uid)

    def check(self) -> None:
        """Raises what stopped the uploader."""
        if self._broke:
            raise self._broke[0]

    @contextmanager
    def running(self) -> Iterator[Bringing]:
        """The uploader runs; at the end everything taken is settled. Raises Gone, Untold."""
        thread = threading.Thread(target=self._upload, name="bringing", daemon=True)
        thread.start()
        try:
            yield self
        except BaseException:
            self._given_up.set()
            raise
        finally:
            while thread.is_alive():
                try:
                    self._came.put(None, timeout=0.2)
                    break
                except queue.Full:
                    continue
            thread.join()
        self.check()

    def _upload(self) -> None:
        over = False
        while not over:
            batch = [first] if (first := self._came.get()) else []
            over = first is None
            while not over and _has_room(batch):
                try:
                    following = self._came.get_nowait()
                except queue.Empty:
                    break
                over = following is None
                if following is not None:
                    batch.append(following)
            try:
                if batch and not self._given_up.is_set():
                    self._bring(batch)
            except Exception as error:
                self._broke.append(error)
                self._given_up.set()
            finally:
                for one in batch:
                    Path(one.path).unlink(missing_ok=True)

    def _bring(self, batch: Sequence[Entry]) -> None:
        """Raises Gone, Untold."""
        again = list(batch)
        for attempt in range(TRIES):
            found = sending.verdicts(again, *self._stored(again))
            told = [_answer(one) for one in found if one.sort != "later" or attempt == TRIES - 1]
            if told:
                self.tell(told)
            again = [replace(one.entry, attempts=attempt + 1) for one in found if one.sort == "later"]
            if not again:
                return

    def _stored(self, batch: Sequence[Entry]) -> tuple[Any, int]:
        coding = self.parts.settings.compression
        coding = "" if coding == "none" else coding

        def ask() -> Answer:
            boundary = new_boundary()
            body = sending.body(batch, lambda one: Path(one.path), boundary, coding)
            headers, content = sending.headers(boundary, coding), self.parts.line.routine(body)
            try:
                return self.parts.platform.request("POST", STORE, content=content, headers=headers)
            except Failing as failing:
                told = failing.answer.json()
                if failing.answer.status not in (503, 507) or not isinstance(told, dict | list):
                    raise
                return failing.answer
            finally:
                body.close()

        answer = persist(ask, self._given_up)
        return answer.json(), answer.status

    def _delivered(self, uid: str) -> None:
        """What came by C-MOVE goes by the outbox, with its lanes: wait until it is there."""
        until = time.monotonic() + DELIVERY_SECONDS
        while not self._given_up.is_set() and time.monotonic() < until:
            heard = self.parts.bell.rung
            fate = self.parts.outbox.fates([uid]).get(uid)
            if fate is not None and fate.state == "delivered":
                return self.tell([{"instance": uid, "source": ""}])
            if fate is None or fate.state == "apart":
                break
            self.parts.bell.wait(heard, 1.0)
        return self.tell([{"instance": uid, "missing": "not-delivered"}])


def _has_room(batch: Sequence[Entry]) -> bool:
    return len(batch) < MOST_TOGETHER and sum(one.size for one in batch) < MOST_BYTES


def _answer(verdict: sending.Verdict) -> dict[str, Any]:
    """A changed duplicate is kept for a person, and is no success of the fetch."""
    uid = verdict.entry.uid
    if verdict.sort == "delivered" and verdict.reason != DUPLICATE.slug:
        return {"instance": uid, "source": verdict.entry.dataset}
    return {"instance": uid, "refused": verdict.reason}
