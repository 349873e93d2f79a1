"""An exam made of photos, films and documents, with the patient's identity written in.

JPEG photographs with upright pixels keep their coded pixels (JPEG baseline); other pictures are decoded in a
child process and stored uncompressed; a PDF and a film (`films`) are encapsulated without being coded again.
PS3.3 §A.32.4 (VL Photographic Image), §A.32.5 (Video Photographic Image), §A.45.1 (Encapsulated PDF); R047,
R090
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid

from dicomweb import films
from dicomweb.files import SLOW_SPOOL
from dicomweb.films import VIDEO
from dicomweb.identity import IPP_SYSTEM, ins_of
from dicomweb.images import Images
from dicomweb.syntaxes import BASELINE, EXPLICIT_LITTLE
from profiles.outcomes import NotAcceptable, TooLarge, UnsupportedMedia

PHOTO = "1.2.840.10008.5.1.4.1.1.77.1.4"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
MAX_BYTES = 100_000_000  # of one photo or document
SEXES = {"male": "M", "female": "F", "other": "O"}


# PS3.16 Annex L: Body Part Examined. The portal has the French of each.
BODY_PARTS = (
    "HEAD", "FACE", "EYE", "EAR", "MOUTH", "NECK", "CHEST", "BREAST", "BACK", "ABDOMEN", "PELVIS", "PERINEUM",
    "SHOULDER", "ARM", "ELBOW", "FOREARM", "WRIST", "HAND", "HIP", "THIGH", "KNEE", "LEG", "ANKLE", "FOOT",
)  # fmt: skip
SIDES = ("L", "R", "B")


@dataclass(frozen=True, slots=True)
class Exam:
    """What is to be made: `patient` is the FHIR Patient; `author`, `requester` are FHIR HumanNames; `number`
    is the télédossier's; UIDs are new."""

    patient: Mapping[str, Any]
    title: str
    series: str
    author: Mapping[str, Any] = field(default_factory=dict)
    requester: Mapping[str, Any] = field(default_factory=dict)
    number: str = ""
    day: date | None = None
    body_part: str = ""
    side: str = ""
    study: str = field(default_factory=lambda: str(generate_uid(None)))
    at: datetime = field(default_factory=lambda: datetime.now().astimezone())


@dataclass(frozen=True, slots=True)
class Picture:
    """What a child says of a picture: `data` is a JPEG when `syntax` is JPEG baseline, else samples."""

    rows: int
    columns: int
    samples: int
    photometric: str
    syntax: str
    data: bytes


def make(exam: Exam, files: Sequence[Path], images: Images) -> list[Path]:
    """One DICOM file in the spool for each file. Raises UnsupportedMedia, TooLarge; nothing is left then."""
    made: list[Path] = []
    series = {kind: str(generate_uid(None)) for kind in (PHOTO, VIDEO, PDF)}
    try:
        for number, path in enumerate(files, 1):
            kind = _kind(path)
            dataset = _common(exam, number)
            dataset.SOPClassUID, dataset.SeriesInstanceUID = kind, series[kind]
            dataset.SeriesNumber = (PHOTO, VIDEO, PDF).index(kind) + 1
            if kind != PDF:
                _place(dataset, exam)
            if kind == VIDEO:
                film, syntax = films.describe(dataset, path)
                made.append(_written(dataset, syntax, images))
                films.append(made[-1], path, film)
            else:
                syntax = _document(dataset, path) if kind == PDF else _photo(dataset, path, images)
                made.append(_written(dataset, syntax, images))
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return made


def _kind(path: Path) -> str:
    """The SOP Class of what a file becomes, by its first bytes. Raises TooLarge, UnsupportedMedia."""
    if films.is_film(path):
        kind, most = VIDEO, films.MAX_BYTES
    else:
        with path.open("rb") as file:
            kind, most = (PDF if file.read(5) == b"%PDF-" else PHOTO), MAX_BYTES
    if path.stat().st_size > most:
        raise TooLarge("too-large", f"at most {most // 10**6} MB")
    return kind


