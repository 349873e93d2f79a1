"""What the probed server holds: three studies whose every value a check can count on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from tests.dicomweb import making
from tests.dicomweb.test_wado import bundled

ONE, TWO, THREE = "2.25.7001", "2.25.7002", "2.25.7003"
CT, SR, PDF = f"{ONE}.1", f"{ONE}.2", f"{ONE}.3"
MULTI, J2K, RLE = f"{TWO}.1", f"{TWO}.2", f"{TWO}.3"
COLOUR, JPEG = f"{THREE}.1", f"{THREE}.2"
PIXELS = np.arange(1, 257, dtype="<u2").reshape(16, 16)  # no two values alike, none of them zero
FRAMES = np.arange(4 * 16 * 16, dtype="<u2").reshape(4, 16, 16)
DOCUMENT = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def _request() -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = "SPS-1", "RP-1"
    return item


FIRST: dict[str, Any] = {
    "StudyInstanceUID": ONE, "PatientName": "LABORDÉ^Hélène", "PatientID": "P-1", "StudyDate": "20240808",
    "StudyTime": "050800", "AccessionNumber": "ACC-1", "PatientBirthDate": "19530517", "PatientSex": "F",
    "StudyID": "S-1", "ReferringPhysicianName": "MARTIN^Paul", "StudyDescription": "Crâne sans injection",
    "TimezoneOffsetFromUTC": "+0200",
}  # fmt: skip
SECOND: dict[str, Any] = {
    "StudyInstanceUID": TWO, "PatientName": "MÜLLER^Zoë", "PatientID": "P-2", "StudyDate": "20240809",
    "StudyTime": "235959", "AccessionNumber": "ACC-2", "PatientBirthDate": "19701231", "PatientSex": "F",
    "StudyID": "S-2", "ReferringPhysicianName": "DURAND^Anne", "StudyDescription": "Genou",
}  # fmt: skip
THIRD: dict[str, Any] = {
    "StudyInstanceUID": THREE, "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "PatientID": "P*3",
    "StudyDate": "20231231", "StudyTime": "1200", "AccessionNumber": "ACC-3", "PatientBirthDate": "20000229",
    "PatientSex": "M", "StudyID": "S-3", "ReferringPhysicianName": "MARTIN^Paul",
    "StudyDescription": "Abdomen",
}  # fmt: skip


def files(folder: Path) -> list[Path]:
    """Nine files: a CT of three images, a report and a PDF; a multi-frame MR, one in JPEG 2000, one in RLE;
    a colour picture and one in JPEG."""
    made = [
        making.write(
            folder / f"ct{number}.dcm",
            making.dataset(
                **FIRST, SeriesInstanceUID=CT, SOPInstanceUID=f"{CT}.{number}", InstanceNumber=number,
                PixelData=(PIXELS + number - 1).tobytes(), RequestAttributesSequence=[_request()],
                PerformedProcedureStepStartDate="20240808", PerformedProcedureStepStartTime="050000",
                BodyPartExamined="HEAD", WindowCenter=-896, WindowWidth=260,
            ),
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    made += [
        _own(folder, "reportsi.dcm", FIRST, SR, 2),
        making.write(folder / "pdf.dcm", _pdf()),
        making.write(
            folder / "multi.dcm",
            making.dataset(
                **SECOND, SeriesInstanceUID=MULTI, SOPInstanceUID=f"{MULTI}.1", Modality="MR",
                SOPClassUID="1.2.840.10008.5.1.4.1.1.7.3", NumberOfFrames=4, PixelData=FRAMES.tobytes(),
                SeriesDescription="Coupes", WindowCenter=-512, WindowWidth=1100,
            ),
        ),
        _own(folder, "MR_small_jp2klossless.dcm", SECOND, J2K, 2),
        _own(folder, "MR_small_RLE.dcm", SECOND, RLE, 3),
        _own(folder, "examples_rgb_color.dcm", THIRD, COLOUR, 1),
        _own(folder, "SC_rgb_jpeg_dcmtk.dcm", THIRD, JPEG, 2),
    ]  # fmt: skip
    return made


def _own(folder: Path, name: str, study: dict[str, Any], series: str, number: int) -> Path:
    """A bundled file as part of one of the studies."""
    made = pydicom.dcmread(bundled(name))
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in study.items():
        setattr(made, keyword, value)
    made.SeriesInstanceUID, made.SOPInstanceUID, made.SeriesNumber = series, f"{series}.1", number
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.InstanceNumber = 1
    made.save_as(folder / name, enforce_file_format=True)
    return folder / name


def _pdf() -> Dataset:
    drop = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
            "PixelRepresentation", "PhotometricInterpretation", "PixelData", "RescaleSlope",
            "RescaleIntercept", "WindowCenter", "WindowWidth")  # fmt: skip
    return making.dataset(
        **FIRST, SeriesInstanceUID=PDF, SOPInstanceUID=f"{PDF}.1", Modality="DOC", SeriesNumber=3,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocument=DOCUMENT + b" " * (len(DOCUMENT) % 2), DocumentTitle="Compte rendu",
        **dict.fromkeys(drop),
    )  # fmt: skip
