"""Base validation: sound resources pass, and each fault is named at its place."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import codec
from profiles.validation import validate
from tests.profiles.examples import ALL, OBSERVATION, PATIENT

Json = dict[str, Any]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


@pytest.mark.parametrize("resource", ALL, ids=lambda resource: resource["resourceType"])
def test_sound_resources_pass_before_and_after_the_codec(resource: Json) -> None:
    assert validate(resource) == []
    assert validate(codec.parse(codec.dump(resource))) == []


def findings(resource: Json) -> set[tuple[str, str]]:
    return {(issue.slug, issue.expression) for issue in validate(resource)}


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient", **members}


def with_extension(**members: Any) -> Json:
    return patient(extension=[{"url": "http://example.org/e", **members}])


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        # names
        (patient(gendre="male"), {("unknown-element", "Patient")}),
        (patient(name=[{"familly": "x"}]), {("unknown-element", "Patient.name[0]")}),
        (patient(_name=[{"id": "x"}]), {("unknown-element", "Patient")}),
        (patient(value="x"), {("unknown-element", "Patient")}),
        (patient(deceased=True), {("unknown-element", "Patient")}),
        (
            patient(name=[{"resourceType": "Patient", "family": "x"}]),
            {("unknown-element", "Patient.name[0]")},
        ),
        ({"resourceType": "Patiente"}, {("unknown-resource-type", "Resource")}),
        ({"resourceType": "Resource"}, {("unknown-resource-type", "Resource")}),
        ({"resourceType": ["Patient"]}, {("unknown-resource-type", "Resource")}),
        ({}, {("unknown-resource-type", "Resource")}),
        # kinds and cardinality
        (patient(name={"family": "x"}), {("not-a-list", "Patient.name")}),
        (patient(name=[]), {("not-a-list", "Patient.name")}),
        (patient(name=["x"]), {("wrong-type", "Patient.name[0]")}),
        (patient(name=[{"family": ["x"]}]), {("too-many", "Patient.name[0].family")}),
        (patient(name=[{"given": "x"}]), {("not-a-list", "Patient.name[0].given")}),
        (patient(maritalStatus=[{"text": "x"}]), {("too-many", "Patient.maritalStatus")}),
        (patient(active="true"), {("bad-format", "Patient.active")}),
        (patient(active=1), {("bad-format", "Patient.active")}),
        (patient(active=None), {("bad-format", "Patient.active")}),
        (patient(multipleBirthInteger=True), {("bad-format", "Patient.multipleBirth.ofType(integer)")}),
        (
            patient(multipleBirthInteger=Decimal("1.0")),
            {("bad-format", "Patient.multipleBirth.ofType(integer)")},
        ),
        (patient(multipleBirthInteger=2**31), {("bad-format", "Patient.multipleBirth.ofType(integer)")}),
        (patient(deceasedBoolean=True, deceasedDateTime="2020"), {("several-choices", "Patient.deceased")}),
        (patient(link=[{"type": "refer"}]), {("missing-element", "Patient.link[0].other")}),
        ({"resourceType": "Observation", "status": "final"}, {("missing-element", "Observation.code")}),
        # nothing empty
        (patient(maritalStatus={}), {("empty", "Patient.maritalStatus")}),
        (patient(name=[{}]), {("empty", "Patient.name[0]")}),
        (patient(name=[{"family": ""}]), {("bad-format", "Patient.name[0].family")}),
        (patient(name=[None]), {("wrong-type", "Patient.name[0]")}),
        (patient(name=[{"given": [None]}]), {("empty", "Patient.name[0].given[0]")}),
        (
            patient(name=[{"given": ["a", None], "_given": [{"id": "x"}, None]}]),
            {("empty", "Patient.name[0].given[1]")},
        ),
        (
            patient(name=[{"given": ["a"], "_given": [None, {"id": "x"}]}]),
            {("uneven-lists", "Patient.name[0].given")},
        ),
        (patient(_birthDate={}), {("empty", "Patient.birthDate")}),
        (patient(_birthDate="x"), {("wrong-type", "Patient.birthDate")}),
        # formats
        (patient(birthDate="1950-13"), {("bad-format", "Patient.birthDate")}),
        (patient(birthDate="1950-02-30"), {("bad-format", "Patient.birthDate")}),
        (patient(birthDate="1950-1-1"), {("bad-format", "Patient.birthDate")}),
        (patient(birthDate="1950-01-01T00:00:00Z"), {("bad-format", "Patient.birthDate")}),
        (patient(deceasedDateTime="2020-01-01T10:00"), {("bad-format", "Patient.deceased.ofType(dateTime)")}),
        (
            patient(deceasedDateTime="2020-01-01T10:00:00"),
            {("bad-format", "Patient.deceased.ofType(dateTime)")},
        ),
        (
            patient(deceasedDateTime="2023-02-29T10:00:00Z"),
            {("bad-format", "Patient.deceased.ofType(dateTime)")},
        ),
        (patient(meta={"lastUpdated": "2020-01-01"}), {("bad-format", "Patient.meta.lastUpdated")}),
        (patient(id="a_b"), {("bad-format", "Patient.id")}),
        (patient(id="a" * 65), {("bad-format", "Patient.id")}),
        (patient(language="f r "), {("bad-format", "Patient.language")}),
        (patient(implicitRules="a b"), {("bad-format", "Patient.implicitRules")}),
        (patient(name=[{"family": "a\x00b"}]), {("bad-format", "Patient.name[0].family")}),
        (patient(photo=[{"data": "QUJ"}]), {("bad-format", "Patient.photo[0].data")}),
        (patient(photo=[{"size": -1}]), {("bad-format", "Patient.photo[0].size")}),
        (patient(telecom=[{"rank": 0}]), {("bad-format", "Patient.telecom[0].rank")}),
        # codes
        (patient(gender="homme"), {("bad-code", "Patient.gender")}),
        (patient(gender=["male"]), {("too-many", "Patient.gender")}),
        (patient(gender={}), {("bad-format", "Patient.gender")}),
        # references
        (
            patient(managingOrganization={"reference": "Location/1"}),
            {("wrong-target", "Patient.managingOrganization.reference")},
        ),
        (
            patient(managingOrganization={"reference": "organization 1"}),
            {("bad-reference", "Patient.managingOrganization.reference")},
        ),
        (
            patient(managingOrganization={"reference": "Organisation/1"}),
            {("bad-reference", "Patient.managingOrganization.reference")},
        ),
        (
            patient(managingOrganization={"type": "Organization"}),
            {("empty-reference", "Patient.managingOrganization")},
        ),
        (
            patient(managingOrganization={"reference": "#o"}),
            {("missing-contained", "Patient.managingOrganization.reference")},
        ),
        # contained resources
        (
            patient(contained=[{"resourceType": "Organization", "id": "o"}]),
            {("unused-contained", "Patient.contained[0]")},
        ),
        (
            patient(contained=[{"resourceType": "Organization", "name": "x"}]),
            {("missing-element", "Patient.contained[0].id")},
        ),
        (
            patient(
                contained=[
                    {"resourceType": "Organization", "id": "o", "contained": [{"resourceType": "Basic"}]}
                ],
                managingOrganization={"reference": "#o"},
            ),
            {
                ("nested-contained", "Patient.contained[0]"),
                ("missing-element", "Patient.contained[0].contained[0].id"),
                ("missing-element", "Patient.contained[0].contained[0].code"),
            },
        ),
        (
            patient(
                contained=[{"resourceType": "Organization", "id": "o", "nam": "x"}],
                managingOrganization={"reference": "#o"},
            ),
            {("unknown-element", "Patient.contained[0]")},
        ),
        # extensions
        (with_extension(), {("bad-extension", "Patient.extension[0]")}),
        (
            with_extension(valueString="x", extension=[{"url": "a", "valueCode": "b"}]),
            {("bad-extension", "Patient.extension[0]")},
        ),
        (with_extension(valueString="x", valueCode="x"), {("several-choices", "Patient.extension[0].value")}),
        (with_extension(valueDecimal="1"), {("bad-format", "Patient.extension[0].value.ofType(decimal)")}),
        (patient(extension=[{"valueCode": "x"}]), {("missing-element", "Patient.extension[0].url")}),
        # narratives
        (patient(text={"status": "generated", "div": "<div>"}), {("bad-format", "Patient.text.div")}),
        (patient(text={"status": "x", "div": f"{DIV}x</div>"}), {("bad-code", "Patient.text.status")}),
        # recursion by content reference
        (
            {
                "resourceType": "Questionnaire",
                "status": "draft",
                "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2"}]}],
            },
            {("missing-element", "Questionnaire.item[0].item[0].type")},
        ),
        # resources inside
        (
            {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"resource": {"resourceType": "Patient", "x": 1}}],
            },
            {("unknown-element", "Bundle.entry[0].resource")},
        ),
        (
            {
                "resourceType": "Parameters",
                "parameter": [{"name": "a", "resource": {"resourceType": "Nothing"}}],
            },
            {("unknown-resource-type", "Parameters.parameter[0].resource")},
        ),
    ],
)
def test_a_fault_is_named_at_its_place(resource: Json, expected: set[tuple[str, str]]) -> None:
    assert findings(resource) == expected


@pytest.mark.parametrize(
    "resource",
    [
        patient(
            name=[{"given": ["a", None], "_given": [None, {"extension": [{"url": "x", "valueCode": "y"}]}]}]
        ),
        patient(name=[{"_given": [{"id": "x"}]}]),
        patient(deceasedBoolean=True, _deceasedBoolean={"id": "x"}),
        patient(birthDate="2024-02-29"),
        patient(photo=[{"data": "QUJD\nQUI="}]),
        patient(name=[{"family": "D\u00a0E\n"}]),
        patient(managingOrganization={"reference": "https://there.example/anything"}),
        patient(managingOrganization={"reference": "Organization?identifier=x"}),
        patient(
            contained=[
                {"resourceType": "Organization", "id": "o", "partOf": {"reference": "#o2"}},
                {"resourceType": "Organization", "id": "o2"},
            ],
            managingOrganization={"reference": "#o"},
        ),
        {"resourceType": "Observation", "_status": {"id": "x"}, "code": {"text": "x"}},
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "contained": [{"resourceType": "ValueSet", "id": "v", "status": "draft"}],
            "item": [{"linkId": "1", "type": "choice", "answerValueSet": "#v"}],
        },
    ],
)
def test_what_is_just_within_the_rules(resource: Json) -> None:
    assert validate(resource) == []


@pytest.mark.parametrize(
    ("div", "sound"),
    [
        (f"{DIV}Texte &nbsp;&eacute; <b>gras</b><br/></div>", True),
        (f'{DIV}<img src="#photo" alt="x"/></div>', True),
        (f'{DIV}<a href="https://example.org">x</a></div>', True),
        (f"{DIV}<script>alert(1)</script></div>", False),
        (f'{DIV}<p onclick="x()">x</p></div>', False),
        (f'{DIV}<a href=" java\tscript:x()">x</a></div>', False),
        (f'{DIV}<a href="java&#9;script:x()">x</a></div>', False),
        (f'{DIV}<a href="JavaScript:x()">x</a></div>', False),
        (f'{DIV}<a href="&#106;avascript:x()">x</a></div>', False),
        (f"{DIV}<form>x</form></div>", False),
        (f"{DIV}<iframe>x</iframe></div>", False),
        (f"{DIV}  </div>", False),
        (f"{DIV}x", False),
        (f"{DIV}x</div><div>y</div>", False),
        ('<!DOCTYPE div [<!ENTITY a "b">]><div>x</div>', False),
        ("<p>x</p>", False),
        ('<div xmlns="http://example.org">x</div>', False),
        ("x", False),
    ],
)
def test_narratives(div: str, sound: bool) -> None:
    assert (validate(patient(text={"status": "generated", "div": div})) == []) is sound


def test_a_type_other_than_the_one_addressed() -> None:
    (issue,) = validate(PATIENT, "Practitioner")
    assert (issue.slug, issue.expression) == ("resource-type-mismatch", "Practitioner.resourceType")
    assert validate(PATIENT, "Patient") == []


def test_findings_help_and_repeat_no_content() -> None:
    (issue,) = validate(patient(birthdate="1950-01-01"))
    assert "did you mean birthDate?" in issue.diagnostics
    (issue,) = validate(patient(birthDate="SECRET"))
    assert "SECRET" not in issue.diagnostics
    assert "YYYY-MM-DD" in issue.diagnostics


def test_a_report_is_bounded() -> None:
    assert len(validate(patient(name=[{"x": 1}] * 1000))) == 200


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.decimals(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [place for key, item in items for place in _places(item, (*path, key))]


@given(st.sampled_from([PATIENT, OBSERVATION, *ALL]), st.data())
def test_no_content_brings_an_exception(resource: Json, data: st.DataObject) -> None:
    from zoneinfo import ZoneInfo

    from fhir_server.search.index import extract

    changed = copy.deepcopy(resource)
    *above, last = data.draw(st.sampled_from(_places(changed)))
    holder: Any = changed
    for key in above:
        holder = holder[key]
    holder[last] = data.draw(_json)
    if not validate(changed):
        extract(changed, "https://here.example/fhir", ZoneInfo("Europe/Paris"))
