"""Performed procedure steps for the tests, as a modality makes them: complete, unless a case takes
something away."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

SOP_CLASS, RETRIEVE = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.3.1.2.3.4"


def scheduled(**changes: Any) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID, item.ReferencedStudySequence, item.AccessionNumber = "2.25.100", [], "ACC-1"
    item.RequestedProcedureID, item.RequestedProcedureDescription = "ACC-1", "Scanner crânien"
    item.ScheduledProcedureStepID, item.ScheduledProcedureStepDescription = "ACC-1", "Scanner crânien"
    item.ScheduledProtocolCodeSequence = []
    return _changed(item, changes)


def begun(**changes: Any) -> Dataset:
    """What N-CREATE says."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.ScheduledStepAttributesSequence = [scheduled()]
    made.PatientName, made.PatientID, made.IssuerOfPatientID = "LABORDE^Henri", "AU-300003", "ch-auch"
    made.PatientBirthDate, made.PatientSex, made.ReferencedPatientSequence = "19530517", "M", []
    made.PerformedProcedureStepID, made.PerformedStationAETitle = "PPS1", "CT1"
    made.PerformedStationName, made.PerformedLocation = "", ""
    made.PerformedProcedureStepStartDate, made.PerformedProcedureStepStartTime = "20240808", "050800"
    made.PerformedProcedureStepEndDate, made.PerformedProcedureStepEndTime = "", ""
    made.PerformedProcedureStepStatus = "IN PROGRESS"
    made.PerformedProcedureStepDescription, made.PerformedProcedureTypeDescription = "Scanner crânien", ""
    made.ProcedureCodeSequence, made.Modality, made.StudyID = [], "CT", ""
    made.PerformedProtocolCodeSequence, made.PerformedSeriesSequence = [], []
    return _changed(made, changes)


def series(*instances: str, uid: str = "2.25.200", **changes: Any) -> Dataset:
    item = Dataset()
    item.PerformingPhysicianName, item.ProtocolName, item.OperatorsName = "", "Crâne", ""
    item.SeriesInstanceUID, item.SeriesDescription, item.RetrieveAETitle = uid, "Axial", ""
    item.ReferencedImageSequence, item.ReferencedNonImageCompositeSOPInstanceSequence = [], []
    for instance in instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CTImageStorage, instance
        item.ReferencedImageSequence.append(reference)
    return _changed(item, changes)


def ended(*performed: Dataset, state: str = "COMPLETED", **changes: Any) -> Dataset:
    """What the last N-SET says."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PerformedProcedureStepStatus = state
    made.PerformedProcedureStepEndDate, made.PerformedProcedureStepEndTime = "20240808", "051500"
    made.PerformedSeriesSequence = list(performed)
    return _changed(made, changes)


def _changed(made: Dataset, changes: dict[str, Any]) -> Dataset:
    """A change of None removes the element."""
    for keyword, value in changes.items():
        if value is None:
            del made[keyword]
        else:
            setattr(made, keyword, value)
    return made
