"""Who may call the node and do what: Endpoint resources. PS3.8 §9.3.4 (A-ASSOCIATE-RJ)"""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    CTImageStorage,
    MRImageStorage,
)

from dicomweb.dimse.registry import Registry, access_of, stores
from dicomweb.peers.peer import Peer, of_endpoint
from tests.dicomweb import making
from tests.dicomweb.node import Node, caller
from tests.dicomweb.test_dimse_faults import request
from tests.processes import eventually

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
ECHO = "1.2.840.10008.1.1"


def registry(*endpoints: Mapping[str, Any]) -> Registry:
    return Registry(lambda: endpoints, lambda: 0.0)


@pytest.mark.parametrize(
    ("calling_from", "address", "known"),
    [
        ([], "10.1.2.3", True), ([], "10.1.2.4", False),
        (["10.1.0.0/16"], "10.1.9.9", True), (["10.1.0.0/16"], "10.2.0.1", False),
        (["10.9.9.9"], "10.9.9.9", True), (["10.9.9.9"], "10.1.2.3", False),
        (["10.9.9.9", "2001:db8::/32"], "2001:db8::7", True), (["10.1.2.77/24"], "10.1.2.5", True),
        (["localhost"], "127.0.0.1", True), (["no.such.host.invalid"], "127.0.0.1", False),
        (["not a host"], "127.0.0.1", False), (["10.1.0.0/99"], "10.1.0.0", False),
    ],
)  # fmt: skip
def test_a_caller_is_an_ae_title_and_where_it_calls_from(
    calling_from: list[str], address: str, known: bool
) -> None:
    parts = {"calling_from": calling_from} if calling_from else {}
    found = registry(caller("CT1", "10.1.2.3:104", **parts))
    assert (found.caller("CT1", address) is not None) == known
    assert found.caller("CT2", address) is None


def test_who_is_switched_off_behind_a_gateway_or_wrong_calls_nobody() -> None:
    good = caller("GOOD", "127.0.0.1:104")
    off = {**caller("OFF", "127.0.0.1:104"), "status": "off"}
    behind = caller("BEHIND", "127.0.0.1:104", via={"reference": "Endpoint/gw-auch"})
    wrong = {**caller("WRONG", "127.0.0.1:104"), "address": "dicom://nowhere"}
    found = registry(good, off, behind, wrong, {"resourceType": "Endpoint", "id": "mail"})
    assert [one.ae_title for one in found.peers()] == ["GOOD"]


def test_what_a_peer_sees_is_its_organisations() -> None:
    def peer(organisation: str = "", **parts: Any) -> Peer:
        found = of_endpoint(caller("A", "h:1", organisation, **parts))
        assert found is not None
        return found

    assert access_of(peer("ch-auch")).audience == {"Organization/ch-auch"}
    assert access_of(peer(use=["accept-query"])).audience == frozenset()  # of nobody: nothing
    assert access_of(peer(use=["accept-query", "accept-all"])).audience is None
    assert stores(peer(use=["accept-store"]))
    assert stores(peer(use=["query"], retrieve="move"))  # we ask it to by C-MOVE
    assert not stores(peer(use=["query"]))


def test_moves_go_to_oneself_and_to_peers_of_ones_organisation() -> None:
    found = registry(
        caller("PACS", "h1:1", "ch-auch"), caller("WS", "h2:1", "ch-auch"), caller("FAR", "h3:1", "chu-tls"),
        caller("ARCHIVE", "h4:1"),
    )  # fmt: skip
    by = {one.ae_title: one for one in found.peers()}
    reached = {
        title: sorted(to for to in by if found.destination(to, peer) is not None)
        for title, peer in by.items()
    }
    assert reached == {
        "PACS": ["PACS", "WS"], "WS": ["PACS", "WS"], "FAR": ["FAR"],
        "ARCHIVE": ["ARCHIVE", "FAR", "PACS", "WS"],
    }  # fmt: skip


