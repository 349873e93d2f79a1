"""`teledossier package`: any FHIR package file is taken whole, or refused in one line and nothing written."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fhir_server.commands.package import command
from fhir_server.opening import make_engine
from fhir_server.settings import Settings
from fhir_server.store import open_store
from profiles.outcomes import TeledossierError
from tests.profiles.schema.profile import element, found, profile

Json = dict[str, Any]
STRICT = profile("Patient", element("Patient.gender", min=1), url="https://example.org/strict")
MANIFEST = {
    "name": "example.guide",
    "version": "1.2.0",
    "fhirVersions": ["4.0.1"],
    "dependencies": {"hl7.fhir.r4.core": "4.0.1", "hl7.terminology.r4": "7.1.0"},
}


def tgz(path: Path, files: dict[str, Any]) -> Path:
    """A package file with these members."""
    with tarfile.open(path, "w:gz") as package:
        for name, content in files.items():
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(body)
            package.addfile(member, io.BytesIO(body))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    monkeypatch.setenv("TELEDOSSIER_PACKAGES", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_install_list_use_remove(tmp_path: Path, folder: Path) -> None:
    file = tgz(
        tmp_path / "g.tgz",
        {
            "package/package.json": MANIFEST,
            "package/StructureDefinition-strict.json": STRICT,
            "package/other/x.json": b"{",
            "package/example/Patient-x.json": {"resourceType": "Patient"},
        },
    )
    done = run("install", str(file))
    assert done.exit_code == 0
    assert "example.guide 1.2.0 installed: 1 StructureDefinition" in done.output
    assert "hl7.terminology.r4 7.1.0" in done.output
    assert "hl7.fhir.r4.core" not in done.output
    assert (
        "example.guide\t1.2.0\tinstalled\t1 StructureDefinition\tlacks hl7.terminology.r4"
        in run("list").output
    )

    settings = Settings(store=f"sqlite:///{tmp_path}/t.db", packages=str(folder))
    patient = {"resourceType": "Patient", "meta": {"profile": [STRICT["url"]]}}
    issues = make_engine(settings, open_store(settings)).validator.validate(patient)
    assert found(issues) == {("missing-element", "Patient.gender")}

    again = tgz(tmp_path / "h.tgz", {"package/package.json": {**MANIFEST, "version": "2.0.0"}})
    assert "example.guide 2.0.0 installed: no definitions" in run("install", str(again)).output
    assert [path.name for path in folder.iterdir()] == ["example.guide.zip"]
    assert run("remove", "example.guide").exit_code == 0
    assert list(folder.iterdir()) == []
    assert isinstance(run("remove", "example.guide").exception, TeledossierError)


WRONG: dict[str, dict[str, Any]] = {
    "no manifest": {"package/StructureDefinition-strict.json": STRICT},
    "a name that is a path": {"package/package.json": {**MANIFEST, "name": "../../evil"}},
    "another FHIR": {"package/package.json": {**MANIFEST, "fhirVersions": ["5.0.0"]}},
    "the standard itself": {"package/package.json": {**MANIFEST, "name": "hl7.fhir.r4.core"}},
    "no JSON": {"package/package.json": MANIFEST, "package/a.json": b"{"},
}


@pytest.mark.parametrize("name", WRONG)
def test_refused(tmp_path: Path, folder: Path, name: str) -> None:
    done = run("install", str(tgz(tmp_path / "wrong.tgz", WRONG[name])))
    assert isinstance(done.exception, TeledossierError)
    assert not folder.exists()


@pytest.mark.parametrize("body", [b"", b"not a tar", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03cut"])
def test_what_is_no_package(tmp_path: Path, folder: Path, body: bytes) -> None:
    file = tmp_path / "x.tgz"
    file.write_bytes(body)
    assert isinstance(run("install", str(file)).exception, TeledossierError)
    assert not folder.exists()


def test_the_standard_goes_before_what_is_installed_and_that_before_fr_core(
    tmp_path: Path, folder: Path
) -> None:
    core = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
    french = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient"
    files = {
        "package/package.json": MANIFEST,
        "package/a.json": {**STRICT, "url": core},
        "package/b.json": {**STRICT, "url": french},
    }
    run("install", str(tgz(tmp_path / "g.tgz", files)))
    settings = Settings(store=f"sqlite:///{tmp_path}/t.db", packages=str(folder))
    known = make_engine(settings, open_store(settings)).validator.profiles.packages
    assert [known.structure(url)["type"] for url in (core, french)] == ["Observation", "Patient"]  # type: ignore[index]
    assert known.structure(french)["name"] == "Tested"  # type: ignore[index]
