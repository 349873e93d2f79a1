"""The demonstration: everything is there, in the state the scenario says, once however often it is loaded."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_server.access import Access, Scope
from fhir_server.demo import accounts, exams, load, tour
from fhir_server.demo.directory import everyone
from fhir_server.demo.documents import document
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.search.nodes import Select, Token
from fhir_server.teledossier import operations
from fhir_server.teledossier.file import Teledossier, read_mark
from fhir_server.teledossier.file import load as load_file
from fhir_server.teledossier.membership import audience
from fhir_server.teledossier.vocabulary import NUMERO, code_of
from profiles import codec
from profiles.validation import validate

STATES = {
    "TD-2024-000001": "clos",
    "TD-2024-000002": "clos",
    "TD-2024-000003": "clos",
    "TD-2024-000004": "clos",
    "TD-2024-000005": "clos",
    "TD-2024-000006": "pris-en-charge",
    "TD-2024-000007": "repondu",
    "TD-2024-000008": "envoye",
    "TD-2024-000009": "brouillon",
    "TD-2024-000010": "lu",
    "TD-2024-000011": "clos",
    "TD-2024-000012": "complement-demande",
}
COUNTS = {
    "Organization": 13 + 14 + 12,
    "HealthcareService": 7,
    "Practitioner": 23,
    "Patient": 15,
    "ServiceRequest": 13,
    "Task": 13,
    "DiagnosticReport": 5,
}
# who sees which télédossiers, by the last two digits of the number (L: the one sent at load)
SEEN = {
    "p01": {"02", "06", "11", "12"},
    "p02": {"04"},
    "p03": {"04"},
    "p04": {"04", "10"},
    "p05": {"01", "07", "L"},
    "p06": {"07"},
    "p07": {"02", "06", "12"},
    "p08": {"01", "07", "L"},
    "p09": {"01", "07", "L"},
    "p10": {"02", "06", "11", "12"},
    "p11": {"03", "09"},
    "p12": {"03", "08", "09"},
    "p13": {"03", "08"},
    "p14": {"03", "08"},
    "p15": {"05"},
    "p16": {"05"},
    "p17": {"05"},
    "p18": {"11"},
    "p19": set(),
    "p20": {"04", "10"},
    "p21": set(),
    "p23": {"10"},
}


async def teledossier(engine: Engine, numero: str) -> Teledossier:
    (row,) = await engine.store.search(Select("ServiceRequest", Token("identifier", ((NUMERO, numero),))))
    return await load_file(engine.store, row.version.id)


async def totals(engine: Engine) -> Counter[str]:
    """How many resources of each type there are."""
    return Counter([version.type async for version in engine.store.scan()])


async def test_loaded_twice_is_loaded_once(engine: Engine) -> None:
    first = await load(engine)
    once = await totals(engine)
    assert {type: first.counts[type] for type in COUNTS} == COUNTS
    assert first.states == {**STATES, first.live: "envoye"}
    assert await load(engine) == first
    assert await totals(engine) == once
    await _sees_what_it_should(engine, first.live)
    await _valid_by_two_witnesses(engine)
    await _as_it_happened(engine)
    assert any(first.live in line for line in tour(first.live))


async def _sees_what_it_should(engine: Engine, live: str) -> None:
    """Each professional's list, exactly; someone sees something, so an empty one means something."""
    scopes = (Scope("*", "rs"),)
    for id, numbers in SEEN.items():
        access = Access(f"Practitioner/{id}", scopes, await audience(engine.store, id))
        found = await Fhir(engine, access).search("ServiceRequest", [])
        numeros = {one["identifier"][0]["value"] for one in found}
        assert {"L" if numero == live else numero[-2:] for numero in numeros} == numbers, id
        tasks = await Fhir(engine, access).search("Task", [])
        assert {task["focus"]["reference"] for task in tasks} <= {
            f"ServiceRequest/{one['id']}" for one in found
        }


async def _valid_by_two_witnesses(engine: Engine) -> None:
    """Our own base validation and fhir.resources read every resource that the load wrote."""
    seen = 0
    async for version in engine.store.scan():
        assert version.body is not None
        if version.type == "SearchParameter":
            continue  # its `base` and `code` bindings differ between R4 and R4B models
        resource = codec.parse(version.body)
        assert [issue for issue in validate(resource) if issue.severity in ("fatal", "error")] == []
        get_fhir_model_class(version.type).model_validate_json(version.body)
        seen += 1
    assert seen > 300


async def _as_it_happened(engine: Engine) -> None:
    """The AVC file: read after 19 minutes, answered after 27; the night's file was read in Montpellier
    only."""
    file = await teledossier(engine, "TD-2024-000001")
    at = {
        code_of(one["activity"], "step"): datetime.fromisoformat(one["occurredDateTime"])
        for one in file.of("Provenance")
    }
    assert (at["read"] - at["send"]).total_seconds() == 19 * 60
    assert (at["answer"] - at["send"]).total_seconds() == 27 * 60
    assert [one["type"] for one in file.request["supportingInfo"] if "type" in one] == ["ImagingStudy"]
    night = await teledossier(engine, "TD-2024-000007")
    assert [read_mark(task) is not None for task in night.tasks] == [False, True]


@pytest.mark.parametrize("cut", [3, 17, 41])
async def test_a_load_that_was_cut_short_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Killed after so many transactions of télédossiers, then loaded again: the same end."""
    real, done = operations.write, 0

    class Killed(Exception):
        pass

    async def write(engine: Engine, bundle: dict[str, object]) -> None:
        nonlocal done
        done += 1
        if done > cut:
            raise Killed
        await real(engine, bundle)

    for room in ("operations", "opening", "attachments"):
        monkeypatch.setattr(f"fhir_server.teledossier.{room}.write", write)
    with pytest.raises(Killed):
        await load(engine)
    monkeypatch.undo()
    loaded = await load(engine)
    assert loaded.states == {**STATES, loaded.live: "envoye"}
    assert {type: loaded.counts[type] for type in COUNTS} == COUNTS
    assert (await totals(engine))["DocumentReference"] == 12


def test_accounts_and_exams() -> None:
    found = {one.id: one for one in accounts()}
    assert len(found) == 22
    assert "p22" not in found
    assert found["p05"].roles == ("PractitionerRole/p05-neurovasc-tls",)
    assert found["p12"].roles == ("PractitionerRole/p12-onco-mtb", "PractitionerRole/p12-ch-mende")
    assert len(exams()) == 9
    assert all(one["identite"]["nom"] for one in exams())


def test_the_directory_is_whole() -> None:
    """Every reference within the directory leads to something in it."""
    known = {f"{one['resourceType']}/{one['id']}" for one in everyone()}
    assert len(known) == len(everyone())
    for one in everyone():
        for target in _references(one):
            assert target in known, (one["id"], target)


def _references(element: object) -> list[str]:
    if isinstance(element, list):
        return [target for one in element for target in _references(one)]
    if isinstance(element, dict):
        own = [element["reference"]] if isinstance(element.get("reference"), str) else []
        return own + [target for one in element.values() for target in _references(one)]
    return []


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("ECG.pdf", b"%PDF-"),
        ("Fiche.docx", b"PK\x03\x04"),
        ("Photo.jpg", b"\xff\xd8\xff"),
        ("Film.mp4", b"\0\0\0\x18ftyp"),
    ],
)
def test_documents_are_of_their_kind_and_the_same_each_time(tmp_path: Path, name: str, start: bytes) -> None:
    kind, data = document(name, 10)
    assert "/" in kind
    assert data.startswith(start)
    assert document(name, 10) == (kind, data)
