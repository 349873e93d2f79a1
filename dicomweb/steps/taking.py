"""Taking what a modality says of a step: judged, then kept together with what was said.

The same for a modality that calls the platform's node, one that calls its site's gateway, and a gateway that
passes on what it was told. PS3.4 §F.7.2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from pydicom.uid import UID
from pynetdicom.dsutils import decode

from dicomweb import performed
from dicomweb.dataset import to_json
from dicomweb.index.steps import PerformedStep, StepMessage
from dicomweb.performed import NotTaken
from dicomweb.syntaxes import MESSAGES

TRIES = 5  # of one change, when another one came between


class Keeping(Protocol):
    """Where steps are kept: the image index, a gateway's outbox."""

    def performed(self, uid: str) -> PerformedStep | None: ...

    def put_performed(self, step: PerformedStep, said: StepMessage | None = None) -> bool:
        """Durable when it returns. False: what is kept has changed since."""


@dataclass(frozen=True, slots=True)
class Sayer:
    """Who says it: its AE title, the id of its organisation, and whether every step is its."""

    ae_title: str
    site: str
    sees_all: bool = False


def take(keep: Keeping, said: StepMessage, by: Sayer) -> None:
    """Durable when it returns. Raises NotTaken."""
    attributes = _read(said)
    if said.kind == "create":
        step = performed.create(attributes, said.step, (by.ae_title, by.site, said.at))
        if not keep.put_performed(step, said):
            raise NotTaken(performed.DUPLICATE, "There is a step of this UID")
        return
    for _try in range(TRIES):
        changed = performed.update(step_of(keep, said.step, by), attributes, said.at)
        if keep.put_performed(changed, said):
            return
    raise NotTaken(performed.PROCESSING_FAILURE, "The step is being changed by others")


def step_of(keep: Keeping, uid: str, by: Sayer) -> PerformedStep:
    """Raises NotTaken; for a step of another organisation as for none."""
    step = keep.performed(uid)
    if step is None or not (by.sees_all or by.site == step.organisation != ""):
        raise NotTaken(performed.NO_SUCH_INSTANCE, "No such step")
    return step


def _read(said: StepMessage) -> Mapping[str, Any]:
    if said.syntax not in MESSAGES:
        raise NotTaken(performed.PROCESSING_FAILURE, "The dataset is in a transfer syntax that is not taken")
    syntax = UID(said.syntax)
    try:
        made = decode(BytesIO(said.body), syntax.is_implicit_VR, syntax.is_little_endian)
        return to_json(made)
    except Exception as error:  # hostile input: whatever pydicom stumbles on
        raise NotTaken(performed.PROCESSING_FAILURE, "The dataset cannot be read") from error
