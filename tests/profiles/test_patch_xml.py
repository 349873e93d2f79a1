"""XML Patch beyond HL7's cases: selectors, narratives, refusals. RFC 5261"""

from __future__ import annotations

import pytest

from profiles.outcomes import Invalid, TeledossierError
from profiles.patch import (
    xml_patch,
)
from tests.profiles.test_patch import DIV, NAMES, Json, P, diff

XML_CASES: list[tuple[str, str, Json | str]] = [
    ("replace a value", '<replace sel="Patient/birthDate/@value">1951</replace>', {"birthDate": "1951"}),
    (
        "prefix without declaration",
        '<replace sel="/f:Patient/f:birthDate/@value">1951</replace>',
        {"birthDate": "1951"},
    ),
    (
        "prefix declared",
        '<replace xmlns:z="http://hl7.org/fhir" sel="z:Patient/z:birthDate/@value">1951</replace>',
        {"birthDate": "1951"},
    ),
    ("prefix unknown", '<remove sel="z:Patient/z:birthDate"/>', "prefix"),
    ("add at the end", '<add sel="Patient"><gender value="male"/></add>', {"gender": "male"}),
    (
        "add before",
        '<add sel="Patient/name[2]" pos="before"><name><text value="n"/></name></add>',
        {"name": [NAMES[0], {"text": "n"}, NAMES[1]]},
    ),
    (
        "add after",
        '<add sel="Patient/name[1]" pos="after"><name><text value="n"/></name></add>',
        {"name": [NAMES[0], {"text": "n"}, NAMES[1]]},
    ),
    ("prepend", '<add sel="Patient" pos="prepend"><gender value="male"/></add>', {"gender": "male"}),
    ("add an attribute", '<add sel="Patient/birthDate" type="@id">i</add>', {"_birthDate": {"id": "i"}}),
    ("add an attribute that is there", '<add sel="Patient/birthDate" type="@value">i</add>', "already"),
    ("by a child's value", "<remove sel=\"Patient/name[use/@value='official']\"/>", {"name": [NAMES[1]]}),
    ("by a child that is there", '<remove sel="Patient/name[text]"/>', {"name": [NAMES[0]]}),
    (
        "by position and last",
        '<remove sel="Patient/name[1]/given[last()]"/>',
        {"name": [{"use": "official", "given": ["a", "b"], "_given": [None, {"id": "g"}]}, NAMES[1]]},
    ),
    (
        "by two tests",
        '<remove sel="Patient/name[use and use/@value=&quot;official&quot;]/given[2]"/>',
        {"name": [{"use": "official", "given": ["a", "c"]}, NAMES[1]]},
    ),
    ("any element", '<remove sel="*/name[position()=2]"/>', {"name": [NAMES[0]]}),
    (
        "replace an element",
        '<replace sel="Patient/deceasedBoolean"><deceasedDateTime value="2020"/></replace>',
        {"deceasedBoolean": None, "deceasedDateTime": "2020"},
    ),
    ("several", '<remove sel="Patient/name"/>', "several"),
    ("nothing", '<remove sel="Patient/gender"/>', "nothing"),
    ("the root", '<remove sel="Patient"/>', "root"),
    ("beside the root", '<add sel="Patient" pos="after"><x/></add>', "root"),
    (
        "no FHIR comes of it",
        '<add sel="Patient"><colour value="red"/></add>',
        "no FHIR: Patient has no element",
    ),
    ("text", '<add sel="Patient">x</add>', "no FHIR"),
    (
        "replace by two",
        '<replace sel="Patient/active"><active value="true"/><active value="true"/></replace>',
        "one node",
    ),
    ("replace by text", '<replace sel="Patient/active">x</replace>', "one node"),
    ("no white space there", '<remove sel="Patient/active" ws="before"/>', "white space"),
]


@pytest.mark.parametrize(("name", "operation", "expected"), XML_CASES, ids=[case[0] for case in XML_CASES])
def test_xml_patch(name: str, operation: str, expected: Json | str) -> None:
    """RFC 5261 §4"""
    if isinstance(expected, str):
        with pytest.raises(TeledossierError, match=expected):
            xml_patch.read(diff(operation)).apply(P)
        return
    made = xml_patch.read(diff(operation)).apply(P)
    assert made == {key: value for key, value in {**P, **expected}.items() if value is not None}


def test_xml_patch_leaves_other_narratives_as_written() -> None:
    written = f"<div  {DIV}><p title='x'>a<br />b</p>&#160;</div>"
    resource = {
        "resourceType": "Basic",
        "text": {"status": "generated", "div": written},
        "code": {"text": "c"},
    }
    made = xml_patch.read(diff('<replace sel="Basic/code/text/@value">d</replace>')).apply(resource)
    assert made == {**resource, "code": {"text": "d"}}
    made = xml_patch.read(diff('<replace sel="Basic/text/h:div/h:p/text()[1]">z</replace>')).apply(resource)
    assert made["text"]["div"] == f'<div {DIV}><p title="x">z<br></br>b</p>\u00a0</div>'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<diff/>", "no operations"),
        (b"<spam><add/></spam>", "diff"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><diff/>', "DOCTYPE"),
        (b"<diff>\n<spam sel='x'/></diff>", "line 2"),
        (b"<diff><remove/></diff>", "sel"),
        (b"<diff><add sel='x' pos='under'/></diff>", "pos"),
        (b"<diff><remove sel='x' ws='all'/></diff>", "ws"),
        (b"<diff><add sel='x' type='user'/></diff>", "type"),
        (b"<diff><add sel='x' type='@a b'/></diff>", "type"),
        (b"<diff><remove sel='//x'/></diff>", "character 1"),
        (b"<diff><remove sel='x/..'/></diff>", "character 3"),
        (b"<diff><remove sel='following::x'/></diff>", "axis"),
        (b"<diff><remove sel='count(x)'/></diff>", "count"),
        (b"<diff><remove sel='x[0]'/></diff>", "from 1"),
        (b"<diff><remove sel='x[y'/></diff>", "expected"),
        (b"<diff><remove sel='@a/b'/></diff>", "follows"),
        (b"<diff><remove sel='x$'/></diff>", "understood"),
        (b"<diff" + b"".join(b' xmlns:a%d="urn:a"' % n for n in range(65)) + b"/>", "prefixes"),
        (b"<diff>" + b"<a>" * 200 + b"</a>" * 200 + b"</diff>", "deeper"),
        (b"<diff><remove sel='" + b"x[" * 900 + b"'/></diff>", "deeply"),
    ],
)
def test_what_is_no_xml_patch(body: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        xml_patch.read(body)
