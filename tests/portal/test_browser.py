"""The portal's scripts in a real browser, on the platform as its users start it: the form that saves
itself, the viewer under mouse and keys. Requirements R070–R077, R157.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect, sync_playwright

from tests.processes import unused_ports

ROOT = Path(__file__).parents[2]
SCENARIO = Path(str(files("fhir_server") / "demo" / "scenario.yaml"))
pytestmark = pytest.mark.peer("chromium")


@dataclass(frozen=True)
class Demo:
    """The started platform."""

    url: str
    dimse: str
    password: str


@dataclass(frozen=True)
class Signed:
    """A browser page of one person; `types` are the media types of everything DICOMweb answered, `errors`
    what scripts threw.
    """

    page: Page
    types: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`teledossier demo` without exams; stopped as Ctrl-C does."""
    web, dimse, dpi = unused_ports(3)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TELEDOSSIER_PORT": str(web),
        "TELEDOSSIER_DIMSE_PORT": str(dimse),
    }
    command = [sys.executable, "-m", "fhir_server", "demo", "--no-exams", "--dpi-port", str(dpi)]
    folder = tmp_path_factory.mktemp("demo")
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not (found := re.search(r"password (\S+)", said)):
                line = process.stdout.readline()
                assert line, f"the platform ended: {said}"
                said += line
            yield Demo(f"http://127.0.0.1:{web}", f"127.0.0.1:{dimse}", found[1])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield started
        started.close()


def sign_in(browser: Browser, demo: Demo, person: str, width: int = 1440, height: int = 900) -> Signed:
    page = browser.new_context(locale="fr-FR", viewport={"width": width, "height": height}).new_page()
    types: list[str] = []
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def note(answer: Response) -> None:
        if "/dicom-web/" in answer.url:
            types.append(answer.headers.get("content-type", ""))

    page.on("response", note)
    page.goto(f"{demo.url}/connexion")
    page.get_by_label("Identifiant").fill(person)
    page.get_by_label("Mot de passe").fill(demo.password)
    page.get_by_role("button", name="Valider").click()
    page.wait_for_url("**/dossiers*")
    return Signed(page, types, errors)


def test_the_form_saves_itself_and_documents_join_without_touching_it(
    demo: Demo, browser: Browser, tmp_path: Path
) -> None:
    signed = sign_in(browser, demo, "p08", 390, 844)
    page = signed.page
    page.goto(f"{demo.url}/dossiers/nouveau")
    page.locator("input[name=workflow][value=avis-avc-aigu]").check()
    page.get_by_label("Nom (obligatoire)", exact=True).fill("ESSAI")
    page.get_by_label("IPP de l'établissement").check()
    page.get_by_label("Numéro").fill("AU-1")
    page.get_by_role("button", name="Ouvrir le formulaire").click()
    page.wait_for_url("**/formulaire")
    saved = page.locator("[data-etat-enregistrement]")
    page.locator("#commentaire").fill("Épouse joignable")  # before any answer: the form is empty
    expect(saved).to_contain_text("Enregistré à")
    page.locator("label.option", has_text="Normale").click()
    page.get_by_role("button", name="Envoyer").click()
    expect(page.locator("[data-focus] li")).to_have_count(5)  # recipient, onset, NIHSS, signs, question
    expect(page.locator("#e-q-nihss")).to_have_text("Ce renseignement est obligatoire.")
    page.locator("#q-nihss").fill("14")
    expect(page.locator("#e-q-nihss")).to_be_empty()
    expect(saved).to_contain_text("Enregistré à")
    letter = tmp_path / "courrier.pdf"
    letter.write_bytes(b"%PDF-1.4")
    page.locator("#q-signs").fill("Aphasie")  # not saved yet when the document joins
    page.locator("#fichier").set_input_files(letter)
    page.get_by_role("button", name="Joindre").click()
    expect(page.locator(".document")).to_contain_text("courrier.pdf")
    expect(saved).to_contain_text("Enregistré à")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#q-signs")).to_have_value("Aphasie")
    expect(page.locator("#q-nihss")).to_have_value("14")
    expect(page.locator("#commentaire")).to_have_value("Épouse joignable")
    page.locator("summary", has_text="Annuler").click()
    page.get_by_role("button", name="Supprimer le brouillon").click()
    expect(page.get_by_role("status").first).to_contain_text("Le brouillon est supprimé.")
    assert signed.errors == []


