"""What was sent follows: a corrected identity, another patient, an exam out of sight. R094, pat08."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from dicomweb import merges
from dicomweb.coercion.identity import STATUS, Identity
from dicomweb.coercion.renewing import new_uid
from dicomweb.images import Images
from dicomweb.index.contract import Outcome, Trace
from dicomweb.peers.peer import Peer
from dicomweb.transfers.correcting import Corrections, Due, Facts, due
from dicomweb.transfers.delivered import Delivered, Deliveries, Rejection
from dicomweb.transfers.notes import KEY_OBJECTS, PATIENT_SAFETY, QUALITY, WRONG_ENTRY, write_note
from dicomweb.transfers.record import Order, Transfer
from dicomweb.transfers.standing import Standing, standing
from dicomweb.transfers.trace import said, words
from dicomweb.worker import Worker
from fhir_server.interactions.fhir import Fhir
from fhir_server.store.contract import Store
from tests.dicomweb import making
from tests.dicomweb.test_transfer_routes import transfer
from tests.dicomweb.test_transfers import Desk, Fake, queue
from tests.dicomweb.test_worker import clock, fhir, image, put, request, worker

__all__ = ["clock", "fhir", "queue", "worker"]  # fixtures
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
IPP = "https://teledossier.example/fhir/NamingSystem/ipp/"
INS = "urn:oid:1.2.250.1.213.1.4.11"
CHU = Peer("pacs-chu", "PACS du CHU", "Organization/chu-tls", "dimse", uses=frozenset({"relay"}))

# -- what is due (pure)
ONE = Identity("TL-1", "chu-tls", "MARTIN^Jean")
RENAMED, RENUMBERED = replace(ONE, name="MARTIN^Jeanne"), replace(ONE, patient_id="TL-2")
IDENTITIES = {one.digest: one for one in (ONE, RENAMED, RENUMBERED, Identity())}


def row(instance: str, **changes: Any) -> Delivered:
    return replace(
        Delivered(instance, "1.9", "1.8", request="r1", patient="p1", identity=ONE.digest), **changes
    )


@pytest.mark.parametrize(
    ("rows", "stands", "present", "withdrawn", "resend"),
    [
        ([row("a")], Standing(True, "p1", ONE), "a", [], False),
        ([row("a")], Standing(True, "p1", RENAMED), "a", [], True),
        ([row("a")], Standing(True, "p1", RENUMBERED), "a", [(WRONG_ENTRY, "a")], True),
        ([row("a")], Standing(True, "p2", ONE), "a", [(WRONG_ENTRY, "a")], True),
        ([row("a", identity=Identity().digest)], Standing(True, "p1", ONE), "a", [(WRONG_ENTRY, "a")], True),
        ([row("a")], Standing(False, "p1", ONE), "a", [(WRONG_ENTRY, "a")], False),
        ([row("a"), row("b")], Standing(True, "p1", ONE), "b", [(PATIENT_SAFETY, "a")], False),
        ([row("a"), row("b")], Standing(True, "p1", RENAMED), "b", [(PATIENT_SAFETY, "a")], True),
        ([row("a", rejected="n")], Standing(True, "p1", ONE), "", [], False),
        ([row("a", rejected="n")], Standing(True, "p1", ONE), "a", [], True),  # killed between note and relay
        ([row("a", rejected="n")], Standing(False, "p1", ONE), "a", [], False),
        ([row("a"), row("b", salt="n")], Standing(False, "p1", ONE), "ab",
         [(WRONG_ENTRY, "a"), (WRONG_ENTRY, "b")], False),  # known there by different UIDs: two notes
    ],
)  # fmt: skip
def test_what_is_due(
    rows: list[Delivered], stands: Standing, present: str, withdrawn: list[tuple[str, str]], resend: bool
) -> None:
    found = due("pacs", rows, stands, Facts(set(present), IDENTITIES))
    assert [(one.title, "".join(r.instance for r in one.rows)) for one in found.withdrawals] == withdrawn
    assert found.resend == resend
    assert len({one.uid for one in found.withdrawals}) == len(found.withdrawals)


def test_out_of_sight_for_its_quality() -> None:
    found = due("pacs", [row("a")], Standing(True, "p1", ONE), Facts((), IDENTITIES, is_quality=True))
    assert [one.title for one in found.withdrawals] == [QUALITY]
    assert due("pacs", [], Standing(), Facts((), {})) == Due()


# -- the note
def rejection(**changes: Any) -> Rejection:
    instances = (
        (making.SERIES, "2.25.1", "1.2.840.10008.5.1.4.1.1.2"),
        ("2.25.201", "2.25.2", "1.2.840.10008.5.1.4.1.1.88.33"),
    )
    made = Rejection("2.25.777", "pacs", making.STUDY, "", ONE, 1_700_000_000_000_000, WRONG_ENTRY, instances)
    return replace(made, **changes)


def test_the_note_names_what_it_withdraws(tmp_path: Path) -> None:
    """PS3.3 A.35.4, TID 2010; IHE RAD TF-2 4.66."""
    path = tmp_path / "note.dcm"
    write_note(rejection(), making.write(tmp_path / "a.dcm", making.dataset()), path)
    note = dcmread(path)
    assert (note.SOPClassUID, note.SOPInstanceUID, note.Modality) == (KEY_OBJECTS, "2.25.777", "KO")
    assert (note.PatientID, note.StudyInstanceUID) == ("AU-300003", making.STUDY)
    (title,) = note.ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113038", "DCM")
    (evidence,) = note.CurrentRequestedProcedureEvidenceSequence
    assert [
        (one.SeriesInstanceUID, [r.ReferencedSOPInstanceUID for r in one.ReferencedSOPSequence])
        for one in evidence.ReferencedSeriesSequence
    ] == [(making.SERIES, ["2.25.1"]), ("2.25.201", ["2.25.2"])]
    assert [one.ValueType for one in note.ContentSequence] == ["IMAGE", "COMPOSITE"]


@pytest.mark.peer("dcmtk")
def test_dcmtk_reads_the_note(tmp_path: Path) -> None:
    """dsrdump checks the document against its class."""
    write_note(rejection(), making.write(tmp_path / "a.dcm", making.dataset()), tmp_path / "note.dcm")
    told = subprocess.run(["/usr/bin/dsrdump", str(tmp_path / "note.dcm")], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    warnings = {
        line
        for line in told.stderr.splitlines()
        if "not yet supported" not in line and "VR checker" not in line
    }
    assert warnings == set()
    assert "Incorrect Modality Worklist Entry" in told.stdout


@pytest.mark.parametrize(
    ("kind", "state", "note", "corrected", "expected"),
    [
        ("relay", "done", None, False,
         "Envoi vers PACS : 2 images sur 2, aucune perdue ni altérée, en 00:01"),
        ("relay", "done", None, True,
         "Envoi de l'identité corrigée vers PACS : 2 images sur 2, aucune perdue ni altérée, en 00:01"),
        ("reject", "done", rejection(), False,
         "Retrait demandé à PACS : images envoyées sous une identité qui n'est pas la leur : 2 images, note "
         "de rejet transmise"),
        ("reject", "failed", rejection(title=PATIENT_SAFETY), True,
         "Retrait demandé à PACS : examen retiré pour la sécurité du patient : 2 images, note de rejet NON "
         "transmise"),
    ],
)  # fmt: skip
def test_the_line_of_the_timeline(kind: Any, state: Any, note: Any, corrected: bool, expected: str) -> None:
    moved = Transfer(
        "t", Order(kind, "pacs", "1.2", 2), 1, state, total=2, done=2, started=1, ended=1_000_001
    )
    assert said(moved, "PACS", note, corrected, {"content"}) == expected


@pytest.mark.parametrize(
    ("proofs", "expected"),
    [
        ({"content"}, "aucune perdue ni altérée"),
        ({"content", "committed"}, "toutes présentes, conservation confirmée par le destinataire"),
        ({"committed", "presence"}, "toutes présentes chez le destinataire"),
        ({"content", ""}, "accusées à réception"),
        (set(), "accusées à réception"),
    ],
)
def test_no_more_is_said_than_is_known(proofs: Any, expected: str) -> None:
    moved = Transfer("t", Order("relay", "pacs", "1.2", 2), 1, "done", total=2, done=2)
    assert words(moved, proofs) == f"2 images sur 2, {expected}, en 00:00"


# -- on the real FHIR store
@dataclass
class World:
    """One exam of a sent transfer, relayed to the CHU; `session` is its PACS."""

    desk: Desk
    fhir: Fhir
    worker: Worker
    corrections: Corrections
    session: Fake = field(default_factory=Fake)

    async def relay(self) -> None:
        """Everything that waits for the PACS goes."""
        await asyncio.to_thread(self.desk.run, CHU, self.session)

    async def settle(self) -> list[str]:
        """Corrections looked for and done; the kinds and states of all transfers so far, oldest first."""
        while await self.corrections.sweep():
            await self.relay()
        rows = self.desk.queue.rows("SELECT kind, state FROM transfer ORDER BY n")
        return [f"{kind} {state}" for kind, state in rows]

    def there(self) -> list[Dataset]:
        return [dcmread(BytesIO(data)) for data in self.session.there.values()]

    def notes(self) -> list[Dataset]:
        return [one for one in self.there() if one.SOPClassUID == KEY_OBJECTS]

    def images(self) -> list[Dataset]:
        return [one for one in self.there() if one.SOPClassUID != KEY_OBJECTS]

    async def patient(self, id: str = "pat08", status: str = "qualifiee", **more: Any) -> None:
        fields = {
            "identifier": [{"system": IPP + "ch-auch", "value": "AU-300003"}, {"system": IPP + "chu-tls",
            "value": "TL-1"}],
            "name": [{"family": "LABORDE", "given": ["Henri"]}], "birthDate": "1953-05-17", "gender": "male",
            "extension": [{"url": STATUS, "valueCode": status}], **more,
        }  # fmt: skip
        await put(self.fhir, "Patient", id, **fields)

    async def request(self, id: str, patient: str) -> None:
        to: Any = {"performer": [{"reference": "Organization/chu-tls"}]}
        await request(self.fhir, id, patient, **transfer(int(id[1:])), **to)

    async def exam(self, **changes: Any) -> None:
        study = await self.fhir.read("ImagingStudy", making.STUDY)
        await self.fhir.update({**study, **changes})


@pytest.fixture
async def world(
    images: Images,
    queue: Any,
    fhir: Fhir,
    store: Store,
    worker: Worker,
    take: Callable[..., Outcome],
    tmp_path: Path,
) -> World:
    loop = asyncio.get_running_loop()

    def ask(order: Order) -> Standing:
        return asyncio.run_coroutine_threadsafe(standing(fhir, CHU, order), loop).result(10)

    def peer_of(_id: str) -> Awaitable[Peer | None]:
        async def peer() -> Peer:
            return CHU

        return peer()

    desk = Desk(images, queue, tmp_path, ask=ask)
    corrections = Corrections(store, fhir, queue, images.index, worker.now, peer_of)
    made = World(desk, fhir, worker, corrections, Fake(folder=str(tmp_path)))
    for number in (1, 2):
        take(image(tmp_path, number))
    for id in ("ch-auch", "chu-tls"):
        await put(fhir, "Organization", id, name=id)
    return made


async def sent(world: World) -> None:
    """The exam is attached and at the CHU."""
    await world.request("r1", "pat08")
    await world.worker.write_up(world.desk.images.index.due(10**18, 0)[0])
    world.desk.queue.submit(Order("relay", CHU.id, making.STUDY, 2, "r1"), 1)
    await world.relay()
    assert len(world.images()) == 2
    assert await world.settle() == ["relay done"]


async def test_a_corrected_name_reaches_the_same_instances(world: World) -> None:
    await world.patient()
    await sent(world)
    assert {str(one.PatientName) for one in world.images()} == {"LABORDE^Henri"}
    await world.patient(name=[{"family": "LABORDE", "given": ["Henriette"]}], gender="female")
    assert await world.settle() == ["relay done", "relay done"]
    assert sorted(one.SOPInstanceUID for one in world.images()) == ["2.25.1.1", "2.25.1.2"]
    assert {(str(one.PatientName), one.PatientSex) for one in world.images()} == {("LABORDE^Henriette", "F")}
    reasons = [one.OriginalAttributesSequence[-1].ReasonForTheAttributeModification for one in world.images()]
    assert reasons == ["CORRECT", "CORRECT"]
    assert world.notes() == []
    await world.patient(
        name=[{"family": "LABORDE", "given": ["Henriette"]}],
        gender="female",
        telecom=[{"system": "phone", "value": "1"}],
    )
    assert await world.settle() == ["relay done", "relay done"]  # nothing of the identity has changed


async def test_an_unknown_patient_identified_later(world: World, store: Store) -> None:
    """pat08: the subject stays, the name that stood there is kept as an old one; what went under the
    provisional number is withdrawn and comes anew under the patient's own."""
    await world.patient(
        status="douteuse", name=[{"family": "INCONNU-0808"}], birthDate="1900-01-01",
        identifier=[{"system": IPP + "ch-auch", "value": "AU-300003"}],
    )  # fmt: skip
    await sent(world)
    assert {one.PatientID for one in world.images()} == {"AU-300003"}  # as it came: nothing surer is known
    await world.patient(name=[{"use": "official", "family": "VIDAL", "given": ["Marc"]},
                              {"use": "old", "family": "INCONNU-0808"}], birthDate="1971-03-02")  # fmt: skip
    assert await world.settle() == ["relay done", "reject done", "relay done"]
    study = await world.fhir.read("ImagingStudy", making.STUDY)
    assert study["subject"] == {"reference": "Patient/pat08"}
    (note,) = world.notes()
    assert (note.PatientID, note.ConceptNameCodeSequence[0].CodeValue) == ("AU-300003", WRONG_ENTRY)
    anew = [
        one
        for one in world.images()
        if one.SOPInstanceUID.startswith("2.25.") and len(one.SOPInstanceUID) > 20
    ]
    assert {(one.PatientID, str(one.PatientName), one.PatientBirthDate) for one in anew} == {
        ("TL-1", "VIDAL^Marc", "19710302")
    }
    assert sorted(one.SOPInstanceUID for one in anew) == sorted(
        new_uid(f"2.25.1.{n}", note.SOPInstanceUID) for n in (1, 2)
    )
    named = {
        one.ReferencedSOPInstanceUID
        for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert named == {"2.25.1.1", "2.25.1.2"}
    # what is served and found here is as the modality wrote it: README, Decisions
    body = next(iter(world.desk.images.index.metadata(making.STUDY)))
    assert b"LABORDE" in body.json
    assert b"VIDAL" not in body.json
    # and a second correction, of the name alone, goes to the new ones
    await world.patient(name=[{"family": "VIDAL", "given": ["Marcel"]}], birthDate="1971-03-02")
    assert (await world.settle())[3:] == ["relay done"]
    assert len(world.there()) == 5
    assert sum(str(one.PatientName) == "VIDAL^Marcel" for one in world.images()) == 2


async def test_two_patients_merged_are_one(world: World) -> None:
    await world.patient("pat08")
    await sent(world)
    await world.patient("pat09")
    link = [{"other": {"reference": "Patient/pat09"}, "type": "replaced-by"}]
    await world.patient("pat08", active=False, link=link)
    await world.worker.sweep()
    study = await world.fhir.read("ImagingStudy", making.STUDY)
    assert study["subject"] == {"reference": "Patient/pat09"}  # the exam follows
    assert study["basedOn"] == [{"reference": "ServiceRequest/r1"}]
    told = await world.fhir.search("Provenance", [("target", "ServiceRequest/r1")])
    assert [one["reason"][0]["text"] for one in told if "reason" in one] == [merges.WORDS]
    assert (
        await merges.follow(world.fhir, [await world.fhir.read("Patient", "pat08")], "2024-08-08T08:00:00Z")
        == 0
    )
    assert await world.settle() == ["relay done"]  # the same identity: nothing to correct
    await world.patient("pat09", birthDate="1953-05-18")
    assert await world.settle() == ["relay done", "relay done"]
    assert {one.PatientBirthDate for one in world.images()} == {"19530518"}


async def test_an_exam_that_was_another_patients(world: World) -> None:
    """R094: re-associated by a person; the CHU gets it anew only under a request of the other patient that
    goes there too."""
    await world.patient("pat08")
    await sent(world)
    await world.patient(
        "pat09", identifier=[{"system": IPP + "chu-tls", "value": "TL-9"}], name=[{"family": "AUTRE"}]
    )
    await world.request("r2", "pat09")
    await world.exam(subject={"reference": "Patient/pat09"}, basedOn=[{"reference": "ServiceRequest/r2"}])
    assert await world.settle() == ["relay done", "reject done"]
    (note,) = world.notes()
    assert (note.PatientID, note.ConceptNameCodeSequence[0].CodeValue) == ("TL-1", WRONG_ENTRY)
    world.desk.queue.submit(Order("relay", CHU.id, making.STUDY, 2, "r2"), 1)
    await world.relay()
    assert sorted(one.PatientID for one in world.images()) == ["TL-1", "TL-1", "TL-9", "TL-9"]
    studies = {one.PatientID: one.StudyInstanceUID for one in world.images()}
    assert studies["TL-1"] == making.STUDY != studies["TL-9"]
    assert await world.settle() == ["relay done", "reject done", "relay done"]


async def test_an_exam_put_out_of_sight(world: World) -> None:
    await world.patient()
    await sent(world)
    index = world.desk.images.index
    index.mask((making.STUDY, None, "2.25.1.2"), Trace(2, "Practitioner/p1", "mauvais patient"))
    await world.worker.write_up(index.due(10**18, 0)[0])
    assert await world.settle() == ["relay done", "reject done"]
    index.mask((making.STUDY, None, None), Trace(3, "Practitioner/p1", "mauvais patient"))
    await world.worker.withdraw()
    assert await world.settle() == ["relay done", "reject done", "reject done"]
    assert [one.ConceptNameCodeSequence[0].CodeValue for one in world.notes()] == [PATIENT_SAFETY] * 2
    named = [len(one.ContentSequence) for one in world.notes()]
    assert named == [1, 1]
    deliveries = Deliveries(world.desk.queue)
    assert all(one.rejected for one in deliveries.of(CHU.id, making.STUDY))


async def test_a_relay_waits_until_what_is_there_is_withdrawn(world: World) -> None:
    """The number changes while more images of the exam are on their way: none joins the wrong patient."""
    await world.patient()
    await sent(world)
    await world.patient(identifier=[{"system": IPP + "chu-tls", "value": "TL-2"}])
    waiting = world.desk.queue.submit(Order("relay", CHU.id, making.STUDY, 2, "r1"), 1)
    await world.relay()
    assert world.desk.after(waiting).reason == "correction-due"
    assert await world.settle() == ["relay done", "relay done", "reject done"]
    assert [one.PatientID for one in world.images()] == ["TL-1", "TL-1", "TL-2", "TL-2"]


async def test_how_an_exam_stands(world: World) -> None:
    """By its UID, also where another system wrote its ImagingStudy under an id of its own."""
    await world.patient()
    await world.request("r1", "pat08")
    order = Order("relay", CHU.id, "2.25.55", 2, "r1")
    assert (await standing(world.fhir, CHU, order)).goes is False
    await put(
        world.fhir, "ImagingStudy", "other", status="available", subject={"reference": "Patient/pat08"},
        identifier=[{"system": "urn:dicom:uid", "value": "urn:oid:2.25.55"}],
        basedOn=[{"reference": "ServiceRequest/r1"}],
    )  # fmt: skip
    found = await standing(world.fhir, CHU, order)
    assert (found.goes, found.patient, found.identity.patient_id) == (True, "pat08", "TL-1")
    assert (await standing(world.fhir, replace(CHU, coerce="none"), order)).identity == Identity()
    assert (await standing(world.fhir, CHU, replace(order, request="r2"))).goes is False
    assert (await standing(world.fhir, CHU, replace(order, request=""))).goes is True
