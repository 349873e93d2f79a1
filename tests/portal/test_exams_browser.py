"""Adding exams in a real browser, on the platform as its users start it: PACS, folder, zip, photos; at three
widths.

With SCREENSHOTS=folder the pages are kept as pictures.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

from tests.dicomweb import making
from tests.dicomweb.gateway.test_registry import resource as gateway
from tests.dicomweb.pacs import Pacs, orthanc
from tests.dicomweb.test_films import AVC, make_stored
from tests.dicomweb.test_films import FOLDER as FILMS
from tests.dicomweb.test_peers import endpoint
from tests.dicomweb.test_reading import coded, item, measured, report
from tests.portal.test_browser import browser
from tests.portal.test_browser import sign_in as signed_in
from tests.processes import unused_ports
from tests.running import Running, demo

__all__ = ["browser"]  # a fixture
pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("orthanc")]
WIDTHS = (390, 820, 1280)
PAYLOAD = [
    {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}
]


@dataclass(frozen=True)
class World:
    """The demonstration, and the PACS of one of its sites."""

    running: Running
    pacs: Pacs

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def password(self) -> str:
        return self.running.password


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    dimse, http = unused_ports(2)
    (folder / "demo").mkdir()
    with orthanc(folder / "orthanc", dimse, http) as pacs, demo(folder / "demo") as running:
        for n in (1, 2):
            change = {"SeriesInstanceUID": f"2.25.20{n}", "SeriesNumber": n, "StudyDate": "20240807"}
            pacs.load(images(folder / str(n), 8, f"2.25.1.{n}", **change))
        where = {"reference": "Organization/ch-auch"}
        resource = endpoint(
            address=f"dicom://127.0.0.1:{dimse}/ORTHANC", payloadType=PAYLOAD, managingOrganization=where
        )
        with running.machine() as machine:
            machine.put("/fhir/Endpoint/pacs-auch", json=resource).raise_for_status()
        yield World(running, pacs)


def images(folder: Path, count: int, prefix: str, **change: Any) -> list[Path]:
    """`count` instances with UIDs of that beginning."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        making.write(
            folder / f"{n}.dcm", making.dataset(SOPInstanceUID=f"{prefix}.{n}", InstanceNumber=n, **change)
        )
        for n in range(1, count + 1)
    ]


def draft(world: World, page: Page) -> str:
    """A new draft for the patient on the images; its address."""
    page.goto(f"{world.url}/dossiers/nouveau")
    page.locator("input[name=workflow][value=avis-avc-aigu]").check()
    page.get_by_label("Nom (obligatoire)", exact=True).fill("LABORDE")
    page.get_by_label("Prénom").fill("Henri")
    page.get_by_label("Né(e) le").fill("17/05/1953")
    page.get_by_label("IPP de l'établissement").check()
    page.get_by_label("Numéro").fill("AU-300003")
    page.get_by_role("button", name="Ouvrir le formulaire").click()
    page.wait_for_url("**/formulaire")
    return page.url.removesuffix("/formulaire")


def seen(page: Page, name: str) -> None:
    """Nothing sticks out at any width; a picture each where they are asked for."""
    folder = os.environ.get("SCREENSHOTS", "")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, (name, width, wide)
        if folder:
            page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)


def test_from_the_pacs(world: World, browser: object) -> None:
    page = signed_in(browser, world, "p08").page  # type: ignore[arg-type]
    address = draft(world, page)
    page.get_by_role("link", name="Ajouter un examen").click()
    seen(page, "pacs")
    page.get_by_label("Nom du patient").fill("laborde")
    page.get_by_role("button", name="Actualiser").click()
    expect(page.get_by_role("heading", name="1 examen")).to_be_visible()
    seen(page, "pacs-resultats")
    page.get_by_role("button", name="Choisir les séries").click()
    expect(page.locator("input[name=serie]")).to_have_count(2)
    seen(page, "pacs-series")
    page.locator("input[name=serie]").nth(1).uncheck()
    page.get_by_role("button", name="Ajouter", exact=True).click()
    page.wait_for_url(f"{address}/formulaire*")
    expect(page.locator("a.bande")).to_contain_text(
        "8 images", timeout=30_000
    )  # by itself, the chosen series
    seen(page, "pacs-arrive")
    page.context.close()


