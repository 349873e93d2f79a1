"""Each profile accepts its example, and refuses each invalid one for the stated reason and no other.

The judge is the whole Validator with the terminology in process, as a write is judged; what it remarks on the
valid examples is named here, exactly.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import identity, packages
from profiles.packages.making import examples
from profiles.packages.making.common import extension_url, source
from profiles.packages.making.examples import Example
from profiles.validation import Validator, validator
from terminology import service

VALID = list(examples.valid())
INVALID = list(examples.invalid())
REMARKS: dict[str, set[str]] = {}


@pytest.fixture(scope="module")
def judge() -> Validator:
    return validator(codes=service.standard())


def name(example: Example) -> str:
    return f"{example.profile}-{example.name}"


def found(judge: Validator, example: Example) -> tuple[set[str], set[str]]:
    """(errors, remarks), each `slug place`."""
    issues = judge.validate(example.resource, profiles=[example.url])
    errors = {f"{one.slug} {one.expression}" for one in issues if one.severity in ("error", "fatal")}
    remarks = {f"{one.slug} {one.expression}" for one in issues if one.severity not in ("error", "fatal")}
    return errors, remarks


def test_every_profile_has_one_valid_and_several_invalid_examples() -> None:
    profiles = {
        one["id"]
        for one in packages.resources()
        if one["resourceType"] == "StructureDefinition" and one["type"] != "Extension"
    }
    assert {one.profile for one in VALID} == profiles
    counts = {profile: sum(one.profile == profile for one in INVALID) for profile in profiles}
    assert min(counts.values()) >= 2
    ids = [one.resource["id"] for one in (*VALID, *INVALID)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("example", VALID, ids=name)
def test_valid(example: Example, judge: Validator) -> None:
    assert found(judge, example) == (set(), REMARKS.get(example.profile, set()))


@pytest.mark.parametrize("example", INVALID, ids=name)
def test_invalid_for_the_stated_reason_and_no_other(example: Example, judge: Validator) -> None:
    assert example.says
    assert example.found
    errors, _ = found(judge, example)
    assert errors == set(example.found)
    assert _names_the_rule(judge, example)


def _names_the_rule(judge: Validator, example: Example) -> bool:
    """An example that breaks an invariant says which by its key; the finding names the same, in French."""
    rules = source("profiles")[example.profile].get("rules", {})
    if example.breaks not in rules:
        return not example.found[0].startswith("invariant")
    words = rules[example.breaks]["fr"]
    issues = judge.validate(example.resource, profiles=[example.url])
    return any(example.breaks in one.diagnostics and words in one.text for one in issues)


def test_every_invariant_is_broken_by_an_example() -> None:
    rules = {key for entry in source("profiles").values() for key in entry.get("rules", {})}
    assert rules == rules & {one.breaks for one in INVALID}


def _judged(judge: Validator, profile: str, system: str, value: str) -> bool:
    """Whether the profile takes this identifier."""
    resource = next(one.resource for one in VALID if one.profile == profile)
    changed = examples.changed(resource, {"identifier[0].system": system, "identifier[0].value": value})
    issues = judge.validate(changed, profiles=[extension_url(profile)])
    return not any(one.slug == "invariant" for one in issues)


_DIGITS = st.text("0123456789", min_size=9, max_size=13)


@given(st.text("0123456789", min_size=13, max_size=13), st.sampled_from(["", "2A", "2B"]), st.integers(0, 99))
def test_the_ins_rule_says_what_the_key_says(judge: Validator, number: str, corsica: str, key: int) -> None:
    thirteen = number[:5] + (corsica or number[5:7]) + number[7:]
    for value in (thirteen + identity.ins_key(thirteen), f"{thirteen}{key:02d}"):
        expected = identity.is_ins(value)
        assert _judged(judge, "teledossier-patient", identity.INS_NIR, value) == expected


@given(_DIGITS)
def test_the_rpps_rule_says_what_the_key_says(judge: Validator, value: str) -> None:
    judged = _judged(judge, "teledossier-practitioner", identity.RPPS, value)
    assert judged == identity.is_rpps(value)


@given(st.sampled_from(["", "2A", "2B"]), _DIGITS, st.integers(0, 9))
def test_the_finess_rule_says_what_the_key_says(
    judge: Validator, corsica: str, digits: str, key: int
) -> None:
    value = ((corsica + digits)[:8] if corsica else digits[:8]) + str(key)
    judged = _judged(judge, "teledossier-establishment", identity.FINESS, value)
    assert judged == identity.is_finess(value)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(VALID), st.data())
def test_a_spoilt_example_raises_nothing(judge: Validator, example: Example, data: st.DataObject) -> None:
    """Whatever stands in one place of an example, the answer is findings."""
    spoilt = deepcopy(example.resource)
    at = spoilt
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            at[key] = data.draw(ANY)
            break
        at = at[key]
    assert isinstance(judge.validate(spoilt, profiles=[example.url]), list)
