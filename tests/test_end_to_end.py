"""The main job, whole and on real parts: one click in the DPI, images by DCMTK, reading seen live, answer,
report.

The platform runs as its users start it (`teledossier demo`), in processes of its own; two browsers are the
caller and
the expert; DCMTK's storescu is the modality; processes are killed on the way. It follows the AVC file of the
demonstration. Requirements R026–R028, R040–R049, R078, R103–R105, R115–R116.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pypdf import PdfReader

from simulators.modality.exams import read_scenario
from simulators.modality.generate import generate
from tests.running import Running, demo

SCENARIO = Path(str(files("fhir_server") / "demo" / "scenario.yaml"))
CHROMIUM, STORESCU = "/usr/bin/chromium", "/usr/bin/storescu"
pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("dcmtk")]
SEEN_WITHIN = 2.0  # seconds, R103


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with demo(tmp_path) as started:
        yield started


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


def _open(browser: Browser) -> BrowserContext:
    context = browser.new_context(locale="fr-FR", timezone_id="Europe/Paris")
    context.set_default_timeout(15_000)
    return context


def _sign_in(context: BrowserContext, running: Running, who: str) -> Page:
    page = context.new_page()
    page.goto(running.url)
    page.fill("[name=identifiant]", who)
    page.fill("[name=mot_de_passe]", running.password)
    page.click("button:has-text('Valider')")
    page.wait_for_url("**/dossiers")
    return page


def _click_in_the_dpi(context: BrowserContext, running: Running) -> Page:
    page = context.new_page()
    page.goto(running.dpi)
    page.select_option("[name=professionnel]", "ps-p08")
    page.click("text=Ouvrir ma session")
    page.click("text=LABORDE")
    page.click("text=TLE/TLI")
    page.wait_for_url("**/formulaire")
    return page


def _step(page: Page, code: str, text: str = "") -> None:
    """Take a step by its editor, and wait until the page shows the state after it."""
    editor = page.locator(f"[data-etape='{code}']")
    editor.locator("summary").click()
    if text:
        editor.locator("textarea").fill(text)
    with page.expect_response(lambda answer: answer.url.endswith("/etapes")) as answer:
        editor.locator("button[type=submit]").click()
    assert answer.value.status in (200, 204, 303), answer.value.status
    page.wait_for_load_state()


def test_one_click_to_a_signed_report(running: Running, browser: Browser, tmp_path: Path) -> None:
    # One click, no password: the form opens with everything the record knows (R026–R028, R040, R041, R049).
    caller = _open(browser)
    form = _click_in_the_dpi(caller, running)
    shown = form.inner_text("body")
    for known in (
        "LABORDE Henri", "17/05/1953", "Auch", "1 53 05 32 990 103 37", "Dr Nadia Benali", "89990000088",
        "CH Auch (démo)", "Urgences", "05 36 49 00 08",
    ):  # fmt: skip
        assert known in shown, known
    id = form.url.split("/")[-2]

    # The request leaves before any image has come.
    form.check("[value='Organization/neurovasc-tls']")
    form.fill("[name=q-nihss]", "14")
    form.fill("[name=q-signs]", "Hémiplégie droite, aphasie globale")
    form.fill("[name=q-question]", "Indication de thrombolyse et de thrombectomie ?")
    form.click("button:has-text('Envoyer')")
    form.wait_for_url(f"**/dossiers/{id}*")
    expect(form.locator("body")).to_contain_text("Pas encore lu")

    # What was acknowledged is there after a kill of the web tier.
    running.kill("serve")
    running.wait_ready()
    assert running.get(f"ServiceRequest/{id}").json()["status"] == "active"

    # The exam comes by DCMTK and finds its télédossier by the INS; the node is killed half-way and sent to
    # again.
    study, count = _send_exam(running, tmp_path)
    _until(lambda: running.get(f"ImagingStudy?basedon=ServiceRequest/{id}").json()["total"] == 1, 30)

    def exams() -> dict[str, Any]:
        return running.get(f"ImagingStudy?basedon=ServiceRequest/{id}").json()["entry"][0]["resource"]

    _until(lambda: exams()["numberOfInstances"] == count, 30)
    exam = exams()
    assert exam["identifier"][0]["value"] == f"urn:oid:{study}"

    # The expert opens it: the caller sees who read it, without reload, within two seconds (R103, R104).
    caller_page = caller.new_page()
    caller_page.goto(f"{running.url}/dossiers/{id}")
    expect(caller_page.locator("body")).to_contain_text("Pas encore lu")
    expert = _open(browser)
    desk = _sign_in(expert, running, "p05")
    expect(desk.locator("body")).to_contain_text("LABORDE")
    with desk.expect_response(lambda answer: answer.request.method == "POST" and answer.ok):
        desk.goto(f"{running.url}/dossiers/{id}")
    began = time.monotonic()
    mark = re.compile(r"Dossier lu par Dr Durand le \d\d/\d\d/\d{4} à \d\dh\d\d")
    expect(caller_page.locator("[data-lu]")).to_have_text(mark)
    assert time.monotonic() - began < SEEN_WITHIN

    # Images: rendered frames only; no DICOM file goes to the browser.
    _look_at_images(desk, running, id, study)

    # take, call, answer, acknowledge, sign: the file closes (R105, R115, R116).
    desk.goto(f"{running.url}/dossiers/{id}")
    _step(desk, "take")
    _step(caller_page, "log-call", "Décision orale : thrombolyse puis transfert")
    running.kill("worker")
    _step(desk, "answer", "Thrombolyse IV sans délai, transfert au CHU pour thrombectomie.")
    caller_page.reload()
    expect(caller_page.locator("body")).to_contain_text("transfert au CHU pour thrombectomie")
    _step(caller_page, "acknowledge", "Avis reçu")
    desk.reload()
    _step(desk, "sign-report")
    assert running.get(f"ServiceRequest/{id}").json()["status"] == "completed"

    _read_report(running, id)
    steps = [
        one["resource"]["activity"]["coding"][0]["code"]
        for one in running.get(f"Provenance?target=ServiceRequest/{id}&_sort=recorded&_count=100").json()[
            "entry"
        ]
    ]
    for code in ("send", "exam-attached", "read", "take", "log-call", "answer", "acknowledge", "sign-report"):
        assert code in steps, (code, steps)

    audited = running.get(f"AuditEvent?entity=ServiceRequest/{id}&_count=0").json()["total"]
    assert audited >= len([code for code in steps if code != "exam-attached"]), (audited, steps)

    # A stranger is told nothing: not by the page, not by FHIR, not by DICOMweb.
    stranger = _open(browser)
    elsewhere = _sign_in(stranger, running, "p15")
    for path in (f"/dossiers/{id}", f"/fhir/ServiceRequest/{id}", f"/dicom-web/studies/{study}/metadata"):
        assert elsewhere.request.get(running.url + path).status == 404, path
    assert (
        elsewhere.request.get(f"{running.url}/fhir/Patient?identifier=153053299010337").json()["total"] == 0
    )


def _send_exam(running: Running, folder: Path) -> tuple[str, int]:
    """A stroke MRI of the demonstration's patient, made now, sent by storescu through a kill of the node."""
    exam = replace(
        read_scenario(SCENARIO)["ex01"], study_uid="2.25.1234567890123456789", accession="AUCH-E2E-1",
        moment=datetime.now(ZoneInfo("Europe/Paris")).replace(tzinfo=None) - timedelta(minutes=5),
        series=2, images=40,
    )  # fmt: skip
    made = generate(exam, folder / "exam")
    assert len(made) == 40
    command = [STORESCU, "-aec", "TELEDOSSIER", "127.0.0.1", str(running.dimse_port)]
    subprocess.run([*command, *map(str, made[:20])], check=True, timeout=60)
    running.kill("dimse")
    deadline = time.monotonic() + 30
    while subprocess.run([*command, *map(str, made[15:])], capture_output=True, timeout=60).returncode != 0:
        assert time.monotonic() < deadline, "the node did not come back"
        time.sleep(0.3)
    return exam.study_uid, len(made)


