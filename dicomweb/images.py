"""What the image routes and jobs work with, opened once at start-up."""

from __future__ import annotations

from dataclasses import dataclass

from dicomweb.decoding import Decoder
from dicomweb.files import DicomFiles
from dicomweb.index.contract import Index
from dicomweb.index.sqlite import open_index
from dicomweb.windows import Windows
from fhir_server.settings import Settings
from fhir_server.store.contract import Store


@dataclass(frozen=True, slots=True)
class Images:
    """`store` answers only one question here: which ImagingStudy a reader may see. `base`: what the outside
    calls the DICOMweb address."""

    index: Index
    files: DicomFiles
    store: Store
    decoder: Decoder
    windows: Windows
    base: str = "/dicom-web"

    def close(self) -> None:
        self.decoder.close()
        self.index.close()


def open_images(settings: Settings, store: Store) -> Images:
    """Open the index and the files folder of these settings; the store is the caller's."""
    files, index = DicomFiles(settings.files_path), open_index(settings)
    files.open()
    index.open()
    return Images(index, files, store, Decoder(), Windows(), settings.url + "/dicom-web")
