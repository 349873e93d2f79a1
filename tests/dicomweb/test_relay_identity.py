"""What the recipient's PACS gets bears the recipient's identity; what it has is told by hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread

from dicomweb.coercion.identity import Identity
from dicomweb.coercion.renewing import new_uid
from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.transfers.delivered import Rejection
from dicomweb.transfers.notes import WRONG_ENTRY, Withdrawal
from dicomweb.transfers.queue import Queue
from dicomweb.transfers.record import Order
from dicomweb.transfers.standing import Standing
from tests.dicomweb.pacs import Pacs, dcmqrscp, orthanc
from tests.dicomweb.test_transfers import FAKE, Desk, Fake, given, queue
from tests.processes import unused_ports

__all__ = ["queue"]  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
INS, OID = "180013199010632", "1.2.250.1.213.1.4.8"
MARTIN = Identity("TL-900006", "310000000", "MARTIN^Jean", "19800101", "M", ((INS, OID),))


@dataclass
class Says:
    """How the platform stands to the exam, changed by the test."""

    now: Standing

    def __call__(self, _order: Order) -> Standing:
        return self.now


@pytest.fixture
def says() -> Says:
    return Says(Standing(True, "pat06", MARTIN))


@pytest.fixture
def desk(images: Images, queue: Queue, tmp_path: Path, says: Says) -> Desk:
    return Desk(images, queue, tmp_path, ask=says)


@pytest.fixture(scope="module")
def overwriting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    dimse, http = unused_ports(2)
    folder = tmp_path_factory.mktemp("pacs") / "orthanc"
    with orthanc(folder, dimse, http, OverwriteInstances=True) as running:
        yield running


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    dimse, http = unused_ports(2)
    folder = tmp_path_factory.mktemp("pacs") / "orthanc"
    with orthanc(folder, dimse, http, OverwriteInstances=False) as running:
        yield running


def there(pacs: Pacs, uid: str) -> Dataset:
    """The instance as Orthanc has it."""
    with httpx.Client(base_url=pacs.http, timeout=20) as client:
        (id,) = client.post("/tools/lookup", content=uid).json()[-1:]
        return dcmread(BytesIO(client.get(f"{id['Path']}/file").content))


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["peer", "web"])
def test_a_relay_bears_the_recipients_identity(
    kind: str, overwriting: Pacs, desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    number = {"peer": 1, "web": 2}[kind]
    uids = given(take, tmp_path, 3, number)
    peer = replace(getattr(overwriting, kind), verify="content")
    transfer = desk.order("relay", peer, f"2.25.{100 + number}")
    desk.run(peer)
    assert (desk.after(transfer).state, desk.after(transfer).done) == ("done", 3)
    (receipt,) = desk.receipts
    for line in receipt["instances"]:
        assert line["stored"] == line["sent"] != line["source"]
        assert line["proof"] == "content"
    came, ours = there(overwriting, uids[0]), dcmread(tmp_path / f"{number}-1.dcm")
    assert (came.PatientID, came.PatientName, came.PatientBirthDate) == (
        "TL-900006",
        "MARTIN^Jean",
        "19800101",
    )
    assert came.PixelData == ours.PixelData
    assert came.file_meta.TransferSyntaxUID == ours.file_meta.TransferSyntaxUID
    (kept,) = came.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert (kept.PatientID, kept.PatientName) == ("AU-300003", "LABORDE^Henri")
    assert came.OriginalAttributesSequence[0].ReasonForTheAttributeModification == "COERCE"


@pytest.mark.peer("orthanc")
def test_a_pacs_that_keeps_what_it_had_is_named(
    keeping: Pacs, desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """It had one of the instances from the modality itself: Orthanc says success, and keeps it. The receipt
    says so."""
    says.now = replace(says.now, identity=Identity(name="LABORDE^Henri Paul"))
    uids = given(take, tmp_path, 2, 3)
    keeping.load([tmp_path / "3-2.dcm"])
    peer = replace(keeping.peer, verify="content")
    transfer = desk.order("relay", peer, "2.25.103")
    desk.run(peer)
    assert desk.after(transfer).state == "partial"
    faults = {line["sopInstanceUID"]: line.get("fault") for line in desk.receipts[0]["instances"]}
    assert faults == {uids[0]: None, uids[1]: "kept-other"}


@pytest.mark.peer("orthanc")
def test_orthanc_gets_a_note_and_the_instance_anew(
    overwriting: Pacs, desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Another number at the site is another patient there. Orthanc keeps the first instance, beside the
    note that names it, until its people delete it."""
    (uid,) = given(take, tmp_path, 1, 6)
    peer, before = replace(overwriting.peer, verify="content"), set(overwriting.instances())
    desk.order("relay", peer, "2.25.106")
    desk.run(peer)
    says.now = replace(says.now, identity=replace(MARTIN, patient_id="TL-2"))
    again = desk.order("relay", peer, "2.25.106")
    desk.run(peer)
    assert desk.after(again).reason == "correction-due"  # nothing joins the wrong patient meanwhile
    withdrawn = Withdrawal(peer.id, desk.deliveries.of(peer.id, "2.25.106"), WRONG_ENTRY)
    instances = tuple((row.series, row.instance, row.sop_class) for row in withdrawn.rows)
    note = Rejection(withdrawn.uid, peer.id, "2.25.106", "", MARTIN, 1, WRONG_ENTRY, instances)
    order = Order("reject", peer.id, "2.25.106", 1, series=(note.note,))
    assert desk.deliveries.reject(note, order)
    desk.queue.submit(again.order, desk.clock())
    desk.run(peer)
    assert desk.after(again).state == "done"
    noted = desk.queue.ever(order.key)
    assert noted is not None
    assert (noted.state, [one.proof for one in desk.queue.items(noted.id)]) == ("done", ["presence"])
    anew = new_uid(uid, note.note)
    assert set(overwriting.instances()) - before == {uid, note.note, anew}
    assert [there(overwriting, one).PatientID for one in (uid, note.note, anew)] == [
        "TL-900006", "TL-900006", "TL-2",
    ]  # fmt: skip


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["overwriting", "keeping"])
def test_an_identity_corrected_reaches_the_pacs_that_overwrites(
    kind: str, desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path, request: Any
) -> None:
    pacs: Pacs = request.getfixturevalue(kind)
    (uid,) = given(take, tmp_path, 1, 4)
    peer = replace(pacs.peer, verify="content")
    for identity in (MARTIN, replace(MARTIN, name="MARTIN^Jeanne", sex="F")):
        says.now = replace(says.now, identity=identity)
        transfer = desk.order("relay", peer, "2.25.104")
        desk.run(peer)
    assert desk.after(transfer).state == ("done" if kind == "overwriting" else "failed")
    came = there(pacs, uid)
    assert came.PatientName == ("MARTIN^Jeanne" if kind == "overwriting" else "MARTIN^Jean")
    if kind == "overwriting":
        assert came.OriginalAttributesSequence[0].ReasonForTheAttributeModification == "CORRECT"
    else:
        assert desk.receipts[-1]["instances"][0]["fault"] == "altered"


