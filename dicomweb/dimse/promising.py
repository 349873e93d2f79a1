"""A storage commitment as it is asked for and as its result is told: what the node and a gateway have in
common. What each of them promises is its own.

PS3.4 §J.3.2 (N-ACTION), §J.3.3 (N-EVENT-REPORT); PS3.3 §C.14
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from dicomweb.dataset import is_uid
from dicomweb.dimse.reporting import WELL_KNOWN

MOST_REFERENCES = 20_000
NOT_AUTHORISED, NO_SUCH_ACTION, MISSING, NO_RESOURCES = 0x0124, 0x0123, 0x0120, 0x0213
NO_SUCH_INSTANCE, CLASS_CONFLICT, FAILED = 0x0112, 0x0119, 0x0110


@dataclass(frozen=True, slots=True)
class Question:
    """`items`: (SOP Class UID, SOP Instance UID) of each instance, as they were sent, "" where one lacks."""

    transaction: str
    items: tuple[tuple[str, str], ...]


class Unanswerable(Exception):
    """What was asked is no question; `status` is the answer to it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"0x{status:04X}")
        self.status = status


def question(event: Any) -> Question:
    """What EVT_N_ACTION brings. Raises Unanswerable."""
    if event.action_type != 1 or str(event.request.RequestedSOPInstanceUID) != WELL_KNOWN:
        raise Unanswerable(NO_SUCH_ACTION)
    try:
        asked = event.action_information
        transaction = str(asked.get("TransactionUID", "") or "")
        items = tuple(
            (str(one.get("ReferencedSOPClassUID", "")), str(one.get("ReferencedSOPInstanceUID", "")))
            for one in asked.get("ReferencedSOPSequence", None) or ()
        )
    except Exception as error:  # hostile input: whatever pydicom stumbles on
        raise Unanswerable(FAILED) from error
    if not is_uid(transaction) or not items:
        raise Unanswerable(MISSING)
    if len(items) > MOST_REFERENCES:
        raise Unanswerable(NO_RESOURCES)
    return Question(transaction, items)


def result(asked: Question, reason: Callable[[str, str], int]) -> Dataset:
    """What is kept, and what is not with why: `reason` (class, instance) is 0 or a Failure Reason. PS3.3
    §C.14.1.1"""
    made, kept, failed = Dataset(), [], []
    made.TransactionUID = asked.transaction
    for sop_class, uid in asked.items:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        if why := reason(sop_class, uid):
            item.FailureReason = why
            failed.append(item)
        else:
            kept.append(item)
    if kept:
        made.ReferencedSOPSequence = kept
    if failed:
        made.FailedSOPSequence = failed
    return made
