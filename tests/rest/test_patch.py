"""PATCH in its four formats: alone, by a condition, in batch and transaction. FHIR R4 http.html#patch"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.access import Access, Scope
from profiles import codec, xml
from profiles.patch import FORMATS
from tests.profiles.test_patch import SUITE, diff, names, operation, parameters, with_canonical_narrative
from tests.rest.serving import Served
from tests.rest.test_binary import BYTES, upload
from tests.rest.test_bundle import bundle, entry, post, slugs, statuses
from tests.rest.test_fuzz import FUZZ, asked, check

__all__ = ["asked"]

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "identifier": [{"system": "urn:x", "value": "1"}],
    "name": [{"family": "Martin", "given": ["Zoë"]}],
    "active": True,
}
DEACTIVATE = operation("replace", "Patient.active", value={"valueBoolean": False})
BODIES: dict[str, bytes] = {
    "application/json-patch+json": b'[{"op":"replace","path":"/active","value":false}]',
    "application/xml-patch+xml": diff('<replace sel="Patient/active/@value">false</replace>'),
    "application/fhir+json": codec.dump(parameters(DEACTIVATE)),
    "application/fhir+xml": xml.dump(parameters(DEACTIVATE)),
}
JSON_PATCH = "application/json-patch+json"


def ops(*operations: dict[str, Any]) -> bytes:
    return json.dumps(operations).encode()


def in_bundle(url: str, body: bytes, media_type: str = JSON_PATCH, **request: str) -> dict[str, Any]:
    """A PATCH entry whose patch is in a Binary."""
    data = base64.b64encode(body).decode()
    return entry("PATCH", url, {"resourceType": "Binary", "contentType": media_type, "data": data}, **request)


async def patch(
    served: Served, path: str, body: bytes, media_type: str = JSON_PATCH, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client = served.client()
    return await client.patch(path, content=body, headers={"Content-Type": media_type, **named})


@pytest.fixture
async def stored(served: Served) -> Served:
    assert (await served.client().put("/Patient/a", json=PATIENT)).status_code == 201
    return served


@pytest.mark.parametrize("media_type", FORMATS)
async def test_every_format(stored: Served, media_type: str) -> None:
    done = await patch(stored, "/Patient/a", BODIES[media_type], media_type + "; charset=utf-8")
    assert done.status_code == 200, done.text
    assert (done.headers["etag"], done.json()["active"]) == ('W/"2"', False)
    assert done.headers["content-location"].endswith("/Patient/a/_history/2")
    read = (await stored.client().get("/Patient/a")).json()
    assert read == done.json()
    assert {**read, "meta": None} == {**PATIENT, "active": False, "meta": None}
    found = await stored.client().get("/Patient?active=false&_summary=count")
    assert found.json()["total"] == 1


async def test_what_the_client_prefers(stored: Served) -> None:
    """http.html#return, http.html#mime-type"""
    body = BODIES[JSON_PATCH]
    assert (await patch(stored, "/Patient/a", body, Prefer="return=minimal")).content == b""
    outcome = await patch(stored, "/Patient/a", body, Prefer="return=OperationOutcome")
    assert outcome.json()["resourceType"] == "OperationOutcome"
    in_xml = await patch(stored, "/Patient/a", body, Accept="application/fhir+xml")
    assert xml.parse(in_xml.content)["active"] is False


BREAKS_PAT_1 = ("Delete Nested Primitive #2", "Consecutive operations")
"""What these cases of HL7 make is a contact with nothing but a gender: no valid Patient."""


@pytest.mark.parametrize("case", SUITE["fhirpath"], ids=names("fhirpath"))
async def test_hl7_cases_over_http(served: Served, case: dict[str, Any]) -> None:
    """fhirpatch.html, in XML all the way"""
    headers = {"Content-Type": "application/fhir+xml"}
    before = xml.dump({**case["document"], "id": "example"})
    assert (await served.client().put("/Patient/example", content=before, headers=headers)).status_code == 201
    body = xml.dump(case["patch"])
    done = await patch(
        served, "/Patient/example", body, "application/fhir+xml", Accept="application/fhir+xml"
    )
    made = xml.parse(done.content)
    if case["name"] in BREAKS_PAT_1:
        assert (done.status_code, "pat-1" in done.text) == (422, True)
    elif "expected" not in case:
        assert (done.status_code, made["issue"][0]["code"]) == (422, "processing")
    else:
        assert done.status_code == 200, done.text
        del made["id"], made["meta"]
        expected = {name: value for name, value in case["expected"].items() if name != "id"}
        assert with_canonical_narrative(made) == with_canonical_narrative(expected)


