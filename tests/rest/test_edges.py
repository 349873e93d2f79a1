"""CapabilityStatement, operations, figures, readiness."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from fhir_server.access import Access
from fhir_server.interactions.engine import Engine
from fhir_server.operations.registry import Operation, OperationRequest, OperationResult, Operations
from fhir_server.store.contract import Store
from profiles import definitions
from profiles.outcomes import Conflict
from tests.rest.serving import BASE, Served, make_engine, serve


async def _echo(engine: Engine, access: Access, asked: OperationRequest) -> OperationResult:
    parts = [asked.type, asked.id, str(len(asked.parameters.get("parameter", ()))), repr(asked.query)]
    return OperationResult(200, {"resourceType": "Basic", "code": {"text": "|".join(parts)}})


async def _csv(engine: Engine, access: Access, asked: OperationRequest) -> OperationResult:
    return OperationResult(200, b"a,b\n", {"Content-Type": "text/csv"})


async def _refuse(engine: Engine, access: Access, asked: OperationRequest) -> OperationResult:
    raise Conflict("illegal-step", "not now")


OPERATIONS = Operations(
    (
        Operation("echo", "instance", frozenset({"ServiceRequest"}), _echo, False),
        Operation("echo", "type", frozenset({"ServiceRequest"}), _echo, False),
        Operation("echo", "system", frozenset(), _echo, False),
        Operation("figures", "type", frozenset({"ServiceRequest"}), _csv, False),
        Operation("step", "instance", frozenset({"ServiceRequest"}), _refuse, True),
    )
)


@pytest.fixture
async def operating(tmp_path: Path, store: Store) -> Served:
    return serve(make_engine(tmp_path, store, operations=OPERATIONS), {"token": "https://x/oauth/token"})


CALLS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/ServiceRequest/1/$echo?a=b", {}, 200, "ServiceRequest|1|0|[('a', 'b')]"),
    (
        "POST",
        "/ServiceRequest/$echo",
        {"json": {"resourceType": "Parameters", "parameter": [{"name": "x"}]}},
        200,
        "ServiceRequest||1|[]",
    ),
    ("POST", "/ServiceRequest/$echo", {}, 200, "ServiceRequest||0|[]"),
    ("POST", "/ServiceRequest/$echo", {"json": {"resourceType": "Patient"}}, 200, "ServiceRequest||1|[]"),
    ("GET", "/$echo", {}, 200, "||0|[]"),
    ("GET", "/ServiceRequest/$figures", {"headers": {"Accept": "text/csv"}}, 200, "a,b"),
    ("POST", "/ServiceRequest/1/$step", {"json": {"resourceType": "Parameters"}}, 409, "illegal-step"),
    ("GET", "/ServiceRequest/1/$step", {}, 405, "POST"),
    ("PUT", "/ServiceRequest/1/$echo", {"json": {}}, 405, "GET, HEAD, POST"),
    ("POST", "/Patient/1/$step", {}, 404, "operation"),
    ("POST", "/ServiceRequest/1/$stepp", {}, 404, "$step"),
    ("POST", "/ServiceRequest/a_b/$step", {}, 400, "64"),
    ("POST", "/Nothing/$echo", {}, 404, "type"),
    (
        "POST",
        "/ServiceRequest/$echo",
        {"json": {"resourceType": "Parameters", "parameter": {"name": "x"}}},
        400,
        "array",
    ),
    (
        "POST",
        "/ServiceRequest/$echo",
        {"json": {"resourceType": "Parameters", "parameter": [{"part": []}]}},
        400,
        "no name",
    ),
    (
        "POST",
        "/ServiceRequest/$echo",
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        400,
        "line 1",
    ),
    ("POST", "/ServiceRequest/$echo", {"data": {"a": "b"}}, 415, "fhir+json"),
]


@pytest.mark.parametrize(("method", "path", "more", "status", "text"), CALLS)
async def test_operations(
    operating: Served, method: str, path: str, more: dict[str, Any], status: int, text: str
) -> None:
    """operations.html#executing"""
    response = await operating.client().request(method, path, **more)
    assert response.status_code == status, response.text
    assert text in response.text + response.headers.get("allow", "")


async def test_operations_run_in_a_batch(operating: Served) -> None:
    entries = [
        {"request": {"method": "GET", "url": "ServiceRequest/1/$echo?a=b"}},
        {
            "request": {"method": "POST", "url": "ServiceRequest/1/$step"},
            "resource": {"resourceType": "Parameters"},
        },
        {"request": {"method": "GET", "url": "ServiceRequest/1/$step"}},
        {"request": {"method": "GET", "url": "ServiceRequest/$figures"}},
    ]
    response = await operating.client().post(
        BASE, json={"resourceType": "Bundle", "type": "batch", "entry": entries}
    )
    answers = response.json()["entry"]
    assert [a["response"]["status"].split()[0] for a in answers] == ["200", "409", "404", "503"]
    assert answers[0]["resource"]["code"]["text"] == "ServiceRequest|1|0|[('a', 'b')]"


