"""The reading of an attached exam as a Unified Procedure Step, for workstations that take their work from
UPS-RS. Pure.

One step a study: scheduled when the exam is attached to a télédossier, completed when a report on it is
final, canceled when the study is put out of sight. PS3.4 §CC.2.5 (attributes), §CC.1 (states)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from dicomweb import ups
from dicomweb.index.contract import Study
from dicomweb.index.steps import WorkItem

FINAL_REPORTS = frozenset({"final", "amended", "corrected", "appended"})
_PATIENT = ("00100010", "00100020", "00100021", "00100030", "00100040")
_LABEL = "Lecture"


def uid_of(study: str) -> str:
    """The same for the same study, so that it is scheduled once."""
    return f"2.25.{uuid5(NAMESPACE_OID, 'reading ' + study).int}"


def step(study: Study, now: str) -> WorkItem:
    """`now`: a DICOM date and time."""
    described = {tag: study.attributes[tag] for tag in _PATIENT if tag in study.attributes}
    reference: dict[str, Any] = {
        "0020000D": {"vr": "UI", "Value": [study.uid]},
        "0040E020": {"vr": "CS", "Value": ["DICOM"]},
    }
    order: dict[str, Any] = {
        "0020000D": {"vr": "UI", "Value": [study.uid]},
        "00080050": {"vr": "SH", "Value": [study.accession]} if study.accession else {"vr": "SH"},
    }
    attributes = {
        **described,
        "00741204": {"vr": "LO", "Value": [_LABEL]},
        "00741202": {"vr": "LO", "Value": [_LABEL.upper()]},
        "00404021": {"vr": "SQ", "Value": [reference]},
        "0040A370": {"vr": "SQ", "Value": [order]},
    }
    return ups.create(attributes, uid_of(study.uid), now)


def ended(item: WorkItem, state: str) -> WorkItem | None:
    """The step in a final state, whoever holds it: what ends it has happened. None when it has one
    already."""
    if item.state in ups.FINAL:
        return None
    attributes = {**item.attributes, ups.STATE: {"vr": "CS", "Value": [state]}}
    return replace(item, state=state, attributes=attributes)


def is_final(report: Mapping[str, Any]) -> bool:
    return report.get("status") in FINAL_REPORTS


def studies_read(report: Mapping[str, Any]) -> Iterable[str]:
    """The studies that a report names; the id of an ImagingStudy is the study's UID."""
    for one in report.get("imagingStudy", ()):
        kind, _slash, id = str(one.get("reference", "")).rpartition("/")
        if kind == "ImagingStudy":
            yield id


def requests_answered(report: Mapping[str, Any]) -> Iterable[str]:
    """The requests that a report answers: it is about their exams, also where it names none."""
    for one in report.get("basedOn", ()):
        reference = str(one.get("reference", ""))
        if reference.startswith("ServiceRequest/"):
            yield reference
