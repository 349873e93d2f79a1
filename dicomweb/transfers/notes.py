"""A rejection note: the Key Object Selection by which a PACS learns that instances are to be withdrawn.
Blocking.

What a PACS that knows IHE IOCM does with it: it hides the instances. One that does not keeps it beside
them, where people read its title. IHE RAD TF-2 §4.66; PS3.3 §A.35.4, PS3.16 TID 2010, CID 7011
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID

from dicomweb.coercion.renewing import new_uid
from dicomweb.syntaxes import EXPLICIT_LITTLE
from dicomweb.transfers.delivered import Delivered, Rejection

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
PATIENT_SAFETY, WRONG_ENTRY, QUALITY = "113037", "113038", "113001"
TITLES: Mapping[str, str] = {
    PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
    WRONG_ENTRY: "Incorrect Modality Worklist Entry",
    QUALITY: "Rejected for Quality Reasons",
}
WORDS: Mapping[str, str] = {
    PATIENT_SAFETY: "examen retiré pour la sécurité du patient",
    WRONG_ENTRY: "images envoyées sous une identité qui n'est pas la leur",
    QUALITY: "examen retiré pour sa qualité",
}
# the patient's and the study's attributes, which the note has in common with what it withdraws
COMMON = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate", "PatientSex", "OtherPatientIDsSequence", "StudyInstanceUID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDescription",
)  # fmt: skip
EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
"AccessionNumber",
         "ReferringPhysicianName", "StudyID")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What is to be withdrawn at a peer, and why (a code of TITLES). All `rows` have the same salt and
    identity."""

    peer: str
    rows: Sequence[Delivered]
    title: str

    @property
    def uid(self) -> str:
        """The note's, the same whenever the same is withdrawn for the same reason."""
        names = sorted(row.instance for row in self.rows)
        return new_uid("|".join((self.peer, self.rows[0].salt, self.title, *names)), "rejection note")


def series_of(note: str) -> str:
    return new_uid(note, "series")


def write_note(rejection: Rejection, like: Path, target: Path) -> None:
    """As its instances are here; `like` is the file of one of them. Raises what reading that raises."""
    made, at = Dataset(), datetime.fromtimestamp(rejection.at / 1e6, UTC)
    known = dcmread(like, stop_before_pixels=True, specific_tags=list(COMMON))
    for keyword in COMMON:
        if keyword in known:
            made[keyword] = known[keyword]
        elif keyword in EMPTY:
            setattr(made, keyword, "")
    made.SOPClassUID, made.SOPInstanceUID = KEY_OBJECTS, rejection.note
    made.SeriesInstanceUID, made.Modality = series_of(rejection.note), "KO"
    made.SeriesNumber, made.InstanceNumber = 9999, 1
    made.SeriesDescription, made.Manufacturer = TITLES[rejection.title], "Télédossier"
    made.ContentDate, made.ContentTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    made.TimezoneOffsetFromUTC = "+0000"
    made.ReferencedPerformedProcedureStepSequence = []
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [_code(rejection.title, TITLES[rejection.title])]
    made.ContentTemplateSequence = [_template()]
    made.CurrentRequestedProcedureEvidenceSequence = [_evidence(rejection)]
    made.ContentSequence = [_content(*one[1:]) for one in rejection.instances]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(KEY_OBJECTS), UID(rejection.note)
    meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    file = FileDataset(str(target), made, file_meta=meta, preamble=b"\0" * 128)
    file.save_as(target, enforce_file_format=True)


def _evidence(rejection: Rejection) -> Dataset:
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = rejection.study, []
    for uid in dict.fromkeys(series for series, _instance, _class in rejection.instances):
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedSOPSequence = [_reference(*one[1:]) for one in rejection.instances if one[0] == uid]
        study.ReferencedSeriesSequence.append(series)
    return study


def _content(instance: str, sop_class: str) -> Dataset:
    made = Dataset()
    made.RelationshipType = "CONTAINS"
    made.ValueType = "IMAGE" if "Image Storage" in UID(sop_class).name else "COMPOSITE"
    made.ReferencedSOPSequence = [_reference(instance, sop_class)]
    return made


def _reference(instance: str, sop_class: str) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = sop_class, instance
    return made


def _code(value: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, "DCM", meaning
    return made


def _template() -> Dataset:
    made = Dataset()
    made.MappingResource, made.TemplateIdentifier = "DCMR", "2010"
    return made
