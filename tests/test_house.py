"""The house keeps its floors: import contracts, size of modules, a README in every room."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS

ROOT = Path(__file__).parent.parent
PACKAGES = ("profiles", "terminology", "fhir_server", "dicomweb", "smart_launch", "simulators")


def test_imports_go_downward_only() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kept, 0 broken" in done.stdout


def test_no_module_is_over_600_lines() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert len(sizes) > 50, "the house was not found"
    assert {name: size for name, size in sizes.items() if size > 600} == {}


def test_a_command_that_needs_only_the_engine_loads_no_web_and_no_images() -> None:
    heavy = {"fastapi", "pydantic", "numpy", "pydicom", "pynetdicom", "jinja2", "reportlab"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys, fhir_server.commands.user as _; print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert "fhir_server.interactions.engine" in loaded
    assert heavy & loaded == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_says_what_it_is_for(package: str) -> None:
    assert len((ROOT / package / "README.md").read_text("utf-8")) > 200


def test_every_benchmark_is_run_by_make_bench() -> None:
    started = "\nif __name__ == "
    found = {path.stem for path in (ROOT / "bench").glob("*.py") if started in path.read_text("utf-8")}
    assert found - {"__main__"} == set(BENCHMARKS)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_benchmark_finds_what_it_imports(name: str) -> None:
    """They are run by hand, and use what the tests share."""
    importlib.import_module(f"bench.{name}")


def test_the_project_names_no_machine() -> None:
    forbidden = ("/" + "work/", "/" + "root/", "/" + "farm/")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    found = []
    for name in listed:
        if name.endswith((".png", ".gz", ".zst", ".ttf", ".pdf")):
            continue
        text = (ROOT / name).read_text("utf-8", errors="replace")
        found += [f"{name}: {word}" for word in forbidden if word in text]
    assert found == []
