"""Names and values taken apart."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.parse import ChainStep, HasStep, Leaf, Step, parse, pieces, unescaped
from profiles.outcomes import Invalid


@pytest.mark.parametrize(
    ("name", "value", "step"),
    [
        ("name", "x", Leaf("name", "", ("x",))),
        ("name:exact", "x", Leaf("name", "exact", ("x",))),
        ("_id", "a,b", Leaf("_id", "", ("a", "b"))),
        ("name", r"a\,b,c\\,d\|e\$", Leaf("name", "", (r"a\,b", r"c\\", r"d\|e\$"))),
        ("subject.name", "x", ChainStep("subject", "", Leaf("name", "", ("x",)))),
        ("subject:Patient.name:exact", "x", ChainStep("subject", "Patient", Leaf("name", "exact", ("x",)))),
        ("a.b:T.c", "x", ChainStep("a", "", ChainStep("b", "T", Leaf("c", "", ("x",))))),
        ("_has:Task:focus:status:not", "x", HasStep("Task", "focus", Leaf("status", "not", ("x",)))),
        ("_has:A:b:_has:C:d:e", "x", HasStep("A", "b", HasStep("C", "d", Leaf("e", "", ("x",))))),
        ("_has:A:b:c:D.e", "x", HasStep("A", "b", ChainStep("c", "D", Leaf("e", "", ("x",))))),
        ("a:B._has:C:d:e", "x", ChainStep("a", "B", HasStep("C", "d", Leaf("e", "", ("x",))))),
    ],
)
def test_parameters(name: str, value: str, step: Step) -> None:
    assert parse(name, value) == step


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a.",
        ".a",
        "a:",
        ":a",
        "a:b:c",
        "a b",
        "_has:A",
        "_has:A:b",
        "_has:A::c",
        "a'--",
        "é",
        "a" * 101,
        "a" * 100_000,
        "a." * 5000 + "b",
        "_has:A:b:" * 3000 + "c",
    ],
)
def test_malformed_names(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(name, "x")
    assert caught.value.slug in ("bad-parameter-name", "chain-too-deep")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "slug"),
    [
        ("", "empty-value"),
        (",", "empty-value"),
        ("a,", "empty-value"),
        ("a, ,b", "empty-value"),
        ("a," * 2000 + "b", "too-many-values"),
    ],
)
def test_malformed_values(value: str, slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse("name", value)
    assert caught.value.slug == slug


@given(st.lists(st.text(r"ab,|$\ ", min_size=1), min_size=1))
def test_escapes_come_back(parts: list[str]) -> None:
    def escaped(text: str) -> str:
        for character in "\\,|$":
            text = text.replace(character, "\\" + character)
        return text

    assert [unescaped(piece) for piece in pieces(",".join(map(escaped, parts)), ",")] == parts


@given(st.text(), st.text())
def test_nothing_but_invalid(name: str, value: str) -> None:
    with contextlib.suppress(Invalid):
        parse(name, value)
