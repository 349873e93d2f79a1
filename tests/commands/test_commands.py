"""The command line, as an operator types it: real processes, in a folder of their own."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dicomweb.images import open_images
from fhir_server.__main__ import COMMANDS
from fhir_server.commands.serve import prepare
from fhir_server.opening import opened
from fhir_server.settings import Settings
from fhir_server.store import open_store
from tests.running import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """`teledossier …` in an empty folder; extra settings as keywords."""

    def run(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TELEDOSSIER_")}
        done = subprocess.run(
            [sys.executable, "-m", "fhir_server", *arguments], cwd=tmp_path, input=stdin, text=True,
            env={**kept, "PYTHONPATH": str(ROOT), **settings}, capture_output=True, timeout=60,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def _patient(id: str, family: str = "ESSAI") -> dict[str, object]:
    return {"resourceType": "Patient", "id": id, "name": [{"family": family}]}


def _ndjson(*resources: dict[str, object]) -> bytes:
    return b"".join(json.dumps(resource).encode() + b"\n" for resource in resources)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage:")


def test_load_every_kind_of_source(run: Run, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "a.ndjson").write_bytes(_ndjson(_patient("a1"), _patient("a2")))
    (sources / "b.ndjson.gz").write_bytes(gzip.compress(_ndjson(_patient("b1"))))
    (sources / "c.ndjson.bz2").write_bytes(bz2.compress(_ndjson(_patient("c1"))))
    entries = [{"resource": _patient("d1")}, {"resource": _patient("d2")}]
    (sources / "d.json").write_text(
        json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    )
    (sources / "ignored.txt").write_text("not a resource")
    first = run("load", "sources")
    assert (
        first.returncode,
        "6 resources: 6 created, 0 updated, 0 unchanged, 0 refused" in first.stdout,
    ) == (0, True)
    again = run("load", "sources")
    assert "6 resources: 0 created, 0 updated, 6 unchanged, 0 refused" in again.stdout
    (sources / "a.ndjson").write_bytes(
        _ndjson(_patient("a1", "AUTRE"), _patient("a2"), _patient("a1", "TIERS"))
    )
    changed = run("load", "sources/a.ndjson")
    assert "3 resources: 0 created, 2 updated, 1 unchanged, 0 refused" in changed.stdout


def test_load_names_what_it_refuses_and_keeps_the_rest(run: Run, tmp_path: Path) -> None:
    wrong = {"resourceType": "Patient", "id": "x2", "gender": "?"}
    lines = (
        _ndjson(_patient("x1")) + b"{broken\n" + _ndjson(wrong, {"resourceType": "Patient"}, _patient("x5"))
    )
    (tmp_path / "some.ndjson").write_bytes(lines)
    done = run("load", "some.ndjson")
    assert done.returncode == 1
    assert "5 resources: 2 created, 0 updated, 0 unchanged, 3 refused" in done.stdout
    for place in (
        "some.ndjson:2:",
        "some.ndjson:3: Patient.gender",
        "some.ndjson:4: has no id",
    ):
        assert place in done.stderr, done.stderr


def test_accounts_of_people(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.ndjson").write_bytes(_ndjson({"resourceType": "Practitioner", "id": "p98"}))
    assert run("load", "p.ndjson").returncode == 0
    unknown = run("user", "add", "x", "--practitioner", "Practitioner/nobody", "--password", "long enough 1")
    assert (unknown.returncode, "Practitioner/nobody is not in the directory" in unknown.stderr) == (1, True)
    assert (
        run(
            "user", "add", "dr98", "--practitioner", "Practitioner/p98", stdin="long enough 1\n" * 2
        ).returncode
        == 0
    )
    assert run("user", "list").stdout == "dr98\tPractitioner/p98\tactive\n"
    assert run("user", "disable", "dr98").returncode == 0
    assert run("user", "list").stdout == "dr98\tPractitioner/p98\tdisabled\n"
    assert run("user", "disable", "nobody").returncode == 1


def test_accounts_of_machines_and_tokens(run: Run) -> None:
    added = run("client", "add", "reporting", "--scope", "system/*.rs", "--name", "Reports")
    assert added.returncode == 0
    assert "secret " in added.stdout
    assert run("client", "list").stdout == "reporting\tclient_secret_basic\tsystem/*.rs\tReports\n"
    assert run("client", "add", "reporting", "--scope", "system/*.rs").returncode == 1
    assert run("client", "add", "other", "--scope", "system/*.sr").returncode == 1
    token = run("token", "--client", "reporting", "--scope", "system/Task.rs")
    assert token.returncode == 0
    assert token.stdout.strip().count(".") == 2
    assert run("token", "--client", "reporting", "--scope", "system/*.cruds").returncode in (0, 1)
    assert run("client", "remove", "reporting").returncode == 0
    assert run("token", "--client", "reporting").returncode == 1


def test_registered_records(run: Run, tmp_path: Path) -> None:
    (tmp_path / "o.ndjson").write_bytes(_ndjson({"resourceType": "Organization", "id": "ch-x", "name": "X"}))
    assert run("load", "o.ndjson").returncode == 0
    assert (
        run("dpi", "add", "https://dpi.example/fhir", "--organization", "Organization/ch-x").returncode == 0
    )
    assert run("dpi", "list").stdout.startswith("https://dpi.example/fhir\tOrganization/ch-x\tteledossier\t")
    assert run("dpi", "add", "http://dpi.example/fhir", "--organization", "ch-x").returncode == 1
    assert run("dpi", "remove", "https://dpi.example/fhir").returncode == 0
    assert run("dpi", "remove", "https://dpi.example/fhir").returncode == 1


def test_check_finds_what_is_damaged(run: Run, tmp_path: Path) -> None:
    large = {"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": "QUJD" * 100_000}
    (tmp_path / "b.ndjson").write_bytes(_ndjson(large, _patient("ok")))
    assert run("load", "b.ndjson").returncode == 0
    whole = run("check")
    assert (whole.returncode, whole.stdout) == (0, "all is whole\n")
    kept = [path for path in (tmp_path / "var" / "files").rglob("*") if path.is_file()]
    assert len(kept) == 1
    kept[0].chmod(0o644)
    kept[0].write_bytes(b"another")
    damaged = run("check")
    assert damaged.returncode == 1
    assert "Binary/b1: its file is not what was acknowledged" in damaged.stdout
    kept[0].unlink()
    assert "Binary/b1: its file is missing" in run("check").stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"TELEDOSSIER_COLOUR": "red"}, "TELEDOSSIER_COLOUR is not a setting"),
        ({"TELEDOSSIER_AUTH": "open", "TELEDOSSIER_HOST": "0.0.0.0"}, "loopback"),
        ({"TELEDOSSIER_STORE": "postgres://x/y"}, "TELEDOSSIER_STORE"),
    ],
)
def test_an_unsafe_or_unknown_setting_stops_the_start(run: Run, settings: dict[str, str], said: str) -> None:
    for command in ("serve", "worker", "check"):
        done = run(command, **settings)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr


def test_a_store_of_another_version_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("check").returncode == 0
    with sqlite3.connect(tmp_path / "var" / "teledossier.db") as connection:
        connection.execute("PRAGMA user_version=999")
    connection.close()
    done = run("check")
    assert (done.returncode, "schema 999" in done.stderr) == (1, True), done.stderr


DATABASES = ("teledossier-dicom.db", "teledossier-transfers.db", "teledossier-gateways.db")


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    """The folder of a platform's databases, each made and empty."""
    folder = tmp_path / "var"
    settings = Settings(store=f"sqlite:///{folder}/teledossier.db", files=str(folder / "files"))
    open_images(settings, open_store(settings)).close()
    return folder


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=999")


