"""The worklist of a site asked by us: DCMTK's wlmscpfs as the site's, over HTTP and from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicomweb.dataset import to_json
from dicomweb.peers.dimse import DimseSession, Ours
from dicomweb.peers.peer import Credentials, Peer
from dicomweb.peers.session import Denied, Unreachable
from fhir_server.interactions.fhir import Fhir
from fhir_server.settings import Settings
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.node import ROOT
from tests.dicomweb.pacs import _ended, answering
from tests.dicomweb.test_peers import ports
from tests.dicomweb.test_transfer_routes import PAYLOAD, endpoint, person, region  # noqa: F401 - fixture
from tests.dicomweb.test_worker import clock, fhir  # noqa: F401 - fixtures

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
    folder, (port,) = tmp_path / "ris", ports(1)
    (folder / "RIS").mkdir(parents=True)
    (folder / "RIS" / "lockfile").touch()
    for accession, patient in (("ACC-1", "AU-1"), ("ACC-2", "AU-1"), ("ACC-3", "AU-2")):
        making.write(folder / "RIS" / f"{accession}.wl", order(accession, patient))
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
