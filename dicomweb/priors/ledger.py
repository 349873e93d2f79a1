"""Which sites were asked for whose earlier exams, what they have, and what people decided of it.

Rows in the file of the transfers: a prior that is wanted and its transfer are acknowledged together. Every
process may read and decide; a search is one worker's at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from dicomweb.attributes import Attributes
from dicomweb.priors.likely import Candidate, How
from dicomweb.transfers.queue import Queue

TABLES = (
    """CREATE TABLE IF NOT EXISTS prior_search(
  request TEXT NOT NULL, peer TEXT NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
  reason TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0,
  at INTEGER NOT NULL, PRIMARY KEY(request, peer)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS prior_due ON prior_search(not_before) WHERE state = 'waiting'",
    """CREATE TABLE IF NOT EXISTS prior(
  request TEXT NOT NULL, study TEXT NOT NULL, peer TEXT NOT NULL, how TEXT NOT NULL, facts TEXT NOT NULL,
  place INTEGER NOT NULL, state TEXT NOT NULL, by TEXT NOT NULL DEFAULT '', at INTEGER NOT NULL,
  PRIMARY KEY(request, study)) WITHOUT ROWID""",
)
LEASE = 180_000_000  # µs: a search whose worker died is taken up again after that
ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 30_000_000, 3_600_000_000  # µs; doubled each time
HERE = ""  # the peer of an exam that the platform has already
State = Literal["proposed", "wanted", "set-aside"]


@dataclass(frozen=True, slots=True)
class Search:
    """One site asked for one télédossier. `state`: waiting, done, failed (`reason`: slug)."""

    request: str
    peer: str
    digest: str
    state: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier exam that was found. `row`: DICOM JSON of its study."""

    request: str
    study: str
    peer: str
    how: How
    row: Attributes
    state: State


def prepare(queue: Queue) -> None:
    """The tables, where they are not there yet. Once, when the queue is opened."""
    with queue.writing() as connection:
        for statement in TABLES:
            connection.execute(statement)


class Ledger:
    """On an open Queue, whose file and lock it shares."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    # -- searches
    def plan(self, request: str, peer: str, digest: str, now: int) -> bool:
        """Whether there is something to ask: not asked yet, or other questions than before."""
        with self._queue.writing() as connection:
            made = connection.execute(
                "INSERT INTO prior_search(request, peer, digest, at) VALUES(?, ?, ?, ?) ON CONFLICT DO "
                "UPDATE SET digest = excluded.digest, state = 'waiting', reason = '', attempts = 0, "
                "not_before = 0, at = excluded.at WHERE digest <> excluded.digest",
                (request, peer, digest, now),
            )
            return bool(made.rowcount)

    def again(self, request: str, now: int) -> int:
        """Ask every site anew; how many that are."""
        with self._queue.writing() as connection:
            made = connection.execute(
                "UPDATE prior_search SET state = 'waiting', reason = '', attempts = 0, not_before = 0, "
                "at = ? WHERE request = ? AND (state <> 'waiting' OR attempts > 0)",
                (now, request),
            )
            return made.rowcount

    def claim(self, now: int) -> Search | None:
        """The next search that is due, this worker's for `LEASE`."""
        with self._queue.writing() as connection:
            row = connection.execute(
                "SELECT request, peer, digest, state, reason, attempts FROM prior_search "
                "WHERE state = 'waiting' AND not_before <= ? ORDER BY not_before, at LIMIT 1",
                (now,),
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE prior_search SET not_before = ? WHERE request = ? AND peer = ?",
                (now + LEASE, row[0], row[1]),
            )
            return Search(*row)

    def has_work(self, now: int) -> bool:
        return bool(
            self._queue.rows(
                "SELECT 1 FROM prior_search WHERE state = 'waiting' AND not_before <= ? LIMIT 1", (now,)
            )
        )

    def settle(self, search: Search, found: Sequence[Candidate], now: int) -> None:
        """The site answered. What a person decided before stands."""
        with self._queue.writing() as connection:
            self._keep(connection, search.request, search.peer, found, now)
            connection.execute(
                "UPDATE prior_search SET state = 'done', reason = '' "
                "WHERE request = ? AND peer = ? AND digest = ?",
                (search.request, search.peer, search.digest),
            )

    def keep_here(self, request: str, found: Sequence[Candidate], now: int) -> None:
        """Exams that the platform has already."""
        with self._queue.writing() as connection:
            self._keep(connection, request, HERE, found, now)

    @staticmethod
    def _keep(connection: Any, request: str, peer: str, found: Sequence[Candidate], now: int) -> None:
        rows = [
            (request, one.study, peer, one.how, orjson.dumps(one.row).decode(), place,
             "wanted" if one.fetched else "proposed", now)
            for place, one in enumerate(found)
        ]  # fmt: skip
        connection.executemany(
            "INSERT INTO prior(request, study, peer, how, facts, place, state, at) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            rows,
        )

    def failed(self, search: Search, reason: str, now: int) -> None:
        """Tried again later, and given up after `ATTEMPTS`."""
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**search.attempts)
        state = "failed" if search.attempts + 1 >= ATTEMPTS else "waiting"
        with self._queue.writing() as connection:
            connection.execute(
                "UPDATE prior_search SET attempts = attempts + 1, reason = ?, not_before = ?, state = ? "
                "WHERE request = ? AND peer = ? AND digest = ?",
                (reason, now + wait, state, search.request, search.peer, search.digest),
            )

    def forget(self, search: Search) -> None:
        """Not to be asked any more: the télédossier is closed, the patient refused, the site switched off."""
        with self._queue.writing() as connection:
            connection.execute(
                "DELETE FROM prior_search WHERE request = ? AND peer = ?", (search.request, search.peer)
            )

    # -- what was found
    def searches(self, request: str) -> list[Search]:
        rows = self._queue.rows(
            "SELECT request, peer, digest, state, reason, attempts FROM prior_search WHERE request = ? "
            "ORDER BY peer",
            (request,),
        )
        return [Search(*row) for row in rows]

    def priors(self, request: str) -> list[Prior]:
        """Most useful first, site by site."""
        rows = self._queue.rows(
            "SELECT request, study, peer, how, facts, state FROM prior WHERE request = ? "
            "ORDER BY place, study",
            (request,),
        )
        return [_prior(row) for row in rows]

    def decide(self, request: str, study: str, state: State, by: str) -> bool:
        """A person's decision; False when no such exam was found for that télédossier."""
        with self._queue.writing() as connection:
            made = connection.execute(
                "UPDATE prior SET state = ?, by = ? WHERE request = ? AND study = ?",
                (state, by, request, study),
            )
            return bool(made.rowcount)

    def unordered(self, most: int = 50) -> list[Prior]:
        """Those wanted for which nothing was set going yet: their wish is the mark."""
        rows = self._queue.rows(
            "SELECT request, study, peer, how, facts, state FROM prior WHERE state = 'wanted' AND NOT EXISTS "
            "(SELECT 1 FROM wish WHERE wish.study = prior.study AND wish.request = prior.request) LIMIT ?",
            (most,),
        )
        return [_prior(row) for row in rows]

    def is_prior(self, request: str, study: str) -> bool:
        """Whether that exam comes into that télédossier as a prior."""
        return bool(
            self._queue.rows(
                "SELECT 1 FROM prior WHERE request = ? AND study = ? AND state = 'wanted'", (request, study)
            )
        )


def _prior(row: Sequence[Any]) -> Prior:
    request, study, peer, how, facts, state = row
    return Prior(request, study, peer, how, orjson.loads(facts), state)
