"""Whatever comes in, no answer is a 500 and every error is an OperationOutcome."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_server.settings import Settings
from fhir_server.store import open_store
from profiles import definitions, xml
from tests.rest.serving import BASE, make_engine, serve

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TYPES = ["Patient", "ServiceRequest", "Observation", "Bundle", "Binary", "Parameters", "Questionnaire"]
NAMES = sorted(
    {name for type in TYPES for name in definitions.elements(type)} | {"resourceType", "extension", "value"}
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["Patient/1", "urn:uuid:1", "2024-01-01", "#", "Patient?a=b", *TYPES]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=25,
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]) | JSON,
        "url": st.sampled_from(
            ["Patient", "Patient/1", "Patient?name=x", "", "$x", "Patient/1/$x", "?", "%2F"]
        )
        | JSON,
        "ifMatch": st.just('W/"1"') | JSON,
        "ifNoneExist": st.just("name=x") | JSON,
    },
)
ENTRY = (
    st.fixed_dictionaries({}, optional={"request": REQUEST | JSON, "resource": JSON, "fullUrl": JSON}) | JSON
)
CODES = [
    *definitions.search_parameters("ServiceRequest"),
    "_sort",
    "_count",
    "_include",
    "_has",
    "_cursor",
    "_total",
]
QUERY = st.lists(
    st.tuples(
        st.sampled_from(CODES)
        | st.text(max_size=20)
        | st.builds(
            "{}{}{}".format,
            st.sampled_from(CODES),
            st.sampled_from([":", ".", ":not", ":missing", ":Patient."]),
            st.text(max_size=8),
        ),
        st.text(max_size=20)
        | st.sampled_from(["ge2024", "|", "a|b", ",", "\\,", "true", "Patient/1", "-", "1e9", "%"]),
    ),
    max_size=4,
)


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    """Sends one request to a fresh server on a store that lives as long as the test."""
    store = open_store(Settings(store=f"sqlite:///{tmp_path}/t.db"))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.open())
    client = serve(make_engine(tmp_path, store)).client()

    def ask(method: str, path: str, **more: Any) -> httpx.Response:
        return loop.run_until_complete(client.request(method, path, **more))

    yield ask
    loop.run_until_complete(client.aclose())
    loop.run_until_complete(store.close())
    loop.close()


def check(response: httpx.Response) -> None:
    assert response.status_code != 500, response.text
    if response.status_code >= 400 and response.content:
        is_xml = "xml" in response.headers["content-type"]
        outcome = xml.parse(response.content) if is_xml else response.json()
        assert outcome["resourceType"] == "OperationOutcome"


def body_of(value: Any) -> dict[str, Any]:
    return {"content": json.dumps(value).encode(), "headers": {"Content-Type": "application/fhir+json"}}


@FUZZ
@given(type=st.sampled_from(TYPES), resource=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6))
def test_resources(asked: Any, type: str, resource: dict[str, Any]) -> None:
    check(asked("POST", f"/{type}", **body_of({**resource, "resourceType": type})))
    check(asked("PUT", f"/{type}/1", **body_of({**resource, "resourceType": type, "id": "1"})))


@FUZZ
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes(asked: Any, body: bytes) -> None:
    for path in ("/Patient", ""):
        headers = {"Content-Type": "application/fhir+json"}
        check(asked("POST", path or BASE, content=body, headers=headers))


@FUZZ
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "<name>",
                "</name>",
                '<given value="x"/>',
                '<id value="a"/>',
                "<contained>",
                "<Patient>",
                "&lt;",
                "<!-- -->",
            ]
        )
        | st.text(max_size=4),
        max_size=8,
    ),
    accept=st.sampled_from(
        ["application/fhir+xml", "text/xml;q=0.5, */*;q=0.1", "application/fhir+json", "*/*;q=0"]
    ),
)
def test_xml(asked: Any, pieces: list[str], accept: str) -> None:
    body = f'<Patient xmlns="http://hl7.org/fhir">{"".join(pieces)}</Patient>'.encode("utf-8", "replace")
    headers = {"Content-Type": "application/fhir+xml", "Accept": accept}
    for path in ("/Patient", "/Binary", BASE, "/Patient/$validate"):
        check(asked("POST", path, content=body, headers=headers))


@FUZZ
@given(kind=st.sampled_from(["batch", "transaction"]), entries=st.lists(ENTRY, max_size=4) | JSON)
def test_bundles(asked: Any, kind: str, entries: Any) -> None:
    check(asked("POST", BASE, **body_of({"resourceType": "Bundle", "type": kind, "entry": entries})))


@FUZZ
@given(pairs=QUERY)
def test_queries(asked: Any, pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    check(asked("GET", f"/ServiceRequest?{query}"))
    check(asked("GET", f"/ServiceRequest/1?{query}"))


@FUZZ
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    segments=st.lists(
        st.sampled_from(["Patient", "_history", "_search", "metadata", "$x", "1", ""])
        | st.text(max_size=10).filter(lambda text: text not in (".", "..")),
        max_size=5,
    ),
    headers=st.dictionaries(
        st.sampled_from(
            ["Accept", "Prefer", "If-Match", "If-None-Match", "Range", "If-None-Exist", "Content-Type"]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
        max_size=3,
    ),
)
def test_addresses(asked: Any, method: str, segments: list[str], headers: dict[str, str]) -> None:
    path = BASE + "".join("/" + quote(segment, safe="") for segment in segments)
    check(asked(method, path, headers=headers, content=b"{}"))
