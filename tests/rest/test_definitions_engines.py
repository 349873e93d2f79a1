"""What stored definitions mean, on every engine: one way through each, the rest is the engine's contract."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.conformance import reindex
from tests.mongodb import ENGINES
from tests.rest.serving import Served
from tests.rest.test_search_parameters import OWN, found, patient, work
from tests.terminology.making import COLOURS, SYSTEM, chosen


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_search_parameter_of_ones_own(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "GRACE", 0.0)
    monkeypatch.setattr(reindex, "BATCH", 3)
    for number in range(7):
        await served.system.update(patient(f"p{number}", "Zouzou" if number % 2 else "Lulu"))
    await served.system.update(OWN)
    assert await found(served, "Patient?nickname=zou") == "parameter-not-ready"
    await served.system.update(patient("late", "Zouave"))
    await work(served.engine)
    assert await found(served, "Patient?nickname=zou") == {"p1", "p3", "p5", "late"}
    await served.system.delete("SearchParameter", "own")
    assert await found(served, "Patient?nickname=zou") == "unknown-parameter"


async def test_codes_units_and_places(served: Served) -> None:
    await served.system.update({**SYSTEM, "id": "colours"})
    await served.system.update({**chosen("concept", "is-a", "red"), "id": "warm"})
    for code, value, unit in (("pink", "1", "g"), ("sky", "1000", "mg"), ("red", "2", "g")):
        observation: dict[str, Any] = {"resourceType": "Observation", "id": code, "status": "final"}
        observation["code"] = {"coding": [{"system": COLOURS, "code": code}]}
        quantity = {"value": int(value), "system": "http://unitsofmeasure.org", "code": unit}
        await served.system.update({**observation, "valueQuantity": quantity})
    assert await found(served, "Observation?code:in=ValueSet/warm") == {"pink", "red"}
    assert await found(served, "Observation?code:not-in=ValueSet/warm") == {"sky"}
    assert await found(served, f"Observation?code:below={COLOURS}|blue") == {"sky"}
    gram = "http://unitsofmeasure.org|g"
    assert await found(served, f"Observation?value-quantity=1|{gram}") == {"pink", "sky"}
    assert await found(served, f"Observation?code-value-quantity={COLOURS}|sky$1|{gram}") == {"sky"}
    for place, within in (("a", ""), ("b", "a"), ("c", "b")):
        part = {"partOf": {"reference": f"Location/{within}"}} if within else {}
        await served.system.update({"resourceType": "Location", "id": place, **part})
    assert await found(served, "Location?partof:below=a") == {"b", "c"}
    assert await found(served, "Location?partof:above=b") == {"b", "c"}
