"""A performed procedure step told to a peer as its modality told it to us: the same SOP Instance UID, the
same dataset, in the transfer syntax that it came in where the peer takes it. PS3.4 §F.7.2; PS3.7 §10.1.3
(N-SET), §10.1.5 (N-CREATE)
"""

from __future__ import annotations

from io import BytesIO

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    ModalityPerformedProcedureStep as STEPS,
)

from dicomweb.index.steps import StepMessage
from dicomweb.peers.session import Incapable, StepAnswer, Unreachable
from dicomweb.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MESSAGES

__all__ = ["STEPS", "contexts", "tell"]


def contexts(said: StepMessage) -> list[PresentationContext]:
    """Its own syntax alone, which is used where the peer takes it, then what every peer has to take. Raises
    Incapable for a syntax that no step is taken in: deflated, a few bytes would unfold to gigabytes."""
    if said.syntax not in MESSAGES:
        raise Incapable("not-sendable", "a performed procedure step is in no such transfer syntax")
    others = [one for one in (EXPLICIT_LITTLE, IMPLICIT_LITTLE) if one != said.syntax]
    return [build_context(STEPS, said.syntax), build_context(STEPS, others)]


def tell(association: Association, said: StepMessage, number: int) -> StepAnswer:
    """Raises Unreachable without an answer, Incapable for what cannot be encoded."""
    syntax = UID(said.syntax)
    send = association.send_n_create if said.kind == "create" else association.send_n_set
    try:
        dataset = decode(BytesIO(said.body), syntax.is_implicit_VR, syntax.is_little_endian)
        status, _attributes = send(dataset, STEPS, said.step, number)
    except RuntimeError as error:  # the association ended between two messages
        raise Unreachable("cut-off", type(error).__name__) from error
    except (ValueError, AttributeError, NotImplementedError) as error:
        raise Incapable("not-sendable", type(error).__name__) from error
    if not status:
        raise Unreachable("no-answer", "the peer did not answer")
    return StepAnswer(int(status.Status), int(status.get("ErrorID", 0) or 0))
