"""Index rows → the ImagingStudy resource. Pure; the same rows always give the same resource.

The id is the Study Instance UID itself: digits and dots, 64 at most, is a FHIR id. What people and the
association have written (`basedOn`, `subject`, notes) is kept when the study grows. FHIR R4
imagingstudy.html; PS3.20 has no say here
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from dicomweb.attributes import Attributes, first, integer
from dicomweb.identity import Identifier
from dicomweb.index.contract import EXPIRY, Brief, Series, Study, Trace

DCM = "http://dicom.nema.org/resources/ontology/DCM"
PROFILE = "https://teledossier.example/fhir/StructureDefinition/teledossier-imaging-study"
UID_SYSTEM = "urn:dicom:uid"
MAX_LISTED = 500  # instances; a larger study says only how many (one version would weigh 100 bytes for each)
KEPT = ("basedOn", "subject", "note", "reasonCode", "reasonReference", "extension", "referrer", "interpreter")
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def build(
    study: Study,
    series: Sequence[Series],
    briefs: Sequence[Brief],
    identifiers: Sequence[Identifier],
    *,
    zone: tzinfo,
    base: str,
) -> dict[str, Any]:
    """The resource of a study not yet attached. `base` is the DICOMweb address."""
    resource: dict[str, Any] = {
        "resourceType": "ImagingStudy",
        "id": study.uid,
        "meta": {"profile": [PROFILE]},
        "contained": [_endpoint(base)],
        "identifier": _identifiers(study),
        "status": "available",
        "modality": [_modality(one) for one in study.modalities],
        "subject": nameless(identifiers),
        "endpoint": [{"reference": "#wado-rs"}],
        "numberOfSeries": study.series_count,
        "numberOfInstances": study.instance_count,
        "description": first(study.attributes, "00081030"),
        "series": [_series(one, briefs, study.instance_count <= MAX_LISTED, zone) for one in series],
    }
    if moment := started(study.attributes, zone):
        resource["started"] = moment.isoformat()
    return {name: value for name, value in resource.items() if value not in ("", [], None)}


def merge(built: dict[str, Any], current: dict[str, Any] | None) -> dict[str, Any]:
    """The new state, with what others wrote into the current one."""
    if current is None:
        return built
    merged = dict(built)
    for name in KEPT:
        if name in current and (name != "subject" or "reference" in current["subject"]):
            merged[name] = current[name]
    return merged


def withdrawn(current: dict[str, Any], trace: Trace) -> dict[str, Any]:
    """The resource of a study of which nothing is left in sight: R4's word for what was available and is
    withdrawn, but for an exam whose time was over: that was no error, and nobody must reject it elsewhere."""
    left = {name: value for name, value in current.items() if name != "series"}
    status = "cancelled" if trace.by == EXPIRY else "entered-in-error"
    return {**left, "status": status, "numberOfSeries": 0, "numberOfInstances": 0}


def same(a: dict[str, Any], b: dict[str, Any] | None) -> bool:
    """Equal but for what the server keeps itself."""
    return b is not None and {**a, "meta": None, "text": None} == {**b, "meta": None, "text": None}


def _endpoint(base: str) -> dict[str, Any]:
    connection = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
    return {
        "resourceType": "Endpoint",
        "id": "wado-rs",
        "status": "active",
        "connectionType": {"system": connection, "code": "dicom-wado-rs"},
        "payloadType": [{"text": "DICOM"}],
        "address": base,
    }


def _identifiers(study: Study) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"system": UID_SYSTEM, "value": f"urn:oid:{study.uid}"}]
    if study.accession:
        system = "http://terminology.hl7.org/CodeSystem/v2-0203"
        found.append({"type": {"coding": [{"system": system, "code": "ACSN"}]}, "value": study.accession})
    return found


def nameless(identifiers: Sequence[Identifier]) -> dict[str, Any]:
    """Until a télédossier is found the patient is named by identifier only, never by name."""
    for system, value in identifiers:
        return {"type": "Patient", "identifier": {"system": system, "value": value}}
    return {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def _modality(code: str) -> dict[str, Any]:
    return {"system": DCM, "code": code}


def _series(one: Series, briefs: Sequence[Brief], listed: bool, zone: tzinfo) -> dict[str, Any]:
    series: dict[str, Any] = {
        "uid": one.uid,
        "number": _unsigned(integer(one.attributes, "00200011")),
        "modality": _modality(first(one.attributes, "00080060") or "OT"),
        "description": first(one.attributes, "0008103E"),
        "numberOfInstances": one.instance_count,
    }
    if moment := started(one.attributes, zone, "00080021", "00080031"):
        series["started"] = moment.isoformat()
    if listed:
        series["instance"] = [_instance(brief) for brief in briefs if brief.series == one.uid]
    return {name: value for name, value in series.items() if value not in ("", [], None)}


def _instance(brief: Brief) -> dict[str, Any]:
    instance: dict[str, Any] = {
        "uid": brief.uid,
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{brief.sop_class}"},
    }
    if (number := _unsigned(brief.number)) is not None:
        instance["number"] = number
    return instance


def _unsigned(number: int | None) -> int | None:
    return number if number is not None and 0 <= number < 2**31 else None


def started(
    attributes: Attributes, zone: tzinfo, date_tag: str = "00080020", time_tag: str = "00080030"
) -> datetime | None:
    """When it began, with its offset: that of the dataset if it says one, else that of `zone`. None if
    undated."""
    date, time = first(attributes, date_tag), re.sub(r"[^0-9]", "", first(attributes, time_tag)[:6])
    text = date.replace(".", "") + (time + "000000")[:6]
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=_offset(first(attributes, "00080201")) or zone)


def _offset(text: str) -> tzinfo | None:
    found = re.fullmatch(r"([+-])(\d{2})(\d{2})", text)
    if not found:
        return None
    delta = timedelta(hours=int(found[2]), minutes=int(found[3]))
    if delta >= timedelta(hours=24):
        return None
    return timezone(-delta if found[1] == "-" else delta) if delta else UTC
