"""The witness itself can tell wrong from right."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.witness import read

ISSUE = {"severity": "error", "code": "invalid"}
FOUND = {"mode": "match"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"resourceType": "OperationOutcome", "issue": [{"severity": "error"}]},
        {"resourceType": "OperationOutcome", "issue": [{**ISSUE, "where": "Patient"}]},
        {"resourceType": "Bundle", "type": "searchset", "entry": [{"found": FOUND}]},
        {"resourceType": "Bundle", "type": "searchset", "total": -1},
        {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"search": FOUND, "resource": {"resourceType": "OperationOutcome", "issue": [{}]}}],
        },
    ],
    ids=["missing", "unknown", "unknown-in-entry", "value", "within"],
)
def test_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(wrong)


def test_what_is_right_and_what_is_not_the_platforms() -> None:
    read({"resourceType": "OperationOutcome", "issue": [ISSUE]})
    stored = {"resourceType": "Patient", "anything": "a test may store"}
    read(stored)
    read({"resourceType": "Bundle", "type": "searchset", "entry": [{"search": FOUND, "resource": stored}]})