@pytest.mark.peer("dcmtk")
def test_dcmqrscp_takes_the_corrected_instance(
    desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """It writes the later file over the earlier one, and lists both for a moment; by C-GET comes the later
    one."""
    given(take, tmp_path, 2, 5)
    (port,) = unused_ports(1)
    with dcmqrscp(tmp_path / "qr", port, 1) as found:
        peer = replace(found, verify="content")
        for identity in (MARTIN, replace(MARTIN, name="MARTIN^Jeanne")):
            says.now = replace(says.now, identity=identity)
            transfer = desk.order("relay", peer, "2.25.105")
            desk.run(peer)
            assert (desk.after(transfer).state, desk.after(transfer).done) == ("done", 2)


def test_what_is_sent_again_is_the_same_byte_for_byte(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids, session = given(take, tmp_path, 3), Fake(folder=str(tmp_path))
    now = [1_000_000]
    desk.clock = lambda: now[0]
    seen: list[bytes] = []
    for _ in range(2):
        desk.order("relay", FAKE, "2.25.100")
        desk.run(FAKE, session)
        seen.append(session.there[uids[0]])
        now[0] += 3_600_000_000
    assert seen[0] == seen[1]
    assert b"TL-900006" in seen[0]


def test_an_identity_that_changes_on_the_way_reaches_all(
    desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids = given(take, tmp_path, 30)
    session = Fake()
    other = replace(MARTIN, name="MARTIN^Jeanne")

    def change(uid: str) -> None:
        if uid == uids[24]:
            says.now = replace(says.now, identity=other)

    session.on_send = change
    transfer = desk.order("relay", FAKE, "2.25.100")
    desk.run(FAKE, session)
    assert (desk.after(transfer).state, desk.after(transfer).done) == ("done", 30)
    assert all(b"MARTIN^Jeanne" in data for data in session.there.values())
    assert {row.identity for row in desk.deliveries.of("fake", "2.25.100")} == {other.digest}


def test_an_exam_that_leaves_the_file_goes_no_further(
    desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    """R094: at the latest after the batch under way."""
    given(take, tmp_path, 60)
    session = Fake()

    def leave(_uid: str) -> None:
        if len(session.sent) == 25:
            says.now = replace(says.now, goes=False)

    session.on_send = leave
    transfer = desk.order("relay", FAKE, "2.25.100")
    desk.run(FAKE, session)
    assert len(session.sent) == 40
    assert (desk.after(transfer).state, desk.after(transfer).reason) == ("partial", "exam-withdrawn")
    known = {row.instance for row in desk.deliveries.of("fake", "2.25.100")}
    assert known == set(session.sent)  # what is to be withdrawn there is on record


def test_what_was_rejected_comes_anew_under_other_uids(
    desk: Desk, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    uids, session = given(take, tmp_path, 2), Fake(folder=str(tmp_path))
    desk.order("relay", FAKE, "2.25.100")
    desk.run(FAKE, session)
    rows = desk.deliveries.of("fake", "2.25.100")
    withdrawn = tuple((row.series, row.instance, row.sop_class) for row in rows)
    note = Rejection("2.25.999", "fake", "2.25.100", "", MARTIN, 5, "113038", withdrawn)
    order = Order("reject", "fake", "2.25.100", 1, "", series=("2.25.999",))
    assert desk.deliveries.reject(note, order)
    assert not desk.deliveries.reject(note, order)  # once
    assert desk.deliveries.rejection("2.25.999") == note
    found = desk.queue.ever(order.key)
    assert found is not None
    desk.queue.cancel(found.id, 6)
    desk.order("relay", replace(FAKE, verify="content"), "2.25.100")
    desk.run(replace(FAKE, verify="content"), session)
    assert session.sent[2:] == [new_uid(uid, "2.25.999") for uid in uids]
    assert desk.receipts[-1]["stored"] == 2
    again = dcmread(BytesIO(session.there[session.sent[2]]))
    assert (again.SOPInstanceUID, again.StudyInstanceUID) == (
        session.sent[2],
        new_uid("2.25.100", "2.25.999"),
    )


def test_a_site_that_wants_it_as_it_came(
    desk: Desk, says: Says, take: Callable[..., Outcome], tmp_path: Path
) -> None:
    (uid,) = given(take, tmp_path, 1)
    says.now = Standing(True, "pat06", Identity())
    session = Fake()
    desk.order("relay", FAKE, "2.25.100")
    desk.run(FAKE, session)
    assert session.there[uid] == (tmp_path / "0-1.dcm").read_bytes()
    assert "sent" not in desk.receipts[0]["instances"][0]
