"""XML ↔ the codec's dict: lossless both ways, standard order, and nothing hostile gets past the parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import codec, definitions, xml
from profiles.outcomes import Invalid, NotAcceptable, TeledossierError
from profiles.xml.members import members
from tests.profiles import examples

NS = 'xmlns="http://hl7.org/fhir"'
DIV = 'xmlns="http://www.w3.org/1999/xhtml"'


def exact(body: bytes) -> object:
    return json.loads(body, parse_float=lambda n: ("number", n), parse_int=lambda n: ("number", n))


def assert_same(body: bytes) -> None:
    resource = codec.parse(body)
    for text in (xml.dump(resource), xml.dump_indented(resource)):
        assert exact(codec.dump(xml.parse(text))) == exact(body), text.decode()


def patient(**members: Any) -> bytes:
    return codec.dump({"resourceType": "Patient", **members})


def narrative(div: str) -> bytes:
    return patient(text={"status": "generated", "div": div})


LINES = (Path(__file__).parent / "r4_selection" / "resources.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line.partition(b"\t")[0]))
def test_hl7_examples_come_back(line: bytes) -> None:
    assert_same(line.partition(b"\t")[2])


@pytest.mark.parametrize("resource", examples.ALL, ids=lambda r: r["resourceType"])
def test_examples_come_back(resource: dict[str, Any]) -> None:
    assert_same(codec.dump(resource))


SAME = {
    "decimals keep their digits": b'{"resourceType":"Observation","valueQuantity":{"value":1.50e3},'
    b'"referenceRange":[{"low":{"value":0.10},"high":{"value":-0.00}},'
    b'{"low":{"value":100},"high":{"value":-0}}]}',
    "a decimal of 30 digits": b'{"resourceType":"Observation",'
    b'"valueQuantity":{"value":0.1000000000000000055511151231}}',
    "white space and signs in strings": patient(
        name=[{"text": " a\tb\nc\r\nd  <&>\"' é 𝒳 ]]> \u0085\u2028"}]
    ),
    "an extension in place of a value": patient(_birthDate={"extension": [{"url": "x", "valueCode": "y"}]}),
    "a value with id and extension": patient(
        birthDate="1950", _birthDate={"id": "b", "extension": [{"url": "x", "valueInteger": -3}]}
    ),
    "gaps in a list": patient(name=[{"given": ["a", None, "c"], "_given": [None, {"id": "g"}, None]}]),
    "extensions on the last of a list": patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "g"}]}]),
    "only extensions in a list": patient(name=[{"_given": [{"id": "g"}, {"id": "h"}]}]),
    "ids of elements": patient(id="p", name=[{"id": "n", "family": "F", "_family": {"id": "f"}}]),
    "extension on a resource's id": patient(id="p", _id={"extension": [{"url": "x", "valueBoolean": False}]}),
    "extensions within extensions": patient(
        extension=[{"url": "a", "extension": [{"url": "b", "valueDecimal": 1}]}]
    ),
    "contained": patient(
        contained=[
            {"resourceType": "Patient", "id": "a"},
            {"resourceType": "Organization", "id": "b", "active": True},
        ]
    ),
    "parameters": codec.dump(
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "a", "part": [{"name": "b", "resource": {"resourceType": "Basic"}}]}],
        }
    ),
    "an empty resource": b'{"resourceType":"Patient"}',
    "narrative as written": narrative(
        f"<div  {DIV}\r\n><p title='a\"b'>x<br />y<br/> &lt; &#160;<!-- c --><![CDATA[<]]></p>\n</div>"
    ),
    "narrative that repeats its namespace": narrative(f"<div {DIV}><p {DIV}>x</p></div>"),
    "narrative that holds divs": narrative(f"<div {DIV}><div><div>x</div></div>y<div/></div>"),
    "narrative with attributes": narrative(
        f'<div id="d" {DIV} xml:lang="fr" lang="fr"><a href="#x">é</a></div>'
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_comes_back_exactly(name: str) -> None:
    """xml.html, json.html#xml"""
    assert_same(SAME[name])


