"""An exam as a scanner performs it: the worklist asked for its order, its step told in progress and completed
(MPPS), the platform asked to commit to what it got.

A service that the platform does not offer is left out, as scanners do: the images go in any case. PS3.4 §K
(worklist), §F (performed procedure step), §J (storage commitment)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicomweb.dimse.steady import steady
from simulators.modality.exams import Exam

WORKLIST, STEP, COMMITMENT = "1.2.840.10008.5.1.4.31", "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1"
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
ANSWER_SECONDS = 30.0
DUPLICATE, NO_LONGER = 0x0111, 0xA710  # the step is there already, is final already
Act = Callable[[Any], Dataset]  # what is asked on an association
_READ = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "ProtocolName")


@dataclass(frozen=True, slots=True)
class Platform:
    """Whom the scanner `calling` works with."""

    host: str
    port: int
    ae: str
    calling: str


class Commitments:
    """Listens for the results of storage commitments, under whichever AE title one calls."""

    def __init__(self, port: int) -> None:
        self._answers: dict[str, Dataset] = {}
        self._came = threading.Condition()
        node = AE("MODALITE")
        node.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._on_report)]
        self._server = node.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _on_report(self, event: Any) -> tuple[int, None]:
        with self._came:
            self._answers[str(event.event_information.TransactionUID)] = event.event_information
            self._came.notify_all()
        return 0x0000, None

    def wait(self, transaction: str) -> Dataset | None:
        """None when no result comes in time."""
        with self._came:
            self._came.wait_for(lambda: transaction in self._answers, ANSWER_SECONDS)
            return self._answers.pop(transaction, None)

    def close(self) -> None:
        self._server.shutdown()


def scheduled(platform: Platform, exam: Exam) -> Dataset | None:
    """The order of the exam's accession number; None when the worklist has none."""
    asked, step = Dataset(), Dataset()
    step.ScheduledStationAETitle, step.Modality = platform.calling, exam.modality
    for keyword in ("ScheduledProcedureStepID", "ScheduledProcedureStepDescription"):
        setattr(step, keyword, "")
    asked.AccessionNumber, asked.ScheduledProcedureStepSequence = exam.accession, [step]
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "RequestedProcedureID",
                    "RequestedProcedureDescription"):  # fmt: skip
        setattr(asked, keyword, "")
    with _associated(platform, WORKLIST) as association:
        if association is None:
            return None
        found = [one for status, one in association.send_c_find(asked, WORKLIST) if status and one]
    return found[0] if found else None


def begin(platform: Platform, exam: Exam, order: Dataset | None) -> str:
    """N-CREATE; the step's UID, "" when the platform does not take steps."""
    uid = f"2.25.{uuid4().int}"
    made = _begun(platform, exam, order)
    status = _asked(platform, STEP, lambda peer: peer.send_n_create(made, STEP, uid)[0])
    return uid if status is not None and status.Status in (0x0000, DUPLICATE) else ""


def end(platform: Platform, step: str, paths: Sequence[Path], state: str = "COMPLETED") -> bool:
    """N-SET with every instance that was made; whether it was taken."""
    made, now = Dataset(), datetime.now()
    made.PerformedProcedureStepStatus = state
    made.PerformedProcedureStepEndDate = f"{now:%Y%m%d}"
    made.PerformedProcedureStepEndTime = f"{now:%H%M%S}"
    made.PerformedSeriesSequence = _series(paths)
    status = _asked(platform, STEP, lambda peer: peer.send_n_set(made, STEP, step)[0])
    return status is not None and (status.Status == 0x0000 or status.get("ErrorID") == NO_LONGER)


def commit(platform: Platform, paths: Sequence[Path], answers: Commitments) -> tuple[int, int] | None:
    """How many the platform keeps, and how many it does not; None when it does not say."""
    asked = Dataset()
    asked.TransactionUID = f"2.25.{uuid4().int}"
    asked.ReferencedSOPSequence = [_reference(_head(path)) for path in paths]
    act: Act = lambda peer: peer.send_n_action(asked, 1, COMMITMENT, WELL_KNOWN)[0]  # noqa: E731
    status = _asked(platform, COMMITMENT, act)
    if status is None or status.Status != 0x0000:
        return None
    result = answers.wait(asked.TransactionUID)
    if result is None:
        return None
    return len(result.get("ReferencedSOPSequence", ())), len(result.get("FailedSOPSequence", ()))


