"""An exam from its modality's word to its last image: the track, its ImagingStudy, its télédossier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomweb import acquisition, performed
from dicomweb.acquisition import PATIENCE, Came, Listed, Track, track
from dicomweb.dataset import to_json
from dicomweb.images import Images
from dicomweb.index.contract import Outcome, Trace
from dicomweb.index.steps import PerformedStep
from dicomweb.worker import Worker
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb import steps
from tests.dicomweb.test_worker import (  # noqa: F401 - fixtures
    STUDY,
    Clock,
    based_on,
    clock,
    fhir,
    image,
    patient,
    request,
    worker,
)

Take = Callable[..., Outcome]
MINUTE = 60_000_000


def step(state: str, *instances: str, studies: tuple[str, ...] = (STUDY,), changed: int = 0) -> PerformedStep:
    sequence = to_json(steps.ended(steps.series(*instances)))
    return PerformedStep("2.25.7", state, studies, "CT1", "ch-auch", sequence, changed)


HERE = {"2.25.1.1": STUDY, "2.25.1.2": STUDY}
BOTH = ("2.25.1.1", "2.25.1.2")
LONG = acquisition.SILENCE
TRACKS: list[tuple[str, list[PerformedStep], Listed, dict[str, str], int, Track | None]] = [
    ("nobody announced it", [], Listed(), HERE, 0, None),
    ("in progress", [step("IN PROGRESS", "2.25.1.1")], Listed(), {}, 0, Track("acquiring", 1, 0, (), LONG)),
    ("in progress for long", [step("IN PROGRESS", "2.25.1.1")], Listed(), {}, LONG - 1,
     Track("acquiring", 1, 0, (), LONG)),
    ("on its way", [step("COMPLETED", *BOTH)], Listed(), {"2.25.1.1": STUDY}, MINUTE,
     Track("transferring", 2, 1, (), PATIENCE)),
    ("all here", [step("COMPLETED", *BOTH)], Listed(), HERE, 0, Track("complete", 2, 2)),
    ("one missing", [step("COMPLETED", *BOTH)], Listed(), {"2.25.1.1": STUDY}, PATIENCE,
     Track("incomplete", 2, 1, ("2.25.1.2",))),
    ("one put out of sight is not missing", [step("COMPLETED", *BOTH)], Listed(),
     {"2.25.1.1": STUDY, "2.25.1.2": ""}, PATIENCE, Track("complete", 1, 1)),
    ("discontinued with nothing", [step("DISCONTINUED")], Listed(), {}, 0, Track("discontinued", 0, 0)),
    ("discontinued with images", [step("DISCONTINUED", *BOTH)], Listed(), HERE, 0, Track("complete", 2, 2)),
    ("one step of two goes on", [step("COMPLETED", "2.25.1.1"), step("IN PROGRESS", "2.25.1.2")], Listed(),
     {"2.25.1.1": STUDY}, 0, Track("acquiring", 2, 1, (), LONG)),
    ("two steps", [step("COMPLETED", "2.25.1.1"), step("COMPLETED", "2.25.1.2")], Listed(), HERE, 0,
     Track("complete", 2, 2)),
    ("an import's list", [], Listed(BOTH, open=True), {"2.25.1.1": STUDY}, PATIENCE,
     Track("transferring", 2, 1)),
    ("an import that ended", [], Listed(BOTH), {"2.25.1.1": STUDY}, PATIENCE,
     Track("incomplete", 2, 1, ("2.25.1.2",))),
    ("a step for two studies, this one first", [step("COMPLETED", *BOTH, studies=(STUDY, "2.25.101"))],
     Listed(), {"2.25.1.1": "2.25.101"}, PATIENCE, Track("incomplete", 1, 0, ("2.25.1.2",))),
    ("a step for two studies, this one second", [step("COMPLETED", *BOTH, studies=("2.25.101", STUDY))],
     Listed(), {"2.25.1.1": STUDY}, PATIENCE, Track("complete", 1, 1)),
    ("silent, with nothing", [step("IN PROGRESS")], Listed(), {}, LONG, Track("interrupted", 0, 0)),
    ("silent, what it announced did not come", [step("IN PROGRESS", *BOTH)], Listed(), {}, LONG,
     Track("interrupted", 0, 0)),
    ("silent, some of it came", [step("IN PROGRESS", *BOTH)], Listed(), {"2.25.1.1": STUDY}, LONG,
     Track("interrupted", 1, 1)),
    ("one of two steps said something since", [step("IN PROGRESS"), step("IN PROGRESS", changed=MINUTE)],
     Listed(), {}, LONG, Track("acquiring", 0, 0, (), LONG + MINUTE)),
    ("silent beside one that ended whole", [step("COMPLETED", "2.25.1.1"), step("IN PROGRESS", "2.25.1.2")],
     Listed(), {"2.25.1.1": STUDY}, LONG, Track("interrupted", 1, 1)),
    ("silent beside one that ended in part", [step("COMPLETED", "2.25.1.1"), step("IN PROGRESS", "2.25.1.2")],
     Listed(), {}, LONG, Track("incomplete", 1, 0, ("2.25.1.1",))),
    ("silent, and the rest is being imported", [step("IN PROGRESS")], Listed(BOTH, open=True),
     {"2.25.1.1": STUDY}, LONG, Track("transferring", 2, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("told", "listed", "where", "now", "expected"), [case[1:] for case in TRACKS],
                         ids=[case[0] for case in TRACKS])  # fmt: skip
def test_the_track(
    told: list[PerformedStep], listed: Listed, where: dict[str, str], now: int, expected: Track | None
) -> None:
    here = sum(study == STUDY for study in where.values())
    assert track(STUDY, told, listed, where, Came(here, 0, now)) == expected


def test_an_image_is_a_word_too_and_so_is_one_that_nobody_announced() -> None:
    told = [step("IN PROGRESS")]
    assert track(STUDY, told, Listed(), {}, Came(3, MINUTE, LONG)) == Track(
        "acquiring", 0, 0, (), LONG + MINUTE
    )
    assert track(STUDY, told, Listed(), {}, Came(3, MINUTE, LONG + MINUTE)) == Track("interrupted", 3, 3)
    assert track(STUDY, told, Listed(), {}, Came(3, 0, MINUTE, MINUTE)) == Track("interrupted", 3, 3)


def stage(study: dict[str, Any]) -> tuple[str, int, int, list[str]]:
    """Stage, received, expected, missing."""
    (found,) = [one for one in study["extension"] if one["url"] == acquisition.EXTENSION]
    parts = found["extension"]
    values = {one["url"]: one.get("valueCode") or one.get("valueUnsignedInt") for one in parts}
    missing = [one["valueOid"].removeprefix("urn:oid:") for one in parts if one["url"] == "missing"]
    return str(values["stage"]), int(values["received"] or 0), int(values["expected"] or 0), missing


class Told:
    """Tells steps as the node writes them."""

    def __init__(self, images: Images, now: Clock) -> None:
        self.index, self.now = images.index, now

    def begun(self, uid: str = "2.25.7", **changes: Any) -> None:
        told = ("CT1", "ch-auch", self.now())
        assert self.index.put_performed(performed.create(to_json(steps.begun(**changes)), uid, told))

    def ended(self, *series: Dataset, uid: str = "2.25.7", state: str = "COMPLETED") -> None:
        known = self.index.performed(uid)
        assert known is not None
        changed = performed.update(known, to_json(steps.ended(*series, state=state)), self.now())
        assert self.index.put_performed(changed)


@pytest.fixture
def told(images: Images, clock: Clock) -> Told:  # noqa: F811
    return Told(images, clock)


async def lines(fhir: Fhir, code: str) -> list[str]:  # noqa: F811
    """The texts of the timeline's lines of a kind."""
    every = await fhir.search("Provenance", [])
    return [one["reason"][0]["text"] for one in every if one["activity"]["coding"][0]["code"] == code]


