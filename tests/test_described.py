"""Schemathesis drives the running server by its own OpenAPI description: nothing is the server's fault."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.processes import unused_port
from tests.running import ROOT

TYPES = ("Patient", "ServiceRequest", "Observation", "Binary", "Bundle", "ValueSet")
KNOWN = {
    200,
    201,
    202,
    204,
    206,
    304,
    400,
    401,
    403,
    404,
    405,
    406,
    409,
    410,
    412,
    413,
    415,
    416,
    422,
    429,
    501,
}
FEW = settings(
    max_examples=12,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`serve` without authorization, on an empty store: the FHIR base."""
    folder = tmp_path_factory.mktemp("described")
    port = unused_port()
    environment = {
        **os.environ,
        "TELEDOSSIER_STORE": f"sqlite:///{folder}/t.db",
        "TELEDOSSIER_FILES": str(folder / "files"),
        "TELEDOSSIER_PORT": str(port),
        "TELEDOSSIER_AUTH": "open",
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "fhir_server", "serve"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url)
            yield f"{url}/fhir"
            assert process.poll() is None, "the server ended"
        finally:
            process.terminate()
            process.wait(20)


def _wait(url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the server is not ready")


def _wanted(path: str) -> bool:
    first = path.strip("/").partition("/")[0]
    return first in TYPES or first.startswith(("$", "_")) or first == ""


@pytest.mark.slow
def test_no_request_of_its_description_is_a_fault(server: str) -> None:
    """Every route of some types and of the system: a status of FHIR's, and an outcome with every error."""
    schema = schemathesis.openapi.from_url(f"{server}/openapi.json")
    driven: set[str] = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        if not _wanted(operation.path):
            continue

        @FEW
        @given(case=operation.as_strategy())
        def drive(case: Any) -> None:
            response = case.call(timeout=30)
            where = f"{case.method} {response.request.url}"
            assert response.status_code in KNOWN, f"{where}: {response.status_code} {response.text[:500]}"
            if (
                response.status_code >= 400
                and response.content
                and "json" in response.headers["content-type"]
            ):
                body = response.json()
                assert body.get("resourceType") == "OperationOutcome" or "errors" in body, where

        drive()
        driven.add(operation.path)
    assert {f"/{type}" for type in TYPES} <= driven
    assert {"/$export", "/_history", "/Patient/{id}"} <= driven