def test_the_directory_is_read_again_and_kept_when_it_cannot_be() -> None:
    now, found = [0.0], [caller("A", "127.0.0.1:1")]

    def read() -> list[dict[str, Any]]:
        if not found:
            raise OSError("the store does not answer")
        return list(found)

    known = Registry(read, lambda: now[0])
    assert known.caller("A", "127.0.0.1") is not None
    found.append(caller("B", "127.0.0.1:1"))
    assert known.caller("B", "127.0.0.1") is None  # not yet
    now[0] = 6.0
    assert known.caller("B", "127.0.0.1") is not None
    found.clear()
    now[0] = 12.0
    assert known.caller("B", "127.0.0.1") is not None


@pytest.fixture
def node(tmp_path: Path, free_port: int) -> Iterator[Node]:
    """Strict. CT1 stores CT alone, for ch-auch; WS asks for the worklist alone; IDLE may nothing."""
    here = "127.0.0.1:104"
    started = Node(
        tmp_path / "node", free_port,
        caller("CT1", here, "ch-auch", use=["accept-store"], sop_class=f"urn:oid:{CTImageStorage}"),
        caller("WS", here, "ch-auch", use=["accept-worklist"]), caller("IDLE", here, use=["query"]),
        caller("AWAY", "192.0.2.1:104"), dimse_unknown="refuse",
    )  # fmt: skip
    started.start()
    yield started
    started.stop(signal.SIGKILL)


def associate(node: Node, title: str, *contexts: str, called: str = "TELEDOSSIER") -> Any:
    peer = AE(title)
    for one in contexts:
        peer.add_requested_context(one)
    return peer.associate("127.0.0.1", node.port, ae_title=called)


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [
        ("NOBODY", "TELEDOSSIER", (1, 1, 3)), ("AWAY", "TELEDOSSIER", (1, 1, 3)),
        ("IDLE", "TELEDOSSIER", (1, 1, 3)), ("CT1", "ANOTHER", (1, 1, 7)),
    ],
)  # fmt: skip
def test_rejections_say_why(node: Node, calling: str, called: str, reason: tuple[int, int, int]) -> None:
    """Permanent, by the user: calling AE title not recognised; called AE title not recognised. By hand, since
    pynetdicom now and then takes a rejection, after which we hang up, for an abort. PS3.8 §9.3.4"""
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as line:
        line.sendall(request(titles=(called, calling)))
        answer = b""
        while data := line.recv(100):
            answer += data
    assert answer == struct.pack(">BBLBBBB", 3, 0, 4, 0, *reason)
    association = associate(node, "CT1", ECHO)
    assert association.send_c_echo().Status == 0
    association.release()


def test_each_peer_has_the_services_of_its_endpoint(node: Node) -> None:
    for title, expected in (("CT1", [ECHO]), ("WS", [ECHO, WORKLIST])):
        association = associate(node, title, ECHO, FIND, WORKLIST)
        assert [str(one.abstract_syntax) for one in association.accepted_contexts] == expected, title
        association.release()


@pytest.mark.parametrize(
    ("title", "sop_class", "status"),
    [("CT1", CTImageStorage, 0x0000), ("CT1", MRImageStorage, 0x0122), ("WS", CTImageStorage, 0x0124)],
)
def test_what_each_peer_may_store(node: Node, title: str, sop_class: str, status: int) -> None:
    association = associate(node, title, sop_class)
    made = making.dataset(SOPClassUID=sop_class)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = association.accepted_contexts[0].transfer_syntax[0]
    if made.file_meta.TransferSyntaxUID.is_implicit_VR:
        made.set_original_encoding(True, True)
    answer = association.send_c_store(made)
    association.release()
    assert answer.Status == status
    index = node.index()
    study = index.study(making.STUDY)
    assert (study is not None) == (status == 0)
    if study is not None:
        assert (study.calling_ae, study.source) == ("CT1", "ch-auch")
    index.close()
    assert node.spooled() == []


def test_a_change_of_the_directory_counts_while_the_node_runs(node: Node) -> None:
    assert associate(node, "NEW", ECHO).is_rejected
    asyncio.run(node.know(caller("NEW", "127.0.0.1:104"), {**caller("WS", "127.0.0.1:104"), "status": "off"}))

    def admitted(title: str) -> bool:
        association = associate(node, title, ECHO)
        established = bool(association.is_established)
        if established:
            association.release()
        return established

    assert eventually(lambda: admitted("NEW"), 15)
    assert not admitted("WS")
