"""Adding exams: the PACS search with its six filters, the choice of series, the local server, progress."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dicomweb.transfers.record import Item, Order
from smart_launch.app import words
from smart_launch.app.views import transfers
from smart_launch.app.views.transfers import Filters
from tests.dicomweb import making
from tests.dicomweb.pacs import orthanc
from tests.dicomweb.test_peers import endpoint
from tests.portal.platform import Platform, platform
from tests.processes import unused_ports

# pynetdicom lets go of the socket of a refused connection without closing it
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PAYLOAD = [
    {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}
]
NOW = datetime(2024, 8, 8, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ({"nom": "dupont  jean"}, {"PatientName": "dupont*jean*"}),
        ({"nom": "*"}, {}),
        ({"naissance": "7/5/1953"}, {"PatientBirthDate": "19530507"}),
        ({"identifiant": " AU-3 "}, {"PatientID": "AU-3"}),
        ({"date_examen": "08-08-2024"}, {"StudyDate": "20240808"}),
        ({"modalite": "CT"}, {"ModalitiesInStudy": "CT"}),
        ({"modalite": "<script>"}, {}),
        ({"rdv": "ACC-1"}, {"AccessionNumber": "ACC-1"}),
    ],
)
def test_each_filter_is_one_key(form: dict[str, str], keys: dict[str, str]) -> None:
    assert transfers.keys(transfers.filters(form)) == keys


@pytest.mark.parametrize("wrong", ["1953", "31/02/2000", "demain"])
def test_a_date_that_is_none_is_said(wrong: str) -> None:
    assert set(transfers.filters({"naissance": wrong}).faults or {}) == {"naissance"}
    assert transfers.keys(Filters(birth=wrong)) == {}


@pytest.mark.parametrize(
    ("name", "birth", "begins"),
    [
        ("LABORDE Henri (DUPONT)", "17/05/1953", Filters(name="LABORDE Henri", birth="17/05/1953")),
        (words.UNKNOWN_PATIENT, "1953", Filters()),
    ],
)
def test_a_search_begins_with_the_patient(name: str, birth: str, begins: Filters) -> None:
    assert transfers.of_patient(name, birth) == begins


def test_studies_come_newest_first() -> None:
    def row(uid: str, day: str) -> dict[str, Any]:
        return {"0020000D": {"Value": [uid]}, "00080020": {"Value": [day]},
                "00100010": {"Value": [{"Alphabetic": "LABORDE^Henri"}]},
                "00201208": {"Value": [1022]}, "00201206": {"Value": [1]}}  # fmt: skip

    found = transfers.studies([row("1.1", "20230101"), row("1.2", "20240101"), {}])
    assert [(one.uid, one.day, one.patient) for one in found] == [
        ("1.2", "01/01/2024", "LABORDE Henri"), ("1.1", "01/01/2023", "LABORDE Henri"),
    ]  # fmt: skip
    assert found[0].counts == "1 série · 1\u00a0022 images"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"state": "waiting"}, ("En attente", "", "", 0)),
        ({"state": "waiting", "total": 400, "done": 100, "bytesPerSecond": 12_340_000, "secondsLeft": 75},
         ("En cours", "100 images sur 400", "12,3 Mo/s · reste 1 min 15 s", 25)),
        ({"state": "waiting", "total": 4, "done": 1, "reason": "no-connection",
          "retryAt": int(NOW.timestamp() * 1e6) + 8_000_000},
         ("Interrompu", "1 images sur 4", "Le PACS ne répond pas. Nouvel essai dans 8 s.", 25)),
        ({"state": "partial", "total": 4, "done": 3, "failed": 1, "reason": "some-failed"},
             ("Incomplet", "3 images sur 4",
              words.TRANSFER_REASONS["some-failed"] + " 1 image(s) en défaut.", 75)),
    ],
)  # fmt: skip
def test_progress_in_words(state: dict[str, Any], said: tuple[str, str, str, int]) -> None:
    (shown,) = transfers.progress([{"id": "t", "kind": "relay", "peer": "p", **state}], {"p": "PACS"}, NOW)
    assert (shown.state, shown.text, shown.detail, shown.percent) == said
    assert shown.title == "Envoi vers PACS"


def test_what_ended_well_is_not_shown() -> None:
    assert transfers.progress([{"state": "done"}, {"state": "cancelled"}], {}, NOW) == []


async def pacs_of(here: Platform, address: str, site: str = "ch-auch", **more: Any) -> None:
    where = {"reference": f"Organization/{site}"}
    await here.system.update(
        endpoint(address=address, payloadType=PAYLOAD, managingOrganization=where, **more)
    )


@pytest.mark.peer("orthanc")
async def test_from_the_search_to_the_progress_shown(tmp_path: Path) -> None:
    """R085: server, six filters, Actualiser, results, series, Ajouter; then the télédossier shows it come."""
    dimse, http = unused_ports(2)
    with orthanc(tmp_path / "orthanc", dimse, http) as pacs:
        pacs.load(making.files(tmp_path / "given", 3))
        async with platform(tmp_path / "here") as here:
            id = await here.sent()
            await pacs_of(here, f"dicom://127.0.0.1:{dimse}/ORTHANC")
            page = f"/dossiers/{id}/examens/ajouter"
            async with here.as_("p08") as doctor:
                form = (await doctor.get(page)).text
                for name in ("nom", "naissance", "identifiant", "date_examen", "modalite", "rdv", "serveur"):
                    assert f'name="{name}"' in form
                asked = {"onglet": "pacs", "serveur": "pacs-auch", "nom": "laborde", "action": "actualiser"}
                found = (await doctor.post(page, data=asked)).text
                assert "LABORDE Henri" in found
                assert f'value="{making.STUDY}"' in found
                chosen = {"onglet": "pacs", "serveur": "pacs-auch", "etude": making.STUDY}
                series = (await doctor.post(page, data={**chosen, "action": "series"})).text
                assert f'value="{making.SERIES}" checked' in series
                none = await doctor.post(page, data={**chosen, "action": "importer", "nombre": "1"})
                assert none.status_code == 422
                order = {**chosen, "action": "importer", "nombre": "1", "serie": making.SERIES}
                taken = await doctor.post(page, data=order)
                assert (taken.status_code, taken.headers["location"]) == (
                    303, f"/dossiers/{id}?fait=exam-asked",
                )  # fmt: skip
                (transfer,) = here.images.queue.of_request(id)
                assert transfer.order == Order(
                    "import", "pacs-auch", making.STUDY, 0, id, "Practitioner/p08", ()
                )
                live = await doctor.get(f"/dossiers/{id}/suivi")
                assert "Import depuis PACS d&#39;Auch" in live.text
                here.images.queue.list_items(transfer.id, [Item("s", "1", size=10), Item("s", "2")], 1)
                headers = {"if-none-match": live.headers["etag"]}
                again = await doctor.get(f"/dossiers/{id}/suivi", headers=headers)
                assert again.status_code == 200  # progress is a change
                assert "0 images sur 2" in again.text
                stopped = await doctor.post(f"/dossiers/{id}/transferts/{transfer.id}/arret")
                assert stopped.status_code == 303
                assert "Import depuis" not in (await doctor.get(f"/dossiers/{id}/suivi")).text


async def test_a_pacs_that_does_not_answer_or_is_not_activated(tmp_path: Path, free_port: int) -> None:
    """R086."""
    async with platform(tmp_path) as here:
        id = await here.sent()
        page = f"/dossiers/{id}/examens/ajouter"
        asked = {"onglet": "pacs", "serveur": "pacs-auch", "identifiant": "1", "action": "actualiser"}
        async with here.as_("p08") as doctor, here.as_("p06") as stranger:
            assert "Aucun PACS n'est activé" in (await doctor.get(page)).text
            await pacs_of(here, f"dicom://127.0.0.1:{free_port}/X")
            away = await doctor.post(page, data=asked)
            assert away.status_code == 503
            assert "n&#39;a probablement pas activé" in away.text
            assert 'value="1"' in away.text  # what was typed stays
            wide = await doctor.post(page, data={**asked, "identifiant": ""})
            assert (wide.status_code, "Indiquez au moins" in wide.text) == (400, True)
            wrong = await doctor.post(page, data={**asked, "naissance": "hier"})
            assert (wrong.status_code, "jj/mm/aaaa" in wrong.text) == (422, True)
            cleared = await doctor.post(page, data={**asked, "action": "effacer"})
            assert (
                'name="identifiant" type="text" autocomplete="off" spellcheck="false" value=""'
                in cleared.text
            )
            await pacs_of(here, f"dicom://127.0.0.1:{free_port}/X", status="off")
            off = await doctor.post(page, data=asked)
            assert (off.status_code, "n&#39;a pas activé l&#39;appel" in off.text) == (409, True)
            assert (await stranger.get(page)).status_code == 404


async def test_an_exam_is_created_from_the_list(tmp_path: Path) -> None:
    """R091: the button above the list leads to the télédossiers one sees and may still add to."""
    async with platform(tmp_path) as here:
        id = await here.sent()
        async with here.as_("p08") as doctor, here.as_("p20") as stranger:
            assert 'href="/dossiers/examen">Examen</a>' in (await doctor.get("/dossiers")).text
            target = f'href="/dossiers/{id}/examens/ajouter?onglet=creer"'
            assert target in (await doctor.get("/dossiers/examen")).text
            assert target in (await doctor.post("/dossiers/examen", data={"patient": "laborde"})).text
            assert target not in (await doctor.post("/dossiers/examen", data={"patient": "autre"})).text
            assert target not in (await stranger.get("/dossiers/examen")).text
            await here.step("p08", id, "cancel", reason="Erreur")
            assert target not in (await doctor.get("/dossiers/examen")).text


async def test_an_exam_of_the_local_server(tmp_path: Path) -> None:
    """R087, R088: only what this person sees is found."""
    async with platform(tmp_path / "here") as here:
        first = await here.sent()
        uid = await here.exam(first, tmp_path / "exam", series=1, images=2)
        second = await here.draft()
        page = f"/dossiers/{second}/examens/ajouter"
        asked = {"onglet": "local", "nom": "laborde", "action": "actualiser"}
        async with here.as_("p08") as doctor, here.as_("p02") as other:
            found = await doctor.post(page, data=asked)
            assert f'value="{uid}"' in found.text
            added = await doctor.post(page, data={"onglet": "local", "etude": uid, "action": "ajouter"})
            assert added.status_code == 303
            assert (uid, second) in here.images.queue.open_wishes()
            assert (await other.post(page, data=asked)).status_code == 404
