"""Peers as they are in hospitals: Orthanc by DIMSE and DICOMweb, DCMTK's dcmqrscp; and Endpoints read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless, RLELossless

from dicomweb.dataset import data_part
from dicomweb.dimse.spool import spooling
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.opening import open_session
from dicomweb.peers.peer import DIMSE, EXTENSION, WEB, Credentials, Peer, Window, of_endpoint
from dicomweb.peers.session import Denied, Fetched, Incapable, Sendable, Unreachable, Wanted
from dicomweb.reasons import UNREADABLE, Refused
from profiles.outcomes import Invalid
from tests.dicomweb import making
from tests.dicomweb.node import Node
from tests.dicomweb.pacs import Pacs, dcmqrscp, orthanc
from tests.processes import unused_ports

# pynetdicom lets go of the socket of a refused connection without closing it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("node"), unused_ports(1)[0])
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, node: Node) -> Iterator[Pacs]:
    folder = tmp_path_factory.mktemp("pacs")
    dimse, http = unused_ports(2)
    with orthanc(folder / "orthanc", dimse, http, move_to=node.port) as running:
        running.load(making.files(folder / "given", 30))
        yield running


class Basket:
    """Takes files and keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def __call__(self, spooled: Path) -> None:
        spooled.replace(self.folder / dcmread(spooled, stop_before_pixels=True).SOPInstanceUID)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def wanted(count: int) -> list[Wanted]:
    return [Wanted(making.STUDY, making.SERIES, f"2.25.1.{n}", CT) for n in range(1, count + 1)]


def ours(tmp_path: Path, **more: Any) -> Ours:
    return Ours("TELEDOSSIER", Credentials(tmp_path / "keys"), **more)


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["peer", "web"])
def test_search_and_fetch(kind: str, pacs: Pacs, tmp_path: Path) -> None:
    session = open_session(getattr(pacs, kind), ours(tmp_path), tmp_path)
    basket = Basket(tmp_path / "got")
    with spooling(tmp_path):
        (study,) = session.find("study", {"PatientName": "LABORDE*", "StudyDate": "20240101-20241231"}, 10)
        assert study["0020000D"]["Value"] == [making.STUDY]
        assert session.find("study", {"PatientName": "LABORDA*"}, 10) == []
        (series,) = session.find("series", {"StudyInstanceUID": making.STUDY}, 10)
        assert series["0020000E"]["Value"] == [making.SERIES]
        keys = {"StudyInstanceUID": making.STUDY, "SeriesInstanceUID": making.SERIES}
        listed = session.find("instance", keys, 100)
        assert sorted(one["00080018"]["Value"][0] for one in listed) == sorted(
            one.instance for one in wanted(30)
        )
        settled = list(session.fetch(wanted(25), basket))
        absent = Wanted(making.STUDY, making.SERIES, "2.25.1.999", CT)
        assert list(session.fetch([absent], basket)) == [Fetched("2.25.1.999", missing="not-given")]
    session.close()
    assert sorted(one.instance for one in settled) == basket.names()
    assert len(settled) == 25
    assert not [one for one in settled if one.refused or one.missing]
    assert not list(tmp_path.glob("peer-*"))


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["peer", "web"])
def test_a_refused_file_is_named_and_the_others_come(kind: str, pacs: Pacs, tmp_path: Path) -> None:
    basket = Basket(tmp_path / "got")

    def choosy(spooled: Path) -> None:
        if dcmread(spooled).SOPInstanceUID == "2.25.1.2":
            raise Refused(UNREADABLE)
        basket(spooled)

    session = open_session(getattr(pacs, kind), ours(tmp_path), tmp_path)
    with spooling(tmp_path):
        settled = {one.instance: one for one in session.fetch(wanted(3), choosy)}
    session.close()
    assert settled["2.25.1.2"].refused is not None or settled["2.25.1.2"].missing
    assert basket.names() == ["2.25.1.1", "2.25.1.3"]


@pytest.mark.peer("orthanc")
def test_abandoning_a_c_get_stops_it_and_keeps_the_association(pacs: Pacs, tmp_path: Path) -> None:
    session, basket = DimseSession(pacs.peer, ours(tmp_path)), Basket(tmp_path / "got")
    with spooling(tmp_path):
        fetching = session.fetch(wanted(20), basket)
        assert next(fetching).instance in {one.instance for one in wanted(20)}
        fetching.close()
        before = len(basket.names())
        assert list(session.fetch(wanted(1), basket)) == [Fetched("2.25.1.1")]
    session.close()
    assert 1 <= before <= 20