def test_order_and_attributes() -> None:
    """xml.html: the standard's order; ids, URLs and values are attributes."""
    resource = {
        "resourceType": "Patient",
        "gender": "female",
        "extension": [{"valueString": "v", "url": "u", "id": "e"}],
        "name": [{"given": ["a", "b"], "family": "F"}],
        "id": "1",
        "text": {"div": f"<div {DIV}>x</div>", "status": "empty"},
    }
    assert xml.dump(resource).decode() == (
        f'<?xml version="1.0" encoding="UTF-8"?><Patient {NS}><id value="1"/>'
        f'<text><status value="empty"/><div {DIV}>x</div></text>'
        '<extension url="u" id="e"><valueString value="v"/></extension>'
        '<name><family value="F"/><given value="a"/><given value="b"/></name>'
        '<gender value="female"/></Patient>'
    )
    assert xml.dump_indented({"resourceType": "Patient", "name": [{"family": "F"}]}).decode() == (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Patient {NS}>\n  <name>\n    <family value="F"/>\n'
        "  </name>\n"
        "</Patient>\n"
    )


READ: dict[str, tuple[str, dict[str, Any]]] = {
    "prefixes": (
        '<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><f:text>'
        '<f:status value="empty"/><h:div id="i"><h:p xml:lang="fr">a &amp; b</h:p><h:br/></h:div></f:text>'
        "</f:Patient>",
        {
            "text": {
                "status": "empty",
                "div": f'<div {DIV} id="i"><p xml:lang="fr">a &amp; b</p><br></br></div>',
            }
        },
    ),
    "comments and instructions": (
        f'<?x y?><!-- a --><Patient {NS}><!-- b --><id value="1"/> <?x y?> <!-- c --></Patient><!-- d -->',
        {"id": "1"},
    ),
    "schema location": (
        f'<Patient {NS} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://hl7.org/fhir ../patient.xsd"><id value="1"/></Patient>',
        {"id": "1"},
    ),
    "any order": (
        f'<Patient {NS}><gender value="male"/><name><text value="a"/></name><id value="1"/>'
        '<name><text value="b"/></name></Patient>',
        {"gender": "male", "name": [{"text": "a"}, {"text": "b"}], "id": "1"},
    ),
    "character references": (f'<Patient {NS}><id value="&#49;&amp;"/></Patient>', {"id": "1&"}),
    "line ends in a value": (f'<Patient {NS}><id value="1\n2"/></Patient>', {"id": "1 2"}),
    "what is no boolean stays for validation to name": (
        f'<Patient {NS}><active value="yes"/><multipleBirthInteger value="1.0"/></Patient>',
        {"active": "yes", "multipleBirthInteger": "1.0"},
    ),
    "a plus sign": (
        f'<Patient {NS}><multipleBirthInteger value="+2"/></Patient>',
        {"multipleBirthInteger": 2},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    text, expected = READ[name]
    assert xml.parse(b"\xef\xbb\xbf" + text.encode()) == {"resourceType": "Patient", **expected}


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
P = f"<Patient {NS}>"
REFUSED: list[tuple[str, bytes, str, str]] = [
    ("empty", b" \n", "xml-empty", "line 1, column 1"),
    ("not XML", b'{"a":1}', "xml-syntax", "line 1, column 1"),
    ("cut off", P.encode() + b"\n<id value='1'/>", "xml-syntax", "line 2"),
    ("two roots", f"{P}</Patient>\n{P}</Patient>".encode(), "xml-syntax", "line 2, column 1"),
    ("entities", f'{BOMB}{P}<id value="&b;"/></Patient>'.encode(), "xml-doctype", "line 1"),
    ("external", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "xml-doctype", "line 1"),
    ("external subset", b'<!DOCTYPE x [<!ENTITY % e SYSTEM "http://x/"> %e;]><x/>', "xml-doctype", "line 1"),
    ("unknown entity", f'{P}\n<id value="&nbsp;"/></Patient>'.encode(), "xml-syntax", "line 2"),
    ("not UTF-8", P.encode() + b'\n<id value="\xff"/></Patient>', "xml-not-utf-8", "line 2, column 12"),
    ("UTF-16", f"{P}</Patient>".encode("utf-16"), "xml-not-utf-8", "line 1"),
    (
        "declared otherwise",
        f'<?xml version="1.0" encoding="ISO-8859-1"?>{P}</Patient>'.encode(),
        "xml-not-utf-8",
        "line 1",
    ),
    ("namespace missing", b"<Patient/>", "xml-unknown", "http://hl7.org/fhir"),
    ("no such type", f"<Patiente {NS}/>".encode(), "xml-unknown", "Patient"),
    (
        "no such element",
        f'{P}\n <brithDate value="1"/></Patient>'.encode(),
        "xml-unknown",
        "line 2, column 2: Patient has no element 'brithDate'; did you mean birthD",
    ),
    (
        "element of another namespace",
        f'{P}<id xmlns="urn:x" value="1"/></Patient>'.encode(),
        "xml-unknown",
        "namespace",
    ),
    ("div of another namespace", f"{P}<text><div>x</div></text></Patient>".encode(), "xml-unknown", "xhtml"),
    ("unknown attribute", f'{P}<id value="1" valeu="2"/></Patient>'.encode(), "xml-unknown", "'valeu'"),
    ("attribute on a resource", f'<Patient {NS} id="1"/>'.encode(), "xml-unknown", "'id'"),
    ("id as an element", f'{P}<name><id value="1"/></name></Patient>'.encode(), "xml-unknown", "attribute"),
    ("text", f"{P}\nx</Patient>".encode(), "xml-text", "line"),
    (
        "repeated",
        f'{P}<gender value="male"/><gender value="male"/></Patient>'.encode(),
        "xml-repeated",
        "gender",
    ),
    ("empty primitive", f"{P}<gender/></Patient>".encode(), "xml-empty", "gender"),
    ("empty contained", f"{P}<contained/></Patient>".encode(), "xml-empty", "contained"),
    (
        "several contained in one",
        f"{P}<contained>{P}</Patient>{P}</Patient></contained></Patient>".encode(),
        "xml-several",
        "contained",
    ),
    ("deep", P.encode() + b"<contact>" * 200_000, "xml-unknown", "line 1"),
    ("deep extensions", P.encode() + b'<extension url="x">' * 200_000, "xml-too-deep", "line 1"),
    (
        "deeper than JSON may be",
        P.encode() + b'<extension url="x">' * 60 + b"</extension>" * 60 + b"</Patient>",
        "json-too-deep",
        "",
    ),
    ("huge text", P.encode() + b"x" * 5_000_000 + b"</Patient>", "xml-text", "line 1"),
    (
        "out of all measure",
        f"<Observation {NS}>".encode()
        + b'<valueQuantity><value value="1e99999"/></valueQuantity></Observation>',
        "xml-number",
        "line 1",
    ),
]


@pytest.mark.parametrize(("name", "body", "slug", "words"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_refused(name: str, body: bytes, slug: str, words: str) -> None:
    """Early, and with the place."""
    with pytest.raises(Invalid) as caught:
        xml.parse(body)
    assert caught.value.slug == slug
    assert words in str(caught.value)


NO_FORM = {
    "unknown member": {"colour": "red"},
    "control character": {"id": "a\x01"},
    "not a character": {"id": "a\ufffe"},
    "a list for an object": {"maritalStatus": "x"},
    "an object for a value": {"gender": {"a": 1}},
    "an id with an extension": {"name": [{"_id": {"id": "x"}}]},
    "narrative not well-formed": {"text": {"div": f"<div {DIV}><p></div>"}},
    "two narratives": {"text": {"div": f"<div {DIV}></div><div {DIV}></div>"}},
    "narrative without namespace": {"text": {"div": "<div>x</div>"}},
    "contained that is none": {"contained": [{"resourceType": "Nothing"}]},
}


@pytest.mark.parametrize("name", NO_FORM)
def test_what_xml_cannot_hold_is_said(name: str) -> None:
    with pytest.raises(NotAcceptable):
        xml.dump({"resourceType": "Patient", **NO_FORM[name]})


def test_named_entities_of_a_narrative_become_characters() -> None:
    """narrative.html#xhtml: XML knows none of HTML's."""
    div = f"<div {DIV}>a&nbsp;b &amp; &foo;</div>"
    text = xml.parse(xml.dump(codec.parse(narrative(div))))["text"]["div"]
    assert text == f"<div {DIV}>a&#160;b &amp; &amp;foo;</div>"


def test_every_member_of_every_type_has_a_place() -> None:
    kinds = {m.kind for type in definitions.resource_types() for m in members(type).values()}
    assert kinds == {"primitive", "complex", "resource"}
    assert members("Narrative")["div"].kind == "xhtml"
    assert {name for name, m in members("Extension").items() if m.kind == "attribute"} == {"id", "url"}


TEXT = st.text(
    st.characters(
        exclude_categories=["Cs"],
        exclude_characters=[*map(chr, {*range(32)} - {9, 10, 13}), "\ufffe", "\uffff"],
    ),
    max_size=6,
)
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    **dict.fromkeys(("integer", "unsignedInt", "positiveInt"), st.integers(-(2**31), 2**31)),
    "decimal": st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9])?", fullmatch=True).map(
        codec.number
    ),
    "xhtml": TEXT.map(lambda text: f"<div {DIV}>x{escape(text)}<br /></div>"),
}
SOME_TYPES = (
    "Patient",
    "Observation",
    "Bundle",
    "Parameters",
    "Questionnaire",
    "Timing",
    "Extension",
    "Basic",
)


