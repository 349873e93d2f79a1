"""How the platform stands to an exam that goes to a peer: whether it still goes there, whose it is, and
what the peer's site calls that patient.

    ImagingStudy → subject → Patient (of two that were merged, the one that stayed)
    order.request → ServiceRequest        Endpoint → establishment
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb.coercion.identity import Identity, known_as, site_of
from dicomweb.fhir import Fhir
from dicomweb.merges import replaced_by
from dicomweb.peers.peer import Peer
from dicomweb.transfers.delivered import Delivered
from dicomweb.transfers.record import Order
from profiles.outcomes import Gone, NotFound

NOBODY = Identity()
MERGES = 5  # steps from a Patient to the one that replaced it


@dataclass(frozen=True, slots=True)
class Standing:
    """`goes`: the exam still belongs to the télédossier under which it goes there. `patient` is the FHIR
    Patient's id."""

    goes: bool = True
    patient: str = ""
    identity: Identity = NOBODY


Ask = Callable[[Order], Standing]
"""Blocking, for lanes. Raises whatever the store raises."""


def is_anothers(row: Delivered, identities: Mapping[str, Identity], stands: Standing) -> bool:
    """Whether what a peer has is another patient there than the present one: another person's, or this one's
    under another number, which a PACS takes for another patient."""
    if row.patient and row.patient != stands.patient:
        return True
    before, now = identities.get(row.identity, NOBODY), stands.identity
    return (before.patient_id, before.issuer) != (now.patient_id, now.issuer)


async def standing(fhir: Fhir, peer: Peer, order: Order) -> Standing:
    """Of the exam of this order, for its peer."""
    study = await exam_of(fhir, order.study)
    if study is None:
        return Standing(goes=not order.request)
    based_on = [one.get("reference") for one in study.get("basedOn", ())]
    gone = study.get("status") == "entered-in-error"
    goes = not gone and (not order.request or f"ServiceRequest/{order.request}" in based_on)
    patient = await patient_of(fhir, str((study.get("subject") or {}).get("reference", "")))
    request = (await _read(fhir, f"ServiceRequest/{order.request}") or {}) if order.request else {}
    identity = NOBODY
    if peer.coerce == "identity" and patient is not None:
        site = await _read(fhir, peer.organization) or {"id": peer.organization.rpartition("/")[2]}
        identity = known_as(patient, request, site_of(site, peer.issuer))
    return Standing(goes, str((patient or {}).get("id", "")), identity)


async def exam_of(fhir: Fhir, uid: str) -> dict[str, Any] | None:
    """The ImagingStudy of a Study Instance UID: ours has it as id, another system's may not."""
    found = await _read(fhir, f"ImagingStudy/{uid}")
    if found is None:
        named = await fhir.search("ImagingStudy", [("identifier", f"urn:dicom:uid|urn:oid:{uid}")])
        found = named[0] if named else None
    return found


async def patient_of(fhir: Fhir, reference: str) -> dict[str, Any] | None:
    """The Patient, or the one that it was merged into. FHIR R4 patient.html#links"""
    found = await _read(fhir, reference) if reference.startswith("Patient/") else None
    for _ in range(MERGES):
        next_one = replaced_by(found or {})
        following = await _read(fhir, next_one) if next_one else None
        if following is None:
            break
        found = following
    return found


async def _read(fhir: Fhir, reference: str) -> dict[str, Any] | None:
    kind, _, id = reference.partition("/")
    if not kind or not id:
        return None
    try:
        return await fhir.read(kind, id)
    except (NotFound, Gone):
        return None
