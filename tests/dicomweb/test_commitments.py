"""Storage commitment as the proof of a relay: asked, answered at once or later, refused, never; by Orthanc
too."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role

from dicomweb.images import open_images
from dicomweb.index.contract import Outcome
from dicomweb.ingest import Arrival, ingest
from dicomweb.peers.peer import Peer
from dicomweb.peers.session import Answered, Denied, Unreachable
from dicomweb.transfers.commitments import ASK_AGAIN, PATIENCE, Commitments
from dicomweb.transfers.queue import Queue
from fhir_server.store import open_store
from tests.dicomweb import making
from tests.dicomweb.node import Node, caller
from tests.dicomweb.pacs import orthanc
from tests.dicomweb.test_transfers import (  # noqa: F401 - fixtures
    FAKE,
    Desk,
    Fake,
    desk,
    given,
    queue,
)
from tests.processes import unused_ports

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SOP_CLASS, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
Take = Callable[..., Outcome]


@dataclass
class Keeper(Fake):
    """A PACS that takes responsibility. `answers`: at once; else the test does. `denies`: not offered."""

    answers: bool = True
    error: Exception | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def commit(self, transaction: str, wanted: Mapping[str, str], answered: Answered) -> None:
        self.asked.append((transaction, wanted))
        if self.error:
            raise self.error
        if self.answers:
            lost = {uid: 0x0112 for uid in wanted if uid not in self.there}
            answered([uid for uid in wanted if uid in self.there], lost)


@dataclass
class Hand:
    """A clock that the test moves."""

    at: int = 1_723_100_000_000_000

    def __call__(self) -> int:
        self.at += 1
        return self.at


@pytest.fixture
def hand(desk: Desk) -> Hand:  # noqa: F811
    desk.clock = Hand()
    return desk.clock


def proofs(receipt: Mapping[str, Any]) -> list[str]:
    return [one.get("proof", "") for one in receipt["instances"]]


def test_an_answer_on_the_same_association(desk: Desk, take: Take, tmp_path: Path) -> None:  # noqa: F811
    """What the receiver lost is named by it, sent again, and asked for again."""
    uids = given(take, tmp_path, 3)
    keeper = Keeper(drops={uids[1]})
    keeper.on_send = keeper.drops.discard  # lost at first, kept the next time
    transfer = desk.order("relay", FAKE)
    desk.run(FAKE, keeper)
    assert (desk.after(transfer).state, len(desk.receipts)) == ("done", 1)
    assert (desk.receipts[0]["verified"], proofs(desk.receipts[0])) == ("commitment", ["committed"] * 3)
    assert "commitment" not in desk.receipts[0]
    assert keeper.sent == [*uids, uids[1]]
    (first, wanted), (second, _wanted) = keeper.asked
    assert wanted == dict.fromkeys(uids, "1.2.840.10008.5.1.4.1.1.2")
    assert first != second
    assert Commitments(desk.queue).of(transfer.id) is None


def test_an_instance_that_the_receiver_never_keeps_is_named(
    desk: Desk, take: Take, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    uids = given(take, tmp_path, 3)
    transfer = desk.order("relay", FAKE)
    desk.run(FAKE, Keeper(drops={uids[1]}))
    assert desk.after(transfer).state == "partial"
    lines = {one["sopInstanceUID"]: one.get("fault", "") for one in desk.receipts[0]["instances"]}
    assert lines == {uids[0]: "", uids[1]: "lost", uids[2]: ""}


def test_an_answer_that_comes_later_also_to_another_process(
    desk: Desk, hand: Hand, take: Take, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    uids = given(take, tmp_path, 2)
    keeper = Keeper(answers=False)
    transfer = desk.order("relay", FAKE)
    desk.run(FAKE, keeper)
    waiting = desk.after(transfer)
    assert (waiting.state, waiting.reason, waiting.attempts) == ("waiting", "awaiting-commitment", 0)
    assert desk.queue.peers(hand()) == []  # nothing to do until the answer
    desk.run(FAKE, keeper)
    (asked,) = keeper.asked
    other = Queue(tmp_path / "transfers.db")
    other.open()
    there = Commitments(other)
    assert there.asked_of(asked[0]) == "fake"
    assert there.answer(asked[0], uids, {}, hand())
    assert not there.answer(asked[0], [], {uids[0]: 0x0110}, hand())  # the first counts
    assert there.asked_of(asked[0]) == ""
    other.close()
    assert desk.queue.peers(hand()) == ["fake"]
    desk.run(FAKE, keeper)
    assert desk.after(transfer).state == "done"
    assert (len(keeper.asked), proofs(desk.receipts[0])) == (1, ["committed"] * 2)


def test_a_receiver_that_never_answers_is_believed_by_its_list_and_spared_for_a_day(
    desk: Desk, hand: Hand, take: Take, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    given(take, tmp_path, 2)
    keeper = Keeper(answers=False)
    first = desk.order("relay", FAKE)
    desk.run(FAKE, keeper)
    hand.at += PATIENCE
    desk.run(FAKE, keeper)
    assert (desk.after(first).state, desk.receipts[-1]["verified"]) == ("done", "presence")
    assert desk.receipts[-1]["commitment"] == "unanswered"
    for later, times in ((0, 1), (ASK_AGAIN, 2)):
        hand.at += later
        desk.order("relay", FAKE, request=f"r{later}")
        desk.run(FAKE, keeper)
        assert len(keeper.asked) == times
    assert [one.get("commitment") for one in desk.receipts] == ["unanswered", "not-asked"]


@pytest.mark.parametrize("verify", ["presence", "content"])
def test_who_wants_another_proof_is_not_asked(
    verify: Any, desk: Desk, take: Take, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    given(take, tmp_path, 2)
    keeper = Keeper(folder=str(tmp_path))
    desk.order("relay", FAKE)
    desk.run(replace(FAKE, verify=verify), keeper)
    assert (keeper.asked, desk.receipts[0]["verified"]) == ([], verify)
    assert "commitment" not in desk.receipts[0]


def test_where_it_is_not_offered_the_list_has_to_do(desk: Desk, take: Take, tmp_path: Path) -> None:  # noqa: F811
    given(take, tmp_path, 2)
    transfer = desk.order("relay", FAKE)
    desk.run(FAKE, Keeper(error=Denied("service-refused")))
    assert (desk.after(transfer).state, desk.receipts[0]["verified"]) == ("done", "presence")
    assert desk.receipts[0]["commitment"] == "not-offered"
    assert Commitments(desk.queue).of(transfer.id) is None


def test_a_question_that_breaks_is_asked_anew(desk: Desk, hand: Hand, take: Take, tmp_path: Path) -> None:  # noqa: F811
    given(take, tmp_path, 2)
    keeper = Keeper(error=Unreachable("cut-off"))
    transfer = desk.order("relay", FAKE)
    desk.run(FAKE, keeper)
    assert (desk.after(transfer).state, desk.after(transfer).reason) == ("waiting", "cut-off")
    keeper.error = None
    hand.at += 60_000_000
    desk.run(FAKE, keeper)
    assert (desk.after(transfer).state, desk.receipts[0]["verified"]) == ("done", "commitment")


@dataclass
class Platform:
    """Our node as a process of its own, and a lane beside it on the same files."""

    node: Node
    desk: Desk
    peer: Peer


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    dicom, ours = unused_ports(2)
    endpoint = caller("ORTHANC", f"127.0.0.1:{dicom}", "chu", use=["relay"])
    other = caller("OTHER", "127.0.0.1:1", "ch-other", use=["relay"])
    node = Node(tmp_path / "node", ours, endpoint, other)
    node.start()
    images = open_images(node.settings, open_store(node.settings))
    for path in making.files(tmp_path / "in", 3):
        ingest(path, Arrival(1), images.files, images.index)
    peer = Peer("orthanc", "PACS", "Organization/chu", "dimse", "127.0.0.1", dicom, "ORTHANC",
                uses=frozenset({"relay"}))  # fmt: skip
    yield Platform(node, Desk(images, images.queue, tmp_path), peer)
    images.close()
    node.stop(signal.SIGKILL)


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(120)
def test_orthanc_keeps_what_it_got_and_calls_our_node_to_tell(platform: Platform, tmp_path: Path) -> None:
    desk, peer = platform.desk, platform.peer  # noqa: F811
    (http,) = unused_ports(1)
    transfer = desk.order("relay", peer)
    with orthanc(tmp_path / "pacs", peer.port, http, move_to=platform.node.port) as pacs:
        until = time.monotonic() + 60
        while desk.after(transfer).state == "waiting" and time.monotonic() < until:
            desk.run(peer)
            time.sleep(0.2)
        assert len(pacs.instances()) == 3
    assert (desk.after(transfer).state, desk.receipts[0]["verified"]) == ("done", "commitment")
    assert proofs(desk.receipts[0]) == ["committed"] * 3


def test_a_result_is_believed_from_whom_it_was_asked_alone(platform: Platform) -> None:
    commitments = Commitments(platform.desk.queue)
    transfer = platform.desk.order("relay", platform.peer)
    commitments.ask("2.25.4711", transfer.id, "orthanc", 1)

    def told(title: str, transaction: str, kind: int = 1) -> int:
        result = Dataset()
        result.TransactionUID, item = transaction, Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "2.25.1.1"
        result.ReferencedSOPSequence = [item]
        node = AE(title)
        node.add_requested_context(SOP_CLASS)
        association = node.associate("127.0.0.1", platform.node.port, ae_title="TELEDOSSIER",
                                     ext_neg=[build_role(SOP_CLASS, scp_role=True)])  # fmt: skip
        if not association.is_established:
            return -1
        status, _reply = association.send_n_event_report(result, kind, SOP_CLASS, WELL_KNOWN)
        association.release()
        return int(status.Status)

    assert told("NOBODY", "2.25.4711") == -1
    assert told("OTHER", "2.25.4711") == 0x0110
    assert told("ORTHANC", "2.25.4712") == 0x0110
    assert told("ORTHANC", "2.25.4711", 7) == 0x0113
    found = commitments.of(transfer.id)
    assert found is not None
    assert found.answered == 0
    assert told("ORTHANC", "2.25.4711") == 0x0000
    found = commitments.of(transfer.id)
    assert found is not None
    assert (found.kept, found.failed, found.answered > 0) == (frozenset({"2.25.1.1"}), {}, True)
    assert told("ORTHANC", "2.25.4711") == 0x0110


def test_whom_we_send_to_may_not_ask_what_we_keep(platform: Platform) -> None:
    """The same presentation context, the other way round, needs `accept-commitment`."""
    asked, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "2.25.1.1"
    asked.TransactionUID, asked.ReferencedSOPSequence = "2.25.4712", [item]
    node = AE("ORTHANC")
    node.add_requested_context(SOP_CLASS)
    association = node.associate("127.0.0.1", platform.node.port, ae_title="TELEDOSSIER")
    assert association.is_established
    status, _reply = association.send_n_action(asked, 1, SOP_CLASS, WELL_KNOWN)
    association.release()
    assert status.Status == 0x0124