@st.composite
def of_type(draw: st.DrawFn, type: str, depth: int) -> dict[str, Any]:
    """Anything that has the shape of a type, sound or not."""
    known = members(type)
    names = draw(st.lists(st.sampled_from(sorted(known)), max_size=4, unique=True))
    made: dict[str, Any] = {}
    for member in (known[name] for name in names):
        count = draw(st.integers(1, 3)) if member.repeats else 1
        if member.kind in ("primitive", "xhtml", "attribute"):
            values = draw(st.lists(PRIMITIVES.get(member.type, TEXT), min_size=count, max_size=count))
            extras: list[Any] = [None] * count
            if member.kind == "primitive" and draw(st.booleans()):
                extras[draw(st.integers(0, count - 1))] = {"id": "e"}
                values[0] = values[0] if extras[0] is None or draw(st.booleans()) else None
            if any(value is not None for value in values):
                made[member.name] = values if member.repeats else values[0]
            if any(extras):
                made["_" + member.name] = extras if member.repeats else extras[0]
        elif depth:
            of = draw(st.sampled_from(SOME_TYPES[:5])) if member.kind == "resource" else member.type
            inner = [draw(of_type(of, depth - 1)) for _ in range(count)]
            made[member.name] = inner if member.repeats else inner[0]
    return {"resourceType": type, **made} if type in definitions.resource_types() else made