def test_the_sites_of_the_region(world: World, browser: object) -> None:
    """A gateway that was never seen is an alarm; a PACS is tried, switched off and on."""
    with world.running.machine() as machine:
        machine.put("/fhir/Endpoint/gw-auch", json=gateway()).raise_for_status()
    page = signed_in(browser, world, "p21").page  # type: ignore[arg-type]
    page.get_by_role("link", name="Sites").click()
    expect(page.locator(".site-ligne").first).to_contain_text("La passerelle n'a encore jamais appelé")
    seen(page, "sites")
    page.get_by_role("link", name="CH Auch (démo)").click()
    page.get_by_role("button", name="Essayer").click()
    expect(page.locator(".essai")).to_contain_text(re.compile(r"a répondu en \d+ ms"))
    page.locator("details.communaute summary").first.click()
    seen(page, "site")
    page.get_by_role("button", name="Suspendre l'appel").click()
    expect(page.locator(".systeme")).to_contain_text("Appel non activé")
    seen(page, "site-suspendu")
    page.get_by_role("button", name="Activer l'appel").click()
    expect(page.locator(".systeme")).to_contain_text("Appel activé")
    page.context.close()
    with world.running.machine() as machine:
        machine.delete("/fhir/Endpoint/gw-auch").raise_for_status()


def chosen(page: Page, address: str, *, folder: Path | None = None, files: object = None) -> None:
    """The page with the content of a folder, or of files, on it."""
    page.goto(f"{address}/examens/ajouter?onglet=repertoire")
    if folder:
        page.locator("#dossier-dicom").set_input_files(folder)
    else:
        page.locator("#archive-dicom").set_input_files(files)  # type: ignore[arg-type]


def sent(page: Page, text: str) -> None:
    """What is ticked is added; the page says so."""
    page.get_by_role("button", name="Ajouter ").click()
    expect(page.locator("[data-envoi-texte]")).to_have_text(text, timeout=30_000)


