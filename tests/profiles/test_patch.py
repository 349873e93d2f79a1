"""JSON Patch, FHIRPath Patch and XML Patch: HL7's cases, then what they leave out."""

from __future__ import annotations

import base64
import copy
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from profiles import codec, xml
from profiles.outcomes import Invalid, TeledossierError, Unprocessable, UnsupportedMedia
from profiles.patch import (
    FORMATS,
    fhirpath_patch,
    json_patch,
    of_resource,
    patched,
    read,
    selectors,
    xml_patch,
)
from profiles.xml import tree
from tests.profiles import examples

SUITE = json.loads((Path(__file__).parent / "patch_suite" / "cases.json").read_text("utf-8"))
DIV = 'xmlns="http://www.w3.org/1999/xhtml"'
Json = dict[str, Any]


def names(kind: str) -> list[str]:
    return [case["name"] for case in SUITE[kind]]


def with_canonical_narrative(resource: Any) -> Any:
    """Narratives compare by content: neither white space nor the way a quote is written counts."""
    if isinstance(resource, dict) and "text" in resource and "div" in resource["text"]:
        text = tree.parse(resource["text"]["div"].encode()).text
        return {**resource, "text": {**resource["text"], "div": " ".join(text.split())}}
    return resource


@pytest.mark.parametrize("case", SUITE["fhirpath"], ids=names("fhirpath"))
def test_hl7_fhirpath_patch(case: Json) -> None:
    patch, before = fhirpath_patch.of(case["patch"]), copy.deepcopy(case["document"])
    if "expected" not in case:
        with pytest.raises(Unprocessable):
            patch.apply(case["document"])
    else:
        made = patch.apply(case["document"])
        assert with_canonical_narrative(made) == with_canonical_narrative(case["expected"])
    assert case["document"] == before


@pytest.mark.parametrize("case", SUITE["json"], ids=names("json"))
def test_hl7_json_patch(case: Json) -> None:
    before = copy.deepcopy(case["document"])
    if "expected" not in case:
        with pytest.raises(Unprocessable):
            json_patch.of(case["patch"]).apply(case["document"])
    else:
        assert json_patch.of(case["patch"]).apply(case["document"]) == case["expected"]
    assert case["document"] == before


def canonical(element: tree.Element) -> Any:
    children: list[Any] = []
    for child in element.children:
        if isinstance(child, tree.Element):
            children.append(canonical(child))
        elif isinstance(child, tree.Comment):
            children.append(("comment", child.text))
        elif isinstance(child, tree.Text) and child.text.strip():
            children.append(child.text)
    prefixes = {prefix: uri for prefix, uri in element.scope.items() if prefix}
    return element.name, element.attributes, prefixes, children


@pytest.mark.parametrize("case", SUITE["xml"], ids=names("xml"))
def test_hl7_xml_patch(case: Json) -> None:
    if "expected" not in case:
        with pytest.raises(TeledossierError):
            xml_patch.read(case["patch"].encode()).change(tree.parse(case["document"].encode()))
        return
    made = xml_patch.read(case["patch"].encode()).change(tree.parse(case["document"].encode()))
    assert canonical(tree.parse(tree.dump(made))) == canonical(tree.parse(case["expected"].encode()))