@pytest.mark.peer("orthanc")
def test_c_move_brings_them_to_our_node(pacs: Pacs, node: Node, tmp_path: Path) -> None:
    index = node.index()
    session = DimseSession(
        replace(pacs.peer, retrieve="move"), ours(tmp_path, stored=lambda uid: index.file(uid) is not None)
    )
    settled = list(session.fetch(wanted(22), lambda _path: None))
    assert sorted(one.instance for one in settled) == sorted(one.instance for one in wanted(22))
    assert all(index.file(one.instance) for one in settled)
    unknown = DimseSession(replace(pacs.peer, retrieve="move"), Ours("NOBODY", Credentials(tmp_path)))
    with pytest.raises(Unreachable, match="cannot bring them"):  # it has the instance: later, perhaps
        list(unknown.fetch(wanted(1), lambda _path: None))
    absent = [Wanted(making.STUDY, making.SERIES, "2.25.9")]
    assert list(session.fetch(absent, lambda _path: None)) == [Fetched("2.25.9", missing="not-given")]
    for one in (session, unknown):
        one.close()
    index.close()


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("kind", ["peer", "web"])
def test_send_is_byte_for_byte(kind: str, pacs: Pacs, tmp_path: Path) -> None:
    import httpx

    session = open_session(getattr(pacs, kind), ours(tmp_path), tmp_path)
    made = making.dataset(SOPInstanceUID=f"2.25.7.{len(kind)}", StudyInstanceUID="2.25.70")
    path = making.write(tmp_path / "sent.dcm", made)
    for _ in range(2):  # sending again changes nothing
        session.send(Sendable(made.SOPInstanceUID, CT, making.SYNTAX, path))
    session.close()
    found = httpx.post(f"{pacs.http}/tools/lookup", content=made.SOPInstanceUID).json()
    assert len(found) == 1
    (tmp_path / "there.dcm").write_bytes(httpx.get(f"{pacs.http}/instances/{found[0]['ID']}/file").content)
    assert b"".join(data_part(tmp_path / "there.dcm")) == b"".join(data_part(path))


@pytest.mark.peer("dcmtk")
def test_dcmqrscp_by_find_and_get_and_store(node: Node, tmp_path: Path) -> None:
    (port,) = unused_ports(1)
    basket = Basket(tmp_path / "got")
    with dcmqrscp(tmp_path / "qrscp", port, node.port) as peer, spooling(tmp_path):
        session = DimseSession(peer, ours(tmp_path))
        session.echo()
        for path in making.files(tmp_path / "given", 3):
            assert session.send(Sendable(dcmread(path).SOPInstanceUID, CT, making.SYNTAX, path))
        (study,) = session.find("study", {"PatientID": "AU-300003"}, 10)
        assert study["0020000D"]["Value"] == [making.STUDY]
        assert len(list(session.fetch(wanted(3), basket))) == 3
        session.close()
        unknown = DimseSession(replace(peer, retrieve="move"), Ours("NOBODY", Credentials(tmp_path)))
        with pytest.raises(Denied, match="does not know our AE title"):
            list(unknown.fetch(wanted(1), basket))
        unknown.close()
    assert basket.names() == ["2.25.1.1", "2.25.1.2", "2.25.1.3"]


def test_a_peer_that_takes_no_such_syntax(tmp_path: Path) -> None:
    """A receiver of uncompressed files alone: the file is left, and the association goes on with others."""
    from pynetdicom import AE, evt

    got: list[str] = []
    node = AE("PLAIN")
    node.add_supported_context(CT, making.SYNTAX)
    server = node.start_server(
        ("127.0.0.1", 0), block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda event: got.append(event.request.AffectedSOPInstanceUID) or 0)],
    )  # fmt: skip
    peer = Peer("p", "P", "", "dimse", "127.0.0.1", int(server.server_address[1]), "PLAIN")
    session = DimseSession(peer, ours(tmp_path))
    path = making.write(tmp_path / "a.dcm", making.dataset())
    for syntax in (RLELossless, JPEGLSLossless):
        with pytest.raises(Incapable):
            session.send(Sendable("2.25.1", CT, syntax, path))
    session.send(Sendable("2.25.1", CT, making.SYNTAX, path))
    session.close()
    with pytest.raises(Incapable):  # nothing at all of what is proposed is taken
        session.send(Sendable("2.25.2", "1.2.840.10008.5.1.4.1.1.4", making.SYNTAX, path))
    with pytest.raises(Denied):
        session.find("study", {"PatientID": "1"}, 1)
    session.close()
    server.shutdown()
    assert got == ["2.25.1"]


