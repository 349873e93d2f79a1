"""The commands on a MongoDB-protocol server, as an operator types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.mongodb import ENGINES, FERRETDB
from tests.running import ROOT

PATIENT = {"resourceType": "Patient", "name": [{"family": "ESSAI"}], "active": True}


@pytest.fixture(params=[engine for engine in ENGINES if engine != "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environment(engine: str, store_url: Callable[[str], str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "TELEDOSSIER_STORE": store_url(engine),
        "TELEDOSSIER_AUTH": "open",
    }


def _run(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fhir_server", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def _serving(folder: Path, environment: dict[str, str], port: int) -> Iterator[tuple[httpx.Client, Path]]:
    said = folder / "serve.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fhir_server", "serve", "--port", str(port)],
            cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            until = time.monotonic() + 200  # FerretDB searches without an index
            while True:
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text()
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield client, said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert "Traceback" not in said.read_text(), said.read_text()


@pytest.mark.slow
def test_serve_load_and_check(
    tmp_path: Path, environment: dict[str, str], free_port: int, engine: str
) -> None:
    """One store for all commands: what one writes the others find."""
    migrated = _run(tmp_path, environment, "migrate")
    assert (migrated.returncode, "indexes created" in migrated.stdout) == (0, True), migrated
    with _serving(tmp_path, environment, free_port) as (client, said):
        made = client.post("/fhir/Patient", json=PATIENT)
        assert made.status_code == 201, made.text
        place = made.headers["location"].partition("/_history")[0]
        assert client.get(place).json()["name"] == PATIENT["name"]
        source = tmp_path / "more.ndjson"
        source.write_text("".join(json.dumps({**PATIENT, "id": f"l{n}"}) + "\n" for n in range(20)))
        assert _run(tmp_path, environment, "load", str(source)).returncode == 0
        found = client.get("/fhir/Patient?family=essai&_count=5&_sort=_id").json()
        assert (found["total"], len(found["entry"])) == (21, 5)
        several = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"request": {"method": "POST", "url": "Patient"}, "resource": PATIENT}] * 2,
        }
        answer = client.post("/fhir", json=several)
        if engine == FERRETDB:
            assert answer.status_code == 501
            assert "no transactions" in said.read_text()
        else:
            assert answer.status_code in (200, 501)
    whole = _run(tmp_path, environment, "check")
    assert (whole.returncode, whole.stdout) == (0, "all is whole\n"), whole


def test_another_schema_stops_every_command(
    tmp_path: Path, environment: dict[str, str], free_port: int
) -> None:
    from pymongo import MongoClient

    assert _run(tmp_path, environment, "migrate").returncode == 0
    with MongoClient[dict[str, object]](environment["TELEDOSSIER_STORE"]) as client:
        client.get_default_database().meta.update_one({"_id": "schema"}, {"$set": {"version": 999}})
    for command in ("migrate", "check"):
        done = _run(tmp_path, environment, command)
        assert (done.returncode, "schema 999" in done.stderr, done.stderr.count("\n")) == (1, True, 1), done


def test_a_server_that_is_not_there_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["TELEDOSSIER_STORE"] = "mongodb://u:secret@127.0.0.1:1/x?serverSelectionTimeoutMS=100"
    done = _run(tmp_path, environment, "migrate")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert "does not answer" in done.stderr
    assert "secret" not in done.stderr
