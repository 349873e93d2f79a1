"""The simulated scanner against the real node: order, step in progress, images, step completed,
commitment."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from fhir_server.access import SYSTEM
from fhir_server.interactions.engine import Engine
from fhir_server.interactions.fhir import Fhir
from fhir_server.store import open_store
from fhir_server.store.files import Files
from simulators.modality import performing
from simulators.modality.exams import Exam, Person
from simulators.modality.generate import generate
from simulators.modality.performing import Commitments, Platform
from tests.dicomweb.node import ROOT, Node, caller
from tests.processes import unused_ports

SCENARIO = """
patients:
- {id: p, nom: LABORDE, prenom: Henri, naissance: 1953-05-17, sexe: M, ins: '', ipp: {ch-auch: AU-300003}}
examens:
- {id: ex01, patient: p, acces: ACC-1, org: ch-auch, modalite: CT, description: Scanner, date:
'2024-08-08T05:08:00+02:00',
   study_uid: 2.25.100, series: 2, images: 6}
"""
EXAM = Exam("ex01", "2.25.100", "ACC-1", "CT", "Scanner", "", datetime(2024, 8, 8, 5, 8), 2, 6, 64, "ch-auch",
            Person("LABORDE", "Henri", "19530517", "M", "AU-300003", "ch-auch", ""))  # fmt: skip


@pytest.fixture
def listening() -> int:
    return unused_ports(1)[0]


@pytest.fixture
def node(tmp_path: Path, free_port: int, listening: int) -> Iterator[Node]:
    node = Node(tmp_path / "node", free_port, caller("CH-AUCH", f"127.0.0.1:{listening}"))
    asyncio.run(_ordered(node, tmp_path))
    node.start()
    yield node
    node.stop(signal.SIGKILL)


async def _ordered(node: Node, folder: Path) -> None:
    store = open_store(node.settings)
    await store.open()
    fhir = Fhir(Engine(store, Files(folder / "b"), node.settings, lambda: 1_723_100_000_000_000), SYSTEM)
    ipp = "https://teledossier.example/fhir/NamingSystem/ipp/ch-auch"
    await fhir.update({
        "resourceType": "Patient", "id": "p", "identifier": [{"system": ipp, "value": "AU-300003"}],
        "name": [{"family": "LABORDE", "given": ["Henri"]}], "birthDate": "1953-05-17", "gender": "male",
    })  # fmt: skip
    await fhir.update({
        "resourceType": "ServiceRequest", "id": "r1", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p"}, "code": {"text": "Scanner crânien"},
        "authoredOn": "2024-08-08T06:00:00Z",
        "supportingInfo": [{"type": "ImagingStudy", "identifier": {"value": "ACC-1"}}],
    })  # fmt: skip
    await store.close()


def test_it_works_as_a_scanner_does(node: Node, tmp_path: Path, listening: int) -> None:
    (tmp_path / "scenario.yaml").write_text(SCENARIO, "utf-8")
    command = [sys.executable, "-m", "simulators.modality", "--scenario", str(tmp_path / "scenario.yaml"),
               "--to", f"127.0.0.1:{node.port}", "--folder", str(tmp_path / "exams"),
               "--listen", str(listening)]  # fmt: skip
    said = []
    for _time in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=True)
        said.append([line.partition(": ")[2] for line in done.stdout.splitlines()][1:])
    assert said[0] == ["on the worklist", "6 sent", "step completed", "6 kept, 0 not"]
    assert said[1] == ["not on the worklist", "0 sent", "step completed", "6 kept, 0 not"]
    index = node.index()
    first = index.performed_for("ACC-1")[0]
    assert (first.state, first.studies, first.ae_title) == ("COMPLETED", ("2.25.100",), "CH-AUCH")
    orders = first.attributes["00400270"]["Value"]
    assert [one["00321060"]["Value"] for one in orders] == [["Scanner crânien"]]
    index.close()


def test_what_the_platform_has_not_is_not_kept(node: Node, tmp_path: Path, listening: int) -> None:
    paths = generate(EXAM, tmp_path / "made")
    answers = Commitments(listening)
    try:
        platform = Platform("127.0.0.1", node.port, "TELEDOSSIER", "CH-AUCH")
        assert performing.commit(platform, paths, answers) == (0, 6)
        stranger = Platform("127.0.0.1", node.port, "TELEDOSSIER", "NOBODY")
        assert performing.scheduled(stranger, EXAM) is None
        assert performing.begin(stranger, EXAM, None) == ""
        assert performing.commit(stranger, paths, answers) is None
        step = performing.begin(platform, EXAM, performing.scheduled(platform, EXAM))
        assert performing.end(platform, step, paths[:0], "DISCONTINUED")
        assert performing.end(platform, step, paths[:0], "DISCONTINUED")  # answered as done already
        assert not performing.end(platform, "2.25.404", paths)
        assert performing.scheduled(platform, EXAM) is not None
    finally:
        answers.close()
