"""One server for all checks: our own web tier, or the one that TELEDOSSIER_PROBE_URL names (a positive
control: what the standard asks of everybody, other servers answer too)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest

from tests.dicomweb.probe import seed
from tests.dicomweb.serving import Served, serving

GIVEN = os.environ.get("TELEDOSSIER_PROBE_URL", "")


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    if GIVEN:
        yield Served(GIVEN.rstrip("/"), folder, os.getpid(), folder)
        return
    with serving(folder) as started:
        yield started


@pytest.fixture(scope="package")
def base(served: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The DICOMweb address of a server that holds the seed."""
    for path in seed.files(tmp_path_factory.mktemp("seed")):
        content = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n--B--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=B'
        answer = httpx.post(f"{served.base}/studies", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 200, (path.name, answer.text)
    return served.base


@pytest.fixture
def dicom(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, timeout=30) as client:
        yield client
