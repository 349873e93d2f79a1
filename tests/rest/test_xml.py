"""XML in and out on every interaction, and which format is chosen."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.rest.negotiation import accepted
from profiles import codec, xml
from tests.rest.serving import BASE, Served, make_engine, serve
from tests.rest.test_edges import OPERATIONS

XML = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">é <b>x</b></div>'},
    "name": [{"family": "Martin", "given": ["Zoë", "Anne"], "_given": [None, {"id": "g"}]}],
    "birthDate": "1950-02",
}


def resource(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/fhir+xml; charset=utf-8", response.text
    assert response.headers["vary"].startswith("Accept")
    return xml.parse(response.content)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("application/fhir+json", "json"),
        ("application/fhir+xml", "xml"),
        ("application/xml", "xml"),
        ("text/xml; charset=utf-8", "xml"),
        ("application/xml+fhir", "xml"),
        ("application/fhir+xml, */*", "xml"),
        ("*/*, application/fhir+xml", "xml"),
        ("*/*;q=0.9, application/fhir+xml;q=0.5", "json"),
        ("application/fhir+json;q=0.5, application/fhir+xml;q=0.9", "xml"),
        ("application/fhir+json;q=0.9, application/fhir+xml;q=0.5", "json"),
        ("application/fhir+json, application/fhir+xml", "json"),
        ("application/fhir+xml, application/fhir+json", "xml"),
        ("application/fhir+json;q=0, */*", "xml"),
        ("application/fhir+json;q=0, application/fhir+xml;q=0.0, */*", None),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "xml"),
        ("text/html", None),
        ("text/html, application/json;q=0.1", "json"),
        ("*/*;q=0", None),
        ("application/fhir+xml; fhirVersion=4.0", "xml"),
        ("application/fhir+xml; fhirVersion=3.0, application/fhir+json;q=0.1", "json"),
        ("application/fhir+xml; fhirVersion=5.0", None),
        ("application/fhir+xml;q=abc", "xml"),
        ("xml", None),
        (";,;q=", None),
    ],
)
def test_accept(accept: str, expected: str | None) -> None:
    """RFC 9110 §12.5.1; http.html#mime-type"""
    assert accepted(accept) == expected


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("_format=xml", "application/fhir+json", "xml"),
        ("_format=application/fhir+xml", "*/*", "xml"),
        ("_format=application%2Ffhir%2Bxml", "*/*", "xml"),
        ("_format=text/xml", "text/html", "xml"),
        ("_format=json", "application/fhir+xml", "json"),
        ("_format=application/fhir+json", "application/fhir+xml", "json"),
    ],
)
async def test_format_goes_before_accept(served: Served, query: str, accept: str, expected: str) -> None:
    """http.html#parameters"""
    client = served.client()
    await client.put("/Patient/a", json=PATIENT)
    response = await client.get(f"/Patient/a?{query}", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == f"application/fhir+{expected}; charset=utf-8"


async def test_every_interaction_speaks_xml(served: Served) -> None:
    """http.html#mime-type: what goes in as XML is the same in JSON, and the other way round."""
    client = served.client()
    put = await client.put("/Patient/a", content=xml.dump(PATIENT), headers=XML)
    assert put.status_code == 201
    stored = resource(put)
    assert {**stored, "meta": None} == {**PATIENT, "meta": None}
    assert (await client.get("/Patient/a")).json() == stored
    made = await client.post("/Patient", content=xml.dump(PATIENT), headers=XML)
    assert (made.status_code, resource(made)["name"]) == (201, PATIENT["name"])
    for path in ("/Patient/a", "/Patient/a/_history/1"):
        read = await client.get(path, headers=XML)
        assert resource(read) == stored
        assert (await client.head(path, headers=XML)).headers["content-length"] == str(len(read.content))
    for path in ("/Patient?_id=a", "/Patient/a/_history"):
        bundle = resource(await client.get(path, headers=XML))
        assert [entry["resource"] for entry in bundle["entry"]] == [stored]
    form = await client.post("/Patient/_search", data={"_id": "a"}, headers={"Accept": "text/xml"})
    assert resource(form)["entry"][0]["resource"] == stored
    assert resource(await client.get("/metadata", headers=XML))["resourceType"] == "CapabilityStatement"
    assert (await client.get("/Patient/a", headers={**XML, "If-None-Match": 'W/"1"'})).status_code == 304
    assert (await client.delete("/Patient/a", headers=XML)).status_code == 204


async def test_bundles_and_preferences(served: Served) -> None:
    entries = [
        {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/a"}},
        {"request": {"method": "GET", "url": "Patient/a"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = resource(await served.client().post(BASE, content=xml.dump(bundle), headers=XML))
    assert [entry["response"]["status"] for entry in answer["entry"]] == ["201 Created", "200 OK"]
    assert answer["entry"][1]["resource"]["name"] == PATIENT["name"]
    headers = {**XML, "Prefer": "return=OperationOutcome"}
    done = await served.client().put("/Patient/a", content=xml.dump(PATIENT), headers=headers)
    assert resource(done)["resourceType"] == "OperationOutcome"
    minimal = {**XML, "Prefer": "return=minimal"}
    assert (
        await served.client().put("/Patient/a", content=xml.dump(PATIENT), headers=minimal)
    ).content == b""


async def test_errors_are_xml_too(served: Served) -> None:
    """operationoutcome.html"""
    client = served.client()
    for method, path, status in (
        ("GET", "/Patient/none", 404),
        ("GET", "/Nothing", 404),
        ("GET", "/Patient?colour=red", 400),
        ("PROPFIND", "/Patient/a", 405),
    ):
        response = await client.request(method, path, headers=XML)
        assert response.status_code == status
        assert resource(response)["issue"][0]["diagnostics"]
    wrong = b'<Patient xmlns="http://hl7.org/fhir">\n <birthdate value="1"/></Patient>'
    refused = await client.post("/Patient", content=wrong, headers=XML)
    assert refused.status_code == 400
    assert "line 2, column 2" in resource(refused)["issue"][0]["diagnostics"]
    bad = b'<Patient xmlns="http://hl7.org/fhir"><active value="yes"/></Patient>'
    invalid = await client.post("/Patient", content=bad, headers=XML)
    assert invalid.status_code == 422
    assert resource(invalid)["issue"][0]["expression"] == ["Patient.active"]
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><Patient xmlns="http://hl7.org/fhir"/>'
    assert (await client.post("/Patient", content=bomb, headers=XML)).status_code == 400
    unsaid = await client.get("/Patient?a%01=x", headers=XML)  # XML has no form for U+0001
    assert unsaid.json()["resourceType"] == "OperationOutcome"


async def test_operations_take_xml(tmp_path: Any, store: Any) -> None:
    """operations.html#executing"""
    client = serve(make_engine(tmp_path, store, operations=OPERATIONS)).client()
    parameters = xml.dump({"resourceType": "Parameters", "parameter": [{"name": "x", "valueCode": "y"}]})
    echoed = await client.post("/ServiceRequest/1/$echo?a=b", content=parameters, headers=XML)
    assert resource(echoed)["code"]["text"] == "ServiceRequest|1|1|[('a', 'b')]"
    assert (await client.get("/ServiceRequest/$figures", headers=XML)).text == "a,b\n"


async def test_pretty(served: Served) -> None:
    """http.html#pretty"""
    client = served.client()
    await client.put("/Patient/a", json=PATIENT)
    plain, pretty = [await client.get(f"/Patient/a{q}", headers=XML) for q in ("", "?_pretty=true")]
    assert resource(plain) == resource(pretty)
    assert b"\n" not in plain.content
    assert b'\n  <birthDate value="1950-02"/>' in pretty.content
    part = await client.get("/Patient/a?_elements=birthDate&_format=xml")
    assert resource(part).keys() == {"resourceType", "id", "meta", "birthDate"}


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/fhir+xml", 201),
        ("application/xml", 201),
        ("text/xml; charset=UTF-8", 201),
        ("application/fhir+xml; fhirVersion=4.0", 201),
        ("text/xml; charset=iso-8859-1", 415),
        ("application/xhtml+xml", 415),
        ("xml", 415),
    ],
)
async def test_content_types(served: Served, content_type: str, status: int) -> None:
    headers = {"Content-Type": content_type}
    response = await served.client().post("/Patient", content=xml.dump(PATIENT), headers=headers)
    assert response.status_code == status


async def test_what_only_json_can_say(served: Served) -> None:
    """A character that XML has not: the write stands, the read as XML is a 406 that names JSON."""
    client = served.client()
    odd = {"resourceType": "Patient", "id": "o", "name": [{"text": "a\ufffe"}]}
    written = await client.put(
        "/Patient/o", content=codec.dump(odd), headers={**XML, "Content-Type": "application/fhir+json"}
    )
    assert (written.status_code, written.json()["id"]) == (201, "o")
    read = await client.get("/Patient/o", headers=XML)
    assert read.status_code == 406
    assert "application/fhir+json" in read.text


async def test_binary_and_documents_that_are_xml(served: Served) -> None:
    """binary.html#rest: a Binary resource is one in whatever it comes; any other XML is content."""
    client = served.client()
    binary = {"resourceType": "Binary", "contentType": "text/plain", "data": "QUJD"}
    body = b"<?xml version='1.0'?><!-- <Binary> -->" + xml.dump(binary).partition(b"?>")[2]
    for content_type in ("application/fhir+xml", "application/xml", "text/xml"):
        made = await client.post("/Binary", content=body, headers={"Content-Type": content_type})
        assert made.json()["contentType"] == "text/plain", content_type
    path = f"/Binary/{made.json()['id']}"
    assert (await client.get(path)).content == b"ABC"
    assert (await client.get(path, headers={"Accept": "text/xml"})).content == b"ABC"
    assert resource(await client.get(path, headers=XML))["data"] == "QUJD"
    assert resource(await client.get(path + "?_format=xml"))["data"] == "QUJD"
    assert (await client.get(path + "?_format=html")).status_code == 406
    document = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><Binary/></ClinicalDocument>' + b" " * 20_000
    made = await client.post("/Binary", content=document, headers={"Content-Type": "text/xml"})
    assert made.status_code == 201
    raw = await client.get(f"/Binary/{made.json()['id']}")
    assert (raw.content, raw.headers["content-type"]) == (document, "text/xml")


async def test_a_large_answer_is_whole(served: Served) -> None:
    client = served.client()
    names = [{"family": f"F{n}", "given": ["x" * 40]} for n in range(2000)]
    await client.put("/Patient/big", json={"resourceType": "Patient", "id": "big", "name": names})
    read = await client.get("/Patient/big", headers=XML)
    assert resource(read)["name"] == names
    again = await client.put("/Patient/big", content=read.content, headers=XML)
    assert resource(again)["name"] == names
