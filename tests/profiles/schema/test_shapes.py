"""What is settled by an element's shape alone, and that it is what working it out gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.fhirpath.parser import parse
from profiles.schema import base
from profiles.schema.shapes import holds
from profiles.validation import validator
from tests.profiles.examples import ALL
from tests.profiles.mutating import mutated

CASES = [
    ("Patient", "name.exists()", {"name"}, True),
    ("Patient", "name.exists()", set(), False),
    ("Patient", "gender.exists()", {"_gender"}, True),
    ("Patient", "name.empty()", set(), True),
    ("Patient", "name.empty().not()", {"name"}, True),
    ("Period", "start.empty() or end.empty() or start <= end", {"start"}, True),
    ("Period", "start.empty() or end.empty() or start <= end", {"start", "end"}, False),
    ("HumanName", "use.exists() implies text.exists()", set(), True),
    ("HumanName", "use.exists() implies text.exists()", {"use"}, False),
    ("HumanName", "use.exists() and text.exists()", {"use", "text"}, True),
    ("Patient", "gender = 'male'", set(), False),
    ("Patient", "gender.matches('x')", set(), False),
    ("Patient", "telecom.where(system = 'email').empty()", {"telecom"}, False),
    ("Patient", "telecom.all(system.exists())", set(), True),
    ("Patient", "deceased.exists()", {"deceasedBoolean"}, True),
    ("Patient", "deceased.exists()", {"_deceasedDateTime"}, True),
    ("Patient", "%resource.name.empty()", set(), False),
    ("Patient", "$this.exists()", {"name"}, False),
    ("Patient", "colour.empty()", set(), False),
]


@pytest.mark.parametrize(("type", "expression", "names", "expected"), CASES)
def test_shape(type: str, expression: str, names: set[str], expected: bool) -> None:
    assert holds(parse(expression), type, names) is expected


@given(st.sampled_from(ALL).flatmap(mutated))
def test_shapes_change_no_finding(resource: dict[str, Any]) -> None:
    quick = validator().validate(resource)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "holds", lambda *_arguments: False)
        assert validator().validate(resource) == quick
