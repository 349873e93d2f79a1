"""Binary: raw in, raw out, or the FHIR resource. FHIR R4 binary.html#rest; RFC 9110 §14"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhir_server.access import Access, Scope
from fhir_server.search.nodes import Everything
from tests.rest import serving
from tests.rest.serving import ALL, Served

BYTES = bytes(range(256)) * 2000  # 512,000: over what is inlined
SMALL = b"%PDF-1.7 small"
PERSON = Access(
    "Practitioner/p1",
    (Scope("*", "rs"), Scope("Binary", "c")),
    frozenset({"Practitioner/p1", "Organization/o1"}),
)


def request(id: str, audience: str) -> dict[str, Any]:
    extension = {
        "url": "https://teledossier.example/fhir/StructureDefinition/audience",
        "valueReference": {"reference": audience},
    }
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "extension": [extension],
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/x"},
    }


async def upload(served: Served, body: Any, access: Access = ALL, **headers: str) -> Any:
    sent = {"Content-Type": "application/pdf", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return await served.client(access).post("/Binary", content=body, headers=sent)


async def pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(BYTES), 10_000):
        yield BYTES[start : start + 10_000]


async def test_raw_in_raw_out(served: Served) -> None:
    made = await upload(served, pieces())
    assert made.status_code == 201, made.text
    assert set(made.json()) == {"resourceType", "id", "meta", "contentType"}
    path = f"/Binary/{made.json()['id']}"
    assert served.engine.files.exists(hashlib.sha256(BYTES).hexdigest())
    for accept in ("*/*", "application/pdf", "text/html,*/*;q=0.1"):
        got = await served.client().get(path, headers={"Accept": accept})
        assert (got.status_code, got.content) == (200, BYTES)
        assert got.headers["content-type"] == "application/pdf"
        assert got.headers["content-disposition"] == "attachment"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]
        assert got.headers["etag"] == 'W/"1"'
    head = await served.client().head(path)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(BYTES)))
    known = await served.client().get(path, headers={"If-None-Match": 'W/"1"'})
    assert (known.status_code, known.content) == (304, b"")
    version = await served.client().get(path + "/_history/1")
    assert version.content == BYTES


RANGES = [
    ("bytes=0-9", 206, (0, 10)),
    ("bytes=100-", 206, (100, None)),
    ("bytes=-7", 206, (len(BYTES) - 7, None)),
    ("bytes=5-999999999", 206, (5, None)),
    ("bytes=512000-", 416, None),
    ("bytes=-0", 416, None),
    ("bytes=9-5", 200, (0, None)),
    ("bytes=0-1,4-5", 200, (0, None)),
    ("pages=1-2", 200, (0, None)),
]


@pytest.mark.parametrize(("range", "status", "window"), RANGES)
async def test_ranges(served: Served, range: str, status: int, window: tuple[int, int | None] | None) -> None:
    path = f"/Binary/{(await upload(served, BYTES)).json()['id']}"
    got = await served.client().get(path, headers={"Range": range})
    assert got.status_code == status
    if window is None:
        assert got.headers["content-range"] == f"bytes */{len(BYTES)}"
        return
    expected = BYTES[slice(*window)]
    assert got.content == expected
    assert got.headers["content-length"] == str(len(expected))
    if status == 206:
        assert (
            got.headers["content-range"] == f"bytes {window[0]}-{window[0] + len(expected) - 1}/{len(BYTES)}"
        )


async def test_as_fhir(served: Served) -> None:
    """Small bytes are inlined for who asks for FHIR; large ones are refused with the way to get them."""
    small, large = [(await upload(served, body)).json()["id"] for body in (SMALL, BYTES)]
    for accept in ("application/fhir+json", "application/json"):
        got = await served.client().get(f"/Binary/{small}", headers={"Accept": accept})
        assert base64.b64decode(got.json()["data"]) == SMALL
        assert "_data" not in got.json()
    assert (await served.client().get(f"/Binary/{small}?_format=json")).json()["resourceType"] == "Binary"
    refused = await served.client().get(f"/Binary/{large}", headers={"Accept": "application/fhir+json"})
    assert refused.status_code == 406
    assert "raw" in refused.json()["issue"][0]["diagnostics"]


async def test_fhir_in(served: Served) -> None:
    """As a resource: small data stays inline, large data goes to a file; both come back raw."""
    for body in (SMALL, BYTES):
        binary = {
            "resourceType": "Binary",
            "contentType": "application/pdf",
            "data": base64.b64encode(body).decode(),
        }
        made = await served.client().post("/Binary", json=binary)
        assert made.status_code == 201, made.text
        raw = await served.client().get(f"/Binary/{made.json()['id']}", headers={"Accept": "*/*"})
        assert (raw.content, raw.headers["content-type"]) == (body, "application/pdf")
        assert served.engine.files.exists(hashlib.sha256(body).hexdigest()) == (body is BYTES)


async def test_nobody_names_a_file(served: Served) -> None:
    """The extension that names a content file is the server's alone."""
    from fhir_server.interactions.content import EXTENSION

    parts = [{"url": "sha256", "valueString": "0" * 64}, {"url": "size", "valueUnsignedInt": 3}]
    binary = {
        "resourceType": "Binary",
        "contentType": "text/plain",
        "_data": {"extension": [{"url": EXTENSION, "extension": parts}]},
    }
    response = await served.client().post("/Binary", json=binary)
    assert response.status_code in (400, 422)
    assert await served.engine.store.count("Binary", Everything()) == 0


