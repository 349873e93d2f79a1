"""Thousands of files from a real browser: all arrive, the browser's memory and the platform's stay flat."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.dicomweb import making
from tests.portal.test_browser import browser, sign_in
from tests.portal.test_exams_browser import draft
from tests.running import Running, demo

__all__ = ["browser"]  # a fixture
pytestmark = [pytest.mark.peer("chromium"), pytest.mark.slow]
FILES, SIDE = 2100, 256  # 131 kB each: 276 MB
MOST_GROWTH = 120_000_000  # bytes, of the web tier, and of the browser's processes together


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with demo(tmp_path_factory.mktemp("many")) as started:
        yield started


def disc(folder: Path) -> Path:
    """FILES slices in seven series, without DICOMDIR."""
    made = making.dataset(Rows=SIDE, Columns=SIDE, PixelData=None, StudyInstanceUID="2.25.3000")
    noise = np.random.default_rng(1).integers(0, 4096, SIDE * SIDE, dtype="<u2").tobytes()
    for n in range(FILES):
        series = n % 7
        made.SeriesInstanceUID, made.SOPInstanceUID = f"2.25.3000.{series}", f"2.25.3000.{series}.{n}"
        made.SeriesNumber, made.InstanceNumber = series + 1, n // 7 + 1
        made.PixelData = noise
        path = folder / f"S{series}" / f"I{n:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        making.write(path, made)
    return folder


def memory(pids: list[int]) -> int:
    """Bytes that these processes hold for themselves."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                total += int(line.split()[1]) * 1024
    return total


def below(root: int) -> dict[int, list[str]]:
    """The processes under this one, with the words of their commands."""
    parents, commands = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            commands[int(path.name)] = (path / "cmdline").read_bytes().decode().split("\0")
            parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: commands[pid] for pid in found if pid in commands}


def heap(page: Page) -> int:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.enable") or session.send("Performance.getMetrics")
    return int(next(one["value"] for one in metrics["metrics"] if one["name"] == "JSHeapUsedSize"))


def test_two_thousand_files(running: Running, browser: object, tmp_path: Path) -> None:
    cd = disc(tmp_path / "cd")
    signed = sign_in(browser, running, "p08")  # type: ignore[arg-type]
    page = signed.page
    address = draft(running, page)  # type: ignore[arg-type]
    page.goto(f"{address}/examens/ajouter?onglet=repertoire")
    web = [pid for pid, words in below(running.pid).items() if "serve" in words]
    own = [pid for pid, words in below(os.getpid()).items() if words[0].endswith("chromium")]
    before, plain = time.perf_counter(), heap(page)
    tier, chromium = memory(web), memory(own)
    page.locator("#dossier-dicom").set_input_files(cd)
    button = page.get_by_role("button", name=re.compile("Ajouter 2.100 images"))
    expect(button).to_be_visible(timeout=120_000)
    read = time.perf_counter()
    assert page.locator(".support-series input").count() == 7
    button.click()
    said = page.locator("[data-envoi-texte]")
    expect(said).to_have_text(
        re.compile(r"^\d[\d\s]* images sur 2.100 · \d+,\d Mo/s · reste "), timeout=60_000
    )
    expect(said).to_have_text(re.compile("^2.100 images envoyées"), timeout=240_000)
    ended = time.perf_counter()
    growth, grown, larger = heap(page) - plain, memory(web) - tier, memory(own) - chromium
    size = FILES * SIDE * SIDE * 2 / 1e6
    print(
        f"{FILES} files, {size:.0f} MB: read in {read - before:.1f} s, sent in {ended - read:.1f} s "
        f"({size / (ended - read):.0f} MB/s); heap {growth / 1e6:+.1f} MB, "
        f"browser {larger / 1e6:+.0f} MB, web tier {grown / 1e6:+.0f} MB"
    )
    assert growth < 20_000_000
    assert grown < MOST_GROWTH
    assert larger < MOST_GROWTH
    with running.machine() as machine:
        found = machine.get("/dicom-web/studies?StudyInstanceUID=2.25.3000&includefield=00201208").json()
        assert found[0]["00201208"]["Value"] == [FILES]
    assert signed.errors == []
    page.context.close()
