"""The form and the worklist of the person's site: what is proposed, and what becomes of what is ticked."""

from __future__ import annotations

import re
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from smart_launch.app.views.draft import expected, with_orders
from smart_launch.app.views.orders import Order, Orders, orders
from smart_launch.app.views.reading import many
from tests.dicomweb.test_orders import scheduled, worklist
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_transfer_routes import PAYLOAD
from tests.portal.platform import platform

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Json = dict[str, Any]
STEP: Json = {
    "00080060": {"vr": "CS", "Value": ["CT"]}, "00400002": {"vr": "DA", "Value": ["20261124"]},
    "00400003": {"vr": "TM", "Value": ["083000"]}, "00400007": {"vr": "LO", "Value": ["TDM cérébral"]},
}  # fmt: skip
ROW: Json = {
    "00080050": {"vr": "SH", "Value": ["ACC-1"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "LABORDE^Henri"}]},
    "00100030": {"vr": "DA", "Value": ["19530517"]}, "00400100": {"vr": "SQ", "Value": [STEP]},
}  # fmt: skip
TITLE, DETAIL = "TDM cérébral", "Scanner · 24/11/2026 à 08:30 · n° ACC-1 · RIS"


def place(*found: Json, **more: Any) -> Json:
    return {"peer": "ris", "name": "RIS", "orders": list(found), **more}


SAID: list[tuple[str, list[Any], Orders]] = [
    ("certain", [place({"how": "local-number", "row": ROW})],
     Orders([Order("ACC-1", TITLE, DETAIL, "Même numéro de patient dans l'établissement", True, False)],
            "RIS", "")),
    ("by traits", [place({"how": "traits", "row": ROW})],
     Orders([Order("ACC-1", TITLE, DETAIL, "Identité à vérifier : LABORDE Henri 17/05/1953", False, False)],
            "RIS", "")),
    ("nothing said of it", [place({"how": "ins", "row": {"00080050": ROW["00080050"]}})],
     Orders([Order("ACC-1", "Examen", "n° ACC-1 · RIS", "Même INS", True, False)], "RIS", "")),
    ("a number that is a list", [place({"how": "ins", "row": {"00080050": {"Value": ["A,B"]}}})],
     Orders([], "RIS", "")),
    ("one is away", [place(), place(name="RIS 2", fault="no-connection")], Orders([], "RIS", "RIS 2")),
    ("nonsense", ["x", place({"how": 5, "row": {"00400100": {"Value": ["x"]}}})], Orders([], "RIS", "")),
]  # fmt: skip


@pytest.mark.parametrize(("said", "shown"), [case[1:] for case in SAID], ids=[case[0] for case in SAID])
def test_what_is_proposed(said: list[Any], shown: Orders) -> None:
    assert orders(said, ["X"]) == shown


def test_what_is_expected_already_and_what_is_ticked() -> None:
    (one,) = orders([place({"how": "ins", "row": ROW})], ["ACC-1"]).found
    assert one.known
    assert expected(" A , B,,A ") == ["A", "B"]
    assert with_orders("A, B", ["C", "A", "D"]) == "A, B, C, D"
    assert with_orders("", []) == ""


def announced(request: Json) -> list[str]:
    found = many(request, "supportingInfo")
    return [one["identifier"]["value"] for one in found if one.get("type") == "ImagingStudy"]


def said(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.text)))


@pytest.mark.peer("dcmtk")
async def test_a_person_announces_an_exam_from_the_worklist_without_scripts(tmp_path: Path) -> None:
    """What was typed stays; only this patient's orders are shown; whoever has no worklist sees no button."""
    today = f"{datetime.now():%Y%m%d}"
    made = {name: scheduled(name, today) for name in ("ACC-7", "ACC-8", "ACC-9")}
    made["ACC-8"].PatientName = "LABORDE^Zoë"
    made["ACC-9"].PatientID, made["ACC-9"].IssuerOfPatientID = "153053299010337", ""
    made["ACC-8"].PatientID = "AU-9"
    peer = "https://teledossier.example/fhir/StructureDefinition/peer"
    uses = [{"url": peer, "extension": [{"url": "use", "valueCode": "worklist"}]}]
    with worklist(tmp_path / "wl", made) as ris:
        async with platform(tmp_path / "p") as running:
            id = await running.draft()
            page = f"/dossiers/{id}/formulaire"
            async with running.as_("p08") as client:
                assert "Chercher les examens prévus" not in said(await client.get(page))
                address = f"dicom://127.0.0.1:{ris.port}/RIS"
                more = {"id": "ris", "name": "RIS d'Auch", "extension": uses, "payloadType": PAYLOAD}
                await running.system.update({**endpoint(address=address), **more})
                assert "Chercher les examens prévus" in said(await client.get(page))
                form = {"commentaire": "Merci", "examens_attendus": "AUTRE-1", "action": "ordres"}
                answer = await client.post(page, data=form)
                text = said(answer)
                assert (answer.status_code, "Merci" in answer.text) == (200, True)
                assert [n for n in ("ACC-7", "ACC-8", "ACC-9") if f"n° {n}" in text] == ["ACC-7", "ACC-9"]
                assert "Même INS" in text
                assert "Identité à vérifier : LABORDE Henri 17/05/1953" in text
                done = {**form, "ordre": ["ACC-9"], "action": "enregistrer"}
                assert (await client.post(page, data=done)).status_code == 303
                request = await running.system.read("ServiceRequest", id)
                assert announced(request) == ["AUTRE-1", "ACC-9"]
                again = await client.post(page, data={**form, "examens_attendus": "AUTRE-1, ACC-9"})
                assert "Déjà attendu" in said(again)
            ris_gone = {**endpoint(address="dicom://127.0.0.1:1/RIS"), **more}
            await running.system.update(ris_gone)
            async with running.as_("p08") as client:
                answer = await client.post(page, data=form)
            assert (answer.status_code, "Pas de réponse : RIS d'Auch." in said(answer)) == (200, True)
