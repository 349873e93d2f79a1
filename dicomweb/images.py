"""What the image routes and jobs work with, opened once at start-up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dicomweb.decoding import Decoder
from dicomweb.files import DicomFiles
from dicomweb.gateway.region.bell import Bell
from dicomweb.gateway.region.board import Board, open_board
from dicomweb.index.contract import Index
from dicomweb.index.sqlite import open_index
from dicomweb.priors.ledger import Ledger, prepare
from dicomweb.transfers.queue import Queue, open_queue
from dicomweb.windows import Windows
from fhir_server.settings import Settings
from fhir_server.store.contract import Store


@dataclass(frozen=True, slots=True)
class Images:
    """`store` answers who may see which ImagingStudy, and which PACS a site has. `base`: what the outside
    calls the DICOMweb address; `ae_title` and `peer_keys`: how we present ourselves to a PACS."""

    index: Index
    files: DicomFiles
    store: Store
    decoder: Decoder
    windows: Windows
    queue: Queue
    board: Board
    bell: Bell
    base: str = "/dicom-web"
    ae_title: str = "TELEDOSSIER"
    peer_keys: Path = Path("var/peer-keys")
    settings: Settings = field(default_factory=Settings)

    @property
    def priors(self) -> Ledger:
        """Earlier exams that were found, kept beside the transfers."""
        return Ledger(self.queue)

    def close(self) -> None:
        self.decoder.close()
        self.board.close()
        self.queue.close()
        self.index.close()


def open_images(settings: Settings, store: Store) -> Images:
    """Open the index and the files folder of these settings; the store is the caller's."""
    files, index = DicomFiles(settings.files_path, settings.quota_bytes), open_index(settings)
    files.open()
    index.open()
    queue, board = open_queue(settings), open_board(settings)
    try:
        queue.open()
        board.open()
        prepare(queue)
    except BaseException:
        queue.close()
        index.close()
        raise
    base, ae_title, keys = settings.url + "/dicom-web", settings.ae_title, settings.peer_keys_path
    bell = Bell(board)
    return Images(
        index, files, store, Decoder(), Windows(), queue, board, bell, base, ae_title, keys, settings
    )
