"""`teledossier reindex`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fhir_server import opening
from fhir_server import settings as config
from fhir_server.access import SYSTEM
from fhir_server.commands.reindex import command
from fhir_server.conformance import reindex
from fhir_server.interactions.search import search
from tests.rest.test_search_parameters import OWN, patient


@pytest.fixture(autouse=True)
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELEDOSSIER_STORE", f"sqlite:///{tmp_path}/t.db")
    monkeypatch.setattr(reindex, "GRACE", 0.0)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


async def fill() -> None:
    async with opening.opened(config.load()) as platform:
        await platform.fhir.update(patient("a", "Zouzou"))
        await platform.fhir.update(OWN)


async def hits() -> int:
    async with opening.opened(config.load()) as platform:
        bundle = await search(platform.engine, SYSTEM, "Patient", [("nickname", "zou")])
        return len(bundle["entry"])


def test_what_is_new_what_is_named_and_everything() -> None:
    asyncio.run(fill())
    first = run()
    assert (first.exit_code, first.stdout) == (0, "1 search parameter indexed\n")
    assert asyncio.run(hits()) == 1
    assert run().stdout == "0 search parameters indexed\n"
    assert run(OWN["url"]).stdout == "1 search parameter indexed\n"
    assert run("--all").stdout == "everything indexed\n"
    assert asyncio.run(hits()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["urn:none"], 1, "has the URL urn:none"),
        (["urn:x", "--all"], 2, "not both"),
        (["--most"], 2, "No such option"),
    ],
)
def test_what_is_refused(arguments: list[str], code: int, told: str) -> None:
    asyncio.run(fill())
    done = run(*arguments)
    assert (done.exit_code, told in done.output) == (code, True)
