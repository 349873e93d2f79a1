"""Modality Performed Procedure Step as SCP: N-CREATE, N-SET, and N-GET for who wants to know. For the
platform's node and for a gateway's, which differ in who may ask.

A success says that the step is kept, synced. In pynetdicom's threads. PS3.4 §F.7 (MPPS), §F.8 (Retrieve);
PS3.7 §10.1
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import evt

from dicomweb import performed
from dicomweb.index.steps import StepMessage
from dicomweb.performed import NotTaken
from dicomweb.steps.taking import Keeping, Sayer, step_of, take

log = logging.getLogger(__name__)

SOP_CLASS = "1.2.840.10008.3.1.2.3.3"
RETRIEVE = "1.2.840.10008.3.1.2.3.4"
OFFERED = (SOP_CLASS, RETRIEVE)
SUCCESS, NOT_AUTHORISED, NO_SUCH_ACTION = 0x0000, 0x0124, 0x0211
SOME_NOT_THERE = 0x0001  # N-GET: attributes that were asked for and are not there
Answer = tuple[int | Dataset, Dataset | None]


@dataclass(frozen=True, slots=True)
class Performing:
    """`who` says who asks, None for nobody who may; `now`: UTC microseconds."""

    keep: Keeping
    who: Callable[[Any], Sayer | None]
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

    def _answered(self, event: Any, act: Callable[[Any, Sayer], Answer], context: str) -> Answer:
        by = self.who(event)
        if by is None:
            return NOT_AUTHORISED, None
        if str(event.context.abstract_syntax) != context:
            return NO_SUCH_ACTION, None
        try:
            return act(event, by)
        except NotTaken as refused:
            log.warning("a performed procedure step was refused: 0x%04X", refused.status)
            return _status(refused), None
        except Exception:
            log.exception("a performed procedure step failed")
            return performed.PROCESSING_FAILURE, None

    def _create(self, event: Any, by: Sayer) -> Answer:
        uid = str(event.request.AffectedSOPInstanceUID or "")
        return self._take(StepMessage(uid, "create", *_content(event, "AttributeList"), self.now()), by)

    def _set(self, event: Any, by: Sayer) -> Answer:
        uid = str(event.request.RequestedSOPInstanceUID)
        return self._take(StepMessage(uid, "set", *_content(event, "ModificationList"), self.now()), by)

    def _take(self, said: StepMessage, by: Sayer) -> Answer:
        take(self.keep, said, by)
        return SUCCESS, None

    def _get(self, event: Any, by: Sayer) -> Answer:
        step = step_of(self.keep, str(event.request.RequestedSOPInstanceUID), by)
        asked = [f"{int(tag):08X}" for tag in event.attribute_identifiers]
        known = performed.shown(step, asked)
        answer = Dataset.from_json(known)
        answer.SpecificCharacterSet = "ISO_IR 192"
        return (SUCCESS if set(asked) <= known.keys() else SOME_NOT_THERE), answer


def _content(event: Any, name: str) -> tuple[str, bytes]:
    """Transfer syntax and bytes of the dataset, as they came."""
    body = getattr(event.request, name)
    return str(event.context.transfer_syntax), body.getvalue() if body else b""


def _status(refused: NotTaken) -> Dataset:
    made = Dataset()
    made.Status, made.ErrorComment = refused.status, refused.comment[:64]
    if refused.error_id:
        made.ErrorID = refused.error_id
    if refused.tags:
        made.AttributeIdentifierList = [Tag(int(tag, 16)) for tag in refused.tags]
    return made


def handlers(steps: Performing) -> Mapping[Any, Callable[[Any], Any]]:
    """By pynetdicom's events."""
    return {
        evt.EVT_N_CREATE: steps.on_create,
        evt.EVT_N_SET: steps.on_set,
        evt.EVT_N_GET: steps.on_get,
    }
