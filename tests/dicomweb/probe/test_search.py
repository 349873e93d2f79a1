"""QIDO-RS. PS3.18 §10.6 (Search Transaction), §8.3.4 (search parameters); PS3.4 §C.2.2.2 (matching)"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from dicomweb import dicom_xml
from tests.dicomweb.probe.check import JSON, XML, Check, Then, first, has, is_type, pieces, rows, table
from tests.dicomweb.probe.seed import COLOUR, CT, J2K, JPEG, MULTI, ONE, PDF, RLE, SR, THREE, TWO

ALL = (ONE, TWO, THREE)
SERIES = (CT, SR, PDF, MULTI, J2K, RLE, COLOUR, JPEG)
NOTHING = (200, 204)


def studies(*expected: str) -> Then:
    return lambda answer: sorted(first(row, "0020000D") for row in rows(answer)) == sorted(expected)


def series(*expected: str) -> Then:
    return lambda answer: sorted(first(row, "0020000E") for row in rows(answer)) == sorted(expected)


def instances(*expected: str) -> Then:
    return lambda answer: sorted(first(row, "00080018") for row in rows(answer)) == sorted(expected)


def carries(tags: Sequence[str]) -> Then:
    """Every row has the attribute, with a VR."""
    return lambda answer: [tag for row in rows(answer) for tag in tags if "vr" not in row.get(tag, {})] == []


def lacks(*tags: str) -> Then:
    return lambda answer: not any(tag in row for row in rows(answer) for tag in tags)


def value(tag: str, *expected: object) -> Then:
    return lambda answer: all(row[tag]["Value"] == list(expected) for row in rows(answer))


def count(number: int) -> Then:
    return lambda answer: len(rows(answer)) == number


STUDY_ATTRIBUTES = (
    "00080005", "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190",
    "00100010", "00100020", "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208",
)  # fmt: skip
SERIES_ATTRIBUTES = ("00080060", "0020000E", "00200011", "00201209", "00081190")
INSTANCE_ATTRIBUTES = ("00080016", "00080018", "00200013", "00081190")


def q(name: str, query: str, *expected: str) -> Check:
    """A search for studies, its answer in JSON."""
    section = "PS3.4 C.2.2.2" if not name.startswith("8.") else "PS3.18"
    return Check(section, f"{name}: {query}", f"/studies?{query}", NOTHING, JSON, studies(*expected))


ROUTES = [
    Check("10.6.1.1", "all studies", "/studies", 200, JSON, studies(*ALL)),
    Check("10.6.1.1", "a study's series", f"/studies/{ONE}/series", 200, JSON, series(CT, SR, PDF)),
    Check("10.6.1.1", "a study's instances", f"/studies/{TWO}/instances", 200, JSON,
          instances(f"{MULTI}.1", f"{J2K}.1", f"{RLE}.1")),
    Check("10.6.1.1", "all series", "/series", 200, JSON, series(*SERIES)),
    Check("10.6.1.1", "a series' instances", f"/studies/{ONE}/series/{CT}/instances", 200, JSON,
          instances(*(f"{CT}.{n}" for n in (1, 2, 3)))),
    Check("10.6.1.1", "all instances", "/instances", 200, JSON, count(10)),
    Check("10.6.1.1", "instances, a study as key", f"/instances?StudyInstanceUID={THREE}", 200, JSON,
          instances(f"{COLOUR}.1", f"{JPEG}.1")),
    Check("10.6.1.1", "series, a study as key", f"/series?StudyInstanceUID={TWO}", 200, JSON,
          series(MULTI, J2K, RLE)),
    Check("10.6.1.1", "series by modality", "/series?Modality=SR", 200, JSON, series(SR)),
    Check("10.6.1.1", "instances by class", "/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.104.1", 200, JSON,
          instances(f"{PDF}.1")),
    Check("10.6.1.1", "an unknown study's series", "/studies/2.25.404/series", (200, 204, 404), JSON),
    Check("10.6.1.1", "an unknown series' instances", f"/studies/{ONE}/series/2.25.404/instances",
          (200, 204, 404), JSON),
    Check("10.6.3.1", "nothing found", "/studies?PatientID=nobody", NOTHING, JSON, studies()),
    Check("10.6.3.1", "nothing found, no Accept", "/studies?PatientID=nobody", NOTHING, "", studies()),
]  # fmt: skip

ATTRIBUTES = [
    Check("Table 10.6.3-3", "study attributes", "/studies", 200, JSON, carries(STUDY_ATTRIBUTES)),
    Check("Table 10.6.3-4", "series attributes", f"/studies/{ONE}/series", 200, JSON,
          carries(SERIES_ATTRIBUTES)),
    Check("Table 10.6.3-5", "instance attributes", f"/studies/{ONE}/instances", 200, JSON,
          carries(INSTANCE_ATTRIBUTES)),
    Check("Table 10.6.3-3", "modalities", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          lambda a: sorted(rows(a)[0]["00080061"]["Value"]) == ["CT", "DOC", "SR"]),
    Check("Table 10.6.3-3", "number of series", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          value("00201206", 3)),
    Check("Table 10.6.3-3", "number of instances", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          value("00201208", 5)),
    Check("Table 10.6.3-3", "instance availability", "/studies", 200, JSON, value("00080056", "ONLINE")),
    Check("Table 10.6.3-3", "time zone", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          value("00080201", "+0200")),
    Check("Table 10.6.3-3", "study RetrieveURL", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          lambda a: first(rows(a)[0], "00081190").endswith(f"/studies/{ONE}")),
    Check("Table 10.6.3-3", "a person's name", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          value("00100010", {"Alphabetic": "LABORDÉ^Hélène"})),
    Check("Table 10.6.3-3", "a name in three groups", f"/studies?StudyInstanceUID={THREE}", 200, JSON,
          value("00100010", {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎",
                             "Phonetic": "やまだ^たろう"})),
    Check("Table 10.6.3-3", "study description", f"/studies?StudyInstanceUID={ONE}", 200, JSON,
          value("00081030", "Crâne sans injection")),
    Check("Table 10.6.3-3", "no instance's attributes", "/studies", 200, JSON,
          lacks("00080018", "00280010", "7FE00010")),
    Check("Table 10.6.3-4", "series RetrieveURL", f"/studies/{ONE}/series?SeriesInstanceUID={CT}", 200, JSON,
          lambda a: first(rows(a)[0], "00081190").endswith(f"/studies/{ONE}/series/{CT}")),
    Check("Table 10.6.3-4", "number of instances of a series",
          f"/studies/{ONE}/series?SeriesInstanceUID={CT}", 200, JSON, value("00201209", 3)),
    Check("Table 10.6.3-4", "description, procedure step, request",
          f"/studies/{ONE}/series?SeriesInstanceUID={CT}", 200, JSON,
          (carries(("0008103E", "00400244", "00400245", "00400275")),
           lambda a: first(first(rows(a)[0], "00400275"), "00400009") == "SPS-1")),
    Check("Table 10.6.3-4", "all series carry their study", "/series", 200, JSON,
          carries(("0020000D", "00100020", "00080050"))),
    Check("Table 10.6.3-5", "instance RetrieveURL", f"/studies/{ONE}/instances?SOPInstanceUID={CT}.2", 200,
          JSON, lambda a: first(rows(a)[0], "00081190").endswith(
              f"/studies/{ONE}/series/{CT}/instances/{CT}.2")),
    Check("Table 10.6.3-5", "rows, columns, bits", f"/studies/{ONE}/instances?SOPInstanceUID={CT}.2", 200,
          JSON, (value("00280010", 16), value("00280011", 16), value("00280100", 16))),
    Check("Table 10.6.3-5", "number of frames", f"/studies/{TWO}/instances?SOPInstanceUID={MULTI}.1", 200,
          JSON, value("00280008", 4)),
    Check("Table 10.6.3-5", "instances everywhere carry study and series", "/instances", 200, JSON,
          carries(("0020000D", "0020000E", "00100010", "00080060"))),
    Check("F.2.2", "attributes in the order of their tags", "/studies", 200, JSON,
          lambda a: all(list(row) == sorted(row) for row in rows(a))),
    Check("F.2.2", "tags are eight upper-case digits", "/instances", 200, JSON,
          lambda a: all(len(tag) == 8 and tag == tag.upper() for row in rows(a) for tag in row)),
]  # fmt: skip

MATCHING = [
    q("single value, keyword", "PatientID=P-1", ONE), q("single value, tag", "00100020=P-2", TWO),
    q("tag in small letters", "0020000d=2.25.7002", TWO),
    q("case counts for LO", "PatientID=p-1"), q("accession number", "AccessionNumber=ACC-3", THREE),
    q("study id", "StudyID=S-2", TWO), q("two keys", "PatientSex=F&ModalitiesInStudy=MR", TWO),
    q("two keys, nothing in both", "PatientID=P-1&StudyDate=20240809"),
    q("universal", "PatientID=", *ALL), q("universal by star", "PatientID=*", *ALL),
    q("universal by encoded star", "PatientName=%2A", *ALL),
    q("wildcard *", "AccessionNumber=ACC*", *ALL), q("wildcard * within", "AccessionNumber=A*-2", TWO),
    q("wildcard ?", "PatientID=P?1", ONE), q("wildcard encoded", "AccessionNumber=ACC%2D%3F", *ALL),
    q("wildcard encoded star", "PatientID=P%2A1", ONE),
    q("name, wildcard", "PatientName=LAB*", ONE), q("name, case aside", "PatientName=lab*", ONE),
    q("name with accents", "PatientName=LABORD%C3%89%5EH%C3%A9l%C3%A8ne", ONE),
    q("name, caret not encoded", "PatientName=M%C3%9CLLER^Zo%C3%AB", TWO),
    q("name, ideographic", "PatientName=%E5%B1%B1%E7%94%B0*", THREE),
    q("referring physician", "ReferringPhysicianName=MARTIN^Paul", ONE, THREE),
    q("referring physician, wildcard", "00080090=DURAND*", TWO),
    q("date", "StudyDate=20240808", ONE), q("date range", "StudyDate=20240101-20241231", ONE, TWO),
    q("date from", "StudyDate=20240809-", TWO), q("date until", "StudyDate=-20231231", THREE),
    q("date range of nothing", "StudyDate=19000101-19000102"),
    q("date range encoded", "StudyDate=20240808%2D20240808", ONE),
    q("time range", "StudyTime=0500-0600", ONE), q("time from", "StudyTime=120000-", TWO, THREE),
    q("time until", "StudyTime=-0600", ONE), q("birth date", "PatientBirthDate=19701231", TWO),
    q("date and time", "StudyDate=20240808-20240809&StudyTime=050000-060000", ONE),
    q("UID", f"StudyInstanceUID={ONE}", ONE), q("UID list, comma", f"StudyInstanceUID={ONE},{TWO}", ONE, TWO),
    q("UID list, encoded comma", f"StudyInstanceUID={ONE}%2C{THREE}", ONE, THREE),
    q("UID list, encoded backslash", f"StudyInstanceUID={ONE}%5C{TWO}", ONE, TWO),
    q("UID of nothing", "StudyInstanceUID=2.25.404"),
    q("modalities in study", "ModalitiesInStudy=SR", ONE), q("its tag", "00080061=MR", TWO),
    q("modalities, a list", "ModalitiesInStudy=SR%5CMR", ONE, TWO),
    q("a series' key", "SeriesDescription=Coupes", TWO),
    q("an instance's key", f"SOPInstanceUID={CT}.3", ONE),
    q("within a sequence, keywords", "RequestAttributesSequence.ScheduledProcedureStepID=SPS-1", ONE),
    q("within a sequence, tags", "00400275.00401001=RP-1", ONE),
    q("within a sequence, nothing", "00400275.00400009=SPS-2"),
    q("description with accents and spaces", "StudyDescription=Cr%C3%A2ne%20sans%20injection", ONE),
    q("description, + is a space", "StudyDescription=Cr%C3%A2ne+sans*", ONE),
    q("8.3.4.2 fuzzy, accents aside", "PatientName=helene&fuzzymatching=true", ONE),
    q("8.3.4.2 fuzzy, order aside", "PatientName=zoe%20muller&fuzzymatching=true", TWO),
    q("8.3.4.2 fuzzy, a beginning", "PatientName=labo&fuzzymatching=true", ONE),
    q("8.3.4.2 not fuzzy", "PatientName=LAB*&fuzzymatching=false", ONE),
]  # fmt: skip


def _extra(answer: httpx.Response) -> bool:
    """That the search did not use something is said."""
    return answer.status_code == 400 or "299" in answer.headers.get("warning", "")


PARAMETERS = [
    Check("8.3.4.3", "includefield, keyword",
          f"/studies/{ONE}/series/{CT}/instances?includefield=WindowCenter", 200, JSON,
          value("00281050", -896)),
    Check("8.3.4.3", "includefield, tag", f"/studies/{ONE}/series/{CT}/instances?includefield=00281051", 200,
          JSON, value("00281051", 260)),
    Check("8.3.4.3", "includefield, list",
          f"/studies/{ONE}/series/{CT}/instances?includefield=WindowCenter,WindowWidth", 200, JSON,
          carries(("00281050", "00281051"))),
    Check("8.3.4.3", "includefield, encoded list",
          f"/studies/{ONE}/series/{CT}/instances?includefield=WindowCenter%2C00281051", 200, JSON,
          carries(("00281050", "00281051"))),
    Check("8.3.4.3", "includefield, repeated",
          f"/studies/{ONE}/series/{CT}/instances?includefield=WindowCenter&includefield=00281051", 200, JSON,
          carries(("00281050", "00281051"))),
    Check("8.3.4.3", "includefield all", f"/studies/{ONE}/series/{CT}/instances?includefield=all", 200, JSON,
          carries(("00281050", "00281052", "00280004"))),
    Check("8.3.4.3", "includefield at study level", "/studies?includefield=StudyDescription", 200, JSON,
          carries(("00081030",))),
    Check("8.3.4.3", "a field not asked for is left out", f"/studies/{ONE}/series/{CT}/instances", 200, JSON,
          lacks("00281050")),
    Check("8.3.4.4", "limit", "/studies?limit=2", 200, JSON, count(2)),
    Check("8.3.4.4", "limit says what is left", "/studies?limit=2", 200, JSON,
          has("warning", "There are 1 additional results that can be requested")),
    Check("8.3.4.4", "limit that cuts nothing says nothing", "/studies?limit=3", 200, JSON,
          lambda a: "warning" not in a.headers),
    Check("8.3.4.4", "offset", "/studies?offset=2", 200, JSON, count(1)),
    Check("8.3.4.4", "offset beyond the end", "/studies?offset=9", NOTHING, JSON, studies()),
    Check("8.3.4.4", "limit and offset", "/instances?limit=4&offset=8", 200, JSON, count(2)),
    Check("8.3.4.4", "limit 0", "/studies?limit=0", NOTHING, JSON, studies()),
    Check("8.3.4.4", "limit that is no number", "/studies?limit=many", 400, JSON),
    Check("8.3.4.4", "limit below zero", "/studies?limit=-1", 400, JSON),
    Check("8.3.4.4", "offset that is no number", "/studies?offset=x", 400, JSON),
    Check("8.3.4.1", "an unknown attribute", "/studies?NoSuchAttribute=1", (200, 400), JSON, _extra),
    Check("8.3.4.1", "a date that is none", "/studies?StudyDate=yesterday", 400, JSON),
    Check("8.3.4.1", "a UID that is none", "/studies?StudyInstanceUID=one", (200, 204, 400), JSON),
    Check("8.3.4.2", "fuzzymatching neither true nor false", "/studies?fuzzymatching=maybe", 400, JSON),
    Check("8.3.4.5", "empty values", "/studies?IssuerOfPatientID=%22%22&emptyvaluematching=true", 200,
          JSON, studies(THREE)),
    Check("8.3.4.5", "empty values, none", "/studies?PatientID=%22%22&emptyvaluematching=true", NOTHING,
          JSON, studies()),
    Check("8.3.4.5", "neither true nor false", "/studies?emptyvaluematching=1", 400, JSON),
    Check("8.3.4.6", "several names", "/studies?PatientName=LABORD%C3%89%5EH%C3%A9l%C3%A8ne%5C"
          "M%C3%BCller%5EZo%C3%AB&multiplevaluematching=true", 200, JSON, studies(ONE, TWO)),
    Check("8.3.4.6", "without it a backslash is a character", "/studies?PatientID=P-1%5CP-2", NOTHING, JSON,
          studies()),
    Check("8.3.4.6", "multiplevaluematching", "/studies?PatientID=P-1%5CP-2&multiplevaluematching=true", 200,
          JSON, studies(ONE, TWO)),
]  # fmt: skip


def _same_in_xml(answer: httpx.Response) -> bool:
    found = [dicom_xml.parse(piece.content) for piece in pieces(answer)]
    return sorted(first(row, "0020000D") for row in found) == sorted(ALL)


NEGOTIATION = [
    Check("10.6.4", "no Accept: JSON", "/studies", 200, "", is_type(JSON)),
    Check("10.6.4", "*/*: JSON", "/studies", 200, "*/*", is_type(JSON)),
    Check("10.6.4", "application/*", "/studies", 200, "application/*", is_type(JSON)),
    Check("10.6.4", "application/json", "/studies", 200, "application/json", is_type("application/json")),
    Check("10.6.4", "XML, quoted", "/studies", 200, f'multipart/related; type="{XML}"', _same_in_xml),
    Check("10.6.4", "XML, unquoted", "/studies", 200, f"multipart/related; type={XML}", _same_in_xml),
    Check("10.6.4", "XML with charset", "/studies", 200, f'multipart/related; type="{XML}"; charset=utf-8',
          _same_in_xml),
    Check("10.6.4", "XML preferred by q", "/studies", 200,
          f'{JSON};q=0.1, multipart/related; type="{XML}";q=0.9', _same_in_xml),
    Check("10.6.4", "JSON preferred by q", "/studies", 200,
          f'multipart/related; type="{XML}";q=0.1, {JSON};q=0.9', is_type(JSON)),
    Check("10.6.4", "nothing found in XML", "/studies?PatientID=nobody", NOTHING,
          f'multipart/related; type="{XML}"'),
    Check("8.7.8", "no such media type", "/studies", 406, "image/png"),
    Check("8.7.8", "all that is there refused by q=0", "/studies", 406, "application/dicom+json;q=0"),
    Check("8.3.3.1", "accept as a parameter", "/studies?accept=application/dicom%2Bjson", 200, "text/html",
          is_type(JSON)),
    Check("8.7.8", "wrong method", "/studies/2.25.1/series", 405, JSON, method="PUT"),
    Check("RFC 9110 9.3.2", "HEAD", "/studies", 200, JSON, lambda a: a.content == b"", method="HEAD"),
]  # fmt: skip


@table([*ROUTES, *ATTRIBUTES, *MATCHING, *PARAMETERS, *NEGOTIATION])
def test_search(dicom: httpx.Client, check: Check) -> None:
    check.run(dicom)


def test_pages_join_into_the_whole(dicom: httpx.Client) -> None:
    """8.3.4.4: a stable order."""
    whole = [first(row, "00080018") for row in rows(dicom.get("/instances"))]
    paged = [
        first(row, "00080018")
        for offset in range(0, 12, 3)
        for row in rows(dicom.get("/instances", params={"limit": 3, "offset": offset}))
    ]
    assert (len(whole), paged) == (10, whole)
