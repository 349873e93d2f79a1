"""Capabilities, deletion, UPS-RS and what browsers ask. PS3.18 §8.9 (capabilities), §11 (Worklist Service)"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dicomweb.probe.check import JSON, XML, Check, first, has, is_type, pieces, rows, table
from tests.dicomweb.probe.seed import CT, ONE
from tests.dicomweb.probe.test_store import KIND, Fresh, body

WADL = "application/vnd.sun.wadl+xml"
ORIGIN = "http://localhost:3000"
NAMESPACE = "{http://wadl.dev.java.net/2009/02}"
_numbers = count(1)


def _resources(answer: httpx.Response) -> bool:
    found = {node.get("path") for node in ET.fromstring(answer.content).iter(f"{NAMESPACE}resource")}
    return {"studies", "studies/{study}", "studies/{study}/series/{series}/instances/{instance}"} <= found


SERVICES = [
    Check("8.9.2", "OPTIONS of the service, WADL", "/", 200, WADL, (is_type(WADL), _resources),
          method="OPTIONS"),
    Check("8.9.2", "OPTIONS of the service, JSON", "/", 200, "application/json",
          lambda a: a.json()["resources"] != [], method="OPTIONS"),
    Check("8.9.2", "OPTIONS of the service, no Accept", "/", 200, "", _resources, method="OPTIONS"),
    Check("8.9.2", "OPTIONS in another form", "/", 406, "image/png", method="OPTIONS"),
    Check("Fetch 4.8", "preflight", "/studies", (200, 204), None,
          (has("access-control-allow-origin", ORIGIN), has("access-control-allow-methods", "GET"),
           lambda a: "authorization" in a.headers["access-control-allow-headers"].lower()),
          method="OPTIONS",
          headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET",
                   "Access-Control-Request-Headers": "authorization, accept"}),
    Check("Fetch 3.2", "a page elsewhere reads", "/studies", 200, JSON,
          (has("access-control-allow-origin", ORIGIN), has("vary", "Origin")), headers={"Origin": ORIGIN}),
    Check("Fetch 3.2", "and its headers",
          f"/studies/{ONE}/series/{CT}/instances/{CT}.1/bulkdata/7FE00010", 206, "*/*",
          lambda a: {"Content-Range", "ETag"} <= {*a.headers["access-control-expose-headers"].split(", ")},
          headers={"Origin": ORIGIN, "Range": "bytes=0-1"}),
    Check("Fetch 3.2", "an error too", "/studies/2.25.404", 404, "*/*",
          has("access-control-allow-origin", ORIGIN), headers={"Origin": ORIGIN}),
]  # fmt: skip


@table(SERVICES)
def test_services(dicom: httpx.Client, check: Check) -> None:
    check.run(dicom)


def test_deletion(dicom: httpx.Client, tmp_path: Path) -> None:
    """An instance, a series, a study; what is gone is 404, and no search finds it."""
    fresh = Fresh(tmp_path)
    content = body(
        *(fresh.file(number) for number in (1, 2)), fresh.file(3, SeriesInstanceUID=f"{fresh.study}.2")
    )
    dicom.post("/studies", content=content, headers={"Content-Type": KIND}).raise_for_status()
    study = f"/studies/{fresh.study}"
    for path, left in (
        (f"{study}/series/{fresh.series}/instances/{fresh.uid(1)}", 2), (f"{study}/series/{fresh.series}", 1),
        (study, 0),
    ):  # fmt: skip
        assert dicom.delete(path).status_code in (200, 204)
        assert dicom.get(path).status_code in (404, 410)
        assert dicom.delete(path).status_code in (404, 410)
        assert len(rows(dicom.get("/instances", params={"StudyInstanceUID": fresh.study}))) == left
    assert dicom.delete("/studies/2.25.404").status_code == 404


class Item:
    """One work item, with requests about it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client, self.uid = client, f"2.25.99{next(_numbers)}"
        self.path = f"/workitems/{self.uid}"

    def create(self, path: str = "", kind: str = JSON, **changes: Any) -> httpx.Response:
        made = {
            "00741204": {"vr": "LO", "Value": ["Lecture"]}, "00741200": {"vr": "CS", "Value": ["HIGH"]},
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
            "00100020": {"vr": "LO", "Value": [f"U-{self.uid}"]}, **changes,
        }  # fmt: skip
        return self.client.post(
            path or f"/workitems?{self.uid}", content=json.dumps([made]), headers={"Content-Type": kind}
        )

    def state(self, wanted: str, transaction: str = "2.25.5") -> httpx.Response:
        asked = [{"00741000": {"vr": "CS", "Value": [wanted]},
                  "00081195": {"vr": "UI", "Value": [transaction]}}]  # fmt: skip
        headers = {"Content-Type": JSON}
        return self.client.put(f"{self.path}/state", content=json.dumps(asked), headers=headers)

    def update(self, transaction: str = "") -> httpx.Response:
        asked = [{"00741202": {"vr": "LO", "Value": ["Neuro"]}}]
        path = self.path + (f"?{transaction}" if transaction else "")
        return self.client.post(path, content=json.dumps(asked), headers={"Content-Type": JSON})

    def cancel(self) -> httpx.Response:
        asked = [{"00741238": {"vr": "LT", "Value": ["Doublon"]}}]
        path = f"{self.path}/cancelrequest"
        return self.client.post(path, content=json.dumps(asked), headers={"Content-Type": JSON})

    def now(self) -> dict[str, Any]:
        found = self.client.get(self.path, headers={"Accept": JSON})
        assert found.status_code == 200
        (item,) = found.json()
        return dict(item)


