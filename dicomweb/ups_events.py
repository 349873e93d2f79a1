"""What subscribers of work items are told: events that follow from a change, and their form on the wire.
Pure.

PS3.4 §CC.2.4 (events), Table CC.2.4-1; PS3.18 §11 (Worklist Service), the notification of an event
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb.attributes import Attributes, first, values
from dicomweb.index.steps import WorkItem

SOP_CLASS = "1.2.840.10008.5.1.4.34.6.4"  # Unified Procedure Step - Event
STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT, ASSIGNED = 1, 2, 3, 5
_STATE, _READY, _PROGRESS = "00741000", "00404041", "00741002"
# Reason For Cancellation, Procedure Step Discontinuation Reason Code
_REASONS = ("00741238", "0074100E")
# Contact URI, Contact Display Name
_CONTACT = ("0074100A", "0074100C")
# Scheduled Station Name, Class and Geographic Location Code, Scheduled Human Performers
_ASSIGNMENT = ("00404025", "00404026", "00404027", "00404034")


@dataclass(frozen=True, slots=True)
class Event:
    """One notification; `kind` is the Event Type ID."""

    workitem: str
    kind: int
    attributes: Mapping[str, Any]


def state_report(item: WorkItem) -> Event:
    """Its state, whether its input is ready, and why it was canceled."""
    progress = next((one for one in values(item.attributes, _PROGRESS) if isinstance(one, Mapping)), {})
    told = {tag: progress[tag] for tag in _REASONS if tag in progress and item.state == "CANCELED"}
    ready = {_READY: item.attributes[_READY]} if _READY in item.attributes else {}
    return Event(item.uid, STATE_REPORT, {_STATE: {"vr": "CS", "Value": [item.state]}, **ready, **told})


def cancel_requested(item: WorkItem, reason: Attributes, asker: str) -> Event:
    """Somebody asks the performer to end it."""
    told = {tag: reason[tag] for tag in (*_REASONS, *_CONTACT) if tag in reason}
    return Event(item.uid, CANCEL_REQUESTED, {"00741236": {"vr": "AE", "Value": [asker[:16]]}, **told})


def of_change(before: WorkItem | None, after: WorkItem) -> Iterator[Event]:
    """`before` None: it is new."""
    known = before.attributes if before else {}
    if (
        before is None
        or before.state != after.state
        or first(known, _READY) != first(after.attributes, _READY)
    ):
        yield state_report(after)
    progress = after.attributes.get(_PROGRESS)
    if after.state not in ("SCHEDULED", "CANCELED") and progress and progress != known.get(_PROGRESS):
        yield Event(after.uid, PROGRESS_REPORT, {_PROGRESS: progress})
    assigned = {tag: after.attributes[tag] for tag in _ASSIGNMENT if values(after.attributes, tag)}
    if assigned and any(known.get(tag) != one for tag, one in assigned.items()):
        yield Event(after.uid, ASSIGNED, assigned)


def message(event: Event, number: int) -> dict[str, Any]:
    """As DICOM JSON, its command attributes with it. `number`: of the message."""
    return {
        "00000002": {"vr": "UI", "Value": [SOP_CLASS]},
        "00000110": {"vr": "US", "Value": [number % 65536]},
        "00001000": {"vr": "UI", "Value": [event.workitem]},
        "00001002": {"vr": "US", "Value": [event.kind]},
        **event.attributes,
    }