def _common(exam: Exam, number: int) -> Dataset:
    """Patient, study and series. PS3.3 §C.7"""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPInstanceUID = str(generate_uid(None))
    made.StudyInstanceUID = exam.study
    today = exam.day in (None, exam.at.date())
    for name in ("Study", "Series", "Content"):
        setattr(made, f"{name}Date", (exam.day or exam.at).strftime("%Y%m%d"))
        setattr(made, f"{name}Time", exam.at.strftime("%H%M%S") if today else "")
    made.InstanceCreationDate = exam.at.strftime("%Y%m%d")
    made.InstanceCreationTime = exam.at.strftime("%H%M%S")
    made.AccessionNumber, made.StudyID = "", exam.number[:16]
    made.ReferringPhysicianName, made.OperatorsName = written_name(exam.requester), written_name(exam.author)
    made.StudyDescription, made.SeriesDescription = exam.title, exam.series
    made.InstanceNumber = number
    made.ConversionType, made.Manufacturer = "DI", "Télédossier"
    if exam.number:
        asked = Dataset()
        asked.RequestedProcedureID, asked.RequestedProcedureDescription = exam.number[:16], exam.title
        made.RequestAttributesSequence = [asked]
    if exam.side in ("L", "R"):
        made.Laterality = exam.side
    _identify(made, exam.patient)
    return made


def _place(made: Dataset, exam: Exam) -> None:
    """Which part of the body, which side."""
    made.BodyPartExamined = exam.body_part
    if exam.side:
        made.ImageLaterality = exam.side


def written_name(name: Mapping[str, Any]) -> str:
    """A FHIR HumanName as PN. PS3.5 §6.2.1"""
    given = " ".join(str(one) for one in name.get("given", ()))
    parts = (str(name.get("family", "")), given)
    return "^".join(re.sub(r"[\\^=\x00-\x1f]", " ", part).strip() for part in parts)[:64].rstrip("^")


def _identify(made: Dataset, patient: Mapping[str, Any]) -> None:
    """The INS as Patient ID with its OID as issuer when there is one; a site's number else."""
    made.PatientName = written_name(next(iter(patient.get("name", ())), {}))
    made.PatientBirthDate = str(patient.get("birthDate", "")).replace("-", "")[:8]
    if len(made.PatientBirthDate) != 8:
        made.PatientBirthDate = ""
    made.PatientSex = SEXES.get(str(patient.get("gender", "")), "")
    made.PatientID = ""
    known = [(str(one.get("system", "")), str(one.get("value", ""))) for one in patient.get("identifier", ())]
    ranked = sorted(known, key=lambda one: not ins_of([one]))
    for system, value in ranked:
        if ins_of([(system, value)]) or system.startswith(IPP_SYSTEM):
            made.PatientID = value[:64]
            made.IssuerOfPatientID = system.removeprefix("urn:oid:").removeprefix(IPP_SYSTEM)
            break


def _document(made: Dataset, path: Path) -> str:
    made.Modality, made.ConversionType = "DOC", "WSD"
    made.DocumentTitle = made.StudyDescription
    made.BurnedInAnnotation, made.MIMETypeOfEncapsulatedDocument = "YES", "application/pdf"
    made.ConceptNameCodeSequence = []
    data = path.read_bytes()
    made.EncapsulatedDocumentLength = len(data)
    made.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    return EXPLICIT_LITTLE


def _photo(made: Dataset, path: Path, images: Images) -> str:
    """Raises UnsupportedMedia."""
    try:
        picture: Picture = images.decoder.picture(path)
    except NotAcceptable as error:
        raise UnsupportedMedia("unsupported-media", "taken here: JPEG, PNG, PDF and MP4 files") from error
    made.Modality = "XC"
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.Rows, made.Columns, made.SamplesPerPixel = picture.rows, picture.columns, picture.samples
    made.PhotometricInterpretation = picture.photometric
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.BurnedInAnnotation, made.AcquisitionContextSequence = "NO", []
    if picture.samples == 3:
        made.PlanarConfiguration = 0
    lossy = picture.syntax == BASELINE
    made.LossyImageCompression = "01" if lossy else "00"
    if lossy:
        made.LossyImageCompressionMethod = "ISO_10918_1"
        raw = picture.rows * picture.columns * picture.samples
        made.LossyImageCompressionRatio = f"{raw / max(1, len(picture.data)):.2f}"[:16]
        made.PixelData = encapsulate([picture.data])
        made["PixelData"].is_undefined_length = True
    else:
        made.PixelData = picture.data + b"\0" * (len(picture.data) % 2)
    made["PixelData"].VR = "OB"
    return picture.syntax


def _written(made: Dataset, syntax: str, images: Images) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    path = images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
    file = FileDataset(str(path), made, file_meta=meta, preamble=b"\0" * 128)
    file.save_as(path, enforce_file_format=True)
    return path
