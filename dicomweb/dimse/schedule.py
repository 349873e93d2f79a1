"""Modality Worklist: the exams that requests announce by accession number, so that a modality takes over
who the patient is and the images find their télédossier by themselves.

An order here names neither station nor modality: each is told as the modality asks for it. Once its modality
has told that it performed it (`performing`) an order is no more on the list; one given up is again. In
pynetdicom's threads. PS3.4 §K (Modality Worklist); PS3.3 §C.4.10 (scheduled procedure step)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomweb.association import request_of
from dicomweb.dataset import tag_vr
from dicomweb.dimse import identifiers, registry
from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.registry import access_of, calling
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.identity import INS_OIDS, IPP_SYSTEM
from dicomweb.index.contract import Index
from dicomweb.keys import plain_matches
from dicomweb.matching import matches
from dicomweb.peers.peer import Peer
from dicomweb.performed import COMPLETED, IN_PROGRESS
from fhir_server.access import Access
from fhir_server.search.nodes import Everything
from profiles.outcomes import Invalid

log = logging.getLogger(__name__)

SOP_CLASS = "1.2.840.10008.5.1.4.31"
NEWEST = 500  # requests looked at
_OPEN = frozenset({"draft", "active", "on-hold"})
_SEX = {"male": "M", "female": "F", "other": "O"}
_STEPS = "00400100"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The orders that a peer may see, as its scheduled procedure steps."""

    bridge: Bridge
    zone: ZoneInfo
    index: Index

    def on_find(self, event: Any) -> Iterator[Any]:
        """EVT_C_FIND."""
        peer = calling(event)
        if peer is None:
            yield 0xC101, None
            return
        try:
            asked = identifiers.identifier_of(event)
            found = self._rows(peer, asked)
        except (identifiers.BadIdentifier, Invalid):
            yield 0xA900, None
            return
        except Exception:
            log.exception("the modality worklist failed")
            yield 0xC001, None
            return
        for row in found:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, answer(asked, row)

    def _rows(self, peer: Peer, asked: Dataset) -> list[Row]:
        wanted = [
            match
            for path, vr, value in identifiers.keys(asked)
            if value
            for match in plain_matches(path[-1], path, vr, value)
        ]
        told = _told(asked)
        rows = (row for one in self._announced(access_of(peer)) for row in self._steps(peer, one, told))
        return [row for row in rows if all(matches(row, match) for match in wanted)]

    def _announced(self, access: Access) -> Sequence[Row]:
        found = self.bridge.resources(access, "ServiceRequest", Everything(), NEWEST)
        return [one for one in found if one.get("status") in _OPEN and request_of(one).accessions]

    def _steps(self, peer: Peer, request: Row, told: Row) -> Iterator[Row]:
        access = access_of(peer)
        subject = str(request.get("subject", {}).get("reference", ""))
        patient = self.bridge.by_id(access, "Patient", subject.removeprefix("Patient/"))
        if patient:
            for accession in sorted(request_of(request).accessions):
                states = self._states(request, accession, peer.site)
                if COMPLETED not in states:
                    status = "STARTED" if IN_PROGRESS in states else "SCHEDULED"
                    of_step = {**told, "00400020": _one("CS", status)}
                    yield step(request, patient, accession, of_step, self.zone)

    def _states(self, request: Row, accession: str, site: str) -> set[str]:
        """Of the steps that perform an order: they name its study, or its accession number at the same
        site."""
        named = self.index.performed_of(study_of(request, accession))
        same = self.index.performed_for(accession[:16])
        return {one.state for one in named} | {one.state for one in same if one.organisation == site}


def _told(asked: Dataset) -> Row:
    """Station and modality as the modality asks for them."""
    items = list(asked.get("ScheduledProcedureStepSequence", None) or ())[:1]
    texts = {
        tag: identifiers.text_of(items[0].get(int(tag, 16)).value)
        if items and int(tag, 16) in items[0]
        else ""
        for tag in ("00400001", "00080060")
    }
    return {
        tag: _one(tag_vr(int(tag, 16)), text)
        for tag, text in texts.items()
        if text and "*" not in text and "?" not in text
    }


