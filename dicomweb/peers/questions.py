"""What a peer is asked by DIMSE, as datasets: a search, a list of instances, a storage commitment; and what
the answer to the last one says.

PS3.4 §C.4 (query, retrieve), §K.6 (worklist), §J.3 (storage commitment)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydicom.dataset import Dataset

from dicomweb.peers.session import Level, Wanted

LEVELS: Mapping[Level, str] = {"study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
# Return keys. PS3.4 Tables C.6-1 to C.6-5, and what helps a person to choose
RETURNED: Mapping[Level, tuple[str, ...]] = {
    "study": (
        "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientID",
        "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyDescription", "ModalitiesInStudy",
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "StudyID", "InstitutionName",
        "OtherPatientIDsSequence",
    ),
    "series": (
        "StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription",
        "BodyPartExamined", "NumberOfSeriesRelatedInstances", "SeriesDate", "SeriesTime",
    ),
    "instance": (
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber",
    ),
    "order": (
        "AccessionNumber", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
        "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription",
        "OtherPatientIDsSequence",
    ),
}  # fmt: skip
SCHEDULED = (  # of the worklist's scheduled step. PS3.4 Table K.6-1
    "Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime", "ScheduledProcedureStepDescription", "ScheduledProcedureStepID",
)  # fmt: skip


def search(level: Level, keys: Mapping[str, str]) -> Dataset:
    """The identifier of a C-FIND: `keys` (keyword → value) and everything that is to be returned."""
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    if level == "order":
        asked.ScheduledProcedureStepSequence = [_empty(SCHEDULED)]
    else:
        asked.QueryRetrieveLevel = LEVELS[level]
    for keyword in RETURNED[level]:
        setattr(asked, keyword, [] if keyword.endswith("Sequence") else "")
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def _empty(keywords: Sequence[str]) -> Dataset:
    made = Dataset()
    for keyword in keywords:
        setattr(made, keyword, "")
    return made


def instances(wanted: Sequence[Wanted]) -> Dataset:
    """The identifier of a C-GET or C-MOVE: instances of one series. PS3.4 §C.4.2.2.1"""
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.StudyInstanceUID, asked.SeriesInstanceUID = wanted[0].study, wanted[0].series
    asked.SOPInstanceUID = [one.instance for one in wanted]
    return asked


def commitment(transaction: str, wanted: Mapping[str, str]) -> Dataset:
    """The action information of a storage commitment: SOP Instance UID → SOP Class UID. PS3.4 Table J.3-1"""
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = transaction, []
    for uid, sop_class in wanted.items():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


def outcome(information: Dataset) -> tuple[list[str], dict[str, int]]:
    """Of a storage commitment: the SOP Instance UIDs that are kept, and those that are not with the reason's
    code. PS3.4 Table J.3-2"""
    kept, failed = (
        list(information.get(name) or ()) for name in ("ReferencedSOPSequence", "FailedSOPSequence")
    )
    return (
        [str(one.get("ReferencedSOPInstanceUID", "")) for one in kept],
        {
            str(one.get("ReferencedSOPInstanceUID", "")): int(one.get("FailureReason", 0x0110))
            for one in failed
        },
    )
