"""A changed duplicate waits for a person: seen by those who see the exam, decided once, with a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from fhir_server.access import Access, Scope
from fhir_server.store.contract import Store
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_access import request, study

Take = Callable[..., Outcome]
PATH = f"studies/{making.STUDY}/conflicts"
ME = Access("Practitioner/p1", (Scope("*", "cruds"),), frozenset({"Practitioner/p1"}))
OTHER = Access("Practitioner/p2", (Scope("*", "cruds"),), frozenset({"Practitioner/p2"}))
READER = Access("Client/reporting", (Scope("*", "rs"),), None)


@pytest.fixture
async def two(store: Store, take: Take, images: Images, tmp_path: Path) -> list[str]:
    """SHA-256 of what is served and of what came later; the study is of a télédossier of p1."""
    await store.commit([request("r1", "Practitioner/p1"), study(making.STUDY, "r1")])
    first = making.write(tmp_path / "1.dcm", making.dataset())
    second = making.write(tmp_path / "2.dcm", making.dataset(PatientName="LABORDE^Henriette", WindowWidth=90))
    assert [take(first), take(second), take(second)] == ["stored", "conflict", "conflict"]
    served = images.index.file("2.25.1")
    assert served is not None
    return [served.sha256, images.index.conflicts("2.25.1")[0].sha256]


async def test_who_sees_the_exam_sees_them_and_what_differs(client: Client, two: list[str]) -> None:
    client.access = ME
    (one,) = (await client.get(PATH)).json()
    assert (one["instance"], one["sha256"], one["from"]) == ("2.25.1", two[1], "CT1")
    assert one["differs"] == ["00100010", "00281051"]
    client.access = OTHER
    assert (await client.get(PATH)).status_code == 404
    assert (await client.post(f"{PATH}/{one['number']}", json={})).status_code == 404


@pytest.mark.parametrize("serve", ["first", "new"])
async def test_a_decision_serves_one_and_masks_the_other(
    client: Client, images: Images, two: list[str], serve: str
) -> None:
    client.access = ME
    (one,) = (await client.get(PATH)).json()
    usage = images.index.usage()
    decision = {"serve": serve, "reason": "fenêtre corrigée au poste"}
    assert (await client.post(f"{PATH}/{one['number']}", json=decision)).status_code == 204
    served = images.index.file("2.25.1")
    assert served is not None
    kept, gone = two if serve == "first" else two[::-1]
    assert served.sha256 == kept
    (masked,) = images.index.masked(making.STUDY)
    assert (masked.sha256, masked.trace.by, masked.trace.reason) == (
        gone, "Practitioner/p1", "fenêtre corrigée au poste",
    )  # fmt: skip
    assert images.files.path(masked.path).exists()
    assert (await client.get(PATH)).json() == []
    assert images.index.conflicted() == []
    assert (await client.post(f"{PATH}/{one['number']}", json=decision)).status_code == 404
    assert images.index.usage() == usage
    (shown,) = (await client.get(f"studies/{making.STUDY}/metadata")).json()
    assert shown["00281051"]["Value"] == [80 if serve == "first" else 90]


async def test_decisions_that_are_none(client: Client, two: list[str]) -> None:
    client.access = ME
    (one,) = (await client.get(PATH)).json()
    bodies: list[dict[str, object]] = [
        {}, {"serve": "both", "reason": "x"}, {"serve": "new"}, {"serve": "new", "reason": " "},
        {"serve": "new", "reason": None}, {"serve": "new", "reason": ["x"]},
        {"serve": ["new"], "reason": "x"},
    ]  # fmt: skip
    for body in bodies:
        assert (await client.post(f"{PATH}/{one['number']}", json=body)).status_code == 400, body
    decision = {"serve": "new", "reason": "x"}
    for number in ("999", "-1", "1" * 30, "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}", "%00", "1.0"):
        assert (await client.post(f"{PATH}/{number}", json=decision)).status_code == 404, number[:40]
    client.access = READER
    assert (await client.post(f"{PATH}/{one['number']}", json=decision)).status_code == 403
    client.access = ME
    assert len((await client.get(PATH)).json()) == 1


async def test_what_says_it_is_of_another_study_is_never_served_there(
    client: Client, images: Images, store: Store, take: Take, tmp_path: Path
) -> None:
    """Neither does whoever sees that other study get at this one."""
    await store.commit([
        request("r1", "Practitioner/p1"), request("r2", "Practitioner/p2"),
        study(making.STUDY, "r1"), study("2.25.900", "r2"),
    ])  # fmt: skip
    take(making.write(tmp_path / "1.dcm", making.dataset()))
    assert take(making.write(tmp_path / "2.dcm", making.dataset(StudyInstanceUID="2.25.900"))) == "conflict"
    client.access = OTHER
    assert (await client.get("studies/2.25.900/conflicts")).json() == []
    client.access = ME
    (one,) = (await client.get(PATH)).json()
    address = f"{PATH}/{one['number']}"
    assert (await client.post(address, json={"serve": "new", "reason": "x"})).status_code == 409
    assert (await client.post(address, json={"serve": "first", "reason": "x"})).status_code == 204
    served = images.index.file("2.25.1")
    assert served is not None
    assert served.study == making.STUDY
