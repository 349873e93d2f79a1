"""C-FIND, C-MOVE and C-GET at patient root and study root, over the same index and the same rules of access
as DICOMweb. In pynetdicom's threads.

PS3.4 §C.4 (services), §C.6 (information models)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from dicomweb import qido
from dicomweb.dimse import identifiers, registry
from dicomweb.dimse.bridge import Bridge
from dicomweb.dimse.identifiers import BadIdentifier
from dicomweb.dimse.registry import access_of, calling
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.dimse.sockets import hasten
from dicomweb.files import SLOW_SPOOL
from dicomweb.frames import attributes_of
from dicomweb.images import Images
from dicomweb.index.contract import File, Index, Match, Query
from dicomweb.peers.peer import Peer
from dicomweb.syntaxes import DECODED, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from profiles.outcomes import Invalid, NotAcceptable, TooLarge

log = logging.getLogger(__name__)

PENDING, SUCCESS, CANCEL = 0xFF00, 0x0000, 0xFE00
NOT_ALLOWED, BAD_IDENTIFIER, FAILED, UNKNOWN_DESTINATION = 0xC101, 0xA900, 0xC001, 0xA801
MAX_CONTEXTS = 126
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
            identifier = event.identifier
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
    def on_move(self, event: Any) -> Iterator[Any]:
        """EVT_C_MOVE: destination, number of instances, then each. pynetdicom opens the association."""
        peer = calling(event)
        destination = peer and self.known.destination(str(event.move_destination).strip(), peer)
        if peer is None or destination is None:
            yield None, None  # 0xA801: the destination is not one that may be sent to from here
            return
        try:
            found = self._files(peer, event)
        except (BadIdentifier, Invalid) as error:
            yield destination.host, destination.port
            yield 1
            yield _failure(BAD_IDENTIFIER, str(error)), None
            return
        opened = _Opened()
        yield (
            destination.host,
            destination.port,
            {
                "contexts": contexts(found),
                "evt_handlers": [
                    (evt.EVT_CONN_OPEN, _quick),
                    (evt.EVT_ESTABLISHED, opened.note),
                ],
            },
        )
        yield len(found)
        yield from self._sent(event, found, opened)

    def on_get(self, event: Any) -> Iterator[Any]:
        """EVT_C_GET: number of instances, then each, on the same association."""
        peer = calling(event)
        if peer is None:
            yield 1
            yield _failure(NOT_ALLOWED, "This AE title may not retrieve here"), None
            return
        try:
            found = self._files(peer, event)
        except (BadIdentifier, Invalid) as error:
            yield 1
            yield _failure(BAD_IDENTIFIER, str(error)), None
            return
        yield len(found)
        yield from self._sent(event, found, _Opened(event.assoc))

    def _files(self, peer: Peer, event: Any) -> list[File]:
        """What the identifier names, as far as the peer may see it. Raises BadIdentifier, Invalid."""
        identifier = event.identifier
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

    def _sent(self, event: Any, found: Sequence[File], opened: _Opened) -> Iterator[Step]:
        for file in found:
            if event.is_cancelled:
                yield CANCEL, None
                return
            yield PENDING, self._dataset(file, opened.syntaxes(file.sop_class))

    def _dataset(self, file: File, accepted: frozenset[str]) -> Dataset:
        """The instance, decompressed when the receiver does not take it as it is."""
        path = self.images.files.path(file.path)
        plain = accepted & {EXPLICIT_LITTLE, IMPLICIT_LITTLE}
        stored = file.transfer_syntax
        if (
            stored in accepted
            or not plain
            or stored not in DECODED
            or stored in (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
        ):
            return dcmread(path)
        made = self.images.files.spool / f"{SLOW_SPOOL}{uuid4().hex}"
        try:
            attributes = attributes_of(self.images, file)
            self.images.decoder.transcode(path, file.layout, attributes, EXPLICIT_LITTLE, made)
            return dcmread(made)
        except NotAcceptable:
            return dcmread(path)
        finally:
            made.unlink(missing_ok=True)


@dataclass(slots=True)
class _Opened:
    """The association that instances go out on."""

    association: Any = None
    _known: dict[str, frozenset[str]] = field(default_factory=dict)

    def note(self, event: Any) -> None:
        self.association = event.assoc

    def syntaxes(self, sop_class: str) -> frozenset[str]:
        """The transfer syntaxes in which the other side takes a class."""
        if sop_class not in self._known and self.association is not None:
            self._known[sop_class] = frozenset(
                str(one.transfer_syntax[0])
                for one in self.association.accepted_contexts
                if one.abstract_syntax == sop_class and one.transfer_syntax
            )
        return self._known.get(sop_class, frozenset())


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


def contexts(found: Sequence[File]) -> list[PresentationContext]:
    """For each class what is stored, and uncompressed besides."""
    pairs = dict.fromkeys((file.sop_class, file.transfer_syntax) for file in found)
    made = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    for sop_class in dict.fromkeys(sop_class for sop_class, _syntax in pairs):
        made.append(build_context(sop_class, [EXPLICIT_LITTLE, IMPLICIT_LITTLE]))
    return made[:MAX_CONTEXTS] or [build_context("1.2.840.10008.1.1", IMPLICIT_LITTLE)]


def _quick(event: Any) -> None:
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        hasten(transport.socket)


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
