"""What is asked before the files of a medium are sent: whose they are, and what is here already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicomweb import association
from dicomweb.association import Exam
from dicomweb.files import sha256_of
from dicomweb.images import Images
from fhir_server.interactions.fhir import Fhir
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_adding import multipart, opened
from tests.dicomweb.test_transfer_routes import person, region
from tests.dicomweb.test_worker import clock, fhir, put, worker

__all__ = ["clock", "fhir", "opened", "region", "worker"]  # fixtures
INS_SYSTEM, INS = "urn:oid:1.2.250.1.213.1.4.11", "153053299010337"
OTHER_INS = "268127550110104"
PATIENT: dict[str, Any] = {
    "birthDate": "1953-05-17",
    "name": [{"family": "LABORDE", "given": ["Henri"]}],
    "identifier": [{"system": INS_SYSTEM, "value": INS}],
}


@pytest.mark.parametrize(
    ("name", "birth", "ins", "known", "expected"),
    [
        ("LABORDE^Henri", "1953-05-17", "", (), ("same", "traits")),
        ("AUTRE^Nom", "1960-01-01", INS, ((INS_SYSTEM, INS),), ("same", "identifier")),
        ("LABORDE^Henri", "1953-05-17", OTHER_INS, ((INS_SYSTEM, OTHER_INS),), ("differs", "ins")),
        ("LABORDE^Henri", "1953-05-18", "", (), ("differs", "birth")),
        ("LABORDE^Henri", "", "", (), ("unknown", "")),
        ("MARTIN^Jean", "", "", (), ("differs", "name")),
        ("MARTIN^Jean", "1953-05-17", "", (), ("differs", "name")),
        ("^", "", "", (), ("unknown", "")),
        ("", "1953-05-17", "", (), ("unknown", "")),
    ],
)
def test_whose_the_images_are(
    name: str, birth: str, ins: str, known: tuple[tuple[str, str], ...], expected: tuple[str, str]
) -> None:
    exam = Exam("", ins=frozenset({ins} - {""}), name=name, birth=birth)
    assert association.compared(exam, known, PATIENT) == expected
    if expected[0] == "same":  # what is said is what will be done
        assert association.agrees(exam, known, PATIENT)


async def test_the_identity_is_compared_by_the_platform(opened: Fhir, client: Client) -> None:
    await put(opened, "Patient", "pat03", **PATIENT)
    client.access = person("p08")
    ids = [{"value": INS, "issuer": INS_SYSTEM.removeprefix("urn:oid:")}]
    asked = [
        {"name": "LABORDE^Henri", "birth": "19530517", "ids": []},
        {"name": "X", "birth": "", "ids": ids},
        {"name": "MARTIN^Jean", "birth": "19800101", "ids": [{"value": "1", "issuer": ""}]},
        {},
    ]
    answer = await client.post("/requests/r1/identity", json={"patients": asked})
    assert [one["verdict"] for one in answer.json()] == ["same", "same", "differs", "unknown"]
    for wrong in ({}, {"patients": ["x"]}, {"patients": [{"ids": 3}]}, {"patients": [{}] * 201}):
        assert (await client.post("/requests/r1/identity", json=wrong)).status_code == 400, wrong
    client.access = person("p20")
    assert (await client.post("/requests/r1/identity", json={"patients": asked})).status_code == 404


async def test_only_who_holds_a_file_learns_that_it_is_here(
    opened: Fhir, client: Client, images: Images, tmp_path: Path
) -> None:
    client.access = person("p08")
    paths = making.files(tmp_path / "cd", 2)
    hashes = {f"2.25.1.{n}": sha256_of(path) for n, path in enumerate(paths, 1)}
    answer = await client.post("/requests/r1/known", json={"instances": hashes})
    assert answer.json() == {"known": []}
    body, headers = multipart(paths[0])
    await client.post("/requests/r1/studies", content=body, headers=headers)
    answer = await client.post("/requests/r1/known", json={"instances": hashes})
    assert answer.json() == {"known": ["2.25.1.1"]}
    assert images.queue.open_wishes() == [(making.STUDY, "r1")]
    guessed = dict.fromkeys(hashes, "0" * 64)
    assert (await client.post("/requests/r1/known", json={"instances": guessed})).json() == {"known": []}
    wrong: dict[str, Any]
    for wrong in ({}, {"instances": {"x": "0" * 64}}, {"instances": {"1.2": "y"}}, {"instances": [1]}):
        assert (await client.post("/requests/r1/known", json=wrong)).status_code == 400, wrong
    client.access = person("p20")
    assert (await client.post("/requests/r1/known", json={"instances": hashes})).status_code == 404
