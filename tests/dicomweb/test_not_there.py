"""What a reader may not see is answered as what is not there, word for word, on every address of the images.

The addresses come from the routes themselves, so that a new one is looked at too; who sees it all is the
control that the names do stand for something. PS3.18 §8.5; RFC 9110 §13 (conditions), §14 (ranges)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from dicomweb.images import Images
from dicomweb.index.contract import Outcome
from dicomweb.transfers.record import Order
from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.store.contract import Entries, Put, Store
from tests.dicomweb import making
from tests.dicomweb.conftest import Client
from tests.dicomweb.test_access import ME, NOBODY, OTHER_SCOPE, study
from tests.dicomweb.test_worklist import JSON, STEP

Take = Callable[..., Outcome]
STUDY = "2.25.1001"
ABSENT = {
    "study": "2.25.99", "series": "2.25.99.1", "instance": "2.25.99.1.1", "workitem": "2.25.98",
    "request": "none", "transfer": "none", "peer": "none",
}  # fmt: skip
FIXED = {"frames": "1", "path": "7FE00010", "number": "1", "subscriber": "W"}
BODY = {
    "serve": "first", "reason": "x", "decision": "set-aside", "series": [], "patients": [], "instances": {},
    "study": STUDY, "keys": {"PatientName": "x"},
}  # fmt: skip
CONDITIONS: tuple[dict[str, str], ...] = (
    {}, {"If-None-Match": "*"}, {"If-Match": "*"}, {"Range": "bytes=0-0"}, {"Accept": "text/html"},
    {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, {"Accept": "x/y"},
)  # fmt: skip
GATEWAY = Access("Client/gateway", (Scope("ImagingStudy", "c"),), None)


def addresses(client: Client) -> list[tuple[str, str]]:
    assert isinstance(client.app.app, Starlette)
    routes = [one for one in client.app.app.routes if isinstance(one, Route) and one.methods]
    found = [(method, one.path) for one in routes for method in sorted(one.methods or ()) if "{" in one.path]
    assert len(found) > 60
    return found


@pytest.fixture
async def names(client: Client, store: Store, take: Take, images: Images, tmp_path: Path) -> dict[str, str]:
    """A study of a télédossier of mine, with a step, a transfer, and an image that came twice."""
    audience = Entries(references=(("audience", "Organization/mine"),))
    await store.commit([
        Put("ServiceRequest", "r1", 0, 1, "create", b'{"id":"r1","status":"draft"}', audience),
        study(STUDY, "r1"),
    ])  # fmt: skip
    uids = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.1", "SOPInstanceUID": f"{STUDY}.1.1"}
    assert take(making.write(tmp_path / "1.dcm", making.dataset(**uids))) == "stored"
    assert take(making.write(tmp_path / "2.dcm", making.dataset(**uids, WindowWidth=90))) == "conflict"
    await client.post("workitems?2.25.700", json=[STEP], headers=JSON)
    transfer = images.queue.submit(Order("import", "pacs", STUDY, 1, "r1"), 1_000_000)
    return {
        "study": STUDY, "series": f"{STUDY}.1", "instance": f"{STUDY}.1.1", "workitem": "2.25.700",
        "request": "r1", "transfer": transfer.id, "peer": "pacs",
    }  # fmt: skip


def filled(path: str, names: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)(:path)?\}", lambda one: names.get(one[1], "x"), path)


def told(answer: httpx.Response, names: dict[str, str]) -> tuple[Any, ...]:
    """Everything but the names that were asked for."""
    asked = re.compile("|".join(sorted(map(re.escape, names.values()), key=len, reverse=True)))
    headers = {
        name: asked.sub("#", value) for name, value in answer.headers.items() if name != "content-length"
    }
    return answer.status_code, headers, asked.sub("#", answer.text)


@pytest.mark.parametrize(
    "reader", [NOBODY, OTHER_SCOPE, GATEWAY], ids=lambda one: one.subject
)  # fmt: skip
async def test_theirs_is_answered_like_nothing(client: Client, names: dict[str, str], reader: Access) -> None:
    client.access = reader
    for method, path in addresses(client):
        for condition in CONDITIONS if method in ("GET", "HEAD") else CONDITIONS[:1]:
            found = []
            for given in (names, ABSENT):
                address = filled(path, {**FIXED, **given})
                body = BODY if method in ("POST", "PUT") else None
                answer = await client.request(method, f"http://test{address}", json=body, headers=condition)
                found.append(told(answer, given))
            assert found[0] == found[1], (method, path, condition)
            assert found[0][0] in (204, 400, 403, 404, 406, 415) or path.endswith("/subscribers/{subscriber}")


@pytest.mark.parametrize("reader", [ME, SYSTEM], ids=lambda one: one.subject)
async def test_the_names_stand_for_something(client: Client, names: dict[str, str], reader: Access) -> None:
    client.access = reader
    for path in (
        "/studies/{study}/metadata", "/studies/{study}/series/{series}/instances/{instance}",
        "/workitems/{workitem}", "/transfers/{transfer}", "/transfers?request={request}",
        "/requests/{request}/sending", "/requests/{request}/priors", "/studies/{study}/conflicts",
    ):  # fmt: skip
        answer = await client.get(path.format(**names))
        assert (answer.status_code, bool(answer.content)) == (200, True), path