REFUSED: list[tuple[str, str, bytes, str, dict[str, str], int, str]] = [
    ("no such resource", "/Patient/none", BODIES[JSON_PATCH], JSON_PATCH, {}, 404, "no-such-resource"),
    ("no id", "/Patient/a_b", BODIES[JSON_PATCH], JSON_PATCH, {}, 404, "no-such-resource"),
    ("stale", "/Patient/a", BODIES[JSON_PATCH], JSON_PATCH, {"If_Match": 'W/"7"'}, 412, "stale-version"),
    (
        "If-None-Match",
        "/Patient/a",
        BODIES[JSON_PATCH],
        JSON_PATCH,
        {"If_None_Match": "*"},
        412,
        "already-there",
    ),
    ("bad If-Match", "/Patient/a", BODIES[JSON_PATCH], JSON_PATCH, {"If_Match": "seven"}, 400, "bad-etag"),
    ("format", "/Patient/a", b"active=false", "text/plain", {}, 415, "patch-format"),
    ("no format", "/Patient/a", b"[]", "", {}, 415, "patch-format"),
    (
        "a resource",
        "/Patient/a",
        json.dumps(PATIENT).encode(),
        "application/fhir+json",
        {},
        400,
        "resource-type-mismatch",
    ),
    ("no JSON", "/Patient/a", b"[{]", JSON_PATCH, {}, 400, "json-syntax"),
    ("no XML", "/Patient/a", b"<diff>", "application/xml-patch+xml", {}, 400, "xml-syntax"),
    (
        "entities",
        "/Patient/a",
        b'<!DOCTYPE d [<!ENTITY a "b">]><diff/>',
        "application/xml-patch+xml",
        {},
        400,
        "xml-doctype",
    ),
    ("too large", "/Patient/a", b"[" + b" " * 1_000_001 + b"]", JSON_PATCH, {}, 413, "body-too-large"),
    (
        "test fails",
        "/Patient/a",
        ops({"op": "test", "path": "/active", "value": False}),
        JSON_PATCH,
        {},
        422,
        "patch-failed",
    ),
    (
        "second fails",
        "/Patient/a",
        ops({"op": "remove", "path": "/active"}, {"op": "remove", "path": "/active"}),
        JSON_PATCH,
        {},
        422,
        "patch-failed",
    ),
    (
        "invalid then",
        "/Patient/a",
        ops({"op": "add", "path": "/active", "value": "perhaps"}),
        JSON_PATCH,
        {},
        422,
        "bad-format",
    ),
    (
        "unknown element then",
        "/Patient/a",
        ops({"op": "add", "path": "/colour", "value": "red"}),
        JSON_PATCH,
        {},
        422,
        "unknown-element",
    ),
    (
        "id",
        "/Patient/a",
        ops({"op": "replace", "path": "/id", "value": "b"}),
        JSON_PATCH,
        {},
        422,
        "patch-protected",
    ),
    (
        "type",
        "/Patient/a",
        ops({"op": "replace", "path": "/resourceType", "value": "Group"}),
        JSON_PATCH,
        {},
        422,
        "patch-protected",
    ),
    (
        "version",
        "/Patient/a",
        ops({"op": "replace", "path": "/meta/versionId", "value": "9"}),
        JSON_PATCH,
        {},
        422,
        "patch-protected",
    ),
    ("a parameter", "/Patient/a?active=true", BODIES[JSON_PATCH], JSON_PATCH, {}, 400, "id-and-condition"),
    ("no condition", "/Patient", BODIES[JSON_PATCH], JSON_PATCH, {}, 400, "no-condition"),
    ("no match", "/Patient?identifier=urn:x|9", BODIES[JSON_PATCH], JSON_PATCH, {}, 404, "no-match"),
    (
        "several match",
        "/Patient?identifier=urn:y|1",
        BODIES[JSON_PATCH],
        JSON_PATCH,
        {},
        412,
        "several-match",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
async def test_what_is_refused(
    stored: Served, case: tuple[str, str, bytes, str, dict[str, str], int, str]
) -> None:
    """Nothing is written then."""
    _, path, body, media_type, headers, status, slug = case
    twin = {"resourceType": "Patient", "identifier": [{"system": "urn:y", "value": "1"}]}
    for _ in range(2):
        await stored.client().post("/Patient", json=twin)
    response = await patch(stored, path, body, media_type, **headers)
    assert (response.status_code, slugs(response)[0]) == (status, slug), response.text
    assert ("accept-patch" in response.headers) == (status == 415)
    assert (await stored.client().get("/Patient/a")).headers["etag"] == 'W/"1"'


async def test_deleted_is_gone(stored: Served) -> None:
    await stored.client().delete("/Patient/a")
    assert (await patch(stored, "/Patient/a", BODIES[JSON_PATCH])).status_code == 410


async def test_of_what_matches(stored: Served) -> None:
    """http.html#patch: conditional patch"""
    done = await patch(stored, "/Patient?identifier=urn:x|1", BODIES[JSON_PATCH])
    assert (done.status_code, done.json()["id"], done.json()["active"]) == (200, "a", False)
    stale = await patch(stored, "/Patient?identifier=urn:x|1", BODIES[JSON_PATCH], If_Match='W/"1"')
    assert stale.status_code == 412


async def test_with_a_version_one_of_several_wins_without_it_all_do(stored: Served) -> None:
    """http.html#concurrency"""
    add = ops({"op": "add", "path": "/name/0/given/-", "value": "X"})
    raced = await asyncio.gather(*(patch(stored, "/Patient/a", add, If_Match='W/"1"') for _ in range(4)))
    assert sorted(each.status_code for each in raced) == [200, 412, 412, 412]
    free = await asyncio.gather(*(patch(stored, "/Patient/a", add) for _ in range(3)))
    assert [each.status_code for each in free] == [200, 200, 200]
    assert (await stored.client().get("/Patient/a")).json()["name"][0]["given"] == ["Zoë", *"XXXX"]


async def test_rights_are_those_of_update(stored: Served) -> None:
    """What update refuses, patch refuses: by scope, and by what may be seen."""
    headers = {"Content-Type": JSON_PATCH}
    reader = Access("Client/reader", (Scope("*", "crsd"),), None)
    person = Access("Practitioner/p1", (Scope("*", "cruds"),), frozenset({"Practitioner/p1"}))
    for access, status in ((reader, 403), (person, 404), (None, 401)):
        client = stored.client(access)
        for path in ("/Patient/a", "/Patient?identifier=urn:x|1"):
            response = await client.patch(path, content=BODIES[JSON_PATCH], headers=headers)
            assert response.status_code == status, response.text
    changed = ops(
        {"op": "replace", "path": "/extension/0/valueReference/reference", "value": "Practitioner/p2"}
    )
    request = {
        "resourceType": "ServiceRequest",
        "id": "r",
        "extension": [
            {
                "url": "https://teledossier.example/fhir/StructureDefinition/audience",
                "valueReference": {"reference": "Practitioner/p1"},
            }
        ],
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/a"},
    }
    await stored.client().put("/ServiceRequest/r", json=request)
    moved = await stored.client(person).patch("/ServiceRequest/r", content=changed, headers=headers)
    assert (moved.status_code, slugs(moved)) == (403, ["not-in-audience"])
    hold = ops({"op": "replace", "path": "/status", "value": "on-hold"})
    assert (
        await stored.client(person).patch("/ServiceRequest/r", content=hold, headers=headers)
    ).status_code == 200


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("media_type", FORMATS)
async def test_in_a_bundle(stored: Served, kind: str, media_type: str) -> None:
    """http.html#patch: as Binary, or as Parameters"""
    entries = [in_bundle("Patient/a", BODIES[media_type], media_type), entry("GET", "Patient/a")]
    answer = await post(stored, bundle(kind, *entries))
    assert statuses(answer) == ["200", "200"], answer.text
    assert answer.json()["entry"][0]["response"]["etag"] == 'W/"2"'
    assert answer.json()["entry"][1]["resource"]["active"] is False
    again = await post(
        stored, bundle(kind, entry("PATCH", "Patient?identifier=urn:x|1", parameters(DEACTIVATE)))
    )
    assert (statuses(again), again.json()["entry"][0]["response"]["etag"]) == (["200"], 'W/"3"')


IN_BUNDLES: list[tuple[str, dict[str, Any], int, str]] = [
    ("fails", in_bundle("Patient/a", ops({"op": "remove", "path": "/z"})), 422, "patch-failed"),
    ("no such resource", in_bundle("Patient/none", b"[]"), 404, "no-such-resource"),
    ("stale", in_bundle("Patient/a", b"[]", ifMatch='W/"7"'), 412, "stale-version"),
    (
        "invalid then",
        in_bundle("Patient/a", ops({"op": "add", "path": "/active", "value": 1})),
        422,
        "bad-format",
    ),
    ("protected", in_bundle("Patient/a", ops({"op": "remove", "path": "/id"})), 422, "patch-protected"),
    ("format", in_bundle("Patient/a", b"[]", "text/plain"), 415, "patch-format"),
    (
        "no base64",
        entry("PATCH", "Patient/a", {"resourceType": "Binary", "contentType": JSON_PATCH, "data": "*"}),
        400,
        "bad-base64",
    ),
    ("no patch", entry("PATCH", "Patient/a", PATIENT), 400, "bad-patch"),
    ("no resource", entry("PATCH", "Patient/a"), 400, "no-resource"),
    ("no match", in_bundle("Patient?identifier=urn:x|9", b"[]"), 404, "no-match"),
]


@pytest.mark.parametrize("case", IN_BUNDLES, ids=[case[0] for case in IN_BUNDLES])
async def test_what_is_refused_in_a_bundle(
    stored: Served, case: tuple[str, dict[str, Any], int, str]
) -> None:
    """http.html#trules: a transaction writes nothing then; a batch goes on."""
    _, wrong, status, slug = case
    good = entry("PUT", "Patient/b", {**PATIENT, "id": "b"})
    whole = await post(stored, bundle("transaction", good, wrong))
    assert (whole.status_code, slugs(whole)[0]) == (status, slug), whole.text
    assert (await stored.client().get("/Patient/b")).status_code == 404
    each = await post(stored, bundle("batch", good, wrong))
    assert statuses(each) == ["201", str(status)]


async def test_a_patch_may_refer_to_other_entries(stored: Served) -> None:
    """http.html#trules: links are resolved in what a patch brings, too; nothing is written twice."""
    urn = "urn:uuid:00000000-0000-4000-8000-000000000007"
    organization = {
        **entry("POST", "Organization", {"resourceType": "Organization", "name": "O"}),
        "fullUrl": urn,
    }
    link = ops({"op": "add", "path": "/managingOrganization", "value": {"reference": urn}})
    value = {"valueReference": {"reference": urn}}
    ways = [
        in_bundle("Patient/a", link),
        entry(
            "PATCH",
            "Patient/a",
            parameters(operation("replace", "Patient.managingOrganization", value=value)),
        ),
    ]
    for way in ways:
        answer = await post(stored, bundle("transaction", organization, way))
        assert statuses(answer) == ["201", "200"], answer.text
        made = answer.json()["entry"][0]["response"]["location"].split("/")[-3]
        read = (await stored.client().get("/Patient/a")).json()
        assert read["managingOrganization"] == {"reference": f"Organization/{made}"}
    twice = await post(
        stored, bundle("transaction", in_bundle("Patient/a", b"[]"), entry("DELETE", "Patient/a"))
    )
    assert (twice.status_code, slugs(twice)) == (400, ["duplicate-entry"])


async def test_a_binary_keeps_its_file(served: Served) -> None:
    """binary.html: what describes the bytes can be patched; where they are is the server's alone."""
    path = f"/Binary/{(await upload(served, BYTES)).json()['id']}"
    done = await patch(served, path, ops({"op": "replace", "path": "/contentType", "value": "image/png"}))
    assert done.status_code == 200, done.text
    raw = await served.client().get(path)
    assert (raw.content, raw.headers["content-type"]) == (BYTES, "image/png")
    other = ops({"op": "replace", "path": "/_data/extension/0/extension/0/valueString", "value": "0" * 64})
    assert (await patch(served, path, other)).status_code == 400


async def test_the_capability_statement_says_so(served: Served) -> None:
    statement = (await served.client().get("/metadata")).json()
    assert statement["patchFormat"] == list(FORMATS)
    assert all({"code": "patch"} in each["interaction"] for each in statement["rest"][0]["resource"])


@FUZZ
@given(data=st.data())
def test_no_patch_is_a_500(asked: Any, data: st.DataObject) -> None:
    asked("PUT", "/Patient/a", content=codec.dump(PATIENT), headers={"Content-Type": "application/fhir+json"})
    media_type = data.draw(st.sampled_from([*FORMATS, "application/json", "text/xml", "x"]))
    body = bytearray(BODIES.get(media_type, b"[]"))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"[", b'"', b"/", b"<", b"value", b"null", b"_", b"@"])
        )
    check(asked("PATCH", "/Patient/a", content=bytes(body), headers={"Content-Type": media_type}))
    read = asked("GET", "/Patient/a", headers={"Accept": "application/fhir+xml"})
    assert xml.parse(read.content)["id"] == "a"