def test_the_viewer_under_mouse_and_keys(demo: Demo, browser: Browser, tmp_path: Path) -> None:
    send = [sys.executable, "-m", "simulators.modality", "--scenario", str(SCENARIO), "--exam", "ex01"]
    subprocess.run([*send, "--to", demo.dimse, "--folder", str(tmp_path)], cwd=ROOT, check=True, timeout=120)
    signed = sign_in(browser, demo, "p05")
    page = signed.page
    page.goto(f"{demo.url}/dossiers?vue=tous")
    page.locator("[data-cle]", has_text="TD-2024-000001").get_by_role("link").click()
    band = page.get_by_role("link", name="Voir les images")
    expect(band).to_contain_text("412 images", timeout=30_000)
    band.click()
    scene = page.locator("[data-scene='1']")
    place, window, zoom = (scene.locator(f"[data-{name}]") for name in ("position", "fenetre", "zoom"))
    expect(scene).to_have_attribute("data-affiche", "35")
    scene.hover()
    page.mouse.wheel(0, 120)
    expect(place).to_have_text("Image 36 / 69")
    for key, image in (("ArrowDown", 37), ("PageDown", 47), ("ArrowUp", 46), ("Home", 1), ("End", 69)):
        page.keyboard.press(key)
        expect(scene).to_have_attribute("data-affiche", str(image))
        expect(place).to_have_text(f"Image {image} / 69")
    origin = window.inner_text()
    drag(page, "right", 60, 0)
    expect(window).not_to_have_text(origin)
    page.keyboard.press("+")
    expect(zoom).to_have_text("Zoom 120 %")
    page.keyboard.press("i")
    expect(page.get_by_role("button", name="Inverser")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Rétablir").click()
    expect(window).to_have_text(origin)
    expect(zoom).to_have_text("Zoom 100 %")
    expect(page.get_by_role("button", name="Inverser")).to_have_attribute("aria-pressed", "false")
    drag(page, "left", 0, -90)
    expect(place).to_have_text("Image 59 / 69")
    scene.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-serie][aria-selected=true]")).to_contain_text("ADC")
    expect(place).to_have_text("Image 35 / 69")
    expect(scene).to_have_attribute("data-affiche", "35")
    assert {kind.split(";")[0] for kind in signed.types} == {"application/dicom+json", "image/jpeg"}
    assert signed.errors == []


@pytest.mark.slow
def test_two_exams_side_by_side_scroll_to_the_same_place_of_the_body(
    demo: Demo, browser: Browser, tmp_path: Path
) -> None:
    """R097: an exam beside its prior."""
    for exam in ("ex02", "ex04"):
        send = [sys.executable, "-m", "simulators.modality", "--scenario", str(SCENARIO), "--exam", exam]
        subprocess.run([*send, "--to", demo.dimse, "--folder", str(tmp_path)], cwd=ROOT, check=True)
    signed = sign_in(browser, demo, "p01")
    page = signed.page
    page.goto(f"{demo.url}/dossiers?vue=tous")
    page.locator("[data-cle]", has_text="TD-2024-000002").get_by_role("link").click()
    bands = page.get_by_role("link", name="Voir les images")
    expect(bands).to_have_count(2, timeout=40_000)
    expect(bands.first).to_contain_text("402 images")
    expect(bands.last).to_contain_text("620 images")
    bands.first.click()
    left, right = (page.locator(f"[data-scene='{side}']") for side in (1, 2))
    expect(left).to_have_attribute("data-affiche", "68")
    expect(right).to_be_hidden()
    page.keyboard.press("c")
    expect(right).to_have_attribute("data-affiche", "78")
    left.focus()
    page.keyboard.press("PageDown")
    for scene, image in ((left, "Image 78 / 134"), (right, "Image 78 / 155")):
        expect(scene.locator("[data-position]")).to_have_text(image)
        expect(scene.locator("[data-coupe]")).to_contain_text("Position 97,5 mm")
    page.keyboard.press("l")
    page.keyboard.press("PageDown")
    expect(left.locator("[data-position]")).to_have_text("Image 88 / 134")
    expect(right.locator("[data-position]")).to_have_text("Image 78 / 155")
    page.reload()  # what is compared stands in the address
    expect(right).to_have_attribute("data-affiche", "78")
    page.get_by_role("button", name="Comparer").click()
    expect(right).to_be_hidden()
    assert "avec=" not in page.url
    assert signed.errors == []


def drag(page: Page, button: str, dx: int, dy: int) -> None:
    """From the middle of the picture, in steps as a hand does."""
    box = page.locator("[data-scene='1']").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button="right" if button == "right" else "left")
    page.mouse.move(x + dx, y + dy, steps=6)
    page.mouse.up(button="right" if button == "right" else "left")
