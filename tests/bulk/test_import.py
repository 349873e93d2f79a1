"""`$import` over HTTP: from Binaries, from an origin that the operator named, and what is refused."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fhir_server import opening
from fhir_server.access import Access, Scope
from fhir_server.bulk.importing import import_
from fhir_server.jobs.runner import Runner
from fhir_server.search.nodes import Everything
from tests.rest.serving import Served, serve
from tests.rest.test_bundle import slugs

ASYNC = {"Prefer": "respond-async"}
LINES = [
    {"resourceType": "Patient", "id": "a", "active": True},
    {"resourceType": "Patient", "id": "b", "active": "yes"},
    {"resourceType": "Group", "id": "g", "type": "person", "actual": True},
    {"resourceType": "Patient", "id": "c"},
]
BODY = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)


def parameters(*inputs: tuple[str, str]) -> dict[str, Any]:
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "inputFormat", "valueCode": "application/fhir+ndjson"},
            *(
                {"name": "input", "part": [{"name": "type", "valueCode": t}, {"name": "url", "valueUri": u}]}
                for t, u in inputs
            ),
        ],
    }


def given(name: str, code: str) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": name, "valueCode": code}]}


async def uploaded(served: Served, body: bytes) -> str:
    headers = {"Content-Type": "application/ndjson", "Prefer": "return=representation"}
    response = await served.client().post("/Binary", content=body, headers=headers)
    assert response.status_code == 201
    return str(response.headers["location"].split("/_history")[0])


async def imported(served: Served, *inputs: tuple[str, str]) -> Any:
    """The manifest."""
    kicked = await served.client().post("/$import", json=parameters(*inputs), headers=ASYNC)
    assert kicked.status_code == 202, kicked.text
    await Runner(served.engine, {"import": partial(import_, opening.opened_engine)}).once()
    return await served.client().get(kicked.headers["content-location"])


@pytest.mark.parametrize("size", ["small", "large"])
async def test_from_a_binary(served: Served, size: str) -> None:
    """Inline, and from a content file; refusals with their lines."""
    body = BODY if size == "small" else BODY + b"\n" * 300_000
    place = await uploaded(served, body)
    done = await imported(served, ("Patient", place))
    manifest = done.json()
    (output,) = manifest["output"]
    assert {k: output[k] for k in ("type", "inputUrl", "count", "created", "refused")} == {
        "type": "Patient",
        "inputUrl": place,
        "count": 4,
        "created": 2,
        "refused": 2,
    }
    (error,) = manifest["error"]
    lines = (await served.client().get(error["url"])).text.splitlines()
    told = [json.loads(line)["issue"][0]["diagnostics"] for line in lines]
    assert [", line 2: " in told[0], ", line 3: is no Patient" in told[1]] == [True, True]
    store = served.engine.store
    assert (await store.count("Patient", Everything()), await store.count("Group", Everything())) == (2, 0)
    again = (await imported(served, ("Patient", place))).json()
    assert (again["output"][0]["created"], again["output"][0]["unchanged"]) == (0, 2)


@pytest.fixture
def origin() -> Iterator[str]:
    """A host that serves NDJSON at /p and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/p" else 302)
            self.send_header("Location", "/p")
            self.end_headers()
            if self.path == "/p":
                self.wfile.write(BODY)

        def log_message(self, *parts: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_from_an_origin_that_was_named(served: Served, origin: str) -> None:
    named = serve(replace(served.engine, settings=replace(served.engine.settings, import_origins=origin)))
    manifest = (await imported(named, ("Patient", f"{origin}/p"))).json()
    assert manifest["output"][0]["created"] == 2
    moved = await imported(named, ("Patient", f"{origin}/moved"))
    assert (moved.status_code, slugs(moved)) == (503, ["not-fetched"])


REFUSED: list[tuple[str, dict[str, Any], dict[str, str], int, str]] = [
    ("not asynchronous", parameters(("Patient", "Binary/x")), {}, 400, "not-async"),
    ("no input", parameters(), ASYNC, 400, "no-input"),
    ("no such Binary", parameters(("Patient", "Binary/x")), ASYNC, 404, "no-such-resource"),
    ("an id that is none", parameters(("Patient", "Binary/x y")), ASYNC, 400, "bad-input"),
    ("another host", parameters(("Patient", "https://other.example/p")), ASYNC, 403, "origin"),
    ("a file", parameters(("Patient", "file:///etc/passwd")), ASYNC, 400, "bad-input"),
    (
        "with a name and password",
        parameters(("Patient", "https://a:b@other.example/p")),
        ASYNC,
        400,
        "bad-input",
    ),
    ("no type", parameters(("", "Binary/x")), ASYNC, 400, "bad-input"),
    ("a type that is none", parameters(("Patients", "Binary/x")), ASYNC, 404, "unknown-type"),
    ("another parameter", given("x", "y"), ASYNC, 400, "unknown-parameter"),
    ("another format", given("inputFormat", "csv"), ASYNC, 400, "bad-format"),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "slug"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
async def test_refused(
    served: Served, body: dict[str, Any], headers: dict[str, str], status: int, slug: str
) -> None:
    response = await served.client().post("/$import", json=body, headers=headers)
    assert (response.status_code, slugs(response)) == (status, [slug])
    assert await served.engine.jobs.waiting() == []


async def test_it_is_for_machines_that_may_write(served: Served) -> None:
    place = await uploaded(served, BODY)
    for access, slug in (
        (Access("Practitioner/1", (Scope("*", "cruds"),), frozenset({"Practitioner/1"})), "partial-view"),
        (Access("Client/reader", (Scope("*", "rs"),), None), "scope"),
        (Access("Client/creator", (Scope("Patient", "c"), Scope("Binary", "r")), None), "scope"),
    ):
        response = await served.client(access).post(
            "/$import", json=parameters(("Patient", place)), headers=ASYNC
        )
        assert (response.status_code, slugs(response)) == (403, [slug])