async def test_an_exam_is_there_from_its_modalitys_first_word_to_its_last_image(
    worker: Worker, fhir: Fhir, told: Told, take: Take, clock: Clock, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    await patient(fhir)
    await request(fhir, accession="ACC-1")
    told.begun()
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["status"], study["numberOfInstances"], stage(study)) == (
        "registered",
        0,
        ("acquiring", 0, 0, []),
    )
    assert (study["description"], study["started"]) == ("Scanner crânien", "2024-08-08T05:08:00+02:00")
    assert await based_on(fhir) == ["ServiceRequest/r1"]
    assert worker.index.workitems() == []  # nothing to read yet
    told.ended(steps.series("2.25.1.1", "2.25.1.2"))
    await worker.step()
    assert stage(await fhir.read("ImagingStudy", STUDY)) == ("transferring", 0, 2, [])
    take(image(tmp_path, 1), received=clock())
    clock.at += 3_000_000
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["status"], stage(study)) == ("available", ("transferring", 1, 2, []))
    assert len(worker.index.workitems()) == 1
    take(image(tmp_path, 2), received=clock())
    clock.at += 3_000_000
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["numberOfInstances"], stage(study)) == (2, ("complete", 2, 2, []))
    assert await based_on(fhir) == ["ServiceRequest/r1"]
    before = study["meta"]["versionId"]
    clock.at += 2 * PATIENCE
    await worker.step()
    assert (await fhir.read("ImagingStudy", STUDY))["meta"]["versionId"] == before
    assert await lines(fhir, "exam-incomplete") == []


