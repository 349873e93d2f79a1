"""Images that came twice with other content: said on the télédossier's page, decided by a person."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from pydicom import dcmread

from dicomweb.ingest import Arrival, ingest
from smart_launch.app import words
from smart_launch.app.views.conflicts import Disputed, disputed
from tests.portal.platform import STUDY, Platform, platform


def test_those_that_are_alike_stand_together() -> None:
    def row(number: int, sender: str, *differs: str) -> dict[str, object]:
        return {
            "number": number,
            "from": sender,
            "received": 1_723_100_000_000_000 + number,
            "differs": differs,
        }

    rows = [row(1, "CT1", "00100010"), row(2, "CT1"), row(3, "CT1", "00100010"), row(4, "", "00091001")]
    rows = [{**one, "differs": list(one["differs"])} for one in rows]  # type: ignore[call-overload]
    assert disputed(rows, UTC) == [
        Disputed("CT1", "08/08/2024 à 06h53", "2 images", "nom du patient", (1, 3)),
        Disputed("CT1", "08/08/2024 à 06h53", "1 image", words.PIXELS_DIFFER, (2,)),
        Disputed(words.UNKNOWN_SENDER, "08/08/2024 à 06h53", "1 image", "(0009,1001)", (4,)),
    ]


def come_twice(here: Platform, count: int) -> None:
    """Some images of the exam again, under another patient's name."""
    index, files = here.images.index, here.images.files
    for file in list(index.files(STUDY))[:count]:
        made = dcmread(files.path(file.path))
        made.PatientName = "AUTRE^Nom"
        spooled = files.spool / f"again-{file.uid}"
        made.save_as(spooled)
        assert ingest(spooled, Arrival(2_000_000, "MR2", "ch-auch"), files, index) == "conflict"


async def test_a_person_decides_which_images_are_shown(tmp_path: Path) -> None:
    async with platform(tmp_path / "here") as here:
        id = await here.sent()
        await here.exam(id, tmp_path / "exam")
        async with here.as_("p08") as doctor:
            assert "reçue" not in (await doctor.get(f"/dossiers/{id}")).text
            come_twice(here, 2)
            page = f"/dossiers/{id}/conflits/{STUDY}"
            assert (
                "2 images de cet examen reçues une seconde fois" in (await doctor.get(f"/dossiers/{id}")).text
            )
            shown = (await doctor.get(page)).text
            assert "nom du patient" in shown
            assert "AUTRE" not in shown
            numbers = [one.number for one in here.images.index.asides(STUDY)]
            numbers += range(10_000, 12_000)  # a whole exam came again; these were decided meanwhile
            form = {"numero": [str(one) for one in numbers], "garder": "new"}
            refused = await doctor.post(page, data=form)
            assert (refused.status_code, words.NO_REASON in refused.text) == (422, True)
            form |= {"motif": "identité corrigée à l'accueil"}
            wrong = await doctor.post(page, data={**form, "garder": "x"})
            assert wrong.status_code == 400
            done = await doctor.post(page, data=form)
            assert (done.status_code, done.headers["location"]) == (303, f"/dossiers/{id}?fait=conflict")
            assert "toutes" in (await doctor.get(page)).text.lower()
            assert (await doctor.post(page, data=form)).status_code == 404
            assert (await doctor.get(f"/dossiers/{id}/conflits/2.25.1")).status_code == 404
        async with here.as_("p20") as stranger:
            assert (await stranger.get(page)).status_code == 404
            assert (await stranger.get("/dicom-web/conflicts", params={"study": STUDY})).json() == {}
        masked = here.images.index.masked(STUDY)
    assert [(one.trace.by, one.trace.reason) for one in masked] == [
        ("Practitioner/p08", "identité corrigée à l'accueil")
    ] * 2


async def test_an_exam_is_decided_in_its_own_dossier_alone(tmp_path: Path) -> None:
    """Whoever sees both télédossiers cannot decide by the page of the one that does not have the exam."""
    async with platform(tmp_path / "here") as here:
        id, other = await here.sent(), await here.sent()
        await here.exam(id, tmp_path / "exam")
        come_twice(here, 1)
        (aside,) = here.images.index.asides(STUDY)
        form = {"numero": str(aside.number), "garder": "new", "motif": "au mauvais endroit"}
        async with here.as_("p08") as doctor:
            for strange in (other, "inconnu"):
                page = f"/dossiers/{strange}/conflits/{STUDY}"
                assert (await doctor.get(page)).status_code == 404
                for sent in (form, {**form, "motif": ""}):
                    assert (await doctor.post(page, data=sent)).status_code == 404
            assert here.images.index.asides(STUDY) == [aside]
            done = await doctor.post(f"/dossiers/{id}/conflits/{STUDY}", data=form)
        assert (done.status_code, here.images.index.asides(STUDY)) == (303, [])