@pytest.fixture
def item(dicom: httpx.Client) -> Item:
    return Item(dicom)


def test_a_work_item_is_created(item: Item) -> None:
    """11.4: 201 and its address; a second one of the same UID is a conflict."""
    made = item.create()
    assert (made.status_code, made.headers["location"].endswith(item.path)) == (201, True)
    assert item.create().status_code == 409
    assert (first(item.now(), "00741000"), "00081195" in item.now()) == ("SCHEDULED", False)


def test_a_work_item_without_a_uid_gets_one(item: Item) -> None:
    """11.4.1: the server names it."""
    made = item.create("/workitems")
    assert made.status_code == 201
    assert item.client.get(made.headers["location"], headers={"Accept": JSON}).status_code == 200


def test_work_items_that_are_none(item: Item) -> None:
    """11.4.3: a state other than SCHEDULED, no body, no JSON, another media type."""
    begun = item.create(**{"00741000": {"vr": "CS", "Value": ["IN PROGRESS"]}})
    assert begun.status_code in (400, 409)
    path, post = f"/workitems?{item.uid}", item.client.post
    assert post(path, content=b"", headers={"Content-Type": JSON}).status_code == 400
    assert post(path, content=b"{", headers={"Content-Type": JSON}).status_code == 400
    assert post(path, content=b"hello", headers={"Content-Type": "text/plain"}).status_code == 415
    assert item.client.get(item.path).status_code == 404


def test_a_work_item_goes_its_way(item: Item) -> None:
    """11.7: SCHEDULED, IN PROGRESS, COMPLETED; only who holds it may go on."""
    item.create()
    assert item.state("COMPLETED").status_code == 409
    assert item.state("IN PROGRESS").status_code == 200
    assert item.state("IN PROGRESS", "2.25.6").status_code == 409
    assert item.state("COMPLETED", "2.25.6").status_code in (400, 409)
    assert item.state("NONSENSE").status_code == 400
    assert item.state("COMPLETED").status_code == 200
    assert first(item.now(), "00741000") == "COMPLETED"
    assert item.state("CANCELED").status_code == 409


def test_a_work_item_is_updated_by_who_holds_it(item: Item) -> None:
    """11.6"""
    item.create()
    assert item.update().status_code == 200
    assert first(item.now(), "00741202") == "Neuro"
    item.state("IN PROGRESS")
    assert item.update().status_code in (400, 409)
    assert item.update("2.25.5").status_code == 200
    item.state("COMPLETED")
    assert item.update("2.25.5").status_code in (400, 409)


def test_a_work_item_is_cancelled(item: Item) -> None:
    """11.8: 202, and then 409 or a warning."""
    item.create()
    assert item.cancel().status_code == 202
    assert first(item.now(), "00741000") == "CANCELED"
    again = item.cancel()
    assert (again.status_code == 202 and "299" in again.headers["warning"]) or again.status_code == 409


def test_work_items_are_found(item: Item) -> None:
    """11.9: by any attribute, JSON and XML; nothing is 204."""
    item.create()
    patient = f"U-{item.uid}"
    get = item.client.get
    for query in (f"PatientID={patient}", f"00100020={patient}", f"PatientID={patient}&00741200=HIGH",
                  f"ProcedureStepLabel=Lect*&PatientID={patient}"):  # fmt: skip
        (found,) = rows(get(f"/workitems?{query}", headers={"Accept": JSON}))
        assert first(found, "00080018") == item.uid
        assert "00081195" not in found
    assert rows(get(f"/workitems?PatientID={patient}&00741200=LOW", headers={"Accept": JSON})) == []
    assert len(rows(get("/workitems?limit=1", headers={"Accept": JSON}))) == 1
    in_xml = get(f"/workitems?PatientID={patient}", headers={"Accept": f'multipart/related; type="{XML}"'})
    assert len(pieces(in_xml)) == 1
    assert get(item.path, headers={"Accept": XML}).headers["content-type"].startswith(XML)


def test_work_items_that_are_not_there(dicom: httpx.Client) -> None:
    """11: 404 for each transaction on one."""
    missing = Item(dicom)
    for answer in (missing.update(), missing.state("IN PROGRESS"), missing.cancel(), dicom.get(missing.path)):
        assert answer.status_code == 404