@given(st.sampled_from(SOME_TYPES[:5]).flatmap(lambda type: of_type(type, 3)))
def test_whatever_has_the_shape_of_its_type_comes_back(resource: dict[str, Any]) -> None:
    assert_same(codec.dump(resource))


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(-100, 100),
    st.booleans(),
    st.sampled_from(["1950", "male", f"<div {DIV}>x</div>"]),
)
ANY = st.recursive(
    VALUES | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*definitions.properties("Patient"), "_birthDate", "_given", "given", "url", "resourceType"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from([*definitions.properties("Patient"), "_id", "_x"]), ANY, max_size=5))
def test_no_dict_brings_another_error(members: dict[str, Any]) -> None:
    try:
        body = xml.dump({"resourceType": "Patient", **members})
        xml.parse(body)
    except TeledossierError:
        return


SOUND = [xml.dump(resource) for resource in examples.ALL]


@given(st.data())
def test_no_mutation_brings_another_error(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(SOUND)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        end = min(len(body), at + data.draw(st.integers(0, 12)))
        piece = st.sampled_from(
            [b"<", b"/>", b'"', b"&#0;", b"<div>", b'<id value="1"/>', b"<!DOCTYPE x>", b"]]>"]
        )
        body[at:end] = data.draw(piece | st.binary(max_size=3))
    try:
        codec.dump(xml.parse(bytes(body)))
    except TeledossierError:
        return
