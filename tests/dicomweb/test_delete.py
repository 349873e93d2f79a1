"""DELETE puts out of sight, with a trace; nothing else changes, and what is sent again is stored again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from fhir_server.access import Access, Scope
from tests.dicomweb import making
from tests.dicomweb.conftest import Client, rows

Take = Callable[..., Outcome]
STUDY = f"studies/{making.STUDY}"


@pytest.fixture
def paths(take: Take, tmp_path: Path) -> list[Path]:
    """Two series of two instances, a CT and an MR."""
    found = []
    for n in range(4):
        made = making.dataset(
            SOPInstanceUID=f"2.25.1.{n}", SeriesInstanceUID=f"2.25.20{n // 2}", Modality=("CT", "MR")[n // 2],
            InstanceNumber=n,
        )  # fmt: skip
        found.append(making.write(tmp_path / f"{n}.dcm", made))
        take(found[-1])
    return found


async def test_an_instance_then_a_series_then_the_study(
    client: Client, images: Images, take: Take, paths: list[Path]
) -> None:
    one = f"{STUDY}/series/2.25.200/instances/2.25.1.0"
    first = images.index.file("2.25.1.0")
    assert first is not None
    assert (await client.delete(f"{one}?reason=erreur")).status_code == 204
    assert (await client.get(one)).status_code == 404
    assert (await client.delete(one)).status_code == 404
    (study,) = rows(await client.get("studies"))
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [3])
    assert (await client.delete(f"{STUDY}/series/2.25.201")).status_code == 204
    (study,) = rows(await client.get("studies?includefield=all"))
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([1], [1])
    assert study["00080061"]["Value"] == ["CT"]
    assert rows(await client.get("studies?ModalitiesInStudy=MR")) == []
    assert len((await client.get(f"{STUDY}/metadata")).json()) == 1
    assert images.index.withdrawn() == []
    assert (await client.delete(STUDY)).status_code == 204
    for nothing in ("studies", "series", "instances", "studies?PatientName=lab*"):
        assert rows(await client.get(nothing)) == []
    assert images.index.withdrawn() == [making.STUDY]
    traces = images.index.masked(making.STUDY)
    assert sorted(one.uid for one in traces) == [f"2.25.1.{n}" for n in range(4)]
    assert (traces[0].trace.by, traces[0].trace.reason) == ("System", "erreur")
    assert images.files.path(first.path).read_bytes() == paths[0].read_bytes()
    assert [take(path) for path in paths] == ["stored"] * 4
    assert images.index.withdrawn() == []
    assert (await client.get(one)).status_code == 200


@pytest.mark.usefixtures("paths")
@pytest.mark.parametrize(
    ("access", "status"),
    [
        (Access("Client/a", (Scope("ImagingStudy", "rs"),), None), 403),
        (Access("Client/a", (Scope("ImagingStudy", "rsd"),), None), 204),
        (Access("Practitioner/a", (Scope("*", "cruds"),), frozenset({"Practitioner/a"})), 404),
    ],
)  # fmt: skip
async def test_deleting_needs_the_right_to(client: Client, access: Access, status: int) -> None:
    client.access = access
    assert (await client.delete(STUDY)).status_code == status