def rubbish(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "harm"), [*zip(DATABASES, (newer, rubbish, folder), strict=True), (DATABASES[0], rubbish)]
)
def test_a_database_that_cannot_be_used_stops_the_start_in_one_line(
    run: Run, databases: Path, name: str, harm: Callable[[Path], None]
) -> None:
    harm(databases / name)
    done = run("serve", "--port", "1")
    assert (done.returncode, name in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr


def test_check_reads_every_database(run: Run, databases: Path) -> None:
    """Pages within the files are damaged: they open, and are not whole."""
    for name in DATABASES[:2]:
        pages = bytearray((databases / name).read_bytes())
        pages[4096 * 2 : 4096 * 6] = b"\x55" * 4096 * 4
        (databases / name).write_bytes(pages)
    done = run("check")
    assert done.returncode == 1
    told = {line.split(":")[0] for line in done.stdout.splitlines()}
    assert told == {"index of images", "the transfers"}, done.stdout


def test_check_says_how_far_the_store_can_be_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.ndjson").write_bytes(_ndjson(*(_patient(f"p{n}", "X" * 900) for n in range(300))))
    assert run("load", "p.ndjson").returncode == 0
    store = tmp_path / "var" / "teledossier.db"
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = bytearray(store.read_bytes())
    pages[len(pages) // 4096 // 2 * 4096 : -4096] = b"\x55" * len(
        pages[len(pages) // 4096 // 2 * 4096 : -4096]
    )
    store.write_bytes(pages)
    done = run("check")
    assert (done.returncode, "store: " in done.stdout) == (1, True), done.stdout + done.stderr
    assert "XXX" not in done.stdout + done.stderr


def test_arguments_that_are_no_text_are_refused(run: Run, tmp_path: Path) -> None:
    odd = os.fsdecode(b"a\xff")
    for words in (
        ("client", "add", "one", "--scope", "system/*.rs", "--name", odd),
        ("user", "disable", odd),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert f"Error: argument {len(words)} is not UTF-8\n" in done.stderr
    (tmp_path / odd).mkdir()
    ((tmp_path / odd) / "p.ndjson").write_bytes(_ndjson(_patient("p1")))
    assert run("load", odd).returncode == 0


@pytest.mark.parametrize("keys", ["[]", '{"keys": [7]}', "null", "[" * 9000])
def test_what_is_no_key_set_is_refused(run: Run, tmp_path: Path, keys: str) -> None:
    (tmp_path / "keys.json").write_text(keys)
    done = run("client", "add", "one", "--scope", "system/*.rs", "--jwks", "keys.json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr


async def test_what_serves_has_our_definitions_first(tmp_path: Path) -> None:
    """On an empty store too: the portal's forms are read from there. Again changes nothing."""
    settings = Settings(store=f"sqlite:///{tmp_path}/t.db", files=str(tmp_path / "files"))
    await prepare(settings)
    async with opened(settings) as platform:
        for form in ("Questionnaire/avis-avc-aigu", "PlanDefinition/avis-avc-aigu"):
            assert (await platform.fhir.read(*form.split("/")))["meta"]["versionId"] == "1"
    await prepare(settings)
    async with opened(settings) as platform:
        found = await platform.fhir.read("CodeSystem", "step")
    assert found["meta"]["versionId"] == "1"


def test_an_occupied_port_is_named(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("demo", "--no-exams", TELEDOSSIER_PORT=port)
        assert (done.returncode, f"port 127.0.0.1:{port} is not free" in done.stderr) == (1, True), (
            done.stderr
        )


def test_a_missing_source_is_named(run: Run) -> None:
    done = run("load", "nothing.ndjson")
    assert (done.returncode, done.stderr) == (1, "teledossier: No such file: nothing.ndjson\n")
