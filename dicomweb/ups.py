"""Unified Procedure Steps: the worklist of reading tasks, its states and who may change them. Pure.

    SCHEDULED ──► IN PROGRESS ──► COMPLETED
        └────────────┴──────────► CANCELED

Whoever puts a step in progress gives a Transaction UID, which only he then has: it is asked for at each
change and never handed out. PS3.4 §CC.1 (states), §CC.2; PS3.18 §11 (Worklist Service)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from dicomweb.attributes import Attributes, first, values
from dicomweb.dataset import is_uid
from dicomweb.index.steps import WorkItem
from profiles.outcomes import Conflict, Invalid

SOP_CLASS = "1.2.840.10008.5.1.4.34.6.1"
STATE, TRANSACTION, UID = "00741000", "00081195", "00080018"
FINAL = frozenset({"COMPLETED", "CANCELED"})
STATES = FINAL | {"SCHEDULED", "IN PROGRESS"}
_INPUT = "00404021"
_FIXED = frozenset({UID, "00080016", STATE, TRANSACTION})
_SCHEDULED_ONLY = "the workitem's state has to be SCHEDULED"


def create(attributes: Attributes, uid: str, now: str) -> WorkItem:
    """A new step; `uid` is the address's, or "" for a new one; `now` is a DICOM date and time. Raises
    Invalid."""
    uid = uid or first(attributes, UID) or f"2.25.{uuid4().int}"
    if not is_uid(uid):
        raise Invalid("bad-workitem", "the workitem's UID is malformed")
    if first(attributes, STATE) not in ("", "SCHEDULED"):
        raise Invalid("bad-workitem", _SCHEDULED_ONLY)
    if first(attributes, TRANSACTION):
        raise Invalid("bad-workitem", "a new workitem has no Transaction UID")
    made = {
        **attributes,
        "00080016": _one("UI", SOP_CLASS),
        UID: _one("UI", uid),
        STATE: _one("CS", "SCHEDULED"),
        "00404010": _one("DT", now),
    }
    made.pop(TRANSACTION, None)
    for tag, vr, value in (
        ("00741200", "CS", "MEDIUM"),
        ("00404041", "CS", "READY"),
        ("00404005", "DT", now),
    ):
        if not first(made, tag):
            made[tag] = _one(vr, value)
    return WorkItem(uid, "SCHEDULED", "", studies_of(made), made)


def _one(vr: str, value: str) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def studies_of(attributes: Attributes) -> tuple[str, ...]:
    """The studies that the step takes as input."""
    found = (first(item, "0020000D") for item in values(attributes, _INPUT) if isinstance(item, Mapping))
    return tuple(dict.fromkeys(filter(None, found)))


def update(item: WorkItem, attributes: Attributes, transaction: str) -> WorkItem:
    """With other attributes; identity and state are not changed this way. Raises Conflict, Invalid."""
    if any(tag in attributes for tag in (STATE, UID)) and (
        first(attributes, STATE) not in ("", item.state) or first(attributes, UID) not in ("", item.uid)
    ):
        raise Invalid("bad-workitem", "state and UID are not changed by an update")
    if item.state in FINAL:
        raise Conflict("wrong-state", f"the workitem is {item.state}")
    _check_owner(item, transaction or first(attributes, TRANSACTION))
    changed = {**item.attributes, **{tag: one for tag, one in attributes.items() if tag not in _FIXED}}
    return replace(item, attributes=changed, studies=studies_of(changed))


def _check_owner(item: WorkItem, transaction: str) -> None:
    if item.state == "IN PROGRESS" and transaction != item.owner:
        raise Conflict("wrong-transaction", "the Transaction UID is not the one that holds this workitem")


def change_state(item: WorkItem, wanted: str, transaction: str) -> tuple[WorkItem, str]:
    """The step in another state, and a warning ("" for none). Raises Conflict, Invalid. PS3.4 Table
    CC.1.1-2"""
    if wanted not in STATES or not is_uid(transaction):
        raise Invalid("bad-workitem", "a state and a Transaction UID are needed")
    if item.state in FINAL:
        if wanted == item.state and transaction == item.owner:
            return item, f"The UPS is already in the requested state of {wanted}"
        raise Conflict("wrong-state", f"the workitem is {item.state}")
    if wanted == "SCHEDULED":
        raise Conflict("wrong-state", f"a workitem that is {item.state} does not become SCHEDULED")
    if item.state == "SCHEDULED":
        if wanted != "IN PROGRESS":
            raise Conflict("wrong-state", f"a SCHEDULED workitem becomes IN PROGRESS before it is {wanted}")
        return _in_state(replace(item, owner=transaction), wanted), ""
    _check_owner(item, transaction)
    if wanted == "IN PROGRESS":
        raise Conflict("wrong-state", "the workitem is IN PROGRESS")
    return _in_state(item, wanted), ""


def _in_state(item: WorkItem, state: str) -> WorkItem:
    return replace(item, state=state, attributes={**item.attributes, STATE: _one("CS", state)})


def cancel(item: WorkItem, reason: Attributes) -> tuple[WorkItem | None, str]:
    """What a request to cancel makes of it: CANCELED while nobody has begun, None (nothing) when it is
    canceled already. And a warning. Raises Conflict. PS3.4 §CC.2.2"""
    if item.state == "COMPLETED":
        raise Conflict("wrong-state", "the workitem is COMPLETED")
    if item.state == "CANCELED":
        return None, "The UPS is already in the requested state of CANCELED"
    if item.state == "IN PROGRESS":
        raise Conflict("in-progress", "the performer holds the workitem; only he can end it")
    told = {tag: reason[tag] for tag in ("00741238", "0074100E") if tag in reason}
    progress = {"00741002": {"vr": "SQ", "Value": [told]}} if told else {}
    return _in_state(replace(item, attributes={**item.attributes, **progress}), "CANCELED"), ""


def shown(item: WorkItem) -> dict[str, Any]:
    """What a reader gets: everything but the Transaction UID."""
    return {tag: one for tag, one in sorted(item.attributes.items()) if tag != TRANSACTION}


def visible(items: Sequence[WorkItem], studies: frozenset[str] | None) -> list[WorkItem]:
    """The steps about studies that a reader may see; `studies` None: everything."""
    return [item for item in items if studies is None or (item.studies and studies.issuperset(item.studies))]