def _look_at_images(desk: Page, running: Running, id: str, study: str) -> None:
    types: list[str] = []
    desk.on("response", lambda answer: types.append(answer.headers.get("content-type", "")))
    with desk.expect_response(lambda answer: "/rendered" in answer.url and answer.ok):
        desk.goto(f"{running.url}/dossiers/{id}/images/{study}")
    with desk.expect_response(lambda answer: "/rendered" in answer.url and answer.ok):
        desk.keyboard.press("End")
    assert any(kind.startswith("image/") for kind in types)
    assert not [kind for kind in types if "application/dicom" in kind and "json" not in kind]


def _read_report(running: Running, id: str) -> None:
    report = running.get(f"DiagnosticReport?based-on=ServiceRequest/{id}").json()["entry"][0]["resource"]
    assert report["status"] == "final"
    binary = report["presentedForm"][0]["url"].split("/fhir/")[-1]
    pdf = httpx.get(
        f"{running.url}/fhir/{binary}",
        headers={"Authorization": f"Bearer {running.token()}", "Accept": "application/pdf"},
    ).raise_for_status()
    text = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf.content)).pages)
    for carried in ("LABORDE", "89990000088", "89990000054", "310", "thrombectomie"):
        assert carried in text, carried
    assert re.sub(r"\s", "", text).count("153053299010337") >= 1


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.3)
