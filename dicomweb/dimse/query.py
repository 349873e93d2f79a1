"""C-FIND, C-MOVE and C-GET at patient root and study root, over the same index and the same rules of access
as DICOMweb. In pynetdicom's threads.

PS3.4 §C.4 (services), §C.6 (information models)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from dicomweb import qido
from dicomweb.dimse import identifiers, registry, retrieving
from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.identifiers import BadIdentifier
from dicomweb.dimse.outgoing import Target
from dicomweb.dimse.registry import access_of, calling
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.images import Images
from dicomweb.index.contract import File, Index, Match, Query
from dicomweb.peers.peer import Credentials, Peer
from profiles.outcomes import Invalid, TooLarge

log = logging.getLogger(__name__)

PENDING, SUCCESS, CANCEL = 0xFF00, 0x0000, 0xFE00
NOT_ALLOWED, BAD_IDENTIFIER, FAILED, UNKNOWN_DESTINATION = 0xC101, 0xA900, 0xC001, 0xA801
MOST_SUBOPERATIONS = 65_535
PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1."
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2."
FIND, MOVE, GET = "1", "2", "3"
Step = tuple[int | Dataset, Dataset | None]


@dataclass(frozen=True, slots=True)
class Retriever:
    """What peers ask of, and who may be sent to."""

    images: Images
    bridge: Bridge
    known: registry.Registry
    ae_title: str

    # -- C-FIND
    def on_find(self, event: Any) -> Iterator[Step]:
        """EVT_C_FIND at both roots."""
        peer = calling(event)
        if peer is None:
            yield _failure(NOT_ALLOWED, "This AE title may not query here"), None
            return
        try:
            identifier = identifiers.identifier_of(event)
            level = identifiers.level_named(identifier, _levels(event))
            rows = self._rows(peer, identifier, level)
        except (BadIdentifier, Invalid) as error:
            yield _failure(BAD_IDENTIFIER, str(error)), None
            return
        except TooLarge:
            yield _failure(0xA700, "The query reads too much"), None
            return
        except Exception:
            log.exception("C-FIND failed")
            yield _failure(FAILED, "Unable to process"), None
            return
        for row in rows:
            if event.is_cancelled:
                yield CANCEL, None
                return
            yield PENDING, identifiers.response(identifier, row, self.ae_title)

    def _rows(self, peer: Peer, identifier: Dataset, level: str) -> Sequence[Mapping[str, Any]]:
        search = identifiers.search_of(identifier, level)
        seen = self.bridge.visible(access_of(peer), search.study_uids())
        search = qido.narrowed(search, seen)
        rows = qido.answer(self.images.index, search, self.images.base).rows
        return identifiers.patients(rows) if level == "PATIENT" else rows

    # -- C-MOVE and C-GET
    def on_move(self, event: Any) -> None:
        """EVT_C_MOVE; answers by itself (`association`)."""
        asked, peer = _asked(event), calling(event)
        destination = peer and self.known.destination(str(event.move_destination).strip(), peer)
        if peer is None or destination is None:
            asked.refuse(UNKNOWN_DESTINATION, "Not a destination that may be sent to from here")
            return
        found = self._found(asked, peer, event)
        if found is not None:
            target = Target(
                destination.host,
                destination.port,
                destination.ae_title,
                destination.calling_ae or self.ae_title,
                Credentials(self.images.peer_keys).context(destination) if destination.tls else None,
            )
            retrieving.move(asked, self.images, found, target, destination.connections)

    def on_get(self, event: Any) -> None:
        """EVT_C_GET; answers by itself, after the instances, on the same association."""
        asked, peer = _asked(event), calling(event)
        if peer is None:
            asked.refuse(NOT_ALLOWED, "This AE title may not retrieve here")
            return
        found = self._found(asked, peer, event)
        if found is not None:
            retrieving.get(asked, self.images, found)

    def _found(self, asked: retrieving.Asked, peer: Peer, event: Any) -> list[File] | None:
        """None: it is answered already why not."""
        try:
            found = self._files(peer, event)
        except (BadIdentifier, Invalid) as error:
            asked.refuse(BAD_IDENTIFIER, str(error))
            return None
        except Exception:
            log.exception("a retrieve failed")
            asked.refuse(FAILED, "Unable to process")
            return None
        if len(found) > MOST_SUBOPERATIONS:
            asked.refuse(0xA701, "More instances than one retrieve can count")
            return None
        return found

    def _files(self, peer: Peer, event: Any) -> list[File]:
        """What the identifier names, as far as the peer may see it. Raises BadIdentifier, Invalid."""
        identifier = identifiers.identifier_of(event)
        level = identifiers.level_named(identifier, _levels(event))
        index = self.images.index
        if level == "PATIENT":
            studies = _of_patient(index, identifiers.text_of(identifier.get("PatientID")))
        else:
            studies = identifiers.uids(identifier, "StudyInstanceUID")
        if not studies and level != "PATIENT":
            raise BadIdentifier("StudyInstanceUID")
        seen = self.bridge.visible(access_of(peer), studies)
        allowed = [uid for uid in studies if seen is None or uid in seen]
        series = identifiers.uids(identifier, "SeriesInstanceUID") if level in ("SERIES", "IMAGE") else ()
        instances = identifiers.uids(identifier, "SOPInstanceUID") if level == "IMAGE" else ()
        if (level in ("SERIES", "IMAGE") and not series) or (level == "IMAGE" and not instances):
            raise BadIdentifier("a unique key of the level is missing")
        return [
            file
            for study in allowed
            for one in (series or (None,))
            for file in index.files(study, one)
            if not instances or file.uid in instances
        ]


def _asked(event: Any) -> retrieving.Asked:
    return retrieving.Asked(event.assoc, event.request, event.context)


def _levels(event: Any) -> tuple[str, ...]:
    root = str(event.context.abstract_syntax)
    return (
        ("PATIENT", "STUDY", "SERIES", "IMAGE")
        if root.startswith(PATIENT_ROOT)
        else ("STUDY", "SERIES", "IMAGE")
    )


def _of_patient(index: Index, patient: str) -> tuple[str, ...]:
    if not patient:
        raise BadIdentifier("PatientID")
    found = index.find(Query("study", (Match("study", "patient_id", "exact", (patient,)),)))
    return tuple(row.study for row in found)


def _failure(status: int, comment: str) -> Dataset:
    made = Dataset()
    made.Status, made.ErrorComment = status, comment[:64]
    return made


def _handlers(world: World) -> Mapping[Any, Handler]:
    retriever = Retriever(world.images, world.bridge, world.known, world.settings.ae_title)
    return {
        evt.EVT_C_FIND: retriever.on_find,
        evt.EVT_C_MOVE: retriever.on_move,
        evt.EVT_C_GET: retriever.on_get,
    }


SERVICE = Service(
    [root + kind for root in (PATIENT_ROOT, STUDY_ROOT) for kind in (FIND, MOVE, GET)],
    _handlers,
    registry.QUERY,
)