DOC = {"a": {"b": [1, 2, 3]}, "": 0, "m~n": 8, "x/y": 1, "c": None, "t": True}
JSON_CASES: list[tuple[str, list[Json], Any]] = [
    ("4.1 add replaces a member", [{"op": "add", "path": "/c", "value": 1}], {**DOC, "c": 1}),
    ("4.1 add at an index", [{"op": "add", "path": "/a/b/0", "value": 9}], {**DOC, "a": {"b": [9, 1, 2, 3]}}),
    ("4.1 add at the end", [{"op": "add", "path": "/a/b/3", "value": 9}], {**DOC, "a": {"b": [1, 2, 3, 9]}}),
    ("4.1 add beyond the end", [{"op": "add", "path": "/a/b/4", "value": 9}], None),
    ("4.1 add into a value", [{"op": "add", "path": "/c/d", "value": 9}], None),
    ("4.1 add the whole", [{"op": "add", "path": "", "value": {"n": 1}}], {"n": 1}),
    ("4.2 remove what is not there", [{"op": "remove", "path": "/z"}], None),
    ("4.2 remove an item", [{"op": "remove", "path": "/a/b/1"}], {**DOC, "a": {"b": [1, 3]}}),
    ("4.2 remove at the dash", [{"op": "remove", "path": "/a/b/-"}], None),
    ("4.2 remove the whole", [{"op": "remove", "path": ""}], None),
    ("4.3 replace", [{"op": "replace", "path": "/a/b/0", "value": {}}], {**DOC, "a": {"b": [{}, 2, 3]}}),
    ("4.3 replace what is not there", [{"op": "replace", "path": "/z", "value": 1}], None),
    ("4.3 replace the whole", [{"op": "replace", "path": "", "value": {}}], {}),
    ("4.4 move", [{"op": "move", "from": "/a/b/0", "path": "/a/b/2"}], {**DOC, "a": {"b": [2, 3, 1]}}),
    ("4.4 move onto itself", [{"op": "move", "from": "/a", "path": "/a"}], DOC),
    ("4.4 move from nowhere", [{"op": "move", "from": "/z", "path": "/a"}], None),
    ("4.5 copy", [{"op": "copy", "from": "/a/b", "path": "/z"}], {**DOC, "z": [1, 2, 3]}),
    (
        "4.5 a copy is a copy",
        [{"op": "copy", "from": "/a/b", "path": "/z"}, {"op": "remove", "path": "/z/0"}],
        {**DOC, "z": [2, 3]},
    ),
    ("4.6 test null", [{"op": "test", "path": "/c", "value": None}], DOC),
    ("4.6 test what is absent", [{"op": "test", "path": "/z", "value": None}], None),
    ("4.6 numbers by value", [{"op": "test", "path": "/a/b/0", "value": Decimal("1.0")}], DOC),
    ("4.6 a boolean is no number", [{"op": "test", "path": "/t", "value": 1}], None),
    ("4.6 objects", [{"op": "test", "path": "/a", "value": {"b": [1, 2, 3]}}], DOC),
    ("4.6 arrays in order", [{"op": "test", "path": "/a/b", "value": [1, 3, 2]}], None),
    ("6901 the empty name", [{"op": "test", "path": "/", "value": 0}], DOC),
    ("6901 ~0", [{"op": "test", "path": "/m~0n", "value": 8}], DOC),
    ("6901 ~1", [{"op": "test", "path": "/x~1y", "value": 1}], DOC),
    ("6901 leading zeros", [{"op": "test", "path": "/a/b/01", "value": 2}], None),
    ("5 atomic", [{"op": "remove", "path": "/c"}, {"op": "test", "path": "/t", "value": False}], None),
    ("none at all", [], DOC),
]


@pytest.mark.parametrize(("name", "patch", "expected"), JSON_CASES, ids=[case[0] for case in JSON_CASES])
def test_json_patch(name: str, patch: list[Json], expected: Any) -> None:
    """RFC 6902, RFC 6901"""
    before = copy.deepcopy(DOC)
    if expected is None:
        with pytest.raises(Unprocessable):
            json_patch.of(patch).apply(DOC)
    else:
        made = json_patch.of(patch).apply(DOC)
        assert json_patch.equal(made, expected)
    assert json_patch.equal(DOC, before)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "array"),
        (b"[1]", "operation 0"),
        (b'[{"op":"spam","path":"/a"}]', "add, remove"),
        (b'[{"op":["add"],"path":"/a"}]', "add, remove"),
        (b'[{"op":"add","path":"/a"}]', "without value"),
        (b'[{"op":"remove"}]', "path"),
        (b'[{"op":"remove","path":"a"}]', "path"),
        (b'[{"op":"remove","path":"/a~2"}]', "path"),
        (b'[{"op":"move","path":"/a"}]', "from"),
        (b'[{"op":"move","from":"/a","path":"/a/b"}]', "itself"),
        (b'[{"op":"add","path":"/a","value":1,"path":"/b"}]', "repeated"),
        (b'[{"op":"add",\n"path":}]', "line 2"),
    ],
)
def test_what_is_no_json_patch(body: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        json_patch.read(body)


def test_json_patch_keeps_the_digits() -> None:
    patch = json_patch.read(
        b'[{"op":"add","path":"/v","value":1.50},{"op":"test","path":"/v","value":1.5e0}]'
    )
    assert codec.dump(patch.apply({})) == b'{"v":1.50}'


@pytest.mark.parametrize(
    "operation",
    [{"op": "copy", "from": "", "path": "/a/-"}, {"op": "copy", "from": "", "path": "/b"}],
)
def test_copies_of_copies_are_bounded(operation: Json) -> None:
    with pytest.raises(Unprocessable, match=r"grow|deeper"):
        json_patch.of([operation] * 200).apply({"a": ["x" * 10_000]})


def of_paths(path: str, count: int) -> Json:
    part = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}] * count}


