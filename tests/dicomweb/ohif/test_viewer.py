"""OHIF in a real browser, on another origin, with a bearer token: what a reader of our images sees."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Request, Response, expect, sync_playwright

from tests.conftest import missing
from tests.dicomweb.ohif import studies, viewer
from tests.dicomweb.serving import ROOT, Served, serving

pytestmark = pytest.mark.peer("chromium")
GRAPHICS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--ignore-gpu-blocklist"]  # fmt: skip
SECONDS = 20_000  # milliseconds that a picture may take on a slow machine without a graphics card


@dataclass
class Site:
    """Where the viewer is, and the token that its reader brings."""

    url: str
    base: str
    token: str

    def study(self, uid: str) -> str:
        return f"{self.url}/viewer?StudyInstanceUIDs={uid}&token={self.token}"


def _command(folder: Path, served: Served, *words: str) -> str:
    environment = {"PYTHONPATH": str(ROOT), "TELEDOSSIER_BASE_URL": served.base.removesuffix("/dicom-web")}
    done = subprocess.run(
        [sys.executable, "-m", "fhir_server", *words], cwd=folder, env=environment, text=True,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def ohif(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The viewer as a site, its origin registered with a client that may read; the studies are stored."""
    try:
        folder = viewer.build()
    except viewer.NotFetched as reason:
        missing(str(reason))
    where, made = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("studies")
    found: dict[str, str] = {}
    with (
        viewer.site(folder, lambda: viewer.configuration(found["base"])) as url,
        serving(where, AUTH="smart") as served,
    ):
        found["base"] = served.base
        scope = ["--scope", "system/*.rs"]
        _command(where, served, "client", "add", "viewer", *scope, "--origin", url)
        _command(where, served, "client", "add", "modality", "--scope", "system/ImagingStudy.cruds")
        storing = _command(where, served, "token", "--client", "modality")
        headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {storing}"}
        every = [*studies.ct(made), studies.measured(made), *studies.many(made), *studies.papers(made)]
        for path in every:
            answer = httpx.post(f"{served.base}/studies", content=path.read_bytes(), headers=headers)
            assert answer.status_code == 200, (path.name, answer.text)
        yield Site(url, served.base, _command(where, served, "token", "--client", "viewer"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=GRAPHICS)
        yield started
        started.close()


@dataclass
class Log:
    """What the browser's network log has of our addresses."""

    base: str
    answers: list[tuple[int, str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def answered(self, response: Response) -> None:
        if response.url.startswith(self.base):
            kind = response.headers.get("content-type", "")
            self.answers.append((response.status, response.url.removeprefix(self.base), kind))

    def broken(self, request: Request) -> None:
        if request.url.startswith(self.base) and "ERR_ABORTED" not in (request.failure or ""):
            self.failed.append(f"{request.url} {request.failure}")

    def asked(self, part: str) -> list[str]:
        return [path for _status, path, _kind in self.answers if part in path]


@pytest.fixture
def opened(ohif: Site, browser: Browser) -> Iterator[Callable[[str], tuple[Page, Log]]]:
    """A fresh page at an address of the viewer; at the end no request of it may have failed."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB")
    context.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
    log = Log(ohif.base)

    def open(address: str) -> tuple[Page, Log]:
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("response", log.answered)
        page.on("requestfailed", log.broken)
        page.goto(address)
        return page, log

    yield open
    context.close()
    assert log.answers, "nothing was asked of our server"
    assert [one for one in log.answers if one[0] >= 400] == []
    assert log.failed == []


def shades(target: Locator) -> int:
    """How many different greys stand there."""
    image = Image.open(io.BytesIO(target.screenshot())).convert("L")
    return len(set(image.tobytes()))


def drawn(page: Page, at_least: int = 60) -> Locator:
    """The viewport, once it shows a picture and not a plain ground."""
    canvas = page.locator(".cornerstone-canvas").first
    expect(canvas).to_be_visible(timeout=SECONDS)
    _until(page, lambda: shades(canvas) >= at_least, "the viewport stays plain")
    return canvas


def _until(page: Page, holds: Callable[[], Any], otherwise: str) -> None:
    for _attempt in range(SECONDS // 250):
        if holds():
            return
        page.wait_for_timeout(250)
    raise AssertionError(otherwise)


def test_the_study_list_and_a_search_by_name(ohif: Site, opened: Callable[[str], tuple[Page, Log]]) -> None:
    page, log = opened(ohif.study(studies.CT_STUDY))
    drawn(page)
    page.locator('[data-cy="return-to-work-list"]').click()
    names = page.locator('[data-cy="study-list-results"] tr')
    expect(page.get_by_text("LABORDÉ, Hélène")).to_be_visible(timeout=SECONDS)
    for name, description in (
        ("LABORDÉ, Hélène", "Crâne sans injection"), ("MÜLLER, Zoë", "Syntaxes"), ("DURAND, Anne", "Papiers"),
    ):  # fmt: skip
        row = names.filter(has_text=name).first
        expect(row).to_contain_text(description)
    page.locator('#input-patientName, [data-cy="input-patientName"]').first.fill("labordé")
    expect(page.get_by_text("MÜLLER, Zoë")).to_have_count(0, timeout=SECONDS)
    expect(page.get_by_text("LABORDÉ, Hélène")).to_be_visible()
    assert log.asked("PatientName=")


def test_a_ct_is_drawn_and_scrolled(ohif: Site, opened: Callable[[str], tuple[Page, Log]]) -> None:
    page, log = opened(ohif.study(studies.CT_STUDY))
    canvas = drawn(page)
    expect(page.get_by_text("Axial").first).to_be_visible()
    expect(page.get_by_text("Crâne sans injection").first).to_be_visible()
    seen = {canvas.screenshot()}
    canvas.hover()
    for _step in range(studies.SLICES - 1):
        page.mouse.wheel(0, 120)
        page.wait_for_timeout(400)
        seen.add(canvas.screenshot())
    assert len(seen) == studies.SLICES
    for number in range(1, studies.SLICES + 1):
        assert log.asked(f"/instances/{studies.CT_STUDY}.1.{number}/frames/1")


def test_every_transfer_syntax_has_its_picture(ohif: Site, opened: Callable[[str], tuple[Page, Log]]) -> None:
    """The thumbnails are frames that the viewer fetched and decoded itself."""
    page, log = opened(ohif.study(studies.MANY_STUDY))
    drawn(page, 20)
    for number, name in enumerate(studies.KINDS, 1):
        thumbnails = page.locator('[data-cy="study-browser-thumbnail"]')
        thumbnail = thumbnails.filter(has=page.get_by_text(f"Kind {number}", exact=True)).first
        thumbnail.scroll_into_view_if_needed()
        picture = thumbnail.locator("img").first
        expect(picture).to_be_visible(timeout=SECONDS)
        _until(page, lambda picture=picture: shades(picture) > 8, f"{name} has no picture")
    kinds = {kind.split(";")[1].strip() for _s, path, kind in log.answers if "/frames/" in path}
    assert kinds >= {
        f'type="{kind}"'
        for kind in (
            "application/octet-stream", "image/jpeg", "image/jls", "image/jp2", "image/jphc",
            "image/dicom-rle",
        )
    }  # fmt: skip


def test_a_document_and_a_report(ohif: Site, opened: Callable[[str], tuple[Page, Log]]) -> None:
    page, log = opened(ohif.study(studies.PAPERS_STUDY))
    document = page.locator('[data-cy="study-browser-thumbnail-no-image"]').filter(has_text="Compte rendu")
    document.first.dblclick(timeout=SECONDS)
    shown = page.locator('object[type="application/pdf"]')
    expect(shown).to_have_attribute("data", re.compile("^blob:"), timeout=SECONDS)
    assert log.asked(f"/instances/{studies.PAPERS_STUDY}.1.1/bulkdata/00420011")
    assert log.asked(f"/series/{studies.PAPERS_STUDY}.2/metadata")


def test_a_measurement_of_a_report(ohif: Site, opened: Callable[[str], tuple[Page, Log]]) -> None:
    for attempt in range(3):  # on a busy machine OHIF now and then loses the click while it still loads
        page, _log = opened(ohif.study(studies.CT_STUDY))
        drawn(page)
        report = page.locator('[data-cy="study-browser-thumbnail-no-image"]').filter(has_text="Mesures")
        report.first.dblclick(timeout=SECONDS)
        measured = page.locator("svg text, .viewport-svg text").filter(has_text="42").first
        with suppress(AssertionError) if attempt < 2 else nullcontext():
            expect(measured).to_be_visible(timeout=SECONDS)
            return
