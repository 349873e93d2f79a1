"""Storage commitment as the proof of a relay: what a peer was asked to take responsibility for, and its
answer. Rows of the queue's file.

The question is on record before it is asked. The answer comes on the association that asked, or later to
our node, in another process; either way it is a row, and the transfer that waits for it goes on. PS3.4 §J
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import orjson

from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Committing, Denied, PeerError
from dicomweb.transfers.queue import Queue

SECOND = 1_000_000  # microseconds
PATIENCE = 300 * SECOND  # for an answer; then the peer's own list has to do
NOT_OFFERED, UNANSWERED, NOT_ASKED = "not-offered", "unanswered", "not-asked"  # why there is no answer
ASK_AGAIN = 24 * 3600 * SECOND  # a peer that did not answer is not asked before


class Awaiting(Exception):
    """The peer has been asked and has not answered yet."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """`at` and `answered` (0: not yet) are UTC microseconds; `kept` and `failed` (with the reason's code)
    are SOP Instance UIDs as the peer knows them."""

    transaction: str
    at: int
    answered: int
    kept: frozenset[str]
    failed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Commitments:
    """Synchronous, like the queue it belongs to."""

    queue: Queue

    def ask(self, transaction: str, transfer: str, peer: str, now: int) -> None:
        """An earlier question of the transfer is void."""
        with self.queue.writing() as connection:
            connection.execute("DELETE FROM commitment WHERE transfer = ?", (transfer,))
            connection.execute(
                "INSERT INTO commitment(transaction_uid, transfer, peer, at) VALUES(?, ?, ?, ?)",
                (transaction, transfer, peer, now),
            )

    def asked_of(self, transaction: str) -> str:
        """The peer's id; "" for no such question that is open."""
        sql = "SELECT peer FROM commitment WHERE transaction_uid = ? AND answered = 0"
        rows = self.queue.rows(sql, (transaction,))
        return str(rows[0][0]) if rows else ""

    def answer(self, transaction: str, kept: Iterable[str], failed: Mapping[str, int], now: int) -> bool:
        """The first answer counts; the transfer that waits for it goes on at once. Durable."""
        with self.queue.writing() as connection:
            changed = connection.execute(
                "UPDATE commitment SET answered = ?, kept = ?, failed = ? "
                "WHERE transaction_uid = ? AND answered = 0",
                (now, orjson.dumps(sorted(kept)).decode(), orjson.dumps(failed).decode(), transaction),
            )
            connection.execute(
                "UPDATE transfer SET not_before = 0 WHERE state = 'waiting' AND id = "
                "(SELECT transfer FROM commitment WHERE transaction_uid = ?)",
                (transaction,),
            )
            return changed.rowcount == 1

    def of(self, transfer: str) -> Commitment | None:
        sql = "SELECT transaction_uid, at, answered, kept, failed FROM commitment WHERE transfer = ?"
        for uid, at, answered, kept, failed in self.queue.rows(sql, (transfer,)):
            known = frozenset(map(str, orjson.loads(str(kept)))), orjson.loads(str(failed))
            return Commitment(str(uid), int(str(at)), int(str(answered)), *known)
        return None

    def forget(self, transfer: str) -> None:
        with self.queue.writing() as connection:
            connection.execute("DELETE FROM commitment WHERE transfer = ?", (transfer,))


def committed(
    commitments: Commitments,
    session: object,
    peer: Peer,
    transfer: str,
    wanted: Mapping[str, str],
    now: Callable[[], int],
) -> Commitment | str:
    """The peer's answer for `wanted` (SOP Instance UID → class); why there is none when it gives none, then
    and for a day its list has to do. Raises Awaiting, PeerError."""
    mark = f"no-commitment:{peer.id}"
    if not wanted:
        return ""
    if not isinstance(session, Committing):
        return NOT_OFFERED
    found = commitments.of(transfer)
    if found is None:
        if commitments.queue.get_mark(mark) > now() - ASK_AGAIN:
            return NOT_ASKED
        transaction = f"2.25.{uuid4().int}"
        commitments.ask(transaction, transfer, peer.id, now())
        try:
            session.commit(
                transaction, wanted, lambda kept, failed: commitments.answer(transaction, kept, failed, now())
            )
        except Denied:
            commitments.forget(transfer)
            commitments.queue.set_mark(mark, now())
            return NOT_OFFERED
        except PeerError:
            commitments.forget(transfer)
            raise
        found = commitments.of(transfer)
    if found is None or not found.answered:
        if found is not None and now() - found.at < PATIENCE:
            raise Awaiting
        commitments.queue.set_mark(mark, now())
        commitments.forget(transfer)
        return UNANSWERED
    commitments.forget(transfer)
    return found