BUSY = {"resourceType": "Patient", "id": "p", "name": [{"given": ["a", "b"]} for _ in range(2000)]}
COSTLY: list[tuple[str, Any]] = [
    ("JSON", json_patch.of([{"op": "add", "path": "/name/0", "value": {}}] * 10_000)),
    ("FHIRPath, many", fhirpath_patch.of(of_paths("Patient.name[5].family", 1000))),
    ("XML", xml_patch.read(b"<diff><remove sel='*/*[*[x]]'/></diff>")),
]


@pytest.mark.parametrize("case", COSTLY, ids=[case[0] for case in COSTLY])
def test_work_is_bounded(case: tuple[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a small body cannot reach here are lowered."""
    monkeypatch.setattr(json_patch, "MAX_SHIFTED", 1_000_000)
    monkeypatch.setattr(selectors, "MAX_VISITS", 10_000)
    monkeypatch.setattr(fhirpath_patch, "MAX_VISITS", 1_000_000)
    began = time.perf_counter()
    with pytest.raises(Unprocessable, match="work"):
        case[1].apply(BUSY)
    assert time.perf_counter() - began < 20


def operation(type: str, path: str, **parts: Any) -> Json:
    """An operation of a FHIRPath Patch; `value` is the part's content."""
    kinds = {
        "name": "valueString",
        "index": "valueInteger",
        "source": "valueInteger",
        "destination": "valueInteger",
    }
    part = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, content in parts.items():
        part.append({"name": name, **(content if name == "value" else {kinds[name]: content})})
    return {"name": "operation", "part": part}


def parameters(*operations: Json) -> Json:
    return {"resourceType": "Parameters", **({"parameter": list(operations)} if operations else {})}


P: Json = {
    "resourceType": "Patient",
    "id": "p",
    "name": [
        {"use": "official", "given": ["a", "b", "c"], "_given": [None, {"id": "g"}, None]},
        {"text": "t"},
    ],
    "birthDate": "1950",
    "deceasedBoolean": False,
    "active": True,
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
}
STRING = {"valueString": "z"}
BASIC = {"resourceType": "Basic", "id": "b", "code": {"text": "c"}}
EXTENSION = {"part": [{"name": "url", "valueUri": "urn:x"}, {"name": "value", "valueCode": "y"}]}
NAMES = P["name"]
FHIRPATH_CASES: list[tuple[str, Json, Json | str]] = [
    (
        "add to a list of primitives",
        operation("add", "Patient.name[0]", name="given", value=STRING),
        {
            "name": [
                {**NAMES[0], "given": ["a", "b", "c", "z"], "_given": [None, {"id": "g"}, None, None]},
                NAMES[1],
            ]
        },
    ),
    (
        "insert before an id",
        operation("insert", "Patient.name[0].given", index=1, value=STRING),
        {
            "name": [
                {**NAMES[0], "given": ["a", "z", "b", "c"], "_given": [None, None, {"id": "g"}, None]},
                NAMES[1],
            ]
        },
    ),
    (
        "insert at the end",
        operation("insert", "name.first().given", index=3, value=STRING),
        {
            "name": [
                {**NAMES[0], "given": ["a", "b", "c", "z"], "_given": [None, {"id": "g"}, None, None]},
                NAMES[1],
            ]
        },
    ),
    ("insert beyond", operation("insert", "Patient.name[0].given", index=4, value=STRING), "0 to 3"),
    (
        "insert of several lists",
        operation("insert", "Patient.name.given | Patient.name", index=0, value=STRING),
        "list",
    ),
    (
        "insert into a part of a list",
        operation("insert", "Patient.name[0]", index=0, value=STRING),
        "whole list",
    ),
    ("insert into what is no list", operation("insert", "Patient.birthDate", index=0, value=STRING), "list"),
    ("insert into nothing", operation("insert", "Patient.address", index=0, value=STRING), "nothing"),
    (
        "move primitives with their ids",
        operation("move", "Patient.name[0].given", source=1, destination=0),
        {"name": [{**NAMES[0], "given": ["b", "a", "c"], "_given": [{"id": "g"}, None, None]}, NAMES[1]]},
    ),
    ("move beyond", operation("move", "Patient.name", source=0, destination=2), "destination"),
    (
        "delete one of a list",
        operation("delete", "Patient.name[0].given[1]"),
        {"name": [{"use": "official", "given": ["a", "c"]}, NAMES[1]]},
    ),
    (
        "delete by a criterion",
        operation("delete", "Patient.name.where(use = 'official')"),
        {"name": [NAMES[1]]},
    ),
    (
        "delete by a criterion on a primitive",
        operation("delete", "Patient.name.given.where($this = 'b')"),
        {"name": [{"use": "official", "given": ["a", "c"]}, NAMES[1]]},
    ),
    (
        "delete an id of a primitive",
        operation("delete", "Patient.name[0].given[1].id"),
        {"name": [{"use": "official", "given": ["a", "b", "c"]}, NAMES[1]]},
    ),
    ("delete the last content", operation("delete", "Patient.name[1].text"), {"name": [NAMES[0]]}),
    ("delete nothing", operation("delete", "Patient.address"), {}),
    ("delete several", operation("delete", "Patient.name"), "several"),
    ("delete the resource", operation("delete", "Patient"), "whole resource"),
    ("delete what is computed", operation("delete", "Patient.name.count()"), "computed"),
    ("delete a choice", operation("delete", "Patient.deceased"), {"deceasedBoolean": None}),
    (
        "replace a boolean",
        operation("replace", "Patient.active", value={"valueBoolean": False}),
        {"active": False},
    ),
    (
        "replace a choice by another type",
        operation("replace", "Patient.deceased", value={"valueDateTime": "2020"}),
        {"deceasedBoolean": None, "deceasedDateTime": "2020"},
    ),
    (
        "replace a choice by a type it has not",
        operation("replace", "Patient.deceased", value=STRING),
        "boolean or dateTime",
    ),
    (
        "replace with an extension",
        operation("replace", "Patient.birthDate", value={"valueDate": "1951", "_valueDate": {"id": "n"}}),
        {"birthDate": "1951", "_birthDate": {"id": "n"}},
    ),
    (
        "replace by another type",
        operation("replace", "Patient.birthDate", value={"valueBoolean": True}),
        "expected date",
    ),
    ("replace nothing", operation("replace", "Patient.gender", value={"valueCode": "male"}), "nothing"),
    (
        "replace in a contained resource",
        operation("replace", "Patient.contained.where(id = 'o').name", value=STRING),
        {"contained": [{"resourceType": "Organization", "id": "o", "name": "z"}]},
    ),
    (
        "add a contained resource",
        operation("add", "Patient", name="contained", value={"resource": BASIC}),
        {"contained": [*P["contained"], BASIC]},
    ),
    (
        "add an extension to a primitive",
        operation("add", "Patient.birthDate", name="extension", value=EXTENSION),
        {"_birthDate": {"extension": [{"url": "urn:x", "valueCode": "y"}]}},
    ),
    (
        "add what is there",
        operation("add", "Patient", name="birthDate", value={"valueDate": "1951"}),
        "already",
    ),
    (
        "add a choice that is there",
        operation("add", "Patient", name="deceased", value={"valueDateTime": "2020"}),
        "already",
    ),
    (
        "add a choice",
        operation("add", "Patient", name="multipleBirth", value={"valueInteger": 2}),
        {"multipleBirthInteger": 2},
    ),
    (
        "add a choice by its full name",
        operation("add", "Patient", name="multipleBirthInteger", value={"valueInteger": 2}),
        {"multipleBirthInteger": 2},
    ),
    (
        "add a choice of two minds",
        operation("add", "Patient", name="multipleBirthBoolean", value={"valueInteger": 2}),
        "expected",
    ),
    ("add an unknown element", operation("add", "Patient", name="colour", value=STRING), "colour"),
    (
        "add a backbone",
        operation(
            "add",
            "Patient",
            name="link",
            value={
                "part": [
                    {"name": "other", "valueReference": {"reference": "Patient/1"}},
                    {"name": "type", "valueCode": "refer"},
                ]
            },
        ),
        {"link": [{"other": {"reference": "Patient/1"}, "type": "refer"}]},
    ),
    (
        "add a backbone with an unknown part",
        operation("add", "Patient", name="link", value={"part": [{"name": "colour", "valueCode": "x"}]}),
        "Patient.link has no such element",
    ),
    (
        "add a backbone with a part twice",
        operation(
            "add",
            "Patient",
            name="link",
            value={"part": [{"name": "type", "valueCode": "x"}, {"name": "type", "valueCode": "y"}]},
        ),
        "twice",
    ),
    (
        "add parts that repeat",
        operation(
            "add",
            "Patient",
            name="contact",
            value={
                "part": [
                    {"name": "relationship", "valueCodeableConcept": {"text": "a"}},
                    {"name": "relationship", "valueCodeableConcept": {"text": "b"}},
                ]
            },
        ),
        {"contact": [{"relationship": [{"text": "a"}, {"text": "b"}]}]},
    ),
    ("a path with an error", operation("delete", "Patient.("), "FHIRPath, character"),
    ("a path with an unknown function", operation("delete", "Patient.spam()"), "spam"),
]


@pytest.mark.parametrize(
    ("name", "patch", "expected"), FHIRPATH_CASES, ids=[case[0] for case in FHIRPATH_CASES]
)
def test_fhirpath_patch(name: str, patch: Json, expected: Json | str) -> None:
    """fhirpatch.html"""
    before = copy.deepcopy(P)
    if isinstance(expected, str):
        with pytest.raises(Unprocessable, match=r"operation 0 \(") as caught:
            fhirpath_patch.of(parameters(patch)).apply(P)
        assert expected in str(caught.value)
    else:
        made = fhirpath_patch.of(parameters(patch)).apply(P)
        assert made == {key: value for key, value in {**P, **expected}.items() if value is not None}
    assert before == P


def test_operations_see_what_came_before_and_fail_together() -> None:
    steps = [
        operation("add", "Patient", name="address", value={"valueAddress": {"city": "Foix"}}),
        operation("replace", "Patient.address[0].city", value={"valueString": "Pamiers"}),
        operation("insert", "Patient.address", index=0, value={"valueAddress": {"city": "Auch"}}),
        operation("delete", "Patient.name[0]"),
        operation("delete", "Patient.name[0]"),
    ]
    made = fhirpath_patch.of(parameters(*steps)).apply(P)
    assert made["address"] == [{"city": "Auch"}, {"city": "Pamiers"}]
    assert "name" not in made
    with pytest.raises(Unprocessable, match=r"operation 5"):
        fhirpath_patch.of(
            parameters(*steps, operation("move", "Patient.name", source=0, destination=0))
        ).apply(P)


@pytest.mark.parametrize("resource", examples.ALL, ids=lambda r: r["resourceType"])
def test_an_empty_patch_changes_nothing(resource: Json) -> None:
    for patch in (fhirpath_patch.of(parameters()), json_patch.of([])):
        made = patch.apply(resource)
        assert made == resource
        assert sorted(codec.dump(made)) == sorted(codec.dump(resource))  # to the digits of its decimals


@pytest.mark.parametrize(
    "parameter",
    [
        {"name": "spam"},
        {"name": "operation"},
        operation("spam", "Patient"),
        operation("add", "Patient", name="birthDate"),
        operation("add", "Patient", value=STRING),
        operation("insert", "Patient.name", value=STRING),
        operation("move", "Patient.name", source=1),
        {"name": "operation", "part": [{"name": "type", "valueCode": "delete"}]},
        {
            "name": "operation",
            "part": [*operation("delete", "Patient")["part"], {"name": "spam", "valueCode": "x"}],
        },
        {
            "name": "operation",
            "part": [*operation("delete", "Patient")["part"], {"name": "path", "valueString": "x"}],
        },
        {
            "name": "operation",
            "part": [{"name": "type", "valueInteger": 1}, {"name": "path", "valueString": "x"}],
        },
        {"name": "operation", "part": [{"name": "type"}]},
        {"part": []},
    ],
)
def test_what_is_no_fhirpath_patch(parameter: Json) -> None:
    with pytest.raises(Invalid):
        fhirpath_patch.of(parameters(parameter))


def diff(*operations: str) -> bytes:
    return f'<diff xmlns="http://hl7.org/fhir">{"".join(operations)}</diff>'.encode()


@pytest.mark.parametrize("member", ["resourceType", "id", "meta.versionId"])
def test_what_identifies_a_resource_cannot_be_patched(member: str) -> None:
    """http.html#patch"""
    resource = {**P, "meta": {"versionId": "3", "source": "urn:s"}}
    pointer = "/" + member.replace(".", "/")
    kept = [
        {
            "op": "test",
            "path": pointer,
            "value": resource["meta"]["versionId"] if "." in member else resource[member],
        }
    ]
    assert patched(json_patch.of(kept), resource) == resource
    with pytest.raises(Unprocessable, match=f"{member} cannot be patched"):
        patched(json_patch.of([{"op": "replace", "path": pointer, "value": "Basic"}]), resource)
    if member != "resourceType":
        changed = operation("replace", f"Patient.{member}", value={"valueId": "x"})
        with pytest.raises(Unprocessable, match="cannot be patched"):
            patched(fhirpath_patch.of(parameters(changed)), resource)
    if member != "meta.versionId":
        with pytest.raises(Unprocessable, match="cannot be patched"):
            patched(json_patch.of([{"op": "remove", "path": pointer}]), resource)
    with pytest.raises(Unprocessable, match="no resource"):
        patched(json_patch.of([{"op": "replace", "path": "", "value": 1}]), resource)


def test_every_format_is_read_by_its_media_type() -> None:
    """http.html#patch"""
    one = operation("replace", "Patient.active", value={"valueBoolean": False})
    bodies = {
        "application/json-patch+json": b'[{"op":"replace","path":"/active","value":false}]',
        "application/xml-patch+xml": diff('<replace sel="Patient/active/@value">false</replace>'),
        "application/fhir+json": codec.dump(parameters(one)),
        "application/fhir+xml": xml.dump(parameters(one)),
    }
    assert bodies.keys() == set(FORMATS)
    for media_type, body in bodies.items():
        assert read(media_type + "; charset=utf-8", body).apply(P) == {**P, "active": False}
        binary = {
            "resourceType": "Binary",
            "contentType": media_type,
            "data": base64.b64encode(body).decode(),
        }
        assert of_resource(binary).apply(P) == {**P, "active": False}
    assert of_resource(parameters(one)).apply(P) == {**P, "active": False}
    with pytest.raises(UnsupportedMedia, match="json-patch"):
        read("text/plain", b"")
    for wrong in ({}, [], {"resourceType": "Patient"}, {"resourceType": "Binary"}, {**binary, "data": "*"}):
        with pytest.raises(Invalid):
            of_resource(wrong)
