"""Modality Performed Procedure Step as SCP: the table of PS3.4 §F.7.2, and a real modality's side of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicomweb import performed
from dicomweb.dataset import to_json
from dicomweb.dimse.steady import steady
from dicomweb.performed import NotTaken
from tests.dicomweb import steps
from tests.dicomweb.node import Node, caller

TOLD = ("CT1", "ch-auch", 1000)


def refusal(made: Dataset, on: Dataset | None = None) -> tuple[int, list[str], int]:
    """Status, keywords of the attributes, Error ID of a refused N-CREATE; of an N-SET when `on` a step."""

    def asked() -> None:
        step = performed.create(to_json(on or made), "2.25.7", TOLD)
        if on is not None:
            performed.update(step, to_json(made), 2000)

    with pytest.raises(NotTaken) as refused:
        asked()
    tags = [str(Dataset.from_json({tag: {"vr": "LO"}})[int(tag, 16)].keyword) for tag in refused.value.tags]
    return refused.value.status, tags, refused.value.error_id


CREATE: list[tuple[str, Dataset, int, list[str]]] = [
    (f"type 1 absent: {keyword}", steps.begun(**{keyword: None}), 0x0120, [keyword])
    for keyword in ("ScheduledStepAttributesSequence", "PerformedProcedureStepID", "PerformedStationAETitle",
                    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
                    "PerformedProcedureStepStatus", "Modality")
] + [
    (f"type 1 empty: {keyword}", steps.begun(**{keyword: ""}), 0x0121, [keyword])
    for keyword in ("PerformedProcedureStepID", "PerformedStationAETitle", "PerformedProcedureStepStartDate",
                    "PerformedProcedureStepStatus", "Modality")
] + [
    (f"type 2 absent: {keyword}", steps.begun(**{keyword: None}), 0x0120, [keyword])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferencedPatientSequence",
                    "PerformedStationName", "PerformedLocation", "PerformedProcedureStepEndDate",
                    "PerformedProcedureStepEndTime", "PerformedProcedureStepDescription",
                    "PerformedProcedureTypeDescription", "ProcedureCodeSequence", "StudyID",
                    "PerformedProtocolCodeSequence", "PerformedSeriesSequence")
] + [
    (f"scheduled step, {why}: {keyword}",
     steps.begun(ScheduledStepAttributesSequence=[steps.scheduled(**{keyword: value})]), status, [keyword])
    for why, keyword, value, status in (
        ("absent", "StudyInstanceUID", None, 0x0120), ("empty", "StudyInstanceUID", "", 0x0121),
        ("absent", "AccessionNumber", None, 0x0120), ("absent", "RequestedProcedureID", None, 0x0120),
        ("absent", "ScheduledProcedureStepID", None, 0x0120),
        ("malformed", "StudyInstanceUID", "a.b", 0x0106),
    )
] + [
    ("no scheduled step", steps.begun(ScheduledStepAttributesSequence=[]), 0x0121,
     ["ScheduledStepAttributesSequence"]),
    ("not in progress", steps.begun(PerformedProcedureStepStatus="COMPLETED"), 0x0106,
     ["PerformedProcedureStepStatus"]),
    ("an unknown status", steps.begun(PerformedProcedureStepStatus="SCHEDULED"), 0x0106,
     ["PerformedProcedureStepStatus"]),
    ("a malformed date", steps.begun(PerformedProcedureStepStartDate="08/08/24"), 0x0106,
     ["PerformedProcedureStepStartDate"]),
    ("a performed series without protocol",
     steps.begun(PerformedSeriesSequence=[steps.series("2.25.1.1", ProtocolName=None)]), 0x0120,
     ["ProtocolName"]),
    ("a malformed instance", steps.begun(PerformedSeriesSequence=[steps.series("x")]), 0x0106,
     ["ReferencedSOPInstanceUID"]),
]  # fmt: skip


@pytest.mark.parametrize(("made", "status", "keywords"), [case[1:] for case in CREATE],
                         ids=[case[0] for case in CREATE])  # fmt: skip
def test_what_n_create_has_to_say(made: Dataset, status: int, keywords: list[str]) -> None:
    assert refusal(made) == (status, keywords, 0)


def test_a_step_is_created_with_all_it_names() -> None:
    two = [steps.scheduled(), steps.scheduled(StudyInstanceUID="2.25.101", AccessionNumber="ACC-2")]
    step = performed.create(to_json(steps.begun(ScheduledStepAttributesSequence=two)), "2.25.7", TOLD)
    assert (step.state, step.studies, step.revision) == ("IN PROGRESS", ("2.25.100", "2.25.101"), 0)
    assert performed.scheduled_ids(step) == {("ACC-1", "ACC-1"), ("ACC-2", "ACC-1")}


SET: list[tuple[str, Dataset, int, list[str]]] = [
    ("completed without series", steps.ended(), 0x0121, ["PerformedSeriesSequence"]),
    ("completed without end",
     steps.ended(steps.series("2.25.1.1"), PerformedProcedureStepEndDate=None), 0x0121,
     ["PerformedProcedureStepEndDate"]),
    ("discontinued without end", steps.ended(state="DISCONTINUED", PerformedProcedureStepEndTime=""), 0x0121,
     ["PerformedProcedureStepEndTime"]),
    ("an unknown status", steps.ended(steps.series("2.25.1.1"), state="DONE"), 0x0106,
     ["PerformedProcedureStepStatus"]),
    ("a series without its UID", steps.ended(steps.series("2.25.1.1", SeriesInstanceUID=None)), 0x0120,
     ["SeriesInstanceUID"]),
    ("another patient", steps.ended(steps.series("2.25.1.1"), PatientID="AU-4"), 0x0105, ["PatientID"]),
    ("another study",
     steps.ended(ScheduledStepAttributesSequence=[steps.scheduled(StudyInstanceUID="2.25.9")]), 0x0105,
     ["ScheduledStepAttributesSequence"]),
]  # fmt: skip


@pytest.mark.parametrize(("made", "status", "keywords"), [case[1:] for case in SET],
                         ids=[case[0] for case in SET])  # fmt: skip
def test_what_n_set_may_say(made: Dataset, status: int, keywords: list[str]) -> None:
    assert refusal(made, steps.begun()) == (status, keywords, 0)


@pytest.mark.parametrize("state", ["COMPLETED", "DISCONTINUED"])
def test_a_final_state_stays(state: str) -> None:
    step = performed.create(to_json(steps.begun()), "2.25.7", TOLD)
    partly = performed.update(step, to_json(Dataset.from_json({})), 1500)
    assert partly.state == "IN PROGRESS"
    done = performed.update(partly, to_json(steps.ended(steps.series("2.25.1.1"), state=state)), 2000)
    assert (done.state, done.changed) == (state, 2000)
    assert list(performed.announced_by(done.attributes)) == ["2.25.1.1"]
    for change in (steps.ended(steps.series("2.25.1.2")), Dataset()):
        with pytest.raises(NotTaken) as refused:
            performed.update(done, to_json(change), 3000)
        assert (refused.value.status, refused.value.error_id) == (0x0110, 0xA710)


def test_a_discontinued_step_may_have_made_nothing_and_may_repeat_what_it_said() -> None:
    step = performed.create(to_json(steps.begun()), "2.25.7", TOLD)
    whole = steps.begun(PerformedProcedureStepStatus="DISCONTINUED", PerformedProcedureStepEndDate="20240808",
                        PerformedProcedureStepEndTime="0512")  # fmt: skip
    assert performed.update(step, to_json(whole), 2000).state == "DISCONTINUED"


@pytest.fixture
def node(tmp_path: Path, free_port: int) -> Iterator[Node]:
    """CT1 and RIS are of ch-auch, SEES of none, OTHER of another organisation."""
    here = "127.0.0.1:1"
    node = Node(tmp_path / "node", free_port,
                caller("CT1", here, "ch-auch"), caller("RIS", here, "ch-auch"), caller("SEES", here),
                caller("OTHER", here, "ch-other"))  # fmt: skip
    node.start()
    yield node
    node.stop(signal.SIGKILL)


class Modality:
    """An association of one AE title."""

    def __init__(self, node: Node, title: str) -> None:
        peer = AE(title)
        peer.add_requested_context(steps.SOP_CLASS)
        peer.add_requested_context(steps.RETRIEVE)
        handlers = [(evt.EVT_CONN_OPEN, steady)]
        self.association = peer.associate(
            "127.0.0.1", node.port, ae_title="TELEDOSSIER", evt_handlers=handlers
        )
        assert self.association.is_established

    def create(self, made: Dataset, uid: str) -> Any:
        return self.association.send_n_create(made, steps.SOP_CLASS, uid)[0]

    def set(self, made: Dataset, uid: str) -> Any:
        return self.association.send_n_set(made, steps.SOP_CLASS, uid)[0]

    def get(self, tags: list[int], uid: str) -> tuple[Any, Any]:
        found: tuple[Any, Any] = self.association.send_n_get(tags, steps.RETRIEVE, uid)
        return found


def test_a_modality_tells_its_step(node: Node) -> None:
    modality = Modality(node, "CT1")
    assert modality.create(steps.begun(), "2.25.7").Status == 0x0000
    assert modality.create(steps.begun(), "2.25.7").Status == 0x0111
    refused = modality.create(steps.begun(Modality=None), "2.25.8")
    assert (refused.Status, refused.ErrorComment) == (0x0120, "Attributes are missing")
    assert modality.set(steps.ended(steps.series("2.25.1.1")), "2.25.9").Status == 0x0112
    node.stop(signal.SIGKILL)  # what was acknowledged is there
    node.start()
    modality = Modality(node, "CT1")
    status, step = modality.get([], "2.25.7")
    assert (status.Status, step.PerformedProcedureStepStatus, step.PatientName) == (
        0x0000, "IN PROGRESS", "LABORDE^Henri",
    )  # fmt: skip
    assert modality.set(steps.ended(steps.series("2.25.1.1", "2.25.1.2")), "2.25.7").Status == 0x0000
    node.stop(signal.SIGKILL)
    node.start()
    modality = Modality(node, "CT1")
    late = modality.set(steps.ended(steps.series("2.25.1.3")), "2.25.7")
    assert (late.Status, late.ErrorID) == (0x0110, 0xA710)
    status, step = modality.get([0x00400252, 0x00400340], "2.25.7")
    assert (status.Status, sorted(element.keyword for element in step)) == (
        0x0000, ["PerformedProcedureStepStatus", "PerformedSeriesSequence", "SpecificCharacterSet"],
    )  # fmt: skip
    assert [len(one.ReferencedImageSequence) for one in step.PerformedSeriesSequence] == [2]
    status, step = modality.get([0x00400252, 0x00104000], "2.25.7")
    assert (status.Status, step.PerformedProcedureStepStatus) == (0x0001, "COMPLETED")
    modality.association.release()


def test_who_may_tell_and_read_a_step(node: Node) -> None:
    assert Modality(node, "CT1").create(steps.begun(), "2.25.7").Status == 0x0000
    read = {title: Modality(node, title).get([0x00400252], "2.25.7")[0].Status for title in
            ("CT1", "RIS", "SEES", "OTHER")}  # fmt: skip
    assert read == {"CT1": 0x0000, "RIS": 0x0000, "SEES": 0x0000, "OTHER": 0x0112}
    other = Modality(node, "OTHER")
    assert other.set(steps.ended(steps.series("2.25.1.1")), "2.25.7").Status == 0x0112
    nobody = AE("NOBODY")
    nobody.add_requested_context(steps.SOP_CLASS)
    assert not nobody.associate("127.0.0.1", node.port).is_established  # no context to tell it in
    index = node.index()
    assert [one.state for one in index.performed_of("2.25.100")] == ["IN PROGRESS"]
    index.close()