def test_a_folder_and_a_zip_and_again(world: World, browser: object, tmp_path: Path) -> None:
    """The content is shown before anything is sent; a folder chosen again sends nothing twice."""
    signed = signed_in(browser, world, "p08")  # type: ignore[arg-type]
    page = signed.page
    address = draft(world, page)
    change = {"StudyInstanceUID": "2.25.555", "SeriesInstanceUID": "2.25.556"}
    paths = images(tmp_path / "cd", 60, "2.25.5", **change)
    (tmp_path / "cd" / "LISEZMOI.TXT").write_text("rien" * 100)
    bodies: list[int] = []
    page.on(
        "request",
        lambda one: bodies.append(1) if one.method == "POST" and one.url.endswith("/studies") else None,
    )
    for expected, said in ((2, "60 images envoyées."), (0, "60 images envoyées (60 déjà présentes).")):
        bodies.clear()
        chosen(page, address, folder=tmp_path / "cd")
        expect(page.get_by_role("group", name="LABORDE Henri")).to_contain_text("Même patient")
        expect(page.locator(".support-ecartes li")).to_contain_text(
            "LISEZMOI.TXT : n'est pas une image DICOM"
        )
        assert bodies == []
        seen(page, "repertoire")
        sent(page, said)  # 60 images are two batches; then the platform knows them
        assert len(bodies) == expected
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in paths[:3]:
            made = making.dataset(SOPInstanceUID=f"2.25.6.{path.stem}", **change)
            file.writestr(f"IMAGES/{path.name}", making.write(tmp_path / "one", made).read_bytes())
    zipped = {"name": "cd.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    chosen(page, address, files=zipped)
    sent(page, "3 images envoyées.")
    page.wait_for_url(f"{address}/formulaire*")
    expect(page.locator("a.bande")).to_contain_text("63 images", timeout=30_000)
    chosen(page, address, files={**zipped, "buffer": archive.getvalue()[:500]})
    expect(page.locator("[data-contenu]")).to_contain_text("cd.zip : archive illisible")
    assert signed.errors == []
    page.context.close()


def test_several_patients_on_one_medium(world: World, browser: object, tmp_path: Path) -> None:
    """R046: the person sees whose images they are; another's are not ticked, and must be sworn to."""
    signed = signed_in(browser, world, "p08")  # type: ignore[arg-type]
    page = signed.page
    address = draft(world, page)
    images(tmp_path / "cd", 3, "2.25.71", StudyInstanceUID="2.25.710", SeriesInstanceUID="2.25.711")
    other = {"PatientName": "MARTIN^Zoé", "PatientID": "77", "PatientBirthDate": "19800101"}
    images(
        tmp_path / "cd" / "b",
        2,
        "2.25.72",
        StudyInstanceUID="2.25.720",
        SeriesInstanceUID="2.25.721",
        **other,
    )
    chosen(page, address, folder=tmp_path / "cd")
    expect(page.locator(".support-dit")).to_have_text(
        "Ce support porte les images de 2 patients : choisissez."
    )
    theirs = page.get_by_role("group", name="MARTIN Zoé")
    expect(theirs).to_contain_text("Identité différente")
    expect(theirs).to_contain_text("La date de naissance n'est pas celle du télédossier.")
    button = page.get_by_role("button", name="Ajouter ")
    expect(button).to_have_text(re.compile("Ajouter 3 images"))
    theirs.get_by_role("checkbox").first.check()
    expect(button).to_be_disabled()
    seen(page, "repertoire-deux-patients")
    theirs.get_by_label("J'ai vérifié").check()
    expect(button).to_be_enabled()
    theirs.get_by_role("checkbox").first.uncheck()
    sent(page, "3 images envoyées.")
    page.wait_for_url(f"{address}/formulaire*")
    expect(page.locator("a.bande")).to_contain_text("3 images", timeout=30_000)
    with world.running.machine() as machine:
        assert machine.get("/dicom-web/studies/2.25.720/metadata").status_code == 404
    assert signed.errors == []
    page.context.close()


def test_a_cut_is_taken_up_where_it_was(world: World, browser: object, tmp_path: Path) -> None:
    """Network lost in the middle, then back; a closed tab; nothing is asked twice."""
    signed = signed_in(browser, world, "p08")  # type: ignore[arg-type]
    page = signed.page
    address = draft(world, page)
    images(tmp_path / "cd", 200, "2.25.81", StudyInstanceUID="2.25.810", SeriesInstanceUID="2.25.811")
    chosen(page, address, folder=tmp_path / "cd")
    posts: list[int] = []

    def failing(route: Route) -> None:
        posts.append(1)
        if len(posts) in (2, 3):
            route.abort("internetdisconnected")
        elif len(posts) == 5:
            page.evaluate("document.querySelector('[data-envoi-arret]').click()")
            route.abort("aborted")
        else:
            route.continue_()

    page.route("**/studies", failing)
    page.get_by_role("button", name="Ajouter ").click()
    expect(page.locator("[data-envoi-faute]")).to_contain_text("Envoi interrompu", timeout=30_000)
    expect(page.get_by_role("button", name="Reprendre l'envoi")).to_be_visible()
    seen(page, "repertoire-interrompu")
    page.unroute("**/studies")
    chosen(page, address, folder=tmp_path / "cd")  # as after a closed tab
    page.get_by_role("button", name="Ajouter ").click()
    expect(page.locator("[data-envoi-texte]")).to_have_text(
        re.compile(r"^200 images envoyées \(\d+ déjà présentes\)\.$"), timeout=30_000
    )
    page.wait_for_url(f"{address}/formulaire*")
    expect(page.locator("a.bande")).to_contain_text("200 images", timeout=30_000)
    assert signed.errors == []
    page.context.close()


def test_exams_of_the_local_server_are_ticked(world: World, browser: object, tmp_path: Path) -> None:
    """R087, R088: exams that this person sees, several at once."""
    signed = signed_in(browser, world, "p08")  # type: ignore[arg-type]
    page = signed.page
    first = draft(world, page)
    for n in (1, 2):
        place = {"StudyInstanceUID": f"2.25.9{n}0", "SeriesInstanceUID": f"2.25.9{n}1"}
        images(tmp_path / "cd" / str(n), n, f"2.25.9{n}", StudyDescription=f"Examen {n}", **place)
    chosen(page, first, folder=tmp_path / "cd")
    sent(page, "3 images envoyées.")
    page.wait_for_url(f"{first}/formulaire*")
    expect(page.locator("a.bande")).to_have_count(2, timeout=30_000)
    second = draft(world, page)
    page.goto(f"{second}/examens/ajouter?onglet=local")
    page.get_by_role("button", name="Actualiser").click()
    for n in (1, 2):
        page.get_by_role("checkbox", name=f"Examen {n}").check()
    seen(page, "local-resultats")
    page.get_by_role("button", name="Ajouter", exact=True).click()
    page.wait_for_url(f"{second}/formulaire*")
    expect(page.locator("a.bande")).to_have_count(2, timeout=30_000)
    page.goto(f"{second}/examens/ajouter?onglet=local")
    page.get_by_role("button", name="Actualiser").click()
    expect(page.get_by_role("checkbox", name="Examen 1")).to_be_disabled()
    assert signed.errors == []
    page.context.close()


def test_films_reports_and_documents_are_read_in_the_viewer(
    world: World, browser: object, tmp_path: Path
) -> None:
    """A film plays, a report and a document open, a tracing is drawn, a presentation is named."""
    signed = signed_in(browser, world, "p08")  # type: ignore[arg-type]
    page = signed.page
    address = draft(world, page)
    page.goto(f"{address}/examens/ajouter?onglet=creer")
    page.get_by_label("Description de l'examen").fill("Marche")
    page.get_by_label("Région du corps").select_option(label="Jambe")
    page.get_by_label("Côté").select_option(label="Gauche")
    (tmp_path / "bilan.pdf").write_bytes(PDF)
    page.get_by_label("Ajouter des images").set_input_files([FILMS / "phone.mp4", tmp_path / "bilan.pdf"])
    seen(page, "creer-rempli")
    page.get_by_role("button", name="Créer", exact=True).click()
    page.wait_for_url(f"{address}/formulaire*")
    (tmp_path / "cd").mkdir()
    for n, made in enumerate(readings()):
        place = {"StudyInstanceUID": "2.25.950", "SeriesInstanceUID": f"2.25.95{n + 1}", "StudyID": "1"}
        for keyword, value in {**place, **IDENTITY, "SOPInstanceUID": f"2.25.96{n}"}.items():
            setattr(made, keyword, value)
        making.write(tmp_path / "cd" / f"{n}", made)
    cine = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "Modality": "US", "SeriesDescription": "Ciné"}
    place = {"StudyInstanceUID": "2.25.950", "SeriesInstanceUID": "2.25.955", "SOPInstanceUID": "2.25.965"}
    make_stored(tmp_path / "cd" / "film", AVC, FILMS / "avc.ts", 1, **cine, **place)
    chosen(page, address, folder=tmp_path / "cd")
    sent(page, "5 images envoyées.")
    page.wait_for_url(f"{address}/formulaire*")
    expect(page.locator("a.bande")).to_have_count(2, timeout=30_000)
    page.locator("a.bande", has_text="Marche").click()
    film = page.locator("video")
    expect(film).to_be_visible()
    film.evaluate(
        "film => film.readyState || new Promise((ok, no) => { film.onloadeddata = ok; film.onerror = no; })"
    )
    assert film.evaluate("film => [film.videoWidth, film.videoHeight, film.duration]") == [64, 48, 1]
    assert (
        film.evaluate("async film => { film.muted = true; await film.play(); return film.paused }") is False
    )
    film.evaluate("film => film.ended || new Promise((done) => { film.onended = done; })")
    seen(page, "lecture-video")
    page.locator("[data-serie]").nth(1).click()
    expect(page.locator("iframe[title=Marche]")).to_be_visible()
    seen(page, "lecture-pdf")
    page.goto(page.url.rpartition("/")[0] + "/2.25.950")
    cine_film = page.locator("video")  # an ultrasound loop stored as a transport stream
    expect(cine_film).to_be_visible(timeout=20_000)
    cine_film.evaluate(
        "film => film.readyState || new Promise((ok, no) => { film.onloadeddata = ok; film.onerror = no; })"
    )
    assert cine_film.evaluate("film => film.videoWidth") == 64
    assert 0.9 <= cine_film.evaluate("film => film.duration") <= 1.1
    for n, text in enumerate(("Constatations", "", "Réglages d'affichage", "Images d'intérêt")):
        page.locator(f"[data-serie='2.25.95{n + 1}']").click()
        if n in (0, 3):
            expect(page.frame_locator("iframe").locator("body")).to_contain_text(text)
        elif n == 1:
            assert (
                page.locator(".v-lecture img").evaluate("img => img.decode().then(() => img.naturalWidth)")
                > 100
            )
        else:
            expect(page.locator(".v-lecture-dit")).to_contain_text(text)
        seen(page, f"lecture-{n}")
    assert signed.errors == []
    page.context.close()