async def test_served_bytes_never_choose_a_header(served: Served) -> None:
    made = await served.client().post(
        "/Binary", json={"resourceType": "Binary", "contentType": "text/html é", "data": "QUJD"}
    )
    if made.status_code == 201:
        got = await served.client().get(f"/Binary/{made.json()['id']}", headers={"Accept": "*/*"})
        assert got.headers["content-type"] == "application/octet-stream"
    wrong = await upload(served, SMALL, Content_Type="no media type")
    assert wrong.status_code == 400


async def test_too_large_is_refused_and_leaves_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fhir_server.rest import binary

    monkeypatch.setattr(binary, "RAW_MOST", 100_000)
    assert (await upload(served, BYTES)).status_code == 413
    assert (await upload(served, pieces())).status_code == 413
    assert [p for p in served.engine.files.root.rglob("*") if p.is_file()] == []
    assert await served.engine.store.count("Binary", Everything()) == 0
    assert (await upload(served, SMALL)).status_code == 201


UPLOADS = [
    ("into one's own", "ServiceRequest/mine", 201),
    ("absolute reference", serving.BASE + "/ServiceRequest/mine", 201),
    ("into another's", "ServiceRequest/theirs", 404),
    ("into nothing", "ServiceRequest/none", 404),
    ("without saying", "", 403),
    ("into a patient", "Patient/x", 403),
    ("nonsense", "a b", 400),
]


@pytest.mark.parametrize(("context", "status"), [c[1:] for c in UPLOADS], ids=[c[0] for c in UPLOADS])
async def test_a_person_uploads_only_into_what_they_see(served: Served, context: str, status: int) -> None:
    await served.system.update(request("mine", "Organization/o1"))
    await served.system.update(request("theirs", "Organization/o2"))
    response = await upload(served, SMALL, PERSON, X_Security_Context=context)
    assert response.status_code == status, response.text
    made = await served.engine.store.count("Binary", Everything())
    assert made == (1 if status == 201 else 0)
    if status == 201:
        path = f"/Binary/{response.json()['id']}"
        assert (await served.client(PERSON).get(path, headers={"Accept": "*/*"})).content == SMALL
        other = Access("Practitioner/p2", PERSON.scopes, frozenset({"Practitioner/p2", "Organization/o2"}))
        assert (await served.client(other).get(path)).status_code == 404
    else:
        assert [p for p in served.engine.files.root.rglob("*") if p.is_file()] == []