async def test_capability_statement_says_what_is_registered(operating: Served) -> None:
    """capabilitystatement.html"""
    statement = (await operating.client(None).get("/metadata")).json()
    assert (statement["fhirVersion"], statement["kind"]) == ("4.0.1", "instance")
    assert statement["implementation"]["url"] == BASE
    (rest,) = statement["rest"]
    by_type = {resource["type"]: resource for resource in rest["resource"]}
    assert by_type.keys() == definitions.resource_types()
    assert {op["name"] for op in by_type["ServiceRequest"]["operation"]} == {"echo", "figures", "step"}
    assert "operation" not in by_type["Patient"]
    assert [op["name"] for op in rest["operation"]] == ["echo"]
    (oauth,) = rest["security"]["extension"]
    assert oauth["extension"] == [{"url": "token", "valueUri": "https://x/oauth/token"}]
    assert "audience" in {p["name"] for p in by_type["ServiceRequest"]["searchParam"]}


VALUES = {
    "date": "2024-01-01",
    "reference": "Patient/1",
    "number": "1",
    "quantity": "1||mg",
    "special": "44.1|2.1",
}


def asked_with(parameter: Any) -> str:
    """A value that fits a search parameter; a composite's is one of each part."""
    if parameter["name"] == "_filter":
        return "_id eq x"
    if parameter["type"] != "composite":
        return VALUES.get(parameter["type"], "x")
    composite = definitions.search_parameter(parameter["definition"])
    assert composite is not None
    parts = [definitions.search_parameter(url) for url, _expression in composite.components]
    return "$".join(VALUES.get(part.type, "x") for part in parts if part is not None)


async def test_every_promised_search_parameter_is_answered(operating: Served) -> None:
    """What the statement names is understood, on every type; a positive control that unknown ones are not."""
    statement = (await operating.client(None).get("/metadata")).json()
    client, asked = operating.client(), 0
    for resource in statement["rest"][0]["resource"]:
        query = "&".join(f"{p['name']}={asked_with(p)}" for p in resource["searchParam"][:60])
        response = await client.get(f"/{resource['type']}?{query}&_total=none")
        assert response.status_code == 200, (resource["type"], response.text)
        asked += len(resource["searchParam"][:60])
    assert asked > 1000
    assert (await client.get("/Patient?colour=red")).status_code == 400


async def test_health_figures_and_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """No value, no id, no name in what is logged and counted."""
    client = served.client()
    with caplog.at_level(logging.INFO, "teledossier.access"):
        await client.get("/Patient?name=Martin")
        response = await client.get("/Patient/martin-1980", headers={"X-Request-Id": "abc-1"})
        odd = await client.get("/Patient/x", headers={"X-Request-Id": "a b\t"})
        await client.request("MARTIN", "/martin")
    assert response.headers["x-request-id"] == "abc-1"
    assert odd.headers["x-request-id"] != "a b\t"
    figures = (await client.get("http://test/metrics")).text
    assert "abc-1 GET fhir/Patient 404" in caplog.text
    assert 'teledossier_requests_total{method="GET",room="fhir/Patient",status="404"} 2.0' in figures
    assert "martin" not in (caplog.text + figures).lower()
    assert (await client.get("http://test/healthz")).text == "ok\n"
    assert (await client.get("http://test/readyz")).status_code == 200


async def test_not_ready_when_the_store_is_not(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object) -> int:
        raise OSError("disk")

    monkeypatch.setattr(type(served.engine.store), "latest", broken)
    assert (await served.client().get("http://test/readyz")).status_code == 503
    assert (await served.client().get("http://test/healthz")).status_code == 200


async def test_gzip_both_ways(served: Served) -> None:
    import gzip

    patient = b'{"resourceType":"Patient","name":[{"text":"' + b"x" * 9000 + b'"}]}'
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
    made = await served.client().post("/Patient", content=gzip.compress(patient), headers=headers)
    assert made.status_code == 201
    path = f"/Patient/{made.json()['id']}"
    packed, plain = [
        await served.client().get(path, headers={"Accept-Encoding": c}) for c in ("gzip", "identity")
    ]
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    bomb = gzip.compress(b'{"x":"' + b"x" * 5_000_000 + b'"}')
    assert (await served.client().post("/Patient", content=bomb, headers=headers)).status_code == 413
    cut = await served.client().post("/Patient", content=gzip.compress(patient)[:-20], headers=headers)
    assert cut.status_code == 400
