"""Nothing that is sent makes validation take more than its size: twice as much takes about twice as long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from profiles.validation import validator
from tests.profiles.schema.profile import URL, element, over, profile

Json = dict[str, Any]
JUDGE = validator()


def contained(count: int) -> Json:
    organizations = [{"resourceType": "Organization", "id": f"o{n}", "name": "x"} for n in range(count)]
    references = [{"reference": f"#o{n}"} for n in range(count)]
    return {"resourceType": "Patient", "contained": organizations, "generalPractitioner": references}


def unused(count: int) -> Json:
    return {**contained(count), "generalPractitioner": [{"reference": "#o0"}]}


def answers(count: int) -> Json:
    questions = [{"linkId": str(n), "type": "string"} for n in range(count)]
    form = {"resourceType": "Questionnaire", "id": "q", "status": "draft", "item": questions}
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": "#q",
        "status": "completed",
        "contained": [form],
        "item": [{"linkId": str(n), "answer": [{"valueString": "a"}]} for n in range(count)],
    }


def bundle(count: int) -> Json:
    entries = [
        {
            "fullUrl": f"https://x.example/Patient/{n}",
            "resource": {
                "resourceType": "Patient",
                "id": str(n),
                "link": [{"other": {"reference": f"Patient/{count - n}"}, "type": "refer"}],
            },
        }
        for n in range(count)
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def identifiers(count: int) -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:x", "value": str(n)} for n in range(count)],
    }


def seconds(run: Callable[[], object]) -> float:
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "make", [contained, unused, answers, bundle, identifiers], ids=lambda make: make.__name__
)
def test_cost_is_linear(make: Callable[[int], Json]) -> None:
    slicing = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open", "ordered": True}
    structure = profile(
        "Patient",
        element("Patient.identifier", slicing=slicing),
        element("Patient.identifier:x", patternIdentifier={"system": "urn:x"}),
    )
    judge, urls = (over(structure), [URL]) if make is identifiers else (JUDGE, [])
    small, large = make(500), make(4000)
    judge.validate(small, profiles=urls)
    base = seconds(lambda: judge.validate(small, profiles=urls))
    assert seconds(lambda: judge.validate(large, profiles=urls)) < 30 * base