async def test_what_does_not_come_is_named_and_taken_back_when_it_comes_after_all(
    worker: Worker, fhir: Fhir, told: Told, take: Take, clock: Clock, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    await patient(fhir)
    await request(fhir, accession="ACC-1")
    told.begun()
    told.ended(steps.series("2.25.1.1", "2.25.1.2"))
    take(image(tmp_path, 1), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert stage(await fhir.read("ImagingStudy", STUDY)) == ("transferring", 1, 2, [])
    clock.at += PATIENCE
    await worker.step()
    await worker.step()
    assert stage(await fhir.read("ImagingStudy", STUDY)) == ("incomplete", 1, 2, ["2.25.1.2"])
    assert await lines(fhir, "exam-incomplete") == ["Crâne : 1 image annoncée sur 2 n'est pas arrivée"]
    take(image(tmp_path, 2), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert stage(await fhir.read("ImagingStudy", STUDY)) == ("complete", 2, 2, [])


async def test_an_acquisition_given_up(
    worker: Worker, fhir: Fhir, told: Told, clock: Clock  # noqa: F811
) -> None:  # fmt: skip
    await patient(fhir)
    await request(fhir, accession="ACC-1")
    told.begun()
    await worker.step()
    told.ended(state="DISCONTINUED")
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["status"], stage(study)) == ("cancelled", ("discontinued", 0, 0, []))


HOUR = 60 * MINUTE


async def test_an_acquisition_that_its_modality_never_ends(
    worker: Worker, fhir: Fhir, told: Told, take: Take, clock: Clock, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    """Interrupted after twelve hours, durably; an image and a word take it back. The step stays as it is."""
    await patient(fhir)
    await request(fhir, accession="ACC-1")

    async def after(time: int) -> tuple[str, tuple[str, int, int, list[str]]]:
        clock.at += time
        await replace(worker, _retry={}).step()  # a worker that has just begun
        study = await fhir.read("ImagingStudy", STUDY)
        return study["status"], stage(study)

    told.begun(PerformedSeriesSequence=[steps.series("2.25.1.1", "2.25.1.2")])
    assert await after(0) == ("registered", ("acquiring", 0, 2, []))
    assert await after(11 * HOUR) == ("registered", ("acquiring", 0, 2, []))
    assert await after(HOUR) == ("registered", ("interrupted", 0, 0, []))
    assert await after(90 * 24 * HOUR) == ("registered", ("interrupted", 0, 0, []))
    take(image(tmp_path, 1), received=clock())
    assert await after(3_000_000) == ("available", ("acquiring", 1, 2, []))
    assert await after(12 * HOUR) == ("available", ("interrupted", 1, 1, []))
    assert await lines(fhir, "exam-incomplete") == []
    known = worker.index.performed("2.25.7")
    assert known is not None
    assert (known.state, known.revision) == ("IN PROGRESS", 1)
    told.ended(steps.series("2.25.1.1", "2.25.1.2"))
    assert await after(0) == ("available", ("transferring", 1, 2, []))
    assert await after(PATIENCE) == ("available", ("incomplete", 1, 2, ["2.25.1.2"]))
    assert await based_on(fhir) == ["ServiceRequest/r1"]


async def test_how_long_an_acquisition_may_be_silent_is_a_setting(
    worker: Worker, fhir: Fhir, told: Told, clock: Clock  # noqa: F811
) -> None:  # fmt: skip
    worker = replace(worker, settings=replace(worker.settings, acquisition_silence="30min"))
    told.begun()
    stages = []
    for time in (0, 29 * MINUTE, MINUTE, HOUR):
        clock.at += time
        await worker.step()
        stages.append(stage(await fhir.read("ImagingStudy", STUDY))[0])
    assert stages == ["acquiring", "acquiring", "interrupted", "interrupted"]
    assert worker.index.performed_due(clock.at + 10**15) == []  # of no télédossier: looked at no more


async def test_an_incomplete_exam_of_which_more_comes_is_looked_at_again(
    worker: Worker, fhir: Fhir, told: Told, take: Take, clock: Clock, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    told.begun()
    told.ended(steps.series("2.25.1.1", "2.25.1.2", "2.25.1.3"))
    seen = []
    for number in (1, 2):
        take(image(tmp_path, number), received=clock())
        for time in (3_000_000, PATIENCE):
            clock.at += time
            await worker.step()
            seen.append(stage(await fhir.read("ImagingStudy", STUDY))[:3])
    assert seen == [
        ("transferring", 1, 3),
        ("incomplete", 1, 3),
        ("transferring", 2, 3),
        ("incomplete", 2, 3),
    ]


async def test_an_exam_announced_before_its_request_finds_it(
    worker: Worker, fhir: Fhir, told: Told, clock: Clock  # noqa: F811
) -> None:  # fmt: skip
    await patient(fhir)
    told.begun()
    await worker.step()
    assert await based_on(fhir) == []
    await request(fhir, accession="ACC-1")
    clock.at += 25_000_000
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]


@pytest.mark.parametrize(
    ("change", "stays"),
    [({}, True), ({"PatientID": "AU-4"}, False), ({"PatientBirthDate": "19600101"}, False),
     ({"PatientName": "LABORDE^HENRI"}, True)],
)  # fmt: skip
async def test_images_of_another_patient_leave_the_telledossier_they_were_announced_for(
    worker: Worker, fhir: Fhir, told: Told, take: Take, clock: Clock, tmp_path: Path,  # noqa: F811
    change: dict[str, str], stays: bool,
) -> None:  # fmt: skip
    await patient(fhir)
    await patient(fhir, "pat04", value="AU-4")
    await request(fhir, accession="ACC-1")
    told.begun()
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]
    if "PatientBirthDate" in change:  # without a common number there is nothing else to go by
        change = {**change, "PatientID": "AU-5"}
    take(image(tmp_path, 1, **change), received=clock())
    clock.at += 3_000_000
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert bool(study.get("basedOn")) is stays
    assert len(await lines(fhir, "exam-detached")) == (not stays)
    proposed = await fhir.search("Task", [("code", "associate-exam")])
    assert [one["focus"]["reference"] for one in proposed] == ([] if stays else ["ServiceRequest/r1"])
    assert stays or study["subject"].get("reference") is None


async def test_a_study_put_out_of_sight_does_not_come_back_by_its_modalitys_word(
    worker: Worker, fhir: Fhir, told: Told, take: Take, clock: Clock, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    await patient(fhir)
    await request(fhir, accession="ACC-1")
    take(image(tmp_path, 1), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert worker.index.mask((STUDY, None, None), Trace(clock(), "System", "")) == 1
    told.begun()
    await worker.step()
    assert (await fhir.read("ImagingStudy", STUDY))["status"] == "entered-in-error"


async def test_an_imports_list_is_a_total_too(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    listed = {STUDY: Listed(("2.25.1.1", "2.25.1.2"), open=True)}
    worker = replace(worker, listed=lambda study: listed.get(study, Listed()))
    take(image(tmp_path, 1), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert stage(await fhir.read("ImagingStudy", STUDY)) == ("transferring", 1, 2, [])
    listed[STUDY] = Listed(("2.25.1.1", "2.25.1.2"))
    clock.at += PATIENCE
    await worker.refresh(STUDY)
    assert stage(await fhir.read("ImagingStudy", STUDY)) == ("incomplete", 1, 2, ["2.25.1.2"])
    await worker.refresh("2.25.404")
