"""Who asked which site's PACS, with which kinds of keys; which transfers were ordered, cancelled and how
they ended.

Events of DICOM's own vocabulary (Query, Begin Transferring, DICOM Instances Transferred), as IHE ATNA has
them; of the
keys of a search the names alone, never a value. An event names one télédossier at most, and the exam by its
UID. FHIR R4 auditevent.html; IHE ITI TF-2 §3.20; PS3.15 §A.5
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from dicomweb.images import Images
from dicomweb.peers.peer import Peer
from dicomweb.transfers.record import Transfer
from fhir_server.audit import PEOPLE, put_of
from fhir_server.store.contract import RaceLost

DCM = "http://dicom.nema.org/resources/ontology/DCM"
QUERY, BEGIN, TRANSFERRED = "110112", "110102", "110104"
NAMES = {
    QUERY: "Query", BEGIN: "Begin Transferring DICOM Instances", TRANSFERRED: "DICOM Instances Transferred",
}  # fmt: skip
What = Literal["ordered", "cancelled", "ended"]
_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SUCCESS, _MINOR, _SERIOUS = "0", "4", "8"
_OUTCOMES = {
    "waiting": _SUCCESS,
    "done": _SUCCESS,
    "partial": _MINOR,
    "cancelled": _MINOR,
    "failed": _SERIOUS,
}
# in DICOM's words where a transfer comes from and where it goes: agents. PS3.16 CID 402
_SOURCE, _DESTINATION = "110153", "110152"


@dataclass(frozen=True, slots=True)
class Searched:
    """One search of a PACS. `keys` are the names of what was given; `fault` "" when it was answered."""

    subject: str
    peer: Peer
    level: str
    keys: tuple[str, ...]
    found: int = 0
    fault: str = ""


async def keep(images: Images, event: dict[str, Any], id: str = "") -> None:
    """Durable when it returns. Under the same id it is kept once."""
    at = int(datetime.fromisoformat(event["recorded"]).timestamp() * 1e6)
    with suppress(RaceLost):
        await images.store.commit([put_of(event, at, images.settings, id)])


def id_of(transfer: Transfer) -> str:
    """Of the event of its end."""
    return "transfer-" + hashlib.sha256(transfer.id.encode()).hexdigest()[:40]


def of_search(searched: Searched, at: int) -> dict[str, Any]:
    query = base64.b64encode(f"{searched.level}?{'&'.join(searched.keys)}".encode()).decode()
    details = [{"type": "found", "valueString": str(searched.found)}]
    if searched.fault:
        details = [{"type": "fault", "valueString": searched.fault}]
    site = {"what": {"reference": searched.peer.organization}} if searched.peer.organization else {}
    entity = {**site, **_entity("2", "24"), "query": query, "detail": details}
    event = _event(QUERY, "E", at, _MINOR if searched.fault else _SUCCESS)
    there = _peer(searched.peer.id, _DESTINATION)
    return {**event, "agent": [_person(searched.subject), there], "entity": [entity]}


def of_transfer(transfer: Transfer, what: What, subject: str, at: int) -> dict[str, Any]:
    """`subject`: who did that."""
    order = transfer.order
    outcome = {"ordered": _SUCCESS, "cancelled": _MINOR}.get(what) or _OUTCOMES[transfer.state]
    event = _event(
        BEGIN if what == "ordered" else TRANSFERRED, "C" if order.kind == "import" else "R", at, outcome
    )
    if transfer.reason and what == "ended":
        event["outcomeDesc"] = transfer.reason
    details = [{"type": "transfer", "valueString": transfer.id}, {"type": what, "valueString": order.kind}]
    if what == "ended":
        details.append({"type": "stored", "valueString": f"{transfer.done}/{transfer.total}"})
    study = {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{order.study}"}}
    entities = [{"what": study, **_entity("2", "3"), "detail": details}]
    if order.request:
        entities.append({"what": {"reference": f"ServiceRequest/{order.request}"}, **_entity("2", "20")})
    there = _peer(order.peer, _SOURCE if order.kind == "import" else _DESTINATION)
    return {**event, "agent": [_person(subject), there], "entity": entities}


def _event(code: str, action: str, at: int, outcome: str) -> dict[str, Any]:
    return {
        "type": {"system": DCM, "code": code, "display": NAMES[code]},
        "action": action,
        "recorded": datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds"),
        "outcome": outcome,
        "source": {
            "observer": {"display": "Télédossier"},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
        },
    }


def _person(subject: str) -> dict[str, Any]:
    is_person = subject.startswith(PEOPLE)
    who = {"reference": subject} if is_person else {"display": subject or "Télédossier"}
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
    return {"type": {"coding": [kind]}, "who": who, "requestor": True}


def _peer(id: str, role: str) -> dict[str, Any]:
    kind = {"coding": [{"system": DCM, "code": role}]}
    return {
        "type": kind,
        "who": {"identifier": {"value": f"Endpoint/{id}"}, "display": id},
        "requestor": False,
    }


def _entity(kind: str, role: str) -> dict[str, Any]:
    return {"type": {"system": _TYPE, "code": kind}, "role": {"system": _ROLE, "code": role}}
