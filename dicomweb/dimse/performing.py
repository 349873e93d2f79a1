"""Modality Performed Procedure Step as SCP: N-CREATE, N-SET, and N-GET for who wants to know.

A success says that the step is in the index, synced. Steps come from known peers alone; a peer of an
organisation
sees and sets that organisation's steps, what else there is does not exist for it. In pynetdicom's threads.
PS3.4 §F.7 (MPPS), §F.8 (Retrieve); PS3.7 §10.1
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import evt

from dicomweb import performed
from dicomweb.dataset import to_json
from dicomweb.dimse import registry
from dicomweb.dimse.registry import calling
from dicomweb.dimse.services import Handler, Service, World
from dicomweb.index.contract import Index, PerformedStep
from dicomweb.peers.peer import Peer
from dicomweb.performed import NotTaken

log = logging.getLogger(__name__)

SOP_CLASS = "1.2.840.10008.3.1.2.3.3"
RETRIEVE = "1.2.840.10008.3.1.2.3.4"
SUCCESS, NOT_AUTHORISED, NO_SUCH_ACTION = 0x0000, 0x0124, 0x0211
SOME_NOT_THERE = 0x0001  # N-GET: attributes that were asked for and are not there
TRIES = 5  # of one change, when another one came between
Answer = tuple[int | Dataset, Dataset | None]


@dataclass(frozen=True, slots=True)
class Performing:
    """`now`: UTC microseconds."""

    index: Index
    now: Callable[[], int]

    def on_create(self, event: Any) -> Answer:
        """EVT_N_CREATE."""
        return self._answered(event, self._create, SOP_CLASS)

    def on_set(self, event: Any) -> Answer:
        """EVT_N_SET."""
        return self._answered(event, self._set, SOP_CLASS)

    def on_get(self, event: Any) -> Answer:
        """EVT_N_GET."""
        return self._answered(event, self._get, RETRIEVE)

    def _answered(self, event: Any, act: Callable[[Any, Peer], Answer], context: str) -> Answer:
        peer = calling(event)
        if peer is None:
            return NOT_AUTHORISED, None
        if str(event.context.abstract_syntax) != context:
            return NO_SUCH_ACTION, None
        try:
            return act(event, peer)
        except NotTaken as refused:
            log.warning("a performed procedure step was refused: 0x%04X", refused.status)
            return _status(refused), None
        except Exception:
            log.exception("a performed procedure step failed")
            return performed.PROCESSING_FAILURE, None

    def _create(self, event: Any, peer: Peer) -> Answer:
        uid = str(event.request.AffectedSOPInstanceUID or "")
        told = (peer.ae_title, peer.site, self.now())
        step = performed.create(to_json(event.attribute_list), uid, told)
        if not self.index.put_performed(step):
            raise NotTaken(performed.DUPLICATE, "There is a step of this UID")
        return SUCCESS, None

    def _set(self, event: Any, peer: Peer) -> Answer:
        uid, attributes = str(event.request.RequestedSOPInstanceUID), to_json(event.modification_list)
        for _try in range(TRIES):
            step = performed.update(self._step(uid, peer), attributes, self.now())
            if self.index.put_performed(step):
                return SUCCESS, None
        raise NotTaken(performed.PROCESSING_FAILURE, "The step is being changed by others")

    def _get(self, event: Any, peer: Peer) -> Answer:
        step = self._step(str(event.request.RequestedSOPInstanceUID), peer)
        asked = [f"{int(tag):08X}" for tag in event.attribute_identifiers]
        known = performed.shown(step, asked)
        answer = Dataset.from_json(known)
        answer.SpecificCharacterSet = "ISO_IR 192"
        return (SUCCESS if set(asked) <= known.keys() else SOME_NOT_THERE), answer

    def _step(self, uid: str, peer: Peer) -> PerformedStep:
        """Raises NotTaken; for a step of another organisation as for none."""
        step = self.index.performed(uid)
        if step is None or not (registry.EVERYTHING in peer.uses or peer.site == step.organisation != ""):
            raise NotTaken(performed.NO_SUCH_INSTANCE, "No such step")
        return step


def _status(refused: NotTaken) -> Dataset:
    made = Dataset()
    made.Status, made.ErrorComment = refused.status, refused.comment[:64]
    if refused.error_id:
        made.ErrorID = refused.error_id
    if refused.tags:
        made.AttributeIdentifierList = [Tag(int(tag, 16)) for tag in refused.tags]
    return made


def _make(world: World) -> Mapping[Any, Handler]:
    steps = Performing(world.images.index, lambda: time.time_ns() // 1000)
    return {
        evt.EVT_N_CREATE: steps.on_create,
        evt.EVT_N_SET: steps.on_set,
        evt.EVT_N_GET: steps.on_get,
    }


SERVICE = Service((SOP_CLASS, RETRIEVE), _make, registry.STEPS)
