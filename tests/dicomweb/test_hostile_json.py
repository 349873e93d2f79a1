"""JSON and XML that nobody means, on every address that takes them: a clear refusal, nothing kept, no 500.

What is sent is nested, endless, of the wrong type at each place, or has the form of something else. The guard
has let the sender in: these are his own télédossier, a system's token, his own gateway's errand.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from dicomweb.attributes import is_dataset
from dicomweb.web import MOST_DEPTH, from_json
from fhir_server.access import SYSTEM, Access
from fhir_server.store.contract import Entries, Put, Store
from profiles.outcomes import Invalid
from smart_launch.app.views import transfers as view
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_access import ME

JSON = {"Content-Type": "application/json"}
REFUSED = {400, 404, 409, 413, 415}


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"00404021":' * depth + b"1" + b"}" * depth


def steps(depth: int) -> bytes:
    """Sequences in sequences, each well formed."""
    return (
        b'{"00404021":{"vr":"SQ","Value":[' * depth
        + b'{"00741204":{"vr":"LO","Value":["x"]}}'
        + b"]}}" * depth
    )


VALUES = [
    b"null", b"true", b"-1", b"1e308", b"1e999", b"NaN", b"1180591620717411303424", b'""', b'"\\u0000"',
    b'"\\ud800"', b'"\\u202e\\u0007<script>"', b"[[]]", b"{}", b"[{}]", b'"' + b"9" * 5000 + b'"',
    *(lists(depth) for depth in (140, 500, 990, 1010, 10_000)), objects(990), objects(10_000),
]  # fmt: skip
BODIES = [b"", b"{", b"\xff\xfe", *VALUES]
REQUEST = "requests/r1"
ADDRESSES: dict[tuple[str, str], tuple[Access, str]] = {
    ("POST", f"{REQUEST}/exams"): (ME, '{"study":%s}'),
    ("POST", f"{REQUEST}/identity"): (
        ME,
        '{"patients":[{"name":%s,"birth":%s,"ids":[{"value":%s,"issuer":%s}]}]}',
    ),
    ("POST", f"{REQUEST}/known"): (ME, '{"instances":{"1.2":%s}}'),
    ("POST", f"{REQUEST}/priors/1.2"): (ME, '{"decision":%s}'),
    ("PUT", f"{REQUEST}/sending/1.2"): (ME, '{"series":%s}'),
    ("POST", "transfers"): (SYSTEM, '{"peer":%s,"study":"1.2","series":%s,"request":%s}'),
    ("POST", "peers/p/search"): (SYSTEM, '{"level":%s,"keys":{"PatientName":%s}}'),
    ("POST", "studies/1.2/conflicts/1"): (SYSTEM, '{"serve":%s,"reason":%s}'),
    ("POST", "workitems"): (SYSTEM, '{"00404021":{"vr":"SQ","Value":%s}}'),
    ("POST", "workitems?1.2.3"): (SYSTEM, '{"00741204":%s}'),
    ("PUT", "workitems/1.2/state"): (SYSTEM, '{"00741000":{"vr":"CS","Value":[%s]}}'),
}


@pytest.fixture
async def mine(store: Store) -> None:
    """A draft of ME."""
    resource = {"id": "r1", "status": "draft", "subject": {"reference": "Patient/p1"}}
    audience = Entries(references=(("audience", "Practitioner/me"),))
    body = json.dumps(resource).encode()
    await store.commit([
        Put("ServiceRequest", "r1", 0, 1, "create", body, audience),
        Put("Patient", "p1", 0, 1, "create", b'{"id":"p1"}', Entries()),
    ])  # fmt: skip


@pytest.mark.parametrize(("method", "address"), ADDRESSES, ids=lambda one: one.partition("?")[0])
async def test_bodies_that_are_none(
    client: Client, mine: None, caplog: pytest.LogCaptureFixture, method: str, address: str
) -> None:
    client.access, shape = ADDRESSES[method, address]
    filled = [shape.replace("%s", "\0").encode().replace(b"\0", value) for value in VALUES]
    with caplog.at_level(logging.ERROR):
        for body in [*BODIES, *filled]:
            answer = await client.request(method, address, content=body, headers=JSON)
            kept = answer.status_code < 400
            if kept:  # a value that this place takes: an empty name, a text, another patient's traits
                assert answer.status_code in (200, 201), body[:60]
            else:
                assert answer.status_code in REFUSED, body[:60]
                assert set(answer.json()) == {"status", "code", "message"}
    assert caplog.records == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (steps(40), 201), (steps(200), 400),
        (b'{"00741204":{"vr":"LO","Value":"x"}}', 400), (b'{"00741204":{"vr":"LO","Value":5}}', 400),
        (b'{"00741204":{"vr":"lo","Value":["x"]}}', 400), (b'{"00741204":{"vr":5}}', 400),
        (b'{"PatientName":{"vr":"PN"}}', 400), (b'{"0074120\\u0000":{"vr":"LO"}}', 400),
        (b'{"00741204":{"vr":"LO","Value":[{"a":1}]}}', 400),
        (b'{"00100010":{"vr":"PN","Value":[["x"]]}}', 400),
        (b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":{"a":1}}]}}', 400),
        (b'{"00404021":{"vr":"SQ","Value":[{"0020000D":{"vr":"UI","Value":[{}]}}]}}', 400),
        (b'{"00404021":{"vr":"SQ","Value":["x"]}}', 400),
        (b'{"00420011":{"vr":"OB","InlineBinary":[1]}}', 400),
        (b'{"00420011":{"vr":"OB","BulkDataURI":{"a":1}}}', 400),
        (b'{"00741204":{"vr":"LO","Value":[null,5]},"00100010":{"vr":"PN","Value":["B"]}}', 201),
    ],
    ids=lambda one: str(one)[:60],
)  # fmt: skip
async def test_workitems_have_the_form_of_datasets(client: Client, body: bytes, status: int) -> None:
    """What is kept is shown and found again, in JSON and XML."""
    answer = await client.post("workitems?1.2.3", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    for accept in ("application/dicom+json", "application/dicom+xml"):
        headers = {"Accept": accept}
        shown = await client.get("workitems/1.2.3", headers=headers)
        assert shown.status_code == (200 if status == 201 else 404)
        found = await client.get("workitems?PatientName=A*&00404021.0020000D=1.2", headers=headers)
        assert found.status_code == 204


def in_xml(attribute: str, head: str = "") -> bytes:
    return f"{head}<NativeDicomModel>{attribute}</NativeDicomModel>".encode()


def attribute(vr: str, value: str, number: str = "1") -> str:
    return (
        f'<DicomAttribute tag="00741204" vr="{vr}"><Value number="{number}">{value}</Value></DicomAttribute>'
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (in_xml(attribute("LO", "x")), 201), (in_xml(attribute("LO", "x", "²")), 201),
        (in_xml(attribute("LO", "x", "9" * 5000)), 201), (in_xml(attribute("LO", "x", "-1")), 201),
        (in_xml(attribute("US", str(2**70))), 400), (in_xml(attribute("US", "9" * 5000)), 400),
        (in_xml(attribute("SV", str(-(2**63)))), 201), (in_xml(attribute("UV", str(2**64 - 1))), 201),
        (in_xml(attribute("FD", "1e999")), 201), (in_xml(attribute("DS", "nan")), 201),
        (in_xml(attribute("LO", "x"), '<?xml version="1.0" encoding="nothing"?>'), 201),
        (in_xml(attribute("LO", "x"), '<?xml version="1.0" encoding="utf-16"?>'), 201),
        (in_xml(attribute("LO", "x"), '<!DOCTYPE a [<!ENTITY b "c">]>'), 400),
        (in_xml(attribute("Xö", "x")), 400), (in_xml('<DicomAttribute tag="ZZZZZZZZ" vr="LO"/>'), 400),
        (b"<a>" * 10_000, 400), (b"\xff\xfe<\0a\0>\0", 400),
    ],
    ids=lambda one: str(one)[:70],
)  # fmt: skip
async def test_workitems_in_xml(client: Client, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/dicom+xml"}
    answer = await client.post("workitems?1.2.3", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert (await client.get("workitems/1.2.3")).status_code == (200 if status == 201 else 404)


def test_depth_is_counted_exactly() -> None:
    assert from_json(lists(MOST_DEPTH)) is not None
    assert from_json(b"[" + b"1," * 100_000 + b"1]")[-1] == 1
    for depth in (MOST_DEPTH + 1, 1023, 100_000):
        with pytest.raises(Invalid):
            from_json(lists(depth))


def test_a_dataset_without_vr_may_be_one() -> None:
    """As some PACS answer."""
    assert is_dataset({"00100020": {"Value": ["1"]}, "00100010": {}})
    assert not is_dataset([])


ODD: list[Any] = ["9" * 5000, "²", "-1", "", None, [], {}, ["a"], {"Alphabetic": ["x"]}, 2**63, 1.5, True]


@pytest.mark.parametrize("value", ODD, ids=lambda one: str(one)[:20])
def test_what_a_pacs_answers_never_breaks_the_page(value: object) -> None:
    tags = [
        "00080061",
        "00201208",
        "00201206",
        "00100010",
        "00100030",
        "00080020",
        "00081030",
        "00200011",
        "00201209",
    ]
    row = {tag: {"vr": "UN", "Value": [value]} for tag in tags}
    row |= {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "0020000E": {"vr": "UI", "Value": ["1.2.3"]}}
    assert [one.uid for one in view.studies([row])] == ["1.2"]
    assert [one.uid for one in view.series([row])] == ["1.2.3"]
