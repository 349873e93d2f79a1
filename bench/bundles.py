"""Made-up transaction Bundles shaped like those of a synthetic population: one patient, their encounters with
conditional references to practitioners and organizations, observations linked by urn:uuid."""

from __future__ import annotations

import random
import uuid
from typing import Any

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PEOPLE, PLACES = "https://bench.example/people", "https://bench.example/places"
PER_ENCOUNTER = 8
PRACTITIONERS = 10


def directory() -> list[dict[str, Any]]:
    """What the conditional references lead to."""
    return [
        {"resourceType": "Organization", "id": "bench", "name": "Banc",
         "identifier": [{"system": PLACES, "value": "1"}]},
        *({"resourceType": "Practitioner", "id": f"bench{n}",
           "identifier": [{"system": PEOPLE, "value": str(n)}]} for n in range(PRACTITIONERS)),
    ]  # fmt: skip


def transaction(encounters: int, rng: random.Random) -> dict[str, Any]:
    """A Bundle of 1 + encounters × 9 resources."""
    entries: list[dict[str, Any]] = []

    def add(resource: dict[str, Any]) -> str:
        url = uuid.UUID(int=rng.getrandbits(128)).urn
        request = {"method": "POST", "url": resource["resourceType"]}
        entries.append({"fullUrl": url, "resource": resource, "request": request})
        return url

    patient = add({
        "resourceType": "Patient", "gender": "female", "birthDate": f"19{rng.randrange(30, 99)}-02-03",
        "identifier": [{"system": "https://bench.example/patients", "value": f"{rng.getrandbits(64):x}"}],
        "name": [{"family": f"Banc{rng.randrange(5000)}", "given": ["Essai"]}],
        "address": [{"city": "Toulouse", "line": ["1 rue du Banc"]}],
    })  # fmt: skip
    for number in range(encounters):
        day = f"20{rng.randrange(10, 26)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        practitioner = f"Practitioner?identifier={PEOPLE}|{number % PRACTITIONERS}"
        encounter = add({
            "resourceType": "Encounter", "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": patient},
            "participant": [{"individual": {"reference": practitioner}}],
            "serviceProvider": {"reference": f"Organization?identifier={PLACES}|1"},
            "period": {"start": f"{day}T10:00:00+01:00", "end": f"{day}T11:00:00+01:00"},
        })  # fmt: skip
        for measured in range(PER_ENCOUNTER):
            add({
                "resourceType": "Observation", "status": "final",
                "category": [{"coding": [{"system": CATEGORY, "code": "laboratory"}]}],
                "code": {"coding": [{"system": LOINC, "code": f"{measured * 31}-4"}], "text": "Mesure"},
                "subject": {"reference": patient}, "encounter": {"reference": encounter},
                "effectiveDateTime": f"{day}T10:00:00+01:00",
                "valueQuantity": {"value": rng.randrange(400), "unit": "mg/dL", "system": UCUM,
                                  "code": "mg/dL"},
            })  # fmt: skip
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}
