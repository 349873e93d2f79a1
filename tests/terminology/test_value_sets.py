"""Compositions and filters, by the sections of FHIR R4 valueset.html."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.value_sets.filters import CannotJudge
from tests.terminology.making import COLOURS, Json, chosen, include, terminology, value_set

REDS = value_set({"include": [{"system": COLOURS, "concept": [{"code": "red"}, {"code": "pink"}]}]}, "reds")
BLUES = value_set(
    {"include": [{"system": COLOURS, "concept": [{"code": "blue"}, {"code": "pink"}]}]}, "blues"
)
ROUND = value_set({"include": [{"valueSet": ["https://example.org/ValueSet/round"]}]}, "round")
T = terminology(REDS, BLUES, ROUND)
ALL = ["any", "red", "crimson", "pink", "blue", "navy", "sky", "mauve", "sepia"]


@pytest.mark.parametrize(
    ("section", "resource", "codes"),
    [
        ("include a whole system", include(system=COLOURS), ALL),
        ("include listed codes", REDS, ["red", "pink"]),
        ("is-a", chosen("concept", "is-a", "red"), ["red", "crimson", "pink", "mauve"]),
        ("is-a by 'code'", chosen("code", "is-a", "blue"), ["blue", "navy", "sky"]),
        ("descendent-of", chosen("concept", "descendent-of", "red"), ["crimson", "pink", "mauve"]),
        ("is-not-a", chosen("concept", "is-not-a", "red"), ["any", "blue", "navy", "sky", "sepia"]),
        ("generalizes", chosen("concept", "generalizes", "pink"), ["any", "red", "pink"]),
        ("=", chosen("like", "=", "rose"), ["pink"]),
        ("= of a boolean", chosen("warm", "=", "true"), ["red"]),
        ("= of parent", chosen("parent", "=", "red"), ["crimson", "pink", "mauve"]),
        ("= of child", chosen("child", "=", "sky"), ["blue"]),
        ("= of inactive", chosen("inactive", "=", "true"), ["sepia"]),
        ("in", chosen("code", "in", "sky, navy"), ["navy", "sky"]),
        ("not-in", chosen("code", "not-in", "any,red,blue,mauve,sepia"), ["crimson", "pink", "navy", "sky"]),
        ("regex matches the whole code", chosen("code", "regex", "s.*"), ["sky", "sepia"]),
        ("regex on displays", chosen("display", "regex", ".* blue"), ["navy", "sky"]),
        ("child-of", chosen("concept", "child-of", "any"), ["red", "blue", "mauve"]),
        ("descendent-leaf", chosen("concept", "descendent-leaf", "blue"), ["navy", "sky"]),
        (
            "a listed code that the system does not have",
            include(system=COLOURS, concept=[{"code": "sky"}, {"code": "green"}]),
            ["sky"],
        ),
        (
            "a contained value set",
            {
                **include(valueSet=["#reds"]),
                "contained": [{**REDS, "id": "reds", "url": "https://example.org/ValueSet/contained"}],
            },
            ["red", "pink"],
        ),
        ("exists", chosen("warm", "exists", "true"), ["red"]),
        ("exists, denied", chosen("like", "exists", "false"), [c for c in ALL if c != "pink"]),
        (
            "filters of one include all hold",
            include(
                system=COLOURS,
                filter=[
                    {"property": "concept", "op": "is-a", "value": "any"},
                    {"property": "code", "op": "regex", "value": ".*y"},
                ],
            ),
            ["any", "navy", "sky"],
        ),
        ("import", include(valueSet=["https://example.org/ValueSet/reds"]), ["red", "pink"]),
        (
            "value sets of one include: what is in every one",
            include(valueSet=["https://example.org/ValueSet/reds", "https://example.org/ValueSet/blues"]),
            ["pink"],
        ),
        (
            "system and value set",
            include(
                system=COLOURS,
                valueSet=["https://example.org/ValueSet/blues"],
                filter=[{"property": "concept", "op": "is-a", "value": "red"}],
            ),
            ["pink"],
        ),
        (
            "includes are a union, each code once",
            value_set(
                {"include": [{"valueSet": [REDS["url"]]}, {"valueSet": [BLUES["url"]]}]},
            ),
            ["red", "pink", "blue"],
        ),
        (
            "exclude",
            value_set(
                {
                    "include": [{"system": COLOURS}],
                    "exclude": [
                        chosen("concept", "is-a", "red")["compose"]["include"][0],
                        {"valueSet": [BLUES["url"]]},
                    ],
                }
            ),
            ["any", "navy", "sky", "sepia"],
        ),
        (
            "compose.inactive",
            value_set({"inactive": False, "include": [{"system": COLOURS}]}),
            [c for c in ALL if c != "sepia"],
        ),
        (
            "an expansion alone",
            {
                "resourceType": "ValueSet",
                "url": "https://example.org/ValueSet/expanded",
                "expansion": {
                    "contains": [
                        {"display": "A group", "contains": [{"system": COLOURS, "code": "sky"}]},
                        {"system": COLOURS, "code": "any", "abstract": True},
                        {"system": COLOURS, "code": "red"},
                    ]
                },
            },
            ["red", "sky"],
        ),
    ],
)  # fmt: skip
def test_compositions(section: str, resource: Json, codes: list[str]) -> None:
    compiled = T.compiled(resource)
    assert [member.code for member in compiled.members()] == codes, section
    inside = {code for code in [*ALL, "green"] if compiled.has(COLOURS, code)}
    assert inside == set(codes), f"{section}: membership and expansion agree"
    assert compiled.has("https://example.org/CodeSystem/other", codes[0]) is False


@pytest.mark.parametrize(
    ("why", "resource", "said"),
    [
        ("no such code", chosen("concept", "is-a", "green"), "does not have"),
        ("no such property", chosen("taste", "=", "sweet"), "'taste'"),
        ("no such operator", chosen("code", "near", "red"), "'near'"),
        ("a regular expression without end", chosen("code", "regex", "("), "regular expression"),
        ("look-behind", chosen("code", "regex", "(?<=a)b"), "regular expression"),
        ("too long", chosen("code", "regex", "a" * 501), "regular expression"),
        ("an unknown value set", include(valueSet=["https://example.org/ValueSet/none"]), "not known"),
        ("itself", include(valueSet=[ROUND["url"]]), "includes itself"),
        ("an unknown system", include(system="http://snomed.info/sct"), "not loaded"),
        ("a grammar", include(system="http://unitsofmeasure.org"), "cannot be listed"),
    ],
)
def test_what_cannot_be_listed(why: str, resource: Json, said: str) -> None:
    with pytest.raises(CannotJudge, match=said):
        list(T.compiled(resource).members())


def test_a_costly_pattern_costs_no_more_than_another() -> None:
    compiled = T.compiled(chosen("code", "regex", "(a|a)*(a|a)*(a|a)*c"))
    assert [member.code for member in compiled.members()] == []


def test_value_sets_that_nest_deeply_have_an_end() -> None:
    chain = [
        value_set({"include": [{"valueSet": [f"https://example.org/ValueSet/n{n + 1}"]}]}, f"n{n}")
        for n in range(500)
    ]
    verdict = terminology(*chain).validate_code("https://example.org/ValueSet/n0", COLOURS, "red", None)
    assert (verdict.result, "nest deeper" in verdict.message) == ("unknown", True)


def test_value_sets_that_import_each_other_over_and_over_have_an_end() -> None:
    """Each level imports the next thirty times: 30 to the power of ten ways down."""
    levels = [
        value_set({"include": [{"valueSet": [f"https://example.org/ValueSet/n{n + 1}"]}] * 30}, f"n{n}")
        for n in range(10)
    ]
    last = value_set({"include": [{"system": COLOURS}]}, "n10")
    verdict = terminology(*levels, last).validate_code(
        "https://example.org/ValueSet/n0", COLOURS, "green", None
    )
    assert (verdict.result, "20000 parts" in verdict.message) == ("unknown", True)


def test_a_hierarchy_in_a_circle_has_an_end() -> None:
    circle = {
        "resourceType": "CodeSystem",
        "url": "https://example.org/CodeSystem/circle",
        "concept": [
            {"code": "a", "property": [{"code": "parent", "valueCode": "b"}]},
            {"code": "b", "property": [{"code": "parent", "valueCode": "a"}]},
        ],
    }
    assert terminology(circle).subsumed(circle["url"], "a") == ("a", "b")


TEXT = st.text(max_size=6) | st.sampled_from(
    ["red", "any", "code", "concept", "true", "(a*)*", "[", "red,blue"]
)


@given(TEXT, st.sampled_from(["is-a", "regex", "in", "=", "exists", "descendent-of", "?"]), TEXT)
def test_no_filter_raises_anything_else(property: str, op: str, value: str) -> None:
    compiled = T.compiled(chosen(property, op, value))
    try:
        codes = {member.code for member in compiled.members()}
    except CannotJudge:
        assert compiled.has(COLOURS, "red") is None
        return
    assert {code for code in ALL if compiled.has(COLOURS, code)} == codes
