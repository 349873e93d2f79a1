"""Lines and columns of findings in JSON as it was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.outcomes import Issue
from profiles.positions import located, way
from profiles.schema.report import expression
from tests.profiles.examples import ALL

TEXT = b"""{
  "resourceType": "Patient",
  "name": [
    {"family": "a{\\"}", "_family": {"extension": [{"url": "u"}]}},
    {"family": "b", "given": ["x", "y"]}
  ],
  "birthDate": "2020-01-01", "_birthDate": {"extension": [{"url": "u"}, {"url": "v"}]},
  "deceasedBoolean": true
}"""
PLACES = [
    ("Patient", 1, 1),
    ("Patient.name", 3, 3),
    ("Patient.name[0]", 4, 5),
    ("Patient.name[1].family", 5, 6),
    ("Patient.name[1].given[1]", 5, 36),
    ("Patient.name[0].family.extension[0].url", 4, 52),
    ("Patient.birthDate.extension[1]", 7, 73),
    ("Patient.deceased.ofType(boolean)", 8, 3),
    # what is missing stands where its parent is
    ("Patient.gender", 1, 1),
    ("Patient.name[1].text", 5, 5),
    ("Patient.name[7].text", 3, 3),
]


@pytest.mark.parametrize(("place", "line", "column"), PLACES)
def test_place(place: str, line: int, column: int) -> None:
    (found,) = located(TEXT, json.loads(TEXT), [Issue("error", "value", "x", "y", place)])
    assert (found.line, found.column) == (line, column)


def test_below_a_root() -> None:
    body = b'{"parameter": [{"name": "resource", "resource": {"resourceType": "Patient",\n"active": 1}}]}'
    issue = Issue("error", "value", "x", "y", "Patient.active")
    (found,) = located(body, json.loads(body), [issue], ("parameter", 0, "resource"))
    assert (found.line, found.column) == (2, 1)


def test_a_finding_without_a_place_stays_as_it_is() -> None:
    issue = Issue("error", "value", "x", "y")
    assert located(TEXT, json.loads(TEXT), [issue]) == [issue]


def _places(node: Any, where: Any, name: str = "") -> list[tuple[Any, Any]]:
    """(place, value) of every member and item."""
    found = []
    for key, value in node.items():
        if isinstance(value, list):
            found += [((where, key, at), one) for at, one in enumerate(value)]
            for at, one in enumerate(value):
                found += _places(one, (where, key, at)) if isinstance(one, dict) else []
        else:
            found.append(((where, key, -1), value))
            found += _places(value, (where, key, -1)) if isinstance(value, dict) else []
    return found


@given(st.sampled_from(ALL), st.sampled_from([None, 1, 4]), st.data())
def test_every_place_is_found(resource: dict[str, Any], indent: int | None, data: st.DataObject) -> None:
    """What begins at the place that is told is the value that is there, or its name."""
    text = json.dumps(resource, indent=indent, ensure_ascii=False, default=float)
    root = (None, resource["resourceType"], -1)
    where, value = data.draw(st.sampled_from(_places(resource, root)))
    issue = Issue("error", "value", "x", "y", expression(where))
    (found,) = located(text.encode(), resource, [issue])
    rest = text.splitlines()[found.line - 1][found.column - 1 :]
    name = where[1] if where[2] < 0 else ""
    assert rest.startswith(f'"{name}":' if name else json.dumps(value, ensure_ascii=False, default=float)[:1])
    assert way(resource, issue.expression)[-1] == (name or where[2])
