"""What the viewer is given to show: a CT to scroll, a series for each transfer syntax, a PDF, reports."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from reportlab.pdfgen.canvas import Canvas

from dicomweb import codecs
from dicomweb.syntaxes import EXPLICIT_LITTLE
from tests.dicomweb import making
from tests.dicomweb.test_wado import bundled

CT_STUDY, MANY_STUDY, PAPERS_STUDY = "2.25.6001", "2.25.6002", "2.25.6003"
SLICES = 6
# a series each: a bundled file, or one of MADE
KINDS = [
    "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm", "JPEG2000.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm",
    "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "examples_palette.dcm", "HTJ2K", "multi-frame",
]  # fmt: skip
HTJ2K = "1.2.840.10008.1.2.4.201"
PATIENT: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 192", "PatientName": "LABORDÉ^Hélène", "PatientID": "P-1",
    "PatientBirthDate": "19530517", "PatientSex": "F", "StudyDate": "20240808", "StudyTime": "050800",
}  # fmt: skip


def _saved(made: FileDataset, path: Path, **values: Any) -> Path:
    for keyword, value in values.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.save_as(path, enforce_file_format=True)
    return path


def ct(folder: Path) -> list[Path]:
    """Six slices, each unlike the others, in space."""
    made = []
    for number in range(1, SLICES + 1):
        source = pydicom.dcmread(bundled("CT_small.dcm"))
        source.PixelData = np.roll(source.pixel_array, 20 * number, axis=1).tobytes()
        made.append(
            _saved(
                source, folder / f"ct{number}.dcm", **PATIENT, StudyInstanceUID=CT_STUDY,
                SeriesInstanceUID=f"{CT_STUDY}.1", SOPInstanceUID=f"{CT_STUDY}.1.{number}", SeriesNumber=1,
                InstanceNumber=number, SliceLocation=5 * number,
                ImagePositionPatient=[-100, -100, 5 * number],
                StudyDescription="Crâne sans injection", SeriesDescription="Axial", AccessionNumber="ACC-1",
                FrameOfReferenceUID=f"{CT_STUDY}.9", WindowCenter=1000, WindowWidth=2200,
            )
        )  # fmt: skip
    return made


def many(folder: Path) -> list[Path]:
    """One series for each transfer syntax and kind of pixels."""
    made = []
    for number, name in enumerate(KINDS, 1):
        source = MADE[name]() if name in MADE else pydicom.dcmread(bundled(name))
        source.setdefault("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
        made.append(
            _saved(
                source, folder / name, **{**PATIENT, "PatientName": "MÜLLER^Zoë", "PatientID": "P-2"},
                StudyInstanceUID=MANY_STUDY, SeriesInstanceUID=f"{MANY_STUDY}.{number}",
                SOPInstanceUID=f"{MANY_STUDY}.{number}.1", SeriesNumber=number, InstanceNumber=1,
                SeriesDescription=f"Kind {number}", StudyDescription="Syntaxes", AccessionNumber="ACC-2",
            )
        )  # fmt: skip
    return made


def _high_throughput() -> FileDataset:
    """MR_small in HTJ2K: pydicom has no file of that."""
    made = pydicom.dcmread(bundled("MR_small.dcm"))
    image = made.to_json_dict(1, lambda _element: "")
    frame = codecs.recode(made.PixelData, EXPLICIT_LITTLE, image, HTJ2K)
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = HTJ2K
    return made


def _multi_frame() -> FileDataset:
    """Four frames, each unlike the others."""
    made = pydicom.dcmread(bundled("MR_small.dcm"))
    pixels = made.pixel_array
    made.PixelData = b"".join(np.roll(pixels, 9 * number, axis=0).tobytes() for number in range(4))
    made.NumberOfFrames, made.SOPClassUID = 4, "1.2.840.10008.5.1.4.1.1.7.3"
    return made


MADE = {"HTJ2K": _high_throughput, "multi-frame": _multi_frame}


def papers(folder: Path) -> list[Path]:
    """A PDF and a report."""
    pdf = making.dataset(
        **{**PATIENT, "PatientName": "DURAND^Anne", "PatientID": "P-3"}, StudyInstanceUID=PAPERS_STUDY,
        SeriesInstanceUID=f"{PAPERS_STUDY}.1", SOPInstanceUID=f"{PAPERS_STUDY}.1.1", Modality="DOC",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", MIMETypeOfEncapsulatedDocument="application/pdf",
        DocumentTitle="Compte rendu", EncapsulatedDocument=_pdf(), SeriesDescription="Compte rendu",
        StudyDescription="Papiers", PixelData=None, Rows=None, Columns=None, AccessionNumber="ACC-3",
    )  # fmt: skip
    report = pydicom.dcmread(bundled("reportsi.dcm"))
    return [
        making.write(folder / "pdf.dcm", pdf),
        _saved(
            report, folder / "report.dcm", **{**PATIENT, "PatientName": "DURAND^Anne", "PatientID": "P-3"},
            StudyInstanceUID=PAPERS_STUDY, SeriesInstanceUID=f"{PAPERS_STUDY}.2",
            SOPInstanceUID=f"{PAPERS_STUDY}.2.1", SeriesNumber=2, StudyDescription="Papiers",
            AccessionNumber="ACC-3",
        ),
    ]  # fmt: skip


def _pdf() -> bytes:
    """One page with one line."""
    out = BytesIO()
    canvas = Canvas(out, pagesize=(300, 200))
    canvas.drawString(40, 100, "Compte rendu")
    canvas.save()
    made = out.getvalue()
    return made + b"\n" * (len(made) % 2)


def measured(folder: Path) -> Path:
    """A report of one length on the third slice, as TID 1500 has it."""
    made = making.dataset(
        **PATIENT, StudyInstanceUID=CT_STUDY, SeriesInstanceUID=f"{CT_STUDY}.2",
        SOPInstanceUID=f"{CT_STUDY}.2.1", Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33",
        SeriesNumber=2, SeriesDescription="Mesures", StudyDescription="Crâne sans injection",
        AccessionNumber="ACC-1", PixelData=None, Rows=None, Columns=None, WindowCenter=None, WindowWidth=None,
    )  # fmt: skip
    made.ContentDate, made.ContentTime = "20240808", "060000"
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    made.ContentTemplateSequence = [template]
    image = Dataset()
    image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    image.ReferencedSOPInstanceUID = f"{CT_STUDY}.1.3"
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = f"{CT_STUDY}.1", [image]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = CT_STUDY, [series]
    made.CurrentRequestedProcedureEvidenceSequence = [study]
    group = _container("125007", "Measurement Group", [
        _text("112039", "Tracking Identifier", "Cornerstone3DTools@^0.1.0:Length"),
        _uid("112040", "Tracking Unique Identifier", f"{CT_STUDY}.2.7"),
        _length(image),
    ])  # fmt: skip
    made.ContentSequence = [_container("126010", "Imaging Measurements", [group])]
    return making.write(folder / "measured.dcm", made)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _item(relation: str, kind: str, name: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = relation, kind, [name]
    return item


def _container(value: str, meaning: str, content: list[Dataset]) -> Dataset:
    item = _item("CONTAINS", "CONTAINER", _code(value, "DCM", meaning))
    item.ContinuityOfContent, item.ContentSequence = "SEPARATE", content
    return item


def _text(value: str, meaning: str, text: str) -> Dataset:
    item = _item("HAS OBS CONTEXT", "TEXT", _code(value, "DCM", meaning))
    item.TextValue = text
    return item


def _uid(value: str, meaning: str, uid: str) -> Dataset:
    item = _item("HAS OBS CONTEXT", "UIDREF", _code(value, "DCM", meaning))
    item.UID = uid
    return item


def _length(image: Dataset) -> Dataset:
    """42 mm between two points of the image."""
    number = _item("CONTAINS", "NUM", _code("410668003", "SCT", "Length"))
    value = Dataset()
    value.NumericValue, value.MeasurementUnitsCodeSequence = 42, [_code("mm", "UCUM", "millimeter")]
    number.MeasuredValueSequence = [value]
    place = Dataset()
    place.RelationshipType, place.ValueType = "INFERRED FROM", "SCOORD"
    place.GraphicData, place.GraphicType = [20.0, 30.0, 90.0, 60.0], "POLYLINE"
    of = Dataset()
    of.RelationshipType, of.ValueType, of.ReferencedSOPSequence = "SELECTED FROM", "IMAGE", [image]
    place.ContentSequence = [of]
    number.ContentSequence = [place]
    return number