@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_nobody_there(kind: str, free_port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port}/dicom-web"
    peer = Peer("p", "P", "", kind, "127.0.0.1", free_port, "X", url=url)  # type: ignore[arg-type]
    with pytest.raises(Unreachable):
        open_session(peer, ours(tmp_path), tmp_path).find("study", {"PatientID": "1"}, 1)


def endpoint(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Endpoint", "id": "pacs-auch", "status": "active", "name": "PACS d'Auch",
        "connectionType": {"system": DIMSE[0], "code": DIMSE[1]}, "address": "dicoms://pacs.test:104/AUCH",
        "managingOrganization": {"reference": "Organization/ch-auch"}, **more,
    }  # fmt: skip


def test_an_endpoint_as_a_peer() -> None:
    parts = [
        {"url": "use", "valueCode": "query"}, {"url": "use", "valueCode": "relay"},
        {"url": "retrieve", "valueCode": "move"}, {"url": "rate", "valueInteger": 500},
        {"url": "from", "valueTime": "20:00:00"}, {"url": "until", "valueTime": "06:30:00"},
    ]  # fmt: skip
    peer = of_endpoint(endpoint(extension=[{"url": EXTENSION, "extension": parts}]))
    assert peer == Peer(
        "pacs-auch", "PACS d'Auch", "Organization/ch-auch", "dimse", "pacs.test", 104, "AUCH", True,
        uses=frozenset({"query", "relay"}), retrieve="move", rate=500_000, window=Window(1200, 390),
    )  # fmt: skip
    web = of_endpoint(
        endpoint(connectionType={"system": WEB[0], "code": WEB[1]}, address="https://pacs.test/dicom-web/")
    )
    assert web is not None
    assert (web.kind, web.url, web.tls) == ("web", "https://pacs.test/dicom-web", True)
    off = of_endpoint(endpoint(status="off"))
    assert off is not None
    assert not off.active
    assert of_endpoint(endpoint(connectionType={"system": WEB[0], "code": "hl7-fhir-rest"})) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "dicom://pacs.test/AUCH"},
        {"address": "dicom://pacs.test:104/"},
        {"address": "dicom://pacs.test:104/ABCDEFGHIJKLMNOPQ"},
        {"address": "http://pacs.test"},
        {"address": "dicom://pacs.test:99999999/A"},
        {"connectionType": {"system": WEB[0], "code": WEB[1]}, "address": "https://u:p@pacs.test/dicom-web"},
        {"extension": [{"url": EXTENSION, "extension": [{"url": "retrieve", "valueCode": "push"}]}]},
        {"extension": [{"url": EXTENSION, "extension": [{"url": "from", "valueTime": "25:00:00"}]}]},
    ],
)
def test_a_wrong_endpoint_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        of_endpoint(endpoint(**wrong))


def test_windows() -> None:
    night, day = Window(1200, 390), Window(480, 1080)
    assert [night.holds(datetime(2026, 1, 1, hour)) for hour in (19, 20, 23, 0, 6, 7)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    assert [day.holds(datetime(2026, 1, 1, hour)) for hour in (7, 8, 17, 18)] == [False, True, True, False]


def test_credentials_are_files_of_the_operator(tmp_path: Path) -> None:
    peer = of_endpoint(endpoint())
    assert peer is not None
    found = Credentials(tmp_path)
    assert (found.client(peer), found.authority(peer), found.authorization(peer)) == (None, None, "")
    (tmp_path / "pacs-auch").mkdir()
    (tmp_path / "pacs-auch" / "authorization").write_text("Bearer x\n")
    assert found.authorization(peer) == "Bearer x"
