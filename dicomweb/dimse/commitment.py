"""Storage Commitment: a peer asks whether instances are kept for good; each is looked up and its bytes are
counted against what was acknowledged, then the peer is told which are and which are not.

The result goes to the peer's own address, on a new association, tried a few times; a peer that cannot be
reached asks again, as the standard lets it. PS3.4 §J (Storage Commitment Service Class)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomweb.dimse import registry
from dicomweb.dimse.registry import calling
from dicomweb.dimse.reporting import SOP_CLASS, WELL_KNOWN, tell
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.files import DicomFiles, sha256_of
from dicomweb.index.contract import Index
from dicomweb.peers.peer import Peer

log = logging.getLogger(__name__)

WAITS = (0.0, 5.0, 30.0, 120.0)  # seconds before each try to tell the result
NOT_AUTHORISED, NO_SUCH_ACTION, MISSING = 0x0124, 0x0123, 0x0120
NO_SUCH_INSTANCE, CLASS_CONFLICT, FAILED = 0x0112, 0x0119, 0x0110


@dataclass(frozen=True, slots=True)
class Committer:
    files: DicomFiles
    index: Index
    ae_title: str
    stopped: threading.Event

    def on_action(self, event: Any) -> tuple[int, Dataset | None]:
        """EVT_N_ACTION: taken, and answered on an association of our own."""
        peer = calling(event)
        if peer is None or registry.COMMITMENT not in peer.uses:
            return NOT_AUTHORISED, None
        if event.action_type != 1 or str(event.request.RequestedSOPInstanceUID) != WELL_KNOWN:
            return NO_SUCH_ACTION, None
        asked = event.action_information
        transaction = str(asked.get("TransactionUID", "") or "")
        references = list(asked.get("ReferencedSOPSequence", None) or ())
        if not transaction or not references:
            return MISSING, None
        threading.Thread(
            target=self._settle, args=(peer, transaction, references), name="commitment", daemon=True
        ).start()
        return 0x0000, None

    def _settle(self, peer: Peer, transaction: str, references: Sequence[Dataset]) -> None:
        result = self.result(transaction, references)
        for wait in WAITS:
            if self.stopped.wait(wait):
                return
            if tell(self.ae_title, peer, result):
                return
        log.warning("a storage commitment result could not be told to %s", peer.ae_title)

    def result(self, transaction: str, references: Sequence[Dataset]) -> Dataset:
        """What is kept, and what is not with why."""
        made, kept, failed = Dataset(), [], []
        made.TransactionUID, made.RetrieveAETitle = transaction, self.ae_title
        for one in references:
            item = Dataset()
            item.ReferencedSOPClassUID = one.get("ReferencedSOPClassUID", "")
            item.ReferencedSOPInstanceUID = one.get("ReferencedSOPInstanceUID", "")
            reason = self._reason(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            if reason:
                item.FailureReason = reason
                failed.append(item)
            else:
                kept.append(item)
        if kept:
            made.ReferencedSOPSequence = kept
        if failed:
            made.FailedSOPSequence = failed
        return made

    def _reason(self, sop_class: str, uid: str) -> int:
        """0 when the bytes on disk are those that were acknowledged. PS3.3 §C.14.1.1"""
        file = self.index.file(uid)
        if file is None:
            return NO_SUCH_INSTANCE
        if file.sop_class != sop_class:
            return CLASS_CONFLICT
        path = self.files.path(file.path)
        try:
            same = path.stat().st_size == file.size and sha256_of(path) == file.sha256
        except OSError:
            same = False
        return 0 if same else FAILED


def _handlers(world: World) -> Mapping[Any, Handler]:
    images = world.images
    committer = Committer(images.files, images.index, world.settings.ae_title, world.stopped)
    return {evt.EVT_N_ACTION: committer.on_action}


SERVICE = Service([SOP_CLASS], _handlers, registry.COMMITMENT)
