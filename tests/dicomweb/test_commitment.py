"""Storage commitments outlive the node, and reach the peer one way or another. PS3.4 §J"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from dicomweb.dimse.commitment import Committer
from dicomweb.index.contract import Promise
from dicomweb.index.sqlite import SqliteIndex
from dicomweb.ingest import Arrival, ingest
from tests.dicomweb import making
from tests.dicomweb.node import Node, caller
from tests.processes import eventually, unused_port

COMMITMENT, WELL_KNOWN = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"


@pytest.fixture
def there() -> int:
    return unused_port()


@pytest.fixture
def node(tmp_path: Path, free_port: int, there: int) -> Iterator[Node]:
    started = Node(tmp_path / "node", free_port, caller("CT1", f"127.0.0.1:{there}", "ch-auch"))
    index = started.index()
    started.files.open()
    for path in making.files(tmp_path / "in", 2):
        ingest(path, Arrival(1), started.files, index)
    index.close()
    started.start()
    yield started
    started.stop(signal.SIGKILL)


def question(transaction: str = "2.25.4711") -> Dataset:
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = transaction, []
    for uid in ("2.25.1.1", "2.25.1.9"):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


class Told:
    """Keeps the results that come."""

    def __init__(self) -> None:
        self.results: list[tuple[str, list[str], list[tuple[str, int]]]] = []
        self.once = threading.Event()

    def __call__(self, event: Any) -> tuple[int, None]:
        found = event.event_information
        kept = [str(one.ReferencedSOPInstanceUID) for one in found.get("ReferencedSOPSequence", ())]
        failed = [
            (str(one.ReferencedSOPInstanceUID), int(one.FailureReason))
            for one in found.get("FailedSOPSequence", ())
        ]
        self.results.append((str(found.TransactionUID), kept, failed))
        self.once.set()
        return 0x0000, None


EXPECTED = [("2.25.4711", ["2.25.1.1"], [("2.25.1.9", 0x0112)])]


def ask(node: Node, told: Told | None = None, **changes: Any) -> Any:
    peer = AE("CT1")
    peer.add_requested_context(COMMITMENT)
    handlers = [(evt.EVT_N_EVENT_REPORT, told)] if told else []
    association = peer.associate("127.0.0.1", node.port, evt_handlers=handlers)
    assert association.is_established
    asked = question()
    for keyword, value in changes.items():
        setattr(asked, keyword, value)
    association.answer = association.send_n_action(asked, 1, COMMITMENT, WELL_KNOWN)[0].Status
    return association


def listening(port: int, told: Told) -> Any:
    peer = AE("CT1")
    peer.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
    return peer.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, told)])


def test_a_question_in_hand_outlives_the_node(node: Node, there: int) -> None:
    """The peer does not listen; the node is killed; both come back: the result is told, once."""
    association = ask(node)
    assert association.answer == 0x0000
    association.release()
    node.stop(signal.SIGKILL)
    told = Told()
    server = listening(there, told)
    try:
        index = node.index()
        promise = index.claim_promise(2**62, 0)  # whoever had it is gone: its lease ends
        index.close()
        assert promise is not None
        node.start()
        assert told.once.wait(20)
        index = node.index()
        assert eventually(lambda: index.claim_promise(2**62, 0) is None)
        index.close()
        assert told.results == EXPECTED
    finally:
        server.shutdown()


def test_a_peer_that_was_not_reached_is_called_again(node: Node, there: int) -> None:
    ask(node).release()
    index = node.index()

    def tried() -> bool:
        with index._reader() as connection:
            return bool(connection.execute("SELECT tries FROM commitment").fetchone()[0])

    assert eventually(tried)
    index.close()
    told = Told()
    server = listening(there, told)
    try:
        assert told.once.wait(30)
    finally:
        server.shutdown()
    assert told.results == EXPECTED


def test_a_peer_that_does_not_listen_is_told_where_it_asked(node: Node) -> None:
    told = Told()
    association = ask(node, told)
    assert told.once.wait(20)
    association.release()
    assert told.results == EXPECTED


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"TransactionUID": ""}, 0x0120),
        ({"TransactionUID": "x"}, 0x0120),
        ({"ReferencedSOPSequence": []}, 0x0120),
    ],
)
def test_questions_that_are_none(node: Node, changes: dict[str, Any], status: int) -> None:
    association = ask(node, **changes)
    assert association.answer == status
    association.release()


def test_promises_are_claimed_once_and_bounded(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path / "index.db")
    index.open()
    for number in range(3):
        assert index.put_promise(Promise(f"2.25.{number}", "ct1", 5, (("1.2", "2.25.7"),), 10 + number), 3)
    assert not index.put_promise(Promise("2.25.9", "ct1", 5, (), 10), 3)
    assert index.put_promise(Promise("2.25.2", "ct1", 6, (), 12), 3)  # asked again: the same
    assert index.put_promise(Promise("2.25.9", "mr1", 5, (), 90), 3)
    claimed = [index.claim_promise(50, 100) for _ in range(4)]
    assert [one and one.uid for one in claimed] == ["2.25.0", "2.25.1", "2.25.2", None]
    first = claimed[0]
    assert first is not None
    assert first.items == (("1.2", "2.25.7"),)
    index.later_promise(first, 60)
    again = index.claim_promise(60, 100)
    assert again is not None
    assert (again.uid, again.tries) == ("2.25.0", 1)
    index.drop_promise(again)
    assert sum(index.claim_promise(200, 300) is not None for _ in range(9)) == 3
    index.close()


def test_associations_that_ended_are_let_go(tmp_path: Path) -> None:
    """Another process of the node may settle what was asked of this one."""
    index = SqliteIndex(tmp_path / "i.db")
    index.open()
    images = SimpleNamespace(files=None, index=index)
    settings = SimpleNamespace(ae_title="TELEDOSSIER")
    committer = Committer(
        SimpleNamespace(images=images, known=None, settings=settings, stopped=threading.Event())  # type: ignore[arg-type]
    )
    peer = SimpleNamespace(id="ct1", uses=("accept-commitment",))
    for number in range(1, 30):
        asked = question()
        asked.TransactionUID = f"2.25.{number}"
        association = SimpleNamespace(peer=peer, is_established=True)
        event = SimpleNamespace(
            assoc=association, action_type=1, action_information=asked,
            request=SimpleNamespace(RequestedSOPInstanceUID=WELL_KNOWN),
        )  # fmt: skip
        assert committer.on_action(event) == (0x0000, None)
        assert len(committer._open) == 1
        association.is_established = False
    index.close()
