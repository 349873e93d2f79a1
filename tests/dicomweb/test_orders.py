"""The worklist of a site asked by us: DCMTK's wlmscpfs as the site's, over HTTP and from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomweb.attributes import first
from dicomweb.dataset import to_json
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import Denied, Unreachable
from dicomweb.priors.likely import Site, person_of
from dicomweb.transfers.orders import of_person
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.node import ROOT
from tests.dicomweb.pacs import _ended, answering
from tests.dicomweb.test_transfer_routes import (  # noqa: F401 - fixture
    PAYLOAD,
    audience,
    endpoint,
    person,
    region,
    request,
)
from tests.dicomweb.test_worker import INS, IPP, clock, fhir  # noqa: F401 - fixtures
from tests.processes import unused_ports

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def order(accession: str, patient: str) -> Dataset:
    made, step = Dataset(), Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.31", f"2.25.{abs(hash(accession))}"
    made.SpecificCharacterSet, made.AccessionNumber = "ISO_IR 192", accession
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = (
        "LABORDE^Zoë",
        patient,
        "19530517",
        "F",
    )
    made.StudyInstanceUID, made.RequestedProcedureID = "2.25.77", accession
    made.RequestedProcedureDescription = "Scanner crânien"
    step.Modality, step.ScheduledStationAETitle = "CT", "CT1"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20240808", "0700"
    step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = "Scanner crânien", accession
    made.ScheduledProcedureStepSequence = [step]
    return made


@pytest.fixture
def ris(tmp_path: Path) -> Iterator[Peer]:
    """Three orders of two patients."""
    pairs = (("ACC-1", "AU-1"), ("ACC-2", "AU-1"), ("ACC-3", "AU-2"))
    with worklist(tmp_path, {accession: order(accession, patient) for accession, patient in pairs}) as peer:
        yield peer


@contextmanager
def worklist(tmp_path: Path, orders: Mapping[str, Dataset]) -> Iterator[Peer]:
    """DCMTK's, with these."""
    folder, (port,) = tmp_path / "ris", unused_ports(1)
    (folder / "RIS").mkdir(parents=True)
    (folder / "RIS" / "lockfile").touch()
    for accession, made in orders.items():
        making.write(folder / "RIS" / f"{accession}.wl", made)
    process = subprocess.Popen(["/usr/bin/wlmscpfs", "-csk", "-dfp", str(folder), str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        answering("127.0.0.1", port, process)
        yield Peer("ris", "RIS", "Organization/ch-auch", "dimse", "127.0.0.1", port, "RIS",
                   uses=frozenset({"worklist"}))  # fmt: skip
    finally:
        _ended(process)


def accessions(rows: list[Any]) -> list[str]:
    return sorted(row["00080050"]["Value"][0] for row in rows)


@pytest.mark.peer("dcmtk")
def test_orders_of_a_patient(ris: Peer, tmp_path: Path) -> None:
    session = DimseSession(ris, Ours("TELEDOSSIER", Credentials(tmp_path)))
    found = session.find("order", {"PatientID": "AU-1"}, 500)
    assert accessions(list(found)) == ["ACC-1", "ACC-2"]
    assert [one["0020000D"]["Value"] for one in found] == [["2.25.77"]] * 2
    wanted = to_json(order("ACC-3", "AU-2"))
    (one,) = session.find("order", {"AccessionNumber": "ACC-3"}, 500)
    (step,) = one["00400100"]["Value"]
    assert (one["00100010"], one["00321060"]) == (wanted["00100010"], wanted["00321060"])
    assert (step["00080060"]["Value"], step["00400009"]["Value"]) == (["CT"], ["ACC-3"])
    assert session.find("order", {"PatientID": "AU-9"}, 500) == []
    with pytest.raises(Denied):
        session.find("study", {"PatientID": "AU-1"}, 500)
    session.close()


@pytest.mark.peer("dcmtk")
async def test_orders_over_http(region: Fhir, ris: Peer, client: Client) -> None:  # noqa: F811
    """Those whom the site is theirs; a worklist is no PACS, a PACS no worklist."""
    address = f"dicom://127.0.0.1:{ris.port}/RIS"
    peer = "https://teledossier.example/fhir/StructureDefinition/peer"
    for id, use in (("ris-auch", "worklist"), ("pacs-only", "query")):
        uses = [{"url": peer, "extension": [{"url": "use", "valueCode": use}]}]
        await region.update({**endpoint(address=address, payloadType=PAYLOAD), "id": id, "extension": uses})
    asked: dict[str, Any] = {"level": "order", "keys": {"PatientID": "AU-1"}}
    client.access = person("p08")
    answer = await client.post("/peers/ris-auch/search", json=asked)
    assert accessions(answer.json()) == ["ACC-1", "ACC-2"]
    assert [one["id"] for one in (await client.get("/peers")).json()] == ["pacs-only"]
    wide = {"level": "order", "keys": {"PatientID": "*"}}
    dated = {"level": "order", "keys": {"PatientID": "AU-1", "StudyDate": "20240808"}}
    for who, id, body, status in (
        ("p08", "ris-auch", wide, 400), ("p08", "ris-auch", dated, 400), ("p08", "pacs-only", asked, 404),
        ("p08", "ris-auch", {**asked, "level": "study"}, 404), ("p20", "ris-auch", asked, 404),
    ):  # fmt: skip
        client.access = person(who)
        assert (await client.post(f"/peers/{id}/search", json=body)).status_code == status, (who, id, body)


def scheduled(accession: str, day: str, **changes: Any) -> Dataset:
    made = order(accession, "AU-300003")
    made.PatientName, made.PatientSex, made.IssuerOfPatientID = "LABORDE^Henri", "M", "ch-auch"
    made.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate = day
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


HENRI = person_of({
    "identifier": [{"system": IPP, "value": "AU-300003"}, {"system": INS, "value": "153053299010337"}],
    "name": [{"family": "LABORDE", "given": ["Henri"]}], "birthDate": "1953-05-17", "gender": "male",
})  # fmt: skip
AUCH = Site("ch-auch", frozenset({"ch-auch", "320000086"}))
INS_NUMBER = {"PatientID": "153053299010337", "IssuerOfPatientID": "1.2.250.1.213.1.4.11"}
WHOSE: list[tuple[str, dict[str, Any], str | None]] = [
    ("the site's number", {}, "local-number"),
    ("the site's number without issuer", {"IssuerOfPatientID": ""}, "local-number"),
    ("his INS", INS_NUMBER, "ins"),
    ("another site's number, his traits", {"IssuerOfPatientID": "ch-pau"}, "traits"),
    ("his traits alone", {"PatientID": "X", "IssuerOfPatientID": ""}, "traits"),
    ("his number, another birth date", {"PatientBirthDate": "19530518"}, None),
    ("his number, another sex", {"PatientSex": "F"}, None),
    ("another INS, his traits", {**INS_NUMBER, "PatientID": "253053299010337"}, None),
    ("his twin", {"PatientID": "AU-2", "PatientName": "LABORDE^Georges"}, None),
    ("no accession number", {"AccessionNumber": ""}, None),
]


@pytest.mark.parametrize(("changes", "how"), [case[1:] for case in WHOSE], ids=[case[0] for case in WHOSE])
def test_whose_an_order_is(changes: dict[str, Any], how: str | None) -> None:
    row = to_json(scheduled("ACC-1", "20240808", **changes))
    found = of_person(HENRI, AUCH, [row, row], "20240806")
    assert [one["how"] for one in found] == ([how] if how else [])


def test_which_orders_are_told_and_in_which_order() -> None:
    days = {"OLD": "20240805", "LATE": "20240806", "TODAY": "20240808", "NEXT": "20240901", "ANY": ""}
    rows = [to_json(scheduled(name, day)) for name, day in reversed(days.items())]
    told = of_person(HENRI, AUCH, rows, "20240806")
    assert [first(one["row"], "00080050") for one in told] == ["ANY", "LATE", "TODAY", "NEXT"]
    assert all("00200010" not in one["row"] for one in told)
    strange = [{"00400100": {"vr": "SQ", "Value": ["x", {}]}, "00080050": {"vr": "SH", "Value": ["A"]}}, {}]
    assert of_person(HENRI, AUCH, strange, "20240806") == []


@pytest.mark.peer("dcmtk")
async def test_the_orders_of_a_telledossiers_patient(
    region: Fhir, tmp_path: Path, client: Client, store: Store  # noqa: F811
) -> None:  # fmt: skip
    """From the worklists of one's own sites, for a télédossier that one sees and that is open; audited."""
    today = f"{datetime.now():%Y%m%d}"
    mine, twin = (
        scheduled("ACC-7", today),
        scheduled("ACC-8", today, PatientID="AU-2", PatientName="LABORDE^Zoë"),
    )
    made = [mine, twin, scheduled("ACC-9", "20200101")]
    peer = "https://teledossier.example/fhir/StructureDefinition/peer"
    uses = [{"url": peer, "extension": [{"url": "use", "valueCode": "worklist"}]}]
    with worklist(tmp_path, {str(one.AccessionNumber): one for one in made}) as running:
        here = running.port
        for id, at, organisation in (
            ("ris-auch", here, "ch-auch"), ("ris-gone", 1, "ch-auch"), ("ris-tls", here, "ch-toulouse"),
        ):  # fmt: skip
            address = f"dicom://127.0.0.1:{at}/RIS"
            there = {"reference": f"Organization/{organisation}"}
            more = {"id": id, "name": id, "extension": uses, "managingOrganization": there}
            await region.update({**endpoint(address=address, payloadType=PAYLOAD), **more})
        for id, status in (("r1", "draft"), ("r2", "completed")):
            await request(region, id, status=status, extension=audience("Organization/com-auch"))
        client.access = person("p08")
        assert [one["id"] for one in (await client.get("/worklists")).json()] == ["ris-auch", "ris-gone"]
        answer = await client.post("/requests/r1/orders")
        assert answer.status_code == 200, answer.text
        found = {one["peer"]: one for one in answer.json()}
        assert [(first(one["row"], "00080050"), one["how"]) for one in found["ris-auch"]["orders"]] == [
            ("ACC-7", "local-number")
        ]
        assert (found["ris-gone"]["fault"], found["ris-gone"]["orders"]) == ("no-connection", [])
        assert set(found) == {"ris-auch", "ris-gone"}
        events = [one for one in await region.search("AuditEvent", []) if one["type"]["code"] == "110112"]
        assert len(events) == 3  # by number and by traits; the one that is gone was asked once
        assert "LABORDE" not in str(events)
        assert (await client.post("/requests/r2/orders")).status_code == 409
        client.access = person("p20")
        assert [one["id"] for one in (await client.get("/worklists")).json()] == ["ris-tls"]
        assert (await client.post("/requests/r1/orders")).status_code == 404


@pytest.mark.peer("dcmtk")
async def test_from_the_command_line(fhir: Fhir, ris: Peer, settings: Settings, tmp_path: Path) -> None:  # noqa: F811
    for id, port in (("ris", ris.port), ("gone", 1)):
        made = {**endpoint(address=f"dicom://127.0.0.1:{port}/RIS", payloadType=PAYLOAD), "id": id}
        await fhir.update(made)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TELEDOSSIER_STORE": settings.store,
                   "TELEDOSSIER_FILES": settings.files}  # fmt: skip

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "fhir_server", "pacs", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout, done.stderr

    assert run("echo", "ris")[1].startswith("ris answers")
    line = "ACC-3\t20240808\tCT\tScanner crânien\t2.25.77\n"
    assert run("orders", "ris", "--accession", "ACC-3") == (0, line, "")
    for words, said in (
        (("echo", "gone"), "no-connection"), (("echo", "nowhere"), "no system of that id"),
        (("orders", "ris"), "give --patient-id or --accession"),
        (("orders", "gone", "--patient-id", "1"), "no-conn"),
    ):  # fmt: skip
        code, out, error = run(*words)
        assert (code != 0, out) == (True, "")
        assert said in error
        assert "Traceback" not in error


def test_a_site_that_is_not_there(tmp_path: Path) -> None:
    peer = Peer("ris", "RIS", "", "dimse", "127.0.0.1", 1, "RIS")
    with pytest.raises(Unreachable):
        DimseSession(peer, Ours("TELEDOSSIER", Credentials(tmp_path))).find("order", {"PatientID": "1"}, 5)
