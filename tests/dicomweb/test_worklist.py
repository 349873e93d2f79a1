"""UPS-RS: creation, the four states, cancellation, search, and who sees what. PS3.18 §11, PS3.4 §CC"""

from __future__ import annotations

from typing import Any

import pytest

from dicomweb import dicom_xml
from fhir_server.access import Access, Scope
from fhir_server.store.contract import Store
from tests.dicomweb.conftest import Client, rows
from tests.dicomweb.test_access import ME, request, study

STEP: dict[str, Any] = {
    "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
    "00741204": {"vr": "LO", "Value": ["Lecture scanner"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "LABORDE^Henri"}]},
    "00404021": {"vr": "SQ", "Value": [{"0020000D": {"vr": "UI", "Value": ["2.25.1001"]}}]},
}
JSON = {"Content-Type": "application/dicom+json"}


def state(name: str, transaction: str = "2.25.900") -> dict[str, Any]:
    return {"00741000": {"vr": "CS", "Value": [name]}, "00081195": {"vr": "UI", "Value": [transaction]}}


async def made(client: Client, uid: str = "2.25.700", **changes: Any) -> str:
    answer = await client.post(f"workitems?{uid}", json=[{**STEP, **changes}], headers=JSON)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def test_created_and_retrieved(client: Client) -> None:
    place = await made(client)
    assert place == "http://test/dicom-web/workitems/2.25.700"
    (item,) = (await client.get(place)).json()
    assert item["00080018"]["Value"] == ["2.25.700"]
    assert item["00741000"]["Value"] == ["SCHEDULED"]
    assert item["00741204"]["Value"] == ["Lecture scanner"]
    in_xml = await client.get(place, headers={"Accept": "application/dicom+xml"})
    assert dicom_xml.parse(in_xml.content) == item
    assert (await client.post("workitems?2.25.700", json=[STEP], headers=JSON)).status_code == 409
    own = await client.post("workitems", json=STEP, headers=JSON)
    assert own.headers["location"].startswith("http://test/dicom-web/workitems/2.25.")
    assert (await client.get("workitems/2.25.9")).status_code == 404
    as_xml = await client.post(
        "workitems", content=dicom_xml.dump(STEP), headers={"Content-Type": "application/dicom+xml"}
    )
    assert as_xml.status_code == 201


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/dicom+json", 400),
        (b"{", "application/dicom+json", 400),
        (b"[{},{}]", "application/dicom+json", 400), (b'{"a":1}', "application/dicom+json", 400),
        (b"{}", "text/plain", 415), (b"<a/>", "application/dicom+xml", 400),
        (b'{"00741000":{"vr":"CS","Value":["COMPLETED"]}}', "application/dicom+json", 400),
        (b'{"00080018":{"vr":"UI","Value":["abc"]}}', "application/dicom+json", 400),
        (b'{"00081195":{"vr":"UI","Value":["1.2"]}}', "application/dicom+json", 400),
    ],
)  # fmt: skip
async def test_what_is_no_workitem(client: Client, body: bytes, kind: str, status: int) -> None:
    answer = await client.post("workitems", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert (await client.get("workitems")).status_code == 204


TRANSITIONS = [  # the way there, the state asked for, with which transaction → status
    ([], "IN PROGRESS", "2.25.900", 200), ([], "COMPLETED", "2.25.900", 409),
    ([], "CANCELED", "2.25.900", 409),
    ([], "SCHEDULED", "2.25.900", 409), ([], "OTHER", "2.25.900", 400), ([], "IN PROGRESS", "", 400),
    (["IN PROGRESS"], "IN PROGRESS", "2.25.900", 409), (["IN PROGRESS"], "COMPLETED", "2.25.900", 200),
    (["IN PROGRESS"], "CANCELED", "2.25.900", 200), (["IN PROGRESS"], "COMPLETED", "2.25.901", 409),
    (["IN PROGRESS"], "SCHEDULED", "2.25.900", 409),
    (["IN PROGRESS", "COMPLETED"], "CANCELED", "2.25.900", 409),
    (["IN PROGRESS", "COMPLETED"], "IN PROGRESS", "2.25.900", 409),
    (["IN PROGRESS", "CANCELED"], "COMPLETED", "2.25.900", 409),
]  # fmt: skip


@pytest.mark.parametrize(("way", "wanted", "transaction", "status"), TRANSITIONS)
async def test_states(client: Client, way: list[str], wanted: str, transaction: str, status: int) -> None:
    """PS3.4 Table CC.1.1-2"""
    place = await made(client)
    for one in way:
        assert (await client.put(f"{place}/state", json=[state(one)], headers=JSON)).status_code == 200
    answer = await client.put(f"{place}/state", json=[state(wanted, transaction)], headers=JSON)
    assert answer.status_code == status
    (item,) = (await client.get(place)).json()
    assert item["00741000"]["Value"] == [wanted if status == 200 else [*["SCHEDULED"], *way][-1]]
    assert "00081195" not in item


async def test_the_same_final_state_again_is_a_warning(client: Client) -> None:
    place = await made(client)
    for one in ("IN PROGRESS", "COMPLETED", "COMPLETED"):
        answer = await client.put(f"{place}/state", json=state(one), headers=JSON)
        assert answer.status_code == 200
    assert "already in the requested state of COMPLETED" in answer.headers["warning"]


async def test_updates_are_the_holders(client: Client) -> None:
    place = await made(client)
    label = {"00741204": {"vr": "LO", "Value": ["Autre"]}}
    assert (await client.post(place, json=label, headers=JSON)).status_code == 200
    await client.put(f"{place}/state", json=state("IN PROGRESS"), headers=JSON)
    assert (await client.post(place, json=label, headers=JSON)).status_code == 409
    assert (await client.post(f"{place}?transaction-uid=2.25.1", json=label, headers=JSON)).status_code == 409
    assert (
        await client.post(f"{place}?transaction-uid=2.25.900", json=label, headers=JSON)
    ).status_code == 200
    moved = await client.post(f"{place}?2.25.900", json=state("COMPLETED", "2.25.900"), headers=JSON)
    assert moved.status_code == 400
    await client.put(f"{place}/state", json=state("COMPLETED"), headers=JSON)
    assert (await client.post(f"{place}?2.25.900", json=label, headers=JSON)).status_code == 409
    (item,) = (await client.get(place)).json()
    assert item["00741204"]["Value"] == ["Autre"]


async def test_requests_to_cancel(client: Client) -> None:
    place = await made(client)
    reason = {"00741238": {"vr": "LT", "Value": ["erreur"]}}
    assert (await client.post(f"{place}/cancelrequest", json=reason, headers=JSON)).status_code == 202
    (item,) = (await client.get(place)).json()
    assert item["00741000"]["Value"] == ["CANCELED"]
    assert "already" in (await client.post(f"{place}/cancelrequest")).headers["warning"]
    held = await made(client, "2.25.701")
    await client.put(f"{held}/state", json=state("IN PROGRESS"), headers=JSON)
    assert (await client.post(f"{held}/cancelrequest")).status_code == 409


async def test_search(client: Client) -> None:
    for n in range(3):
        await made(client, f"2.25.71{n}", **{"00741204": {"vr": "LO", "Value": [f"Lecture {n}"]}})
    await client.put("workitems/2.25.710/state", json=state("IN PROGRESS"), headers=JSON)
    for query, expected in (
        ("", "012"), ("ProcedureStepState=SCHEDULED", "12"), ("00741204=Lecture*", "012"),
        ("00741204=Lecture 1", "1"),
        ("PatientName=laborde*", "012"), ("PatientName=x", ""), ("limit=1&offset=1", "1"),
        ("InputInformationSequence.StudyInstanceUID=2.25.1001", "012"), ("00404021.0020000D=2.25.2", ""),
    ):  # fmt: skip
        found = rows(await client.get(f"workitems?{query}"))
        assert [one["00080018"]["Value"][0][-1] for one in found] == list(expected), query
    assert "2 additional" in (await client.get("workitems?limit=1")).headers["warning"]


async def test_who_sees_and_who_changes(client: Client, store: Store) -> None:
    await store.commit(
        [request("r-mine", "Organization/mine"), study("2.25.1001", "r-mine"), study("2.25.1002")]
    )
    mine = await made(client, "2.25.720")
    hidden = await made(client, "2.25.721", **{
        "00404021": {"vr": "SQ", "Value": [{"0020000D": {"vr": "UI", "Value": ["2.25.1002"]}}]}
    })  # fmt: skip
    about_none = await made(client, "2.25.722", **{"00404021": {"vr": "SQ"}})
    client.access = ME
    assert [one["00080018"]["Value"] for one in rows(await client.get("workitems"))] == [["2.25.720"]]
    assert (await client.get(mine)).status_code == 200
    absent = await client.get("workitems/2.25.9")
    for place in (hidden, about_none):
        answer = await client.get(place)
        assert (answer.status_code, answer.content) == (404, absent.content)
    for call in (client.post("workitems", json=STEP, headers=JSON),
                 client.post(mine, json=STEP, headers=JSON),
                 client.put(f"{mine}/state", json=state("IN PROGRESS"), headers=JSON),
                 client.post(f"{mine}/cancelrequest")):  # fmt: skip
        assert (await call).status_code == 403
    client.access = Access("Client/a", (Scope("Patient", "rs"),), None)
    assert (await client.get(mine)).status_code == 403
    assert (await client.get("workitems")).status_code == 403