IDENTITY = {
    "PatientName": "LABORDE^Henri", "PatientID": "AU-300003", "IssuerOfPatientID": "ch-auch",
    "PatientBirthDate": "19530517", "PatientSex": "M", "StudyDate": "20240808", "StudyTime": "0508",
}  # fmt: skip
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


def readings() -> list[Dataset]:
    """A report, an electrocardiogram, a presentation state, key images."""
    text = item("TEXT", codes.DCM.Finding, TextValue="Pas de lésion hémorragique.")
    size = item("NUM", codes.SCT.Length, MeasuredValueSequence=measured("12.5", codes.UCUM.Millimeter))
    findings = report(item("CONTAINER", codes.DCM.Findings, text, size), SeriesDescription="Compte rendu")
    keys = report(SeriesDescription="Sélection")
    keys.SOPClassUID, keys.Modality = "1.2.840.10008.5.1.4.1.1.88.59", "KO"
    keys.ConceptNameCodeSequence = coded(codes.DCM.OfInterest)
    tracing = dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    shown = making.dataset(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR", PixelData=None, SeriesDescription="",
        ContentLabel="FLECHES", ContentDescription="Flèches", ContentCreatorName="BENALI^Nadia",
    )  # fmt: skip
    return [findings, tracing, shown, keys]


