"""QIDO-RS matching as a table: PS3.4 §C.2.2.2, PS3.18 §10.6."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset

from dicomweb import dicom_xml
from dicomweb.index.contract import Outcome
from tests.dicomweb import making
from tests.dicomweb.conftest import Client, rows

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
    ("PatientName=L*&PatientName=*anne", "4"), ("ModalitiesInStudy=CT,US", "134"),
    ("ModalitiesInStudy=CT%5CMR", "124"), ("ModalitiesInStudy=C*", "14"),
    ("PatientName=goff%20yann%20le&fuzzymatching=true", "3"),
    ("PatientName=Zo%C3%A9&fuzzymatching=true", "2"),
    ("PatientName=lab*&fuzzymatching=false", "14"), ("PatientName=LEGOFF&fuzzymatching=true", ""),
    ("Rows=16", "1234"), ("Rows=17", ""), ("WindowCenter=40", "1234"), ("00281050=40.0", "1234"),
    ("RescaleIntercept=-1024", "1234"), ("StationName=*", "1234"), ("StationName=x", ""),
    ("PhotometricInterpretation=MONO*", "1234"), ("IssuerOfPatientID=ch-auch", "1234"),
    ("SOPClassUID=1.2.840.10008.5.1.4.1.1.2", "1234"), ("InstanceNumber=%2B1", "1234"),
    ("InstanceNumber=-1", ""),
    ("SeriesDescription=Ax*", "1234"), ("SeriesNumber=1&Modality=MR", "2"),
    ("StudyID=1'%20OR%20'1'='1", ""), ("PatientID=%25", ""), ("PatientID=B%2A", "4"),
]  # fmt: skip


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_matching(client: Client, query: str, expected: str) -> None:
    found = rows(await client.get(f"studies?{query}"))
    assert sorted(row["0020000D"]["Value"][0] for row in found) == [f"2.25.{n}" for n in expected]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "offset=1.5", "StudyDate=2024-08-08-1", "StudyDate=2024",
        "StudyInstanceUID=abc",
        "includefield=nonsense", "SeriesNumber=a", "StudyTime=ab", "fuzzymatching=perhaps", "limit=",
        "RequestAttributesSequence=x", "PatientID=" + "a*" * 20, "PatientID=a%00", "WindowCenter=x",
        "AcquisitionDate=2024", "Rows=16.5",
    ],
)  # fmt: skip
async def test_bad_values_are_400(client: Client, query: str) -> None:
    response = await client.get(f"studies?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "bad-parameter")


@pytest.mark.usefixtures("four")
async def test_pages_are_stable_and_the_cut_is_said(client: Client) -> None:
    whole = [row["0020000D"] for row in rows(await client.get("studies"))]
    paged = []
    for offset in range(5):
        response = await client.get(f"studies?limit=1&offset={offset}")
        paged += [row["0020000D"] for row in rows(response)]
        left = f"There are {3 - offset} additional results"
        assert (left in response.headers.get("warning", "")) == (offset < 3)
    assert paged == whole
    assert rows(await client.get("studies?limit=0")) == []
    assert (await client.get("studies?limit=2")).headers["warning"] == (
        '299 http://test/dicom-web "There are 2 additional results that can be requested"'
    )


@pytest.mark.usefixtures("four")
async def test_a_key_that_is_not_supported_is_said(client: Client) -> None:
    response = await client.get("studies?NumberOfStudyRelatedSeries=7&NoKeyword=x&PatientID=A-1")
    assert len(rows(response)) == 1
    assert "NumberOfStudyRelatedSeries, NoKeyword" in response.headers["warning"]


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


async def test_sequences_by_path(client: Client, take: Take, tmp_path: Path) -> None:
    """PS3.18 §8.3.4.1: attributes within a sequence, by keyword or tag."""
    for n in (1, 2):
        item = Dataset()
        item.ScheduledProcedureStepID, item.RequestedProcedureID = f"SPS{n}", f"RP{n}"
        item.RequestedProcedureDescription = "Crâne"
        made = making.dataset(
            StudyInstanceUID=f"2.25.{n}", SeriesInstanceUID=f"2.25.{n}.5", SOPInstanceUID=f"2.25.{n}.5.6"
        )
        made.RequestAttributesSequence = [Dataset(), item]
        take(making.write(tmp_path / f"{n}.dcm", made))
    for query, expected in (
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS1", ["2.25.1"]),
        ("00400275.00400009=SPS2", ["2.25.2"]), ("00400275.RequestedProcedureID=RP*", ["2.25.1", "2.25.2"]),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS3", []),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS1&00400275.00401001=RP2", []),
    ):  # fmt: skip
        for level in ("studies", "series", "instances"):
            found = rows(await client.get(f"{level}?{query}"))
            assert sorted(row["0020000D"]["Value"][0] for row in found) == expected, (level, query)
    (series,) = rows(await client.get("studies/2.25.1/series"))
    assert series["00400275"]["Value"][1]["00400009"]["Value"] == ["SPS1"]
    odd = await client.get("studies?PatientName.StudyDate=1")
    assert "not used for matching" in odd.headers["warning"]


async def test_a_lower_level_is_matched_where_it_stands(client: Client, take: Take, tmp_path: Path) -> None:
    """Of two series only that one is found whose instance fits."""
    for series, rows_of in (("2.25.201", 16), ("2.25.202", 8)):
        made = making.dataset(SeriesInstanceUID=series, SOPInstanceUID=f"{series}.1", Rows=rows_of)
        take(making.write(tmp_path / f"{series}.dcm", made))
    for query in ("Rows=8", "SOPInstanceUID=2.25.202.1", "series?Rows=8"):
        (found,) = rows(await client.get(f"series?{query.rpartition('?')[2]}"))
        assert found["0020000E"]["Value"] == ["2.25.202"]
    assert len(rows(await client.get("studies?Rows=8"))) == 1


NAMES = {
    "chrGreek.dcm": "Διονυσιος", "chrRuss.dcm": "Люкceмбypг", "chrArab.dcm": "قباني^لنزار", "chrFren.dcm":
    "Buc^Jérôme", "chrGerm.dcm": "Äneas^Rüdiger", "chrHbrw.dcm": "שרון^דבורה", "chrJapMulti.dcm":
    "やまだ^たろう", "chrKoreanMulti.dcm": "김희중",
    "chrH31.dcm": "山田^太郎", "chrI2.dcm": "洪^吉洞", "chrX1.dcm": "王^小東", "chrX2.dcm": "王^小东",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_names_in_any_character_set(client: Client, take: Take, tmp_path: Path, name: str) -> None:
    """PS3.5 §6.1.2; in every group of the name, whole and by wildcard, and nothing else is found."""
    take(
        making.write(
            tmp_path / "other.dcm", making.dataset(StudyInstanceUID="2.25.4", SOPInstanceUID="2.25.4.1")
        )
    )
    made = pydicom.dcmread(get_charset_files(name)[0])
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = "2.25.5", "2.25.6", "2.25.7"
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    made.save_as(tmp_path / "a.dcm", enforce_file_format=False)
    take(tmp_path / "a.dcm")
    (row,) = rows(await client.get("studies?StudyInstanceUID=2.25.5"))
    groups = row["00100010"]["Value"][0]
    assert row.get("00080005", {}).get("Value") in (None, ["ISO_IR 192"])
    assert NAMES[name] in groups.values()
    for value in (*groups.values(), NAMES[name][:2] + "*", "*" + NAMES[name][-2:]):
        found = rows(await client.get(f"studies?PatientName={quote(value)}"))
        assert [one["0020000D"]["Value"] for one in found] == [["2.25.5"]], value
    words = quote(" ".join(reversed(NAMES[name].split("^"))))
    found = rows(await client.get(f"studies?PatientName={words}&fuzzymatching=true"))
    assert [one["0020000D"]["Value"] for one in found] == [["2.25.5"]]


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("accept", [
    'multipart/related; type="application/dicom+xml"', "application/dicom+xml",
    "application/dicom+json;q=0.5, multipart/related;type=application/dicom+xml;q=0.9",
])  # fmt: skip
async def test_answers_in_xml(client: Client, accept: str) -> None:
    """PS3.18 Table 10.6.3-2: one part a result; the same attributes as in JSON."""
    response = await client.get("studies?PatientName=LAB*", headers={"Accept": accept})
    assert response.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"')
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content)
    parts = [part.get_payload(decode=True) for part in message.get_payload()]  # type: ignore[union-attr]
    plain = rows(await client.get("studies?PatientName=LAB*"))
    assert [dicom_xml.parse(part) for part in parts] == plain  # type: ignore[arg-type]


REQUIRED = {  # PS3.18 Tables 10.6.3-3 to 10.6.3-5
    "studies": {"00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190",
    "00100010",
                "00100020", "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208"},
    "series": {"00080060", "0008103E", "00081190", "0020000E", "00200011", "00201209"},
    "instances": {"00080016", "00080018", "00080056", "00081190", "00200013", "00280010", "00280011",
    "00280100"},
}  # fmt: skip


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    ("address", "levels"),
    [
        ("studies", ["studies"]), ("series", ["studies", "series"]), ("instances", list(REQUIRED)),
        ("studies/2.25.1/series", ["series"]), ("studies/2.25.1/instances", ["series", "instances"]),
        ("studies/2.25.1/series/2.25.1.5/instances", ["instances"]),
    ],
)  # fmt: skip
async def test_every_route_has_its_required_attributes(
    client: Client, address: str, levels: list[str]
) -> None:
    found = rows(await client.get(address))
    assert len(found) == (1 if "2.25.1" in address else 4)
    for row in found:
        assert set().union(*(REQUIRED[level] for level in levels)) <= row.keys()
        assert all("BulkDataURI" not in element for element in row.values())


@pytest.mark.usefixtures("four")
async def test_search_in_what_does_not_exist(client: Client) -> None:
    for address in (
        "studies/2.25.99/series",
        "studies/abc/instances",
        "studies/2.25.1/series/2.25.9/instances",
    ):
        assert (await client.get(address)).status_code == 204