def _asked(platform: Platform, service: str, act: Act) -> Dataset | None:
    """The status of the answer. A second try, since pynetdicom loses an answer now and then: what was done by
    then is answered as done already. None where the service is not offered or nobody answers."""
    for _try in range(2):
        with _associated(platform, service) as association:
            if association is None:
                return None
            status: Dataset = act(association)
        if status:
            return status
    return None


@contextmanager
def _associated(platform: Platform, service: str) -> Iterator[Any]:
    """None where the service is not offered."""
    node = AE(platform.calling)
    node.acse_timeout, node.dimse_timeout, node.network_timeout = 10, ANSWER_SECONDS, 60
    node.add_requested_context(service)
    handlers = [(evt.EVT_CONN_OPEN, steady)]
    association = node.associate(platform.host, platform.port, ae_title=platform.ae, evt_handlers=handlers)
    try:
        yield association if association.is_established else None
    finally:
        if association.is_established:
            association.release()


def _begun(platform: Platform, exam: Exam, order: Dataset | None) -> Dataset:
    """Every attribute that PS3.4 Table F.7.2-1 asks for, from the order where there is one."""
    known = order or Dataset()
    item = Dataset()
    item.StudyInstanceUID, item.AccessionNumber = exam.study_uid, exam.accession
    item.ReferencedStudySequence, item.ScheduledProtocolCodeSequence = [], []
    item.RequestedProcedureID = known.get("RequestedProcedureID", "")
    item.RequestedProcedureDescription = known.get("RequestedProcedureDescription", "")
    steps = known.get("ScheduledProcedureStepSequence") or [Dataset()]
    item.ScheduledProcedureStepID = steps[0].get("ScheduledProcedureStepID", "")
    item.ScheduledProcedureStepDescription = steps[0].get("ScheduledProcedureStepDescription", "")
    made, person = Dataset(), exam.person
    made.SpecificCharacterSet = "ISO_IR 192"
    made.ScheduledStepAttributesSequence = [item]
    made.PatientName = f"{person.family}^{person.given}"
    made.PatientID = person.local_id or person.ins
    if person.local_id:
        made.IssuerOfPatientID = person.issuer
    made.PatientBirthDate, made.PatientSex, made.ReferencedPatientSequence = person.birth, person.sex, []
    made.PerformedProcedureStepID = exam.id[:16]
    made.PerformedStationAETitle = platform.calling
    made.PerformedStationName, made.PerformedLocation = "", exam.site[:16]
    made.PerformedProcedureStepStartDate = f"{exam.moment:%Y%m%d}"
    made.PerformedProcedureStepStartTime = f"{exam.moment:%H%M%S}"
    made.PerformedProcedureStepEndDate, made.PerformedProcedureStepEndTime = "", ""
    made.PerformedProcedureStepStatus = "IN PROGRESS"
    made.PerformedProcedureStepDescription = exam.description[:64]
    made.PerformedProcedureTypeDescription = ""
    made.ProcedureCodeSequence, made.PerformedProtocolCodeSequence = [], []
    made.Modality, made.StudyID, made.PerformedSeriesSequence = exam.modality, exam.id, []
    return made


def _series(paths: Sequence[Path]) -> list[Dataset]:
    found: dict[str, Dataset] = {}
    for path in paths:
        head = _head(path)
        item = found.get(str(head.SeriesInstanceUID))
        if item is None:
            item = found[str(head.SeriesInstanceUID)] = Dataset()
            item.SeriesInstanceUID, item.RetrieveAETitle = head.SeriesInstanceUID, ""
            item.SeriesDescription = head.get("SeriesDescription", "")
            item.ProtocolName = head.get("ProtocolName") or item.SeriesDescription or "Standard"
            item.PerformingPhysicianName, item.OperatorsName = "", ""
            item.ReferencedImageSequence, item.ReferencedNonImageCompositeSOPInstanceSequence = [], []
        item.ReferencedImageSequence.append(_reference(head))
    return list(found.values())


def _head(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))


def _reference(head: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = head.SOPClassUID, head.SOPInstanceUID
    return item
