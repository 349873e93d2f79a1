"""What a reader may not see does not exist, on every address: exact sets, with what he may see as control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.routing import Route

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.routes import routes
from dicomweb.visibility import visible
from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.settings import Settings
from fhir_server.store.contract import Entries, Put, Store
from tests.dicomweb import making
from tests.dicomweb.conftest import Client, rows

Take = Callable[..., Outcome]
PEOPLE = (Scope("*", "rs"),)
ME = Access("Practitioner/me", PEOPLE, frozenset({"Practitioner/me", "Organization/mine"}))
NOBODY = Access("Practitioner/none", PEOPLE, frozenset({"Practitioner/none"}))
READER = Access("Client/reporting", (Scope("ImagingStudy", "rs"),), None)
OTHER_SCOPE = Access("Client/other", (Scope("Patient", "rs"),), None)
NO_SCOPE = Access("Practitioner/me", (), frozenset({"Practitioner/me", "Organization/mine"}))
MINE = {"2.25.1001", "2.25.1002"}
ALL = MINE | {"2.25.1003", "2.25.1004", "2.25.1005"}


def entry(type: str, id: str, body: str, entries: Entries) -> Put:
    return Put(type, id, 0, 1, "create", body.encode(), entries)


def request(id: str, *audience: str) -> Put:
    return entry("ServiceRequest", id, "{}", Entries(references=tuple(("audience", one) for one in audience)))


def study(uid: str, *requests: str) -> Put:
    value = f"urn:oid:{uid}"
    body = f'{{"identifier":[{{"system":"urn:dicom:uid","value":"{value}"}}]}}'
    references = tuple(("basedon", f"ServiceRequest/{id}") for id in requests)
    return entry("ImagingStudy", uid, body, Entries((("identifier", "urn:dicom:uid", value),), references))


@pytest.fixture
async def five(store: Store, take: Take, tmp_path: Path, settings: Settings) -> None:
    """Five studies: two of my télédossiers, one of another's, one attached to none, one not yet in FHIR."""
    await store.commit([
        request("r-mine", "Organization/mine"), request("r-other", "Organization/other"),
        request("r-both", "Practitioner/me", "Organization/other"),
        study("2.25.1001", "r-mine"), study("2.25.1002", "r-other", "r-both"), study("2.25.1003", "r-other"),
        study("2.25.1004"),
    ])  # fmt: skip
    for n, uid in enumerate(sorted(ALL)):
        made = making.dataset(StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1")
        take(making.write(tmp_path / f"{n}.dcm", made))


READERS = pytest.mark.parametrize(
    ("access", "expected"),
    [(SYSTEM, ALL), (READER, ALL), (ME, MINE), (NOBODY, set()), (OTHER_SCOPE, set()), (NO_SCOPE, set())],
    ids=["system", "reporting", "me", "nobody", "other scope", "no scope"],
)


@pytest.mark.usefixtures("five")
@READERS
async def test_queries_at_every_level(client: Client, access: Access, expected: set[str]) -> None:
    client.access = access
    for address in (
        "studies",
        "series",
        "instances",
        "studies?PatientName=lab*",
        "instances?Modality=CT",
        "studies?InstitutionName=&StationName=*",
        "series?Rows=16",
    ):
        found = rows(await client.get(address))
        assert {row["0020000D"]["Value"][0] for row in found} == expected, address
        assert len(found) == len(expected)


@pytest.mark.usefixtures("five")
@READERS
async def test_limit_and_offset_count_only_the_visible(
    client: Client, access: Access, expected: set[str]
) -> None:
    client.access = access
    seen: list[str] = []
    for offset in range(len(ALL)):
        response = await client.get(f"studies?limit=1&offset={offset}")
        seen += [row["0020000D"]["Value"][0] for row in rows(response)]
        assert ("additional" in response.headers.get("warning", "")) == (offset + 1 < len(expected))
    assert (set(seen), len(seen)) == (expected, len(expected))


@pytest.mark.usefixtures("five")
@READERS
async def test_every_retrieval(client: Client, access: Access, expected: set[str]) -> None:
    client.access = access
    absent = await client.get("studies/2.25.9999/metadata")
    for uid in sorted(ALL):
        study, series = f"studies/{uid}", f"studies/{uid}/series/{uid}.1"
        instance = f"{series}/instances/{uid}.1.1"
        for address in (
            study, f"{study}/metadata", series, f"{series}/metadata", instance, f"{instance}/metadata",
            f"{instance}/rendered", f"{instance}/frames/1", f"{instance}/frames/1/rendered",
            f"{study}/rendered", f"{study}/thumbnail", f"{study}/bulkdata", f"{study}/pixeldata",
            f"{series}/rendered", f"{series}/thumbnail", f"{series}/bulkdata", f"{series}/pixeldata",
            f"{instance}/thumbnail", f"{instance}/bulkdata", f"{instance}/pixeldata",
            f"{instance}/bulkdata/7FE00010", f"{instance}/frames/1/thumbnail",
            f"wado?requestType=WADO&studyUID={uid}&seriesUID={uid}.1&objectUID={uid}.1.1",
        ):  # fmt: skip
            response = await client.get(address)
            assert response.status_code == (200 if uid in expected else 404), address
            if uid not in expected:
                assert (response.content, response.headers) == (absent.content, absent.headers), address
        for address in (f"{study}/series", f"{study}/instances", f"{series}/instances"):
            assert len(rows(await client.get(address))) == (uid in expected), address
        one = rows(await client.get(f"studies?StudyInstanceUID={uid}"))
        assert len(one) == (uid in expected)


@pytest.mark.usefixtures("five")
async def test_a_series_is_not_reached_through_another_study(client: Client) -> None:
    client.access = ME
    hidden = "2.25.1003.1/instances/2.25.1003.1.1"
    assert (await client.get(f"studies/2.25.1001/series/{hidden}/rendered")).status_code == 404
    assert (await client.get(f"studies/2.25.1003/series/{hidden}/rendered")).status_code == 404
    client.access = SYSTEM
    assert (await client.get(f"studies/2.25.1003/series/{hidden}/rendered")).status_code == 200


@pytest.mark.usefixtures("five")
async def test_the_visible_set_is_exact(images: Images) -> None:
    assert await visible(images.store, SYSTEM) is None
    assert await visible(images.store, ME) == MINE
    assert await visible(images.store, ME, ["2.25.1001", "2.25.1003"]) == {"2.25.1001"}
    assert await visible(images.store, ME, []) == frozenset()


async def test_no_route_was_forgotten(images: Images) -> None:
    """Every GET below a study is in `test_every_retrieval`; a new one must be put there too."""
    below = {route.path for route in routes(images) if isinstance(route, Route) and "{study}" in route.path}
    assert len(below) == 25


async def test_without_access_401(client: Client) -> None:
    client.app.access = None  # type: ignore[assignment]
    by_uri = "wado?requestType=WADO&studyUID=1&seriesUID=1&objectUID=1"
    for address in ("studies", "studies/2.25.1/metadata", by_uri,
                    "workitems", "workitems/1.2", ""):  # fmt: skip
        assert (await client.get(address)).status_code == 401
