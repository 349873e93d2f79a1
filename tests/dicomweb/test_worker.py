"""From stored instances to an attached ImagingStudy, on the real FHIR write path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomweb import readings
from dicomweb.images import Images
from dicomweb.index.contract import Outcome, Trace
from dicomweb.worker import Worker
from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from fhir_server.store.files import Files
from profiles.outcomes import NotFound
from tests.dicomweb import making

Take = Callable[..., Outcome]
IPP = "https://teledossier.example/fhir/NamingSystem/ipp/ch-auch"
INS = "urn:oid:1.2.250.1.213.1.4.11"
STUDY = making.STUDY
START = 1_723_100_000_000_000  # 2024-08-08T06:53:20Z


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> int:
        self.at += 1000
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fhir(store: Store, settings: Settings, clock: Clock, tmp_path: Path) -> Fhir:
    return Fhir(Engine(store, Files(tmp_path / "binaries"), settings, clock), SYSTEM)


@pytest.fixture
def worker(images: Images, store: Store, fhir: Fhir, settings: Settings, clock: Clock) -> Worker:
    return Worker(images.index, store, fhir, settings, clock)


async def put(fhir: Fhir, type: str, id: str, **fields: Any) -> None:
    await fhir.update({"resourceType": type, "id": id, **fields})


async def patient(
    fhir: Fhir, id: str = "pat03", system: str = IPP, value: str = "AU-300003", **fields: Any
) -> None:
    given = {"name": [{"family": "LABORDE", "given": ["Henri"]}], "birthDate": "1953-05-17", **fields}
    await put(fhir, "Patient", id, identifier=[{"system": system, "value": value}], **given)


async def request(
    fhir: Fhir, id: str = "r1", subject: str = "pat03", accession: str = "", **fields: Any
) -> None:
    announced = [{"type": "ImagingStudy", "identifier": {"value": accession}}] if accession else []
    await put(fhir, "ServiceRequest", id, **{
        "status": "active", "intent": "order", "subject": {"reference": f"Patient/{subject}"},
        "authoredOn": "2024-08-08T06:00:00Z",
        **({"supportingInfo": announced} if announced else {}), **fields})  # fmt: skip


def image(tmp_path: Path, number: int = 1, **changes: Any) -> Path:
    made: Dataset = making.dataset(SOPInstanceUID=f"2.25.1.{number}", InstanceNumber=number, **changes)
    return making.write(tmp_path / f"{number}.dcm", made)


async def based_on(fhir: Fhir, uid: str = STUDY) -> list[str]:
    study = await fhir.read("ImagingStudy", uid)
    return [one["reference"] for one in study.get("basedOn", ())]


async def test_a_study_becomes_an_imaging_study_once_quiet(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    take(image(tmp_path, 1), received=clock())
    take(image(tmp_path, 2, SeriesInstanceUID="2.25.201", SeriesNumber=2, Modality="MR"), received=clock())
    assert await worker.step() == 0
    with pytest.raises(NotFound):
        await fhir.read("ImagingStudy", STUDY)
    clock.at += 3_000_000
    assert await worker.step() == 1
    study = await fhir.read("ImagingStudy", STUDY)
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}
    assert study["identifier"][1]["value"] == "ACC-1"
    assert study["started"] == "2024-08-08T05:08:00+02:00"
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 2)
    assert [one["code"] for one in study["modality"]] == ["CT", "MR"]
    assert [one["instance"][0]["uid"] for one in study["series"]] == ["2.25.1.1", "2.25.1.2"]
    assert study["subject"] == {"type": "Patient", "identifier": {"system": IPP, "value": "AU-300003"}}
    assert "LABORDE" not in str(study)


async def test_a_growing_study_is_written_again_and_not_more_often_than_it_changes(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    path = image(tmp_path, 1)
    take(path, received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await worker.step() == 0
    assert take(path, received=clock()) == "duplicate"
    clock.at += 3_000_000
    assert await worker.step() == 0
    take(image(tmp_path, 2), received=clock())
    clock.at += 3_000_000
    assert await worker.step() == 1
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["numberOfInstances"], study["meta"]["versionId"]) == (2, "2")


async def test_a_study_that_never_falls_quiet_is_written_up_all_the_same(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    for number in range(1, 18):
        take(image(tmp_path, number), received=clock())
        clock.at += 1_000_000
        await worker.step()
    assert (await fhir.read("ImagingStudy", STUDY))["numberOfInstances"] >= 15


async def test_request_first_then_exam(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir)
    await request(fhir)
    take(image(tmp_path), received=clock())
    clock.at += 3_000_000
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["basedOn"], study["subject"]) == (
        [{"reference": "ServiceRequest/r1"}], {"reference": "Patient/pat03"})  # fmt: skip
    (line,) = await fhir.search("Provenance", [("target", "ServiceRequest/r1")])
    assert line["activity"]["coding"][0]["code"] == "exam-attached"
    assert line["agent"][0]["who"] == {"display": "Plateforme"}
    # it grows: what was attached stays
    take(image(tmp_path, 2), received=clock())
    clock.at += 3_000_000
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["numberOfInstances"], study["subject"]) == (2, {"reference": "Patient/pat03"})
    assert await based_on(fhir) == ["ServiceRequest/r1"]
    assert len(await fhir.search("Provenance", [("target", "ServiceRequest/r1")])) == 1


async def test_exam_first_then_patient_and_request(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    take(image(tmp_path), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == []
    await patient(fhir)
    await worker.step()
    await request(fhir)
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]


async def test_ins_identifies_from_the_other_identifiers(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir, system=INS, value="153053299010337")
    await request(fhir)
    other, qualifiers = Dataset(), Dataset()
    qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType = "1.2.250.1.213.1.4.11", "ISO"
    other.PatientID, other.IssuerOfPatientIDQualifiersSequence = "153053299010337", [qualifiers]
    take(image(tmp_path, OtherPatientIDsSequence=[other]), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]


async def test_finess_as_issuer(worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path) -> None:
    await put(fhir, "Organization", "ch-auch", name="CH Auch",
              identifier=[{"system": "https://finess.esante.gouv.fr", "value": "993200013"}])  # fmt: skip
    await patient(fhir)
    await request(fhir)
    take(image(tmp_path, IssuerOfPatientID="993200013"), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]


@pytest.mark.parametrize("issuer", ["", "chiva", "1.2.250.1.213.1.4.8"])
async def test_a_number_of_another_or_no_issuer_is_only_proposed(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path, issuer: str
) -> None:
    await patient(fhir)
    await request(fhir)
    take(image(tmp_path, IssuerOfPatientID=issuer), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == []
    (task,) = await fhir.search("Task", [("focus", "ServiceRequest/r1")])
    assert (task["status"], task["intent"], task["code"]["coding"][0]["code"]) == (
        "requested", "proposal", "associate-exam")  # fmt: skip
    # the person who decides sees what the images say of themselves
    shown = task["input"][0]["valueReference"]["display"].split(" · ")
    assert (shown[0], shown[-1]) == ("CT", "LABORDE Henri 17/05/1953")
    # refused by a person: not proposed again, whatever changes
    await fhir.update({**task, "status": "rejected"})
    await request(fhir, note=[{"text": "changed"}])
    take(image(tmp_path, 2, IssuerOfPatientID=issuer), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert [one["status"] for one in await fhir.search("Task", [("focus", "ServiceRequest/r1")])] == [
        "rejected"
    ]


async def test_an_open_proposal_is_withdrawn_when_the_exam_is_attached(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir)
    await request(fhir)
    await request(fhir, "r2")
    take(image(tmp_path), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert {one["status"] for one in await fhir.search("Task")} == {"requested"}, (
        "several open files: proposed"
    )
    # one of them announces the exam: now it is known
    await request(fhir, "r2", accession="ACC-1")
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r2"]
    assert {one["status"] for one in await fhir.search("Task")} == {"cancelled"}


async def test_accession_announced_for_a_prior_long_ago(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir)
    await request(fhir, accession="ACC-1", status="completed")
    await request(fhir, "r2")
    take(image(tmp_path, StudyDate="20200101"), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]


async def test_twins_never_share_an_exam(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    for id, given, ins in (("pat09", "Lucie", "290071299010901"), ("pat10", "Lucile", "290071299011097")):
        name = [{"family": "BONNET", "given": [given]}]
        await patient(fhir, id, INS, ins, name=name, birthDate="1990-07-30")
        await request(fhir, f"r-{id}", id)
    take(image(tmp_path, PatientName="BONNET^Lucile", PatientBirthDate="19900730",
               PatientID="290071299011097", IssuerOfPatientID=INS.removeprefix("urn:oid:")),
         received=clock())  # fmt: skip
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r-pat10"]
    assert await fhir.search("Task", []) == []


async def test_instances_of_two_patients_in_one_study_are_never_attached(
    worker: Worker, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir)
    await request(fhir)
    take(image(tmp_path, 1), received=clock())
    take(image(tmp_path, 2, PatientID="AU-999"), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert await based_on(fhir) == []
    assert len(await fhir.search("Task", [("focus", "ServiceRequest/r1")])) == 1


async def test_a_worker_killed_between_its_acts_repeats_none(
    worker: Worker, images: Images, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir)
    await request(fhir)
    take(image(tmp_path), received=clock())
    clock.at += 3_000_000
    study = images.index.study(STUDY)
    assert study is not None
    await worker.write_up(study)
    written = await fhir.read("ImagingStudy", STUDY)
    # as if it had died before it marked the study: the index still says all is to do
    with images.index._write_lock, images.index._transaction() as connection:  # type: ignore[attr-defined]
        connection.execute("UPDATE study SET processed_seq = 0, attached = 0, pending_since = first_received")
        connection.execute("DELETE FROM mark")
    assert await worker.step() == 1
    assert await fhir.read("ImagingStudy", STUDY) == written
    assert len(await fhir.search("Provenance", [])) == 1


async def test_a_study_put_out_of_sight_is_withdrawn_with_a_trace(
    worker: Worker, images: Images, fhir: Fhir, take: Take, clock: Clock, tmp_path: Path
) -> None:
    await patient(fhir)
    await request(fhir, accession="ACC-1")
    paths = [image(tmp_path, 1), image(tmp_path, 2)]
    for path in paths:
        take(path, received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert images.index.mask((STUDY, None, "2.25.1.1"), Trace(clock(), "Client/pacs", "")) == 1
    clock.at += 3_000_000
    await worker.step()
    assert (await fhir.read("ImagingStudy", STUDY))["numberOfInstances"] == 1
    images.index.mask((STUDY, None, None), Trace(clock(), "Client/pacs", "autre patient"))
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["status"], study["numberOfInstances"], "series" in study) == ("entered-in-error", 0, False)
    traces = await fhir.search("Provenance", [("target", f"ImagingStudy/{STUDY}")])
    (trace,) = [one for one in traces if one.get("reason")]
    assert trace["reason"] == [{"text": "autre patient"}]
    assert trace["agent"] == [{"who": {"display": "Client/pacs"}}]
    assert trace["target"][0] == {"reference": "ServiceRequest/r1"}
    assert images.index.withdrawn() == []
    take(paths[0], received=clock())
    clock.at += 3_000_000
    await worker.step()
    study = await fhir.read("ImagingStudy", STUDY)
    assert (study["status"], study["numberOfInstances"]) == ("available", 1)
    assert await based_on(fhir) == ["ServiceRequest/r1"]


@pytest.mark.parametrize(
    "about",
    [
        {"imagingStudy": [{"reference": f"ImagingStudy/{STUDY}"}]},
        {"basedOn": [{"reference": "ServiceRequest/r1"}]},
    ],
    ids=["names the exam", "answers the request"],
)  # fmt: skip
async def test_the_reading_of_an_attached_exam_is_on_the_worklist_until_its_report_is_final(
    worker: Worker,
    images: Images,
    fhir: Fhir,
    take: Take,
    clock: Clock,
    tmp_path: Path,
    about: dict[str, Any],
) -> None:
    def state() -> str:
        item = images.index.workitem(readings.uid_of(STUDY))
        return item.state if item else ""

    take(image(tmp_path), received=clock())
    clock.at += 3_000_000
    await worker.step()
    assert state() == ""
    await patient(fhir)
    await request(fhir, accession="ACC-1")
    await worker.step()
    assert await based_on(fhir) == ["ServiceRequest/r1"]
    assert state() == "SCHEDULED"
    (item,) = images.index.workitems()
    assert item.studies == (STUDY,)
    assert item.attributes["00100020"]["Value"] == ["AU-300003"]
    for status, expected in (("preliminary", "SCHEDULED"), ("final", "COMPLETED"), ("amended", "COMPLETED")):
        await put(fhir, "DiagnosticReport", "d1", status=status, code={"text": "CR"}, **about)
        await worker.step()
        assert state() == expected, status
    images.index.mask((STUDY, None, None), Trace(clock(), "a", ""))
    await worker.step()
    assert state() == "COMPLETED"
    assert len(images.index.workitems()) == 1
