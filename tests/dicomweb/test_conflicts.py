"""A changed duplicate waits for a person: seen by those who see the exam, decided once, with a trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dicomweb import conflicts
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


async def test_all_images_of_an_exam_are_decided_at_once(
    client: Client, images: Images, store: Store, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For those that are asked for, in short steps; what names another study stops all of them."""
    await store.commit([
        request("r1", "Practitioner/p1"), request("r2", "Practitioner/p2"), study(making.STUDY, "r1"),
        study("2.25.901", "r2"),
    ])  # fmt: skip
    monkeypatch.setattr(conflicts, "AT_ONCE", 2)
    for n in range(1, 6):
        uid = f"2.25.{n}"
        take(making.write(tmp_path / f"{n}.dcm", making.dataset(SOPInstanceUID=uid)))
        other = {"StudyInstanceUID": "2.25.900"} if n == 5 else {}
        again = making.dataset(SOPInstanceUID=uid, WindowWidth=90, **other)
        assert take(making.write(tmp_path / f"{n}b.dcm", again)) == "conflict"
    client.access = ME
    numbers = [one["number"] for one in (await client.get(PATH)).json()]
    assert (await client.get("conflicts", params={"study": making.STUDY})).json() == {making.STUDY: 5}
    decision = {"serve": "new", "reason": "x"}
    for wanted, status in (
        (numbers, 409), ([99, 98], 404), ([], 404), ("1", 400), ([True], 400), (["1"], 400), ([1.0], 400),
        (None, 400),
    ):  # fmt: skip
        answer = await client.post(PATH, json={**decision, "numbers": wanted})
        assert answer.status_code == status, wanted
    assert len((await client.get(PATH)).json()) == 5
    client.access = READER
    assert (await client.post(PATH, json={**decision, "numbers": numbers})).status_code == 403
    client.access = OTHER
    assert (await client.post(PATH, json={**decision, "numbers": numbers})).status_code == 404
    other_study = "studies/2.25.901/conflicts"
    assert (await client.post(other_study, json={**decision, "numbers": numbers})).status_code == 404
    client.access = ME
    done = await client.post(PATH, json={**decision, "numbers": [*numbers[:3], 99]})
    assert (done.status_code, done.json()) == (200, {"decided": 3})
    assert [one["number"] for one in (await client.get(PATH)).json()] == numbers[3:]
    assert (await client.get("conflicts", params={"study": making.STUDY})).json() == {making.STUDY: 2}
    shown = {one["00080018"]["Value"][0]: one["00281051"]["Value"] for one in
             (await client.get(f"studies/{making.STUDY}/metadata")).json()}  # fmt: skip
    assert shown == {f"2.25.{n}": [90 if n < 4 else 80] for n in range(1, 6)}