def test_an_exam_made_of_photos(world: World, browser: object) -> None:
    page = signed_in(browser, world, "p08").page  # type: ignore[arg-type]
    address = draft(world, page)
    page.goto(f"{world.url}/dossiers")
    seen(page, "liste")
    page.get_by_role("link", name="Examen", exact=True).click()  # R091
    expect(page.get_by_role("heading", name="Pour quel télédossier ?")).to_be_visible()
    seen(page, "choisir-dossier")
    page.locator(f"a[href='{address.removeprefix(world.url)}/examens/ajouter?onglet=creer']").click()
    seen(page, "creer")
    picture = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(picture, "JPEG")
    page.get_by_label("Description de l'examen").fill("Plaie du bras")
    page.get_by_label("Ajouter des images").set_input_files(
        [{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture.getvalue()}]
    )
    field = page.get_by_label("Ajouter des images")
    button = page.get_by_role("button", name="Créer", exact=True)
    for name, file, said in (
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC ne sont pas prises"),
        ("b.mp4", (FILMS / "frag.mp4").read_bytes(), "enregistrée par fragments"),
    ):
        field.set_input_files([{"name": name, "mimeType": "image/heic", "buffer": file}])
        button.click()
        expect(page.locator("[data-creation-message]")).to_contain_text(said)
    field.set_input_files([{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture.getvalue()}])
    button.click()
    page.wait_for_url(f"{address}/formulaire*")
    expect(page.locator("a.bande")).to_contain_text("Plaie du bras", timeout=30_000)
    page.context.close()
