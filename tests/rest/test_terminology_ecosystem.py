"""HL7's own cases for terminology servers, over HTTP. Origin and licence: `tests/terminology/gather.py`."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from fhir_server.conformance.held import Definition, Installed, Snapshot
from tests.rest.serving import Served
from tests.terminology.gather import CASES, expected

OTHERWISE = {
    "validation-simple-code-bad-display-ws": "white space in a display is passed over",
    "validation-simple-code-bad-language": "a display in another language is one of the code's",
    "validation-simple-coding-bad-language": "a display in another language is one of the code's",
    "validation-simple-coding-bad-language-header": "a display in another language is one of the code's",
    "validation-simple-coding-bad-language-vs": "a display in another language is one of the code's",
    "validation-simple-coding-bad-language-vslang": "a display in another language is one of the code's",
    "validation-simple-codeableconcept-bad-language": "a display in another language is one of the code's",
    "broken-filter-validate": "what cannot be judged is false with a message, not a refusal",
    "broken-filter2-validate": "what cannot be judged is false with a message, not a refusal",
}
"""Cases that are answered otherwise here, and why."""
SUITES = json.loads(gzip.decompress(CASES.read_bytes()))
ALL = [(suite, case) for suite in SUITES for case in suite["cases"]]


def test_there_are_as_many_cases_as_there_were() -> None:
    assert len(ALL) == 110
    assert set(OTHERWISE) <= {case[0] for _, case in ALL}


@pytest.fixture
async def known(served: Served, monkeypatch: pytest.MonkeyPatch, suite: dict[str, Any]) -> Served:
    """The definitions of a suite as if they were stored; some of them no server should accept."""
    definitions = [
        Definition(
            one["resourceType"],
            str(place),
            place,
            one["url"],
            one.get("version", ""),
            json.dumps(one).encode(),
        )
        for place, one in enumerate(suite["setup"])
    ]
    snapshot = Snapshot(definitions, Installed(), {})

    async def current() -> Snapshot:
        return snapshot

    monkeypatch.setattr(served.engine.held, "current", current)
    return served


@pytest.mark.parametrize(("suite", "case"), ALL, ids=[case[0] for _, case in ALL])
async def test_case(known: Served, case: list[Any]) -> None:
    name, address, request, wanted = case
    response = await known.client().post(address, json={"resourceType": "Parameters", "parameter": request})
    assert response.status_code < 500
    said = expected(response.json())
    if isinstance(said, dict) and isinstance(wanted, dict):
        said, wanted = said.get("result", said), wanted.get("result", wanted)
    assert (said == wanted) is (name not in OTHERWISE), (said, wanted)
