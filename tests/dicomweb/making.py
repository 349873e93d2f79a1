"""DICOM files for the tests: small, made on the spot, exactly what the case says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

STUDY, SERIES = "2.25.100", "2.25.200"
SYNTAX = str(ExplicitVRLittleEndian)


def dataset(**changes: Any) -> Dataset:
    """A small CT image; a change of None removes the element."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, "2.25.1"
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.StudyDate, made.StudyTime, made.AccessionNumber = "20240808", "050800", "ACC-1"
    made.Modality, made.StudyDescription, made.SeriesDescription = "CT", "Crâne", "Axial"
    made.PatientName, made.PatientID, made.IssuerOfPatientID = "LABORDE^Henri", "AU-300003", "ch-auch"
    made.PatientBirthDate, made.PatientSex = "19530517", "M"
    made.SeriesNumber, made.InstanceNumber = 1, 1
    made.Rows, made.Columns, made.SamplesPerPixel = 16, 16, 1
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.PhotometricInterpretation = "MONOCHROME2"
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.WindowCenter, made.WindowWidth = 40, 80
    made.PixelData = np.arange(256, dtype="<u2").tobytes()
    for keyword, value in changes.items():
        if value is None:
            del made[keyword]
        else:
            setattr(made, keyword, value)
    return made


def write(path: Path, made: Dataset, syntax: str = SYNTAX) -> Path:
    """A Part 10 file of it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", "2.25.1")
    meta.TransferSyntaxUID = syntax
    file = FileDataset(str(path), made, file_meta=meta, preamble=b"\0" * 128)
    file.save_as(path, enforce_file_format=True)
    return path


def files(folder: Path, count: int, change: Callable[[int], dict[str, Any]] = lambda _n: {}) -> list[Path]:
    """`count` instances of one series, numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write(folder / f"{n}.dcm", dataset(SOPInstanceUID=f"2.25.1.{n}", InstanceNumber=n, **change(n)))
        for n in range(1, count + 1)
    ]
