"""QIDO-RS matching as a table: PS3.4 §C.2.2.2, PS3.18 §10.6."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dicomweb.index.contract import Outcome
from tests.dicomweb import making
from tests.dicomweb.conftest import Client

Take = Callable[..., Outcome]

STUDIES: dict[str, dict[str, Any]] = {
    "2.25.1": {"PatientName": "LABORDE^Henri", "PatientID": "A-1", "StudyDate": "20240808",
               "StudyTime": "050800",
               "AccessionNumber": "X[1]", "Modality": "CT"},
    "2.25.2": {"PatientName": "Müller^Zoë", "PatientID": "A-2", "StudyDate": "20240809",
               "StudyTime": "235959.5",
               "AccessionNumber": "X1", "Modality": "MR"},
    "2.25.3": {"PatientName": "LE GOFF^Yann", "PatientID": "a-1", "StudyDate": "20231231",
               "StudyTime": "0508",
               "AccessionNumber": "Y_1", "Modality": "US", "StudyDescription": "100 % net"},
    "2.25.4": {"PatientName": "LABORDE^Anne", "PatientID": "B*", "StudyDate": "", "StudyTime": "",
               "AccessionNumber": "", "Modality": "CT", "PatientBirthDate": ""},
}  # fmt: skip


@pytest.fixture
def four(take: Take, tmp_path: Path) -> None:
    for uid, changes in STUDIES.items():
        made = making.dataset(
            StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.5", SOPInstanceUID=f"{uid}.5.6", **changes
        )
        take(making.write(tmp_path / f"{uid}.dcm", made))


CASES = [
    ("", "1234"),
    ("PatientName=LABORDE^Henri", "1"), ("PatientName=laborde^henri", "1"), ("00100010=LABORDE*", "14"),
    ("PatientName=LABORDE", ""), ("PatientName=mull*", "2"), ("PatientName=M%C3%BCller%5EZo%C3%AB", "2"),
    ("PatientName=*go?f*", "3"), ("PatientName=%2A", "1234"), ("PatientName=lab%2A", "14"),
    ("PatientName=henri laborde&fuzzymatching=true", "1"), ("PatientName=zoe&fuzzymatching=true", "2"),
    ("PatientID=A-1", "1"), ("PatientID=a-1", "3"), ("PatientID=A-?", "12"), ("PatientID=A*", "12"),
    ("AccessionNumber=X[1]", "1"), ("AccessionNumber=X[1]*", "1"), ("AccessionNumber=X*", "12"),
    ("AccessionNumber=Y_1", "3"), ("AccessionNumber=Y?1", "3"), ("AccessionNumber=", "1234"),
    ("StudyDescription=100 % *", "3"), ("StudyDescription=100%20%25%20net", "3"),
    ("StudyDate=20240808", "1"), ("StudyDate=20240808-", "12"), ("StudyDate=-20240808", "13"),
    ("StudyDate=20240101-20240808", "1"), ("StudyDate=-", "123"), ("StudyDate=19000101-19000102", ""),
    ("StudyTime=0508", "13"), ("StudyTime=0508-2359", "123"), ("StudyTime=050801-", "2"),
    ("StudyInstanceUID=2.25.1", "1"), ("StudyInstanceUID=2.25.1,2.25.3", "13"),
    ("StudyInstanceUID=2.25.1%2C2.25.3", "13"), ("StudyInstanceUID=2.25.1\\2.25.4", "14"),
    ("0020000D=2.25.9", ""),
    ("ModalitiesInStudy=CT", "14"), ("ModalitiesInStudy=MR", "2"), ("Modality=US", "3"),
    ("SeriesInstanceUID=2.25.2.5", "2"), ("SOPInstanceUID=2.25.4.5.6", "4"),
    ("PatientBirthDate=19530517", "123"), ("PatientSex=M&ModalitiesInStudy=CT", "14"),
    ("StudyID=1'%20OR%20'1'='1", ""), ("PatientID=%25", ""), ("PatientID=B%2A", "4"),
]  # fmt: skip


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_matching(client: Client, query: str, expected: str) -> None:
    rows = (await client.get(f"studies?{query}")).json()
    assert sorted(row["0020000D"]["Value"][0] for row in rows) == [f"2.25.{n}" for n in expected]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "offset=1.5", "StudyDate=2024-08-08-1", "StudyDate=2024",
        "StudyInstanceUID=abc",
        "includefield=nonsense", "SeriesNumber=a", "StudyTime=ab",
    ],
)  # fmt: skip
async def test_bad_values_are_400(client: Client, query: str) -> None:
    response = await client.get(f"studies?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "bad-parameter")


@pytest.mark.usefixtures("four")
async def test_pages_are_stable_and_the_cut_is_said(client: Client) -> None:
    whole = [row["0020000D"] for row in (await client.get("studies")).json()]
    paged = []
    for offset in range(5):
        response = await client.get(f"studies?limit=1&offset={offset}")
        paged += [row["0020000D"] for row in response.json()]
        assert ("warning" in response.headers) == (offset < 3)
    assert paged == whole
    assert (await client.get("studies?limit=0")).json() == []


@pytest.mark.usefixtures("four")
async def test_a_key_that_is_not_supported_is_said(client: Client) -> None:
    response = await client.get("studies?EthnicGroup=x&PatientID=A-1")
    assert len(response.json()) == 1
    assert "EthnicGroup" in response.headers["warning"]


@pytest.mark.usefixtures("four")
async def test_returned_attributes(client: Client) -> None:
    (study,) = (await client.get("studies?StudyInstanceUID=2.25.1")).json()
    assert study["00080061"] == {"vr": "CS", "Value": ["CT"]}
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([1], [1])
    assert study["00081190"]["Value"] == ["http://test/dicom-web/studies/2.25.1"]
    assert list(study) == sorted(study)
    (series,) = (await client.get("studies/2.25.1/series")).json()
    assert (series["00080060"]["Value"], series["00201209"]["Value"]) == (["CT"], [1])
    assert "00100010" not in series
    (instance,) = (await client.get("studies/2.25.1/series/2.25.1.5/instances")).json()
    assert (instance["00280010"]["Value"], instance["00200013"]["Value"]) == ([16], [1])
    everywhere = (await client.get("instances?StudyInstanceUID=2.25.1,2.25.2")).json()
    assert {one["00100020"]["Value"][0] for one in everywhere} == {"A-1", "A-2"}


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    "fields", ["WindowCenter", "00281050", "all", "WindowCenter,WindowWidth", "WindowCenter%2C00281051"]
)
async def test_includefield(client: Client, fields: str) -> None:
    (instance,) = (await client.get(f"studies/2.25.1/instances?includefield={fields}")).json()
    assert instance["00281050"] == {"vr": "DS", "Value": [40]}
    (plain,) = (await client.get("studies/2.25.1/instances")).json()
    assert "00281050" not in plain


async def test_quotes_do_not_break_out(client: Client, take: Take, tmp_path: Path) -> None:
    take(making.write(tmp_path / "a.dcm", making.dataset(PatientID="O'Neil\" --")))
    assert len((await client.get("studies?PatientID=" + quote("O'Neil\" --"))).json()) == 1
