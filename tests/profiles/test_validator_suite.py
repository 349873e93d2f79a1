"""HL7's validator cases: the same verdict as HL7's own validator, but for those named with the reason."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from profiles import codec
from profiles.outcomes import Invalid
from profiles.validation import Validator, validator
from terminology import service

CASES = json.loads(
    gzip.decompress((Path(__file__).parent / "validator_suite" / "cases.json.gz").read_bytes())
)
OTHERWISE = {
    # HL7's validator was told to take JSON with comments; FHIR's JSON has none
    "json-comments-1-yes",
    "json-comments-2-yes",
    # a display of CVX, a code system that is not in the R4 package
    "bundle-id-5",
}


@pytest.fixture(scope="module")
def judge() -> Validator:
    return replace(validator(codes=service.standard()), strict=True)


@pytest.mark.parametrize(("name", "file", "valid", "body"), CASES, ids=[case[0] for case in CASES])
def test_same_verdict(judge: Validator, name: str, file: str, valid: bool, body: str) -> None:
    try:
        issues = judge.validate(codec.parse(body.encode()))
        found = not any(issue.severity in ("fatal", "error") for issue in issues)
    except Invalid:
        found = False
    assert found is (valid != (name in OTHERWISE))


def test_nearly_all_agree() -> None:
    assert len(OTHERWISE) <= len(CASES) * 0.05
    assert {case[0] for case in CASES} >= OTHERWISE
