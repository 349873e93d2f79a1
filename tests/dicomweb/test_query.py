"""C-FIND, C-MOVE, C-GET, storage commitment and the modality worklist, asked by DCMTK, Orthanc and
pynetdicom."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicomweb.dimse.steady import steady
from dicomweb.ingest import Arrival, ingest
from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store import open_store
from fhir_server.store.contract import Entries, Put
from fhir_server.store.files import Files
from tests.dicomweb import making, steps
from tests.dicomweb.node import Node, caller
from tests.dicomweb.test_access import entry, request, study
from tests.dicomweb.test_wado import bundled
from tests.processes import eventually, unused_port

STUDY_FIND, PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT, WORKLIST = "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.31"


@pytest.fixture
def receiver_port() -> int:
    return unused_port()


@pytest.fixture
def node(tmp_path: Path, free_port: int, receiver_port: int) -> Iterator[Node]:
    """Two studies of three and one instances; SEES may see all, AUCH what its organisation may, DEST only
    receives besides."""
    node = Node(
        tmp_path / "node", free_port, caller("SEES", f"127.0.0.1:{receiver_port}"),
        caller("AUCH", f"127.0.0.1:{receiver_port}", "ch-auch"), caller("ELSEWHERE", "192.0.2.1:104"),
    )  # fmt: skip
    index = node.index()
    node.files.open()
    paths = making.files(
        tmp_path / "in", 3, lambda n: {"SeriesInstanceUID": f"2.25.20{n % 2}", "SeriesNumber": n % 2}
    )
    other = making.dataset(
        StudyInstanceUID="2.25.101", SeriesInstanceUID="2.25.301", SOPInstanceUID="2.25.2.1", PatientID="B-2",
        PatientName="Müller^Zoë", StudyDate="20240909", Modality="MR",
    )  # fmt: skip
    for path in (*paths, making.write(tmp_path / "in" / "o.dcm", other)):
        ingest(path, Arrival(1), node.files, index)
    index.close()
    asyncio.run(_attached(node.settings))
    node.start()
    yield node
    node.stop(signal.SIGKILL)


def community(id: str, site: str) -> Put:
    return entry("Organization", id, "{}", Entries(references=(("partof", site),)))


async def _attached(settings: Settings) -> None:
    """The second study belongs to a télédossier of a community of ch-auch, the first to none."""
    store = open_store(settings)
    await store.open()
    puts: list[Put] = [request("r1", "Organization/urg-auch"), study("2.25.100"), study("2.25.101", "r1"),
                       request("r2", "Organization/ch-auchan"), community("urg", "Organization/ch-auch"),
                       community("urg-auch", "Organization/urg"), community("urg-x", "Organization/ch-x"),
                       study("2.25.102", "r2")]  # fmt: skip
    await store.commit(puts)
    await store.close()


def associate(node: Node, title: str, *contexts: str, **more: Any) -> Any:
    peer = AE(title)
    for one in contexts:
        peer.add_requested_context(one)
    handlers = [(evt.EVT_CONN_OPEN, steady), *more.pop("evt_handlers", ())]
    return peer.associate("127.0.0.1", node.port, ae_title="TELEDOSSIER", evt_handlers=handlers, **more)


def found(node: Node, title: str, model: str, **keys: Any) -> list[Dataset]:
    """The pending answers; the last status must be a success."""
    association = associate(node, title, model)
    assert association.is_established
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    answers = list(association.send_c_find(asked, model))
    association.release()
    assert answers[-1][0].Status == 0x0000, answers[-1][0]
    return [identifier for status, identifier in answers if status.Status == 0xFF00 and identifier]


CASES: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""}, "StudyInstanceUID", ["2.25.100", "2.25.101"]),
    ({"QueryRetrieveLevel": "STUDY", "PatientName": "LAB*", "StudyInstanceUID": ""}, "StudyInstanceUID",
     ["2.25.100"]),
    ({"QueryRetrieveLevel": "STUDY", "PatientName": "müller^zoë", "StudyInstanceUID": ""}, "StudyInstanceUID",
     ["2.25.101"]),
    ({"QueryRetrieveLevel": "STUDY", "StudyDate": "20240901-", "StudyInstanceUID": ""}, "StudyInstanceUID",
     ["2.25.101"]),
    ({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ["2.25.100", "2.25.9"]}, "StudyInstanceUID",
     ["2.25.100"]),
    ({"QueryRetrieveLevel": "STUDY", "ModalitiesInStudy": "MR", "StudyInstanceUID": ""}, "StudyInstanceUID",
     ["2.25.101"]),
    ({"QueryRetrieveLevel": "STUDY", "PatientID": "nobody", "StudyInstanceUID": ""}, "StudyInstanceUID", []),
    ({"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": "2.25.100", "SeriesInstanceUID": ""},
     "SeriesInstanceUID", ["2.25.200", "2.25.201"]),
    ({"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "2.25.100", "SeriesInstanceUID": "2.25.201",
      "SOPInstanceUID": ""}, "SOPInstanceUID", ["2.25.1.1", "2.25.1.3"]),
]  # fmt: skip


def test_c_find_at_every_level(node: Node) -> None:
    for keys, keyword, expected in CASES:
        answers = found(node, "SEES", STUDY_FIND, **keys)
        assert sorted(str(one[keyword].value) for one in answers) == expected, keys
    (one,) = found(node, "SEES", STUDY_FIND, QueryRetrieveLevel="STUDY", PatientID="B-2", PatientName="",
                   NumberOfStudyRelatedInstances="", EthnicGroup="", ModalitiesInStudy="")  # fmt: skip
    assert one.PatientName == "Müller^Zoë"
    assert (one.NumberOfStudyRelatedInstances, one.ModalitiesInStudy, one.EthnicGroup) == ("1", "MR", "")
    assert one.RetrieveAETitle == "TELEDOSSIER"
    patients = found(node, "SEES", PATIENT_FIND, QueryRetrieveLevel="PATIENT", PatientName="", PatientID="")
    assert sorted(str(one.PatientID) for one in patients) == ["AU-300003", "B-2"]


def test_a_peer_sees_what_its_organisation_may(node: Node) -> None:
    for level, model in (("STUDY", STUDY_FIND), ("PATIENT", PATIENT_FIND), ("IMAGE", STUDY_FIND)):
        answers = found(node, "AUCH", model, QueryRetrieveLevel=level, PatientID="", StudyInstanceUID="")
        assert [str(one.PatientID) for one in answers] == ["B-2"], level


@pytest.mark.parametrize("title", ["NOBODY", "ELSEWHERE"])
def test_who_is_not_known_has_no_context_to_ask_in(node: Node, title: str) -> None:
    """ELSEWHERE is known, and calls from another host than its own."""
    association = associate(
        node, title, STUDY_FIND, STUDY_MOVE, STUDY_GET, COMMITMENT, WORKLIST, VERIFICATION
    )
    assert [str(one.abstract_syntax) for one in association.accepted_contexts] == [VERIFICATION]
    association.release()


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"QueryRetrieveLevel": "PATIENT"}, {"QueryRetrieveLevel": "x"},
        {"QueryRetrieveLevel": "STUDY", "StudyDate": "20241"},
        {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "a"},
    ],
)  # fmt: skip
def test_identifiers_that_are_none(node: Node, keys: dict[str, Any]) -> None:
    association = associate(node, "SEES", STUDY_FIND)
    asked = Dataset()
    asked.PatientID = ""
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    ((status, _identifier),) = association.send_c_find(asked, STUDY_FIND)
    association.release()
    assert status.Status == 0xA900


@pytest.mark.peer("dcmtk")
def test_dcmtk_finds_and_gets(node: Node, tmp_path: Path) -> None:
    asked = ["-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=LAB*", "-k", "StudyInstanceUID"]
    call = ["-aet", "SEES", "-aec", "TELEDOSSIER", "127.0.0.1", str(node.port)]
    shown = subprocess.run(
        ["/usr/bin/findscu", "-S", *asked, *call], capture_output=True, text=True, timeout=60
    )
    told = shown.stdout + shown.stderr
    assert re.findall(r"UI \[(2\.25\.10\d)", told) == ["2.25.100"], told
    out = tmp_path / "got"
    out.mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=2.25.100"]
    subprocess.run(["/usr/bin/getscu", "-S", "-od", str(out), *keys, *call], check=True, timeout=60)
    assert sorted(pydicom.dcmread(path).SOPInstanceUID for path in out.iterdir()) == [
        "2.25.1.1",
        "2.25.1.2",
        "2.25.1.3",
    ]
    for path in out.iterdir():
        got = pydicom.dcmread(path)
        assert got.PixelData == making.dataset().PixelData


@pytest.mark.peer("dcmtk")
def test_dcmtk_gets_what_it_cannot_take_compressed(node: Node, tmp_path: Path) -> None:
    """getscu asks for uncompressed: a compressed instance comes decompressed."""
    head = pydicom.dcmread(bundled("MR_small_jp2klossless.dcm"))
    index = node.index()
    spooled = node.files.spool / "j2k"
    spooled.write_bytes(bundled("MR_small_jp2klossless.dcm").read_bytes())
    ingest(spooled, Arrival(1), node.files, index)
    index.close()
    out = tmp_path / "got"
    out.mkdir()
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={head.StudyInstanceUID}"]
    call = ["-aet", "SEES", "-aec", "TELEDOSSIER", "127.0.0.1", str(node.port)]
    subprocess.run(["/usr/bin/getscu", "-S", "-od", str(out), *keys, *call], check=True, timeout=60)
    (path,) = out.iterdir()
    got = pydicom.dcmread(path)
    assert not got.file_meta.TransferSyntaxUID.is_compressed
    assert (got.pixel_array == head.pixel_array).all()


class Received:
    """A storage SCP that keeps what it is sent, and notes storage commitment results."""

    def __init__(self, port: int) -> None:
        self.uids: list[str] = []
        self.results: list[tuple[int, Dataset]] = []
        self.told = threading.Event()
        node = AE("SEES")
        node.add_supported_context(COMMITMENT, scu_role=True, scp_role=True)
        node.add_supported_context("1.2.840.10008.5.1.4.1.1.2")
        self._server = node.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[
                (evt.EVT_C_STORE, self._on_store), (evt.EVT_N_EVENT_REPORT, self._on_report)
            ],
        )  # fmt: skip

    def _on_store(self, event: Any) -> int:
        self.uids.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _on_report(self, event: Any) -> tuple[int, None]:
        self.results.append((event.event_type, event.event_information))
        self.told.set()
        return 0x0000, None

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def received(receiver_port: int) -> Iterator[Received]:
    opened = Received(receiver_port)
    yield opened
    opened.close()


@pytest.mark.peer("dcmtk")
def test_dcmtk_moves(node: Node, received: Received) -> None:
    keys = [
        "-k",
        "QueryRetrieveLevel=SERIES",
        "-k",
        "StudyInstanceUID=2.25.100",
        "-k",
        "SeriesInstanceUID=2.25.201",
    ]
    call = ["-aet", "SEES", "-aec", "TELEDOSSIER", "-aem", "SEES", "127.0.0.1", str(node.port)]
    subprocess.run(["/usr/bin/movescu", "-S", *keys, *call], check=True, timeout=60)
    assert sorted(received.uids) == ["2.25.1.1", "2.25.1.3"]
    call[5] = "OTHER"
    refused = subprocess.run(
        ["/usr/bin/movescu", "-v", "-S", *keys, *call],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "MoveDestinationUnknown" in (refused.stdout + refused.stderr).replace(" ", "")
    assert len(received.uids) == 2


def test_a_move_holds_only_what_the_peer_may_see(node: Node, received: Received) -> None:
    association = associate(node, "AUCH", STUDY_MOVE)
    for uid, completed in (("2.25.100", 0), ("2.25.101", 1)):
        asked = Dataset()
        asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", uid
        *_pending, (status, _identifier) = association.send_c_move(asked, "AUCH", STUDY_MOVE)
        assert (status.Status, status.NumberOfCompletedSuboperations or 0) == (0x0000, completed)
        ((status, _identifier),) = association.send_c_move(asked, "SEES", STUDY_MOVE)
        assert status.Status == 0xA801  # of another organisation
    association.release()
    assert received.uids == ["2.25.2.1"]


def test_storage_commitment(node: Node, received: Received) -> None:
    """PS3.4 §J: what is kept, what is not there, what is of another class, what was altered on disk."""
    index = node.index()
    altered = index.file("2.25.1.3")
    assert altered is not None
    with node.files.path(altered.path).open("r+b") as file:
        file.seek(400)
        file.write(b"\xff\xff")
    index.close()
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = "2.25.4711", []
    ct = "1.2.840.10008.5.1.4.1.1.2"
    for sop_class, uid in (
        (ct, "2.25.1.1"),
        (ct, "2.25.1.9"),
        ("1.2.840.10008.5.1.4.1.1.4", "2.25.1.2"),
        (ct, "2.25.1.3"),
    ):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    association = associate(node, "SEES", COMMITMENT)
    status, _reply = association.send_n_action(asked, 1, COMMITMENT, "1.2.840.10008.1.20.1.1")
    assert status.Status == 0x0000
    association.release()
    assert received.told.wait(20)
    ((kind, result),) = received.results
    assert (kind, result.TransactionUID) == (2, "2.25.4711")
    assert [one.ReferencedSOPInstanceUID for one in result.ReferencedSOPSequence] == ["2.25.1.1"]
    assert [(one.ReferencedSOPInstanceUID, one.FailureReason) for one in result.FailedSOPSequence] == [
        ("2.25.1.9", 0x0112), ("2.25.1.2", 0x0119), ("2.25.1.3", 0x0110),
    ]  # fmt: skip


def test_the_modality_worklist_tells_the_announced_exams(tmp_path: Path, free_port: int) -> None:
    node = Node(
        tmp_path / "node", free_port, caller("CT1", "127.0.0.1:1"), caller("OTHER", "127.0.0.1:1", "ch-other")
    )
    asyncio.run(_announced(node.settings, tmp_path))
    node.start()
    try:
        step = Dataset()
        step.ScheduledStationAETitle, step.Modality, step.ScheduledProcedureStepStartDate = (
            "CT1",
            "CT",
            "20240808",
        )
        step.ScheduledProcedureStepID = ""
        keys = {"PatientName": "", "PatientID": "", "AccessionNumber": "", "PatientSex": "",
                "StudyInstanceUID": "",
                "ScheduledProcedureStepSequence": [step]}  # fmt: skip
        (one,) = found(node, "CT1", WORKLIST, **keys)
        assert (one.PatientName, one.PatientID, one.IssuerOfPatientID) == (
            "LABORDE^Henri",
            "AU-300003",
            "ch-auch",
        )
        assert (one.AccessionNumber, one.PatientSex) == ("ACC-1", "M")
        (scheduled,) = one.ScheduledProcedureStepSequence
        assert (scheduled.Modality, scheduled.ScheduledProcedureStepStartDate) == ("CT", "20240808")
        assert found(node, "CT1", WORKLIST, **{**keys, "AccessionNumber": "ACC-2"}) == []
        assert found(node, "CT1", WORKLIST, **{**keys, "PatientName": "x*"}) == []
        step.ScheduledProcedureStepStartDate = "20240809-"
        assert found(node, "CT1", WORKLIST, **keys) == []
        step.ScheduledProcedureStepStartDate = ""
        assert found(node, "OTHER", WORKLIST, **keys) == []
        assert statuses_as_it_is_performed(node, keys, one.StudyInstanceUID) == [
            ["SCHEDULED"], ["STARTED"], ["SCHEDULED"], ["STARTED"], [],
        ]  # fmt: skip
    finally:
        node.stop(signal.SIGKILL)


def statuses_as_it_is_performed(node: Node, keys: dict[str, Any], study: str) -> list[list[str]]:
    """On the list before, during, after it was given up, during the next try, and once it is performed."""
    keys["ScheduledProcedureStepSequence"][0].ScheduledProcedureStepStatus = ""
    told = associate(node, "CT1", steps.SOP_CLASS)

    def shown() -> list[str]:
        rows = found(node, "CT1", WORKLIST, **keys)
        return [row.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus for row in rows]

    statuses = [shown()]
    for uid, end in (
        ("2.25.71", steps.ended(state="DISCONTINUED")),
        ("2.25.72", steps.ended(steps.series())),
    ):
        begun = steps.begun(ScheduledStepAttributesSequence=[steps.scheduled(StudyInstanceUID=study)])
        assert told.send_n_create(begun, steps.SOP_CLASS, uid)[0].Status == 0x0000
        statuses.append(shown())
        assert told.send_n_set(end, steps.SOP_CLASS, uid)[0].Status == 0x0000
        statuses.append(shown())
    told.release()
    return statuses


async def _announced(settings: Settings, folder: Path) -> None:
    store = open_store(settings)
    await store.open()
    fhir = Fhir(Engine(store, Files(folder / "binaries"), settings, lambda: 1_723_100_000_000_000), SYSTEM)
    ipp = "https://teledossier.example/fhir/NamingSystem/ipp/ch-auch"
    await fhir.update({
        "resourceType": "Patient", "id": "p", "identifier": [{"system": ipp, "value": "AU-300003"}],
        "name": [{"family": "LABORDE", "given": ["Henri"]}], "birthDate": "1953-05-17", "gender": "male",
    })  # fmt: skip
    for id, status, accession in (("r1", "active", "ACC-1"), ("r2", "revoked", "ACC-2")):
        await fhir.update({
            "resourceType": "ServiceRequest", "id": id, "status": status, "intent": "order",
            "subject": {"reference": "Patient/p"}, "authoredOn": "2024-08-08T06:00:00Z",
            "code": {"text": "Scanner crânien"},
            "supportingInfo": [{"type": "ImagingStudy", "identifier": {"value": accession}}],
        })  # fmt: skip
    await store.close()


@pytest.mark.peer("orthanc")
@pytest.mark.timeout(120)
def test_orthanc_finds_and_takes(tmp_path: Path, free_port: int) -> None:
    """Orthanc as PACS: it queries here, and has the study moved to itself."""
    dicom, http = unused_port(), unused_port()
    node = Node(tmp_path / "node", free_port, caller("ORTHANC", f"127.0.0.1:{dicom}"))
    index = node.index()
    node.files.open()
    for path in making.files(tmp_path / "in", 3):
        ingest(path, Arrival(1), node.files, index)
    index.close()
    node.start()
    settings = {
        "Name": "peer",
        "StorageDirectory": str(tmp_path / "orthanc"), "IndexDirectory": str(tmp_path / "orthanc"),
        "DicomAet": "ORTHANC", "DicomPort": dicom, "HttpPort": http, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "Plugins": [],
        "DicomModalities": {"here": ["TELEDOSSIER", "127.0.0.1", free_port]},
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_bytes(orjson.dumps(settings))
    with (tmp_path / "orthanc.log").open("w") as log:
        orthanc = subprocess.Popen(
            ["/usr/sbin/Orthanc", str(tmp_path / "orthanc.json")], stdout=log, stderr=log, env={**os.environ}
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{http}", timeout=30) as client:
            assert eventually(lambda: _answers(client), 30)
            query = {"Level": "Study", "Query": {"PatientName": "LAB*"}}
            made = client.post("/modalities/here/query", json=query).json()["ID"]
            assert client.get(f"/queries/{made}/answers").json() == ["0"]
            moved = client.post(f"/queries/{made}/retrieve", content="ORTHANC")
            assert moved.status_code == 200, moved.text
            assert eventually(lambda: len(client.get("/instances").json()) == 3, 20)
    finally:
        orthanc.terminate()
        orthanc.wait(30)
        node.stop(signal.SIGKILL)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/system").status_code == 200
    except httpx.TransportError:
        return False
