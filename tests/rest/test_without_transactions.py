"""A server of the MongoDB protocol without transactions: what is refused, and what still is whole.

FHIR R4 http.html#transaction
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from fhir_server.audit import Trail
from fhir_server.store.contract import Store
from tests.mongodb import FERRETDB
from tests.rest.serving import Served, make_engine, now, serve
from tests.rest.test_bundle import bundle, entry

PATIENT: dict[str, Any] = {"resourceType": "Patient", "active": True}
PERSON = Access("Practitioner/p1", (Scope("*", "cruds"),), None)


@pytest.fixture
def engine_name() -> str:
    return FERRETDB


async def _count(served: Served, type: str = "Patient") -> int:
    return int((await served.client().get(f"/{type}?_summary=count")).json()["total"])


async def test_the_start_says_so(
    store: Store, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not store.atomic_commits
    await store.close()
    with caplog.at_level(logging.WARNING):
        await store.open()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "no transactions" in line
    assert "501" in line


@pytest.mark.parametrize("verbs", [("POST", "POST"), ("POST", "PUT"), ("PUT", "DELETE")])
async def test_a_transaction_of_several_writes_is_refused(served: Served, verbs: tuple[str, ...]) -> None:
    """501 with an OperationOutcome that says what to do; nothing is written."""
    await served.client().put("/Patient/there", json={**PATIENT, "id": "there"})
    forms = {
        "POST": entry("POST", "Patient", PATIENT),
        "PUT": entry("PUT", "Patient/mine", {**PATIENT, "id": "mine"}),
        "DELETE": entry("DELETE", "Patient/there"),
    }
    answer = await served.client().post("", json=bundle("transaction", *(forms[verb] for verb in verbs)))
    assert answer.status_code == 501
    (issue,) = answer.json()["issue"]
    assert issue["details"]["coding"][0]["code"] == "no-transactions"
    assert "batch" in issue["diagnostics"]
    assert await _count(served) == 1


@pytest.mark.parametrize(("engine_name", "offered"), [("sqlite", True), (FERRETDB, False)])
async def test_the_capability_statement_says_what_is_so(served: Served, offered: bool) -> None:
    told = (await served.client().get("/metadata")).json()["rest"][0]["interaction"]
    assert ({"code": "transaction"} in told, {"code": "batch"} in told) == (offered, True)


async def test_one_write_with_reads_is_a_transaction(served: Served) -> None:
    answer = await served.client().post(
        "", json=bundle("transaction", entry("POST", "Patient", PATIENT), entry("GET", "Patient"))
    )
    assert answer.status_code == 200
    assert [each["response"]["status"] for each in answer.json()["entry"]] == ["201 Created", "200 OK"]
    assert await _count(served) == 1


async def test_a_batch_writes_each_entry(served: Served) -> None:
    answer = await served.client().post(
        "", json=bundle("batch", *(entry("POST", "Patient", PATIENT) for _ in range(5)))
    )
    assert {each["response"]["status"] for each in answer.json()["entry"]} == {"201 Created"}
    assert await _count(served) == 5


async def test_a_write_and_its_event_are_one(store: Store, tmp_path: Any) -> None:
    """What a person writes comes with its AuditEvent, in one commit of two resources."""
    engine = make_engine(tmp_path, store)
    trail = Trail(store, engine.settings, now)
    served = serve(make_engine(tmp_path, store, trail=trail))
    made = (await served.client(PERSON).post("/Patient", json=PATIENT)).json()
    updated = await served.client(PERSON).put(f"/Patient/{made['id']}", json={**made, "active": False})
    assert updated.status_code == 200
    assert await _count(served) == 1
    assert await _count(served, "AuditEvent") == 2
    assert await store.integrity() == []
