"""What is wrong gets a clear error with the right status, never a 500, and nothing is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_server.search.nodes import Everything
from tests.rest.serving import Served

FHIR = {"Content-Type": "application/fhir+json"}
GOOD = b'{"resourceType":"Patient","active":true}'


def deep(levels: int) -> bytes:
    return (
        b'{"resourceType":"Patient","extension":' + b'[{"extension":' * levels + b"[]" + b"}]" * levels + b"}"
    )


BODIES: list[tuple[str, bytes, int, str]] = [
    ("malformed", b'{"resourceType":"Patient",\n "active": tru}', 400, "line 2"),
    ("empty", b"", 400, "empty"),
    ("array", b"[]", 400, "not a JSON object"),
    ("repeated name", b'{"resourceType":"Patient","active":true,"active":false}', 400, "repeated"),
    ("not UTF-8", b'{"resourceType":"Patient","id":"\xff"}', 400, "UTF-8"),
    ("no type", b'{"active":true}', 400, "resourceType"),
    ("other type", b'{"resourceType":"Observation"}', 400, "Patient"),
    ("type is a number", b'{"resourceType":7}', 400, "resourceType"),
    ("wrong type of an element", b'{"resourceType":"Patient","active":"yes"}', 422, "Patient.active"),
    ("unknown element", b'{"resourceType":"Patient","colour":"red"}', 422, "colour"),
    ("object for array", b'{"resourceType":"Patient","name":{"family":"x"}}', 422, "Patient.name"),
    ("meta is text", b'{"resourceType":"Patient","meta":"x"}', 422, "meta"),
    ("too deep", deep(60), 400, "deep"),
    ("very deep", deep(50_000), 400, ""),
    ("too large", b'{"resourceType":"Patient","x":"' + b"x" * 1_000_001 + b'"}', 413, "limit"),
    ("number out of measure", b'{"resourceType":"Patient","multipleBirthInteger":1e999999}', 400, "column"),
]


@pytest.mark.parametrize(("body", "status", "text"), [c[1:] for c in BODIES], ids=[c[0] for c in BODIES])
async def test_bodies(served: Served, body: bytes, status: int, text: str) -> None:
    response = await served.client().post("/Patient", content=body, headers=FHIR)
    assert response.status_code == status, response.text
    outcome = response.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert text in json.dumps(outcome)
    assert await served.engine.store.count("Patient", Everything()) == 0
    assert (await served.client().post("/Patient", content=GOOD, headers=FHIR)).status_code == 201


REQUESTS: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("unknown type", "GET", "/Patiet/1", {}, 404, "Patient"),
    ("unknown type, search", "GET", "/Observatio", {}, 404, "Observation"),
    ("abstract type", "GET", "/DomainResource/1", {}, 404, "not a resource type"),
    ("unknown address", "GET", "/Patient/1/_history/1/2", {}, 404, "metadata"),
    ("bad id", "GET", "/Patient/a_b", {}, 404, "not known"),
    ("encoded slash in id", "GET", "/Patient/a%2Fb", {}, 404, "not known"),
    ("line break in the path", "GET", "/Patient/%0Aa", {}, 404, "not known"),
    ("bad version", "GET", "/Patient/a/_history/x", {}, 404, "not known"),
    ("huge version", "GET", "/Patient/a/_history/" + "9" * 30, {}, 404, "not known"),
    ("unknown version", "GET", "/Patient/a/_history/9", {}, 404, "not known"),
    ("method on type", "DELETE", "/Patient", {}, 400, "neither an id nor a condition"),
    ("method on instance", "POST", "/Patient/a", {}, 405, "PATCH"),
    ("method on metadata", "POST", "/metadata", {}, 405, "GET"),
    ("html out", "GET", "/Patient/a", {"headers": {"Accept": "text/html"}}, 406, "application/fhir+json"),
    (
        "R5 out",
        "GET",
        "/Patient/a",
        {"headers": {"Accept": "application/fhir+json; fhirVersion=5.0"}},
        406,
        "json",
    ),
    ("_format other", "GET", "/Patient/a?_format=yaml", {}, 406, "_format"),
    ("_pretty", "GET", "/Patient/a?_pretty=perhaps", {}, 400, "_pretty"),
    ("_summary", "GET", "/Patient/a?_summary=short", {}, 400, "_summary"),
    ("read with a search parameter", "GET", "/Patient/a?name=x", {}, 400, "_elements"),
    ("history _count", "GET", "/Patient/a/_history?_count=-1", {}, 400, "_count"),
    ("history _count text", "GET", "/Patient/a/_history?_count=ten", {}, 400, "_count"),
    ("history parameter", "GET", "/Patient/a/_history?name=x", {}, 400, "_count"),
    ("wrong id", "PUT", "/Patient/a", {"json": {"resourceType": "Patient", "id": "b"}}, 400, "Patient.id"),
    ("no id", "PUT", "/Patient/a", {"json": {"resourceType": "Patient"}}, 400, "Patient.id"),
    ("bad client id", "PUT", "/Patient/a_b", {"json": {"resourceType": "Patient", "id": "a_b"}}, 400, "64"),
    ("long client id", "PUT", "/Patient/" + "a" * 65, {"json": {"resourceType": "Patient"}}, 400, "64"),
    (
        "stale",
        "PUT",
        "/Patient/a",
        {"json": {"resourceType": "Patient", "id": "a"}, "headers": {"If-Match": 'W/"8"'}},
        412,
        "version 8",
    ),
    (
        "bad If-Match",
        "PUT",
        "/Patient/a",
        {"json": {"resourceType": "Patient", "id": "a"}, "headers": {"If-Match": "seven"}},
        400,
        "ETag",
    ),
    (
        "conditional update",
        "PUT",
        "/Patient/a?name=x",
        {"json": {"resourceType": "Patient", "id": "a"}},
        400,
        "one of them",
    ),
    ("form as body", "POST", "/Patient", {"data": {"a": "b"}}, 415, "application/fhir+json"),
    (
        "XML in",
        "POST",
        "/Patient",
        {"content": b"\n<x/>", "headers": {"Content-Type": "application/fhir+xml"}},
        400,
        "line 2, column 1",
    ),
    (
        "Latin-1 in",
        "POST",
        "/Patient",
        {"content": GOOD, "headers": {"Content-Type": "application/fhir+json; charset=iso-8859-1"}},
        415,
        "UTF-8",
    ),
    (
        "coding in",
        "POST",
        "/Patient",
        {"content": GOOD, "headers": {**FHIR, "Content-Encoding": "br"}},
        415,
        "gzip",
    ),
    (
        "bad gzip",
        "POST",
        "/Patient",
        {"content": GOOD, "headers": {**FHIR, "Content-Encoding": "gzip"}},
        400,
        "gzip",
    ),
    (
        "announced too large",
        "POST",
        "/Patient",
        {"content": b"{}", "headers": {**FHIR, "Content-Length": "99999999"}},
        413,
        "limit",
    ),
    ("JSON to _search", "POST", "/Patient/_search", {"json": {}}, 415, "form"),
    ("system search of nothing", "GET", "", {}, 400, "_type"),
    ("system history, unknown parameter", "GET", "/_history?name=x", {}, 400, "_since"),
    ("type history, bad date", "GET", "/Patient/_history?_since=yesterday", {}, 400, "YYYY"),
    ("history, forged cursor", "GET", "/Patient/_history?_cursor=AAAA", {}, 400, "_cursor"),
    ("compartment of none", "GET", "/Organization/a/Observation", {}, 404, "compartment"),
    ("no bundle to the base", "POST", "", {"json": {"resourceType": "Patient"}}, 400, "Bundle"),
    ("bundle type", "POST", "", {"json": {"resourceType": "Bundle", "type": "message"}}, 400, "transaction"),
    (
        "bundle entry",
        "POST",
        "",
        {"json": {"resourceType": "Bundle", "type": "batch", "entry": 7}},
        400,
        "entry",
    ),
    (
        "unknown operation",
        "POST",
        "/Patient/a/$nothing",
        {"json": {"resourceType": "Parameters"}},
        404,
        "operation",
    ),
    ("many parameters", "GET", "/Patient?" + "a=b&" * 1001, {}, 400, "1,000"),
]


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "text"), [c[1:] for c in REQUESTS], ids=[c[0] for c in REQUESTS]
)
async def test_requests(
    served: Served, method: str, path: str, more: dict[str, Any], status: int, text: str
) -> None:
    client = served.client()
    await client.put("/Patient/a", json={"resourceType": "Patient", "id": "a"})
    response = await client.request(method, path, **more)
    assert response.status_code == status, response.text
    assert response.json()["resourceType"] == "OperationOutcome"
    assert text in json.dumps(response.json()) + response.headers.get("allow", "")
    assert (status == 405) == ("allow" in response.headers)
    assert (await client.get("/Patient/a")).headers["etag"] == 'W/"1"'


async def test_no_access_is_401(served: Served) -> None:
    """The guard is the one that answers; without a guard nothing is open but metadata."""
    client = served.client(None)
    for method, path in (("GET", "/Patient/a"), ("GET", "/Patient"), ("DELETE", "/Patient/a"), ("POST", "")):
        response = await client.request(method, path, json={"resourceType": "Bundle", "type": "batch"})
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    assert (await client.get("/metadata")).status_code == 200


async def test_unexpected_errors_tell_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("Jean Martin 1 80 05")

    monkeypatch.setattr(type(served.engine.store), "read", broken)
    response = await served.client().get("/Patient/a")
    assert response.status_code == 500
    number = response.json()["issue"][0]["diagnostics"].split()[2].rstrip(";")
    assert number in caplog.text
    assert "KeyError" in caplog.text
    assert "Martin" not in caplog.text + response.text