def _one(vr: str, value: object) -> Row:
    return {"vr": vr, "Value": [value]} if value not in ("", None) else {"vr": vr}


def study_of(request: Row, accession: str) -> str:
    """The Study Instance UID that an order's exam gets, the same each time."""
    return f"2.25.{uuid5(NAMESPACE_OID, str(request.get('id')) + ' ' + accession).int}"


def step(request: Row, patient: Row, accession: str, told: Row, zone: ZoneInfo) -> Row:
    """One scheduled procedure step in DICOM JSON. Pure."""
    moment = _moment(request, zone)
    title = str(request.get("code", {}).get("text", ""))
    return {
        **_patient(patient),
        "00080050": _one("SH", accession[:16]),
        "00080090": _one("PN", None),
        "0020000D": _one("UI", study_of(request, accession)),
        "00321060": _one("LO", title[:64]),
        "00401001": _one("SH", accession[:16]),
        _STEPS: {
            "vr": "SQ",
            "Value": [{
                **told,
                "00400002": _one("DA", moment.strftime("%Y%m%d") if moment else None),
                "00400003": _one("TM", moment.strftime("%H%M%S") if moment else None),
                "00400007": _one("LO", title[:64]),
                "00400009": _one("SH", accession[:16]),
            }],
        },
    }  # fmt: skip


def _moment(request: Row, zone: ZoneInfo) -> datetime | None:
    for name in ("occurrenceDateTime", "authoredOn"):
        try:
            return datetime.fromisoformat(str(request[name])).astimezone(zone)
        except (KeyError, ValueError):
            continue
    return None


def _patient(patient: Row) -> Row:
    name: Row = next(iter(patient.get("name", ())), {})
    spelt = "^".join((str(name.get("family", "")), " ".join(name.get("given", ()))))
    local: tuple[str, str] = ("", "")
    others = []
    for one in patient.get("identifier", ()):
        system, value = str(one.get("system", "")), str(one.get("value", ""))
        oid = system.removeprefix("urn:oid:")
        if system.startswith(IPP_SYSTEM) and not local[0]:
            local = value, system.removeprefix(IPP_SYSTEM)
        elif oid in INS_OIDS:
            others.append({"00100020": _one("LO", value), "00100021": _one("LO", oid)})
    return {
        "00100010": _one("PN", {"Alphabetic": spelt.strip("^")} if spelt.strip("^") else None),
        "00100020": _one("LO", local[0]),
        "00100021": _one("LO", local[1]),
        "00100030": _one("DA", str(patient.get("birthDate", "")).replace("-", "")),
        "00100040": _one("CS", _SEX.get(str(patient.get("gender")), "")),
        "00101002": {"vr": "SQ", "Value": others} if others else {"vr": "SQ"},
    }


def answer(asked: Dataset, row: Mapping[str, Any]) -> Dataset:
    """The return keys that were asked for, empty where the order does not say, and the identifiers of the
    patient with their issuers always."""
    wanted = {f"{int(tag):08X}" for tag in asked.keys()}  # noqa: SIM118 - iterating gives elements
    wanted |= {"00100021", "00101002"} & row.keys()
    made = Dataset.from_json({tag: row[tag] for tag in wanted if tag in row})
    for tag in sorted(wanted):
        if int(tag, 16) not in made:
            made.add_new(int(tag, 16), tag_vr(int(tag, 16)), None)
    made.SpecificCharacterSet = "ISO_IR 192"
    return made


def _handlers(world: World) -> Mapping[Any, Handler]:
    return {evt.EVT_C_FIND: Schedule(world.bridge, world.settings.zone, world.images.index).on_find}


SERVICE = Service([SOP_CLASS], _handlers, registry.WORKLIST)
