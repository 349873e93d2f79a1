"""Earlier exams on the télédossier's page: those found, those joined, the sites that are silent. R097"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dicomweb.association import PRIOR, ROLE
from dicomweb.priors.likely import Candidate
from smart_launch.app import words
from smart_launch.app.views.priors import FoundPrior, Priors, priors
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_transfer_routes import PAYLOAD
from tests.portal.platform import STUDY, platform

Json = dict[str, Any]
NAMES = {"pacs-chac": "PACS du CH Ariège Couserans"}
ROW: Json = {
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00080020": {"vr": "DA", "Value": ["20220314"]},
    "00080061": {"vr": "CS", "Value": ["CT"]},
    "00081030": {"vr": "LO", "Value": ["TDM cérébral"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "LABORDE^Henri"}]},
    "00100030": {"vr": "DA", "Value": ["19530517"]},
    "00201208": {"vr": "IS", "Value": [402]},
}


def said(how: str = "ins", **more: Any) -> Json:
    return {"study": "1.2.3", "peer": "pacs-chac", "how": how, "state": "proposed", "row": ROW, **more}


@pytest.mark.parametrize(
    ("how", "why", "certain"),
    [
        ("ins", "Même INS", True),
        ("local-number", "Même numéro de patient dans l'établissement", True),
        ("traits", "Identité à vérifier : LABORDE Henri 17/05/1953", False),
    ],
)
def test_a_found_exam_in_words(how: str, why: str, certain: bool) -> None:
    (found,) = priors({"priors": [said(how)]}, NAMES, ()).found
    detail = "Scanner · 14/03/2022 · 402 images · PACS du CH Ariège Couserans"
    assert found == FoundPrior("1.2.3", "TDM cérébral", detail, why, certain)


@pytest.mark.parametrize(
    "one",
    [said(state="wanted"), said(state="set-aside"), said(study="1.9")],
    ids=["wanted", "set aside", "here"],
)
def test_what_is_decided_or_here_is_not_offered_again(one: Json) -> None:
    assert priors({"priors": [one]}, NAMES, {"1.9"}).found == []
    assert len(priors({"priors": [one, said()]}, NAMES, {"1.9"}).found) == 1


@pytest.mark.parametrize(
    ("search", "shown"),
    [
        ({"state": "waiting", "attempts": 0}, Priors([], words.PRIORS_ASKED)),
        (
            {"state": "waiting", "attempts": 2},
            Priors([], "", words.PRIORS_SILENT.format(places=NAMES["pacs-chac"])),
        ),
        (
            {"state": "failed", "attempts": 8},
            Priors([], "", words.PRIORS_SILENT.format(places=NAMES["pacs-chac"])),
        ),
        ({"state": "done", "attempts": 3}, Priors()),
    ],
)
def test_how_the_search_stands(search: Json, shown: Priors) -> None:
    assert priors({"searches": [{"peer": "pacs-chac", **search}]}, NAMES, ()) == shown


async def test_a_found_exam_is_offered_taken_and_compared(tmp_path: Path) -> None:
    async with platform(tmp_path / "here") as here:
        id = await here.sent()
        await here.exam(id, tmp_path / "exam")
        place = {"reference": "Organization/ch-auch"}
        await here.system.update(endpoint(id="pacs-auch", payloadType=PAYLOAD, managingOrganization=place))
        ledger = here.images.priors
        ledger.plan(id, "pacs-auch", "d", 1)
        search = ledger.claim(2)
        assert search is not None
        ledger.settle(search, [Candidate("1.2.3", "ins", ROW, False)], 3)
        async with here.as_("p08") as doctor:
            page = (await doctor.get(f"/dossiers/{id}")).text
            assert "Antériorités" in page
            assert "Ajouter cette antériorité" in page
            assert "TDM cérébral" in (await doctor.get(f"/dossiers/{id}/suivi")).text
            form = {"examen": "1.2.3", "decision": "fetch"}
            taken = await doctor.post(f"/dossiers/{id}/anteriorites", data=form)
            assert (taken.status_code, taken.headers["location"]) == (303, f"/dossiers/{id}?fait=prior-fetch")
            (order,) = here.images.queue.of_request(id)
            assert (order.order.study, order.order.asker) == ("1.2.3", "Practitioner/p08")
            assert "Ajouter cette antériorité" not in (await doctor.get(f"/dossiers/{id}")).text
            again = await doctor.post(f"/dossiers/{id}/anteriorites", data={"decision": "again"})
            assert again.headers["location"].endswith("?fait=prior-again")
            assert words.PRIORS_ASKED.split("'")[0] in (await doctor.get(f"/dossiers/{id}")).text
            bad = await doctor.post(f"/dossiers/{id}/anteriorites", data={**form, "decision": "x"})
            assert bad.status_code == 400
        (study,) = await here.system.search("ImagingStudy", [("basedon", f"ServiceRequest/{id}")])
        prior = {"reference": f"ServiceRequest/{id}", "extension": [{"url": ROLE, "valueCode": PRIOR}]}
        old = {
            **study,
            "id": "2.25.77",
            "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:2.25.77"}],
        }
        await here.system.update({**old, "basedOn": [prior], "started": "2022-03-14"})
        async with here.as_("p08") as doctor:
            page = (await doctor.get(f"/dossiers/{id}")).text
            assert re.search(rf'href="/dossiers/{id}/images/{STUDY}\?avec=2.25.77"', page)
            viewer = (await doctor.get(f"/dossiers/{id}/images/{STUDY}?avec=2.25.77")).text
            assert 'data-avec="2.25.77"' in viewer
            assert 'data-scene="2"' in viewer
            elsewhere = (await doctor.get(f"/dossiers/{id}/images/{STUDY}?avec=2.25.78")).text
            assert 'data-avec=""' in elsewhere
