"""How fast tables load, bodies parse, resources validate and index entries are made: `python -m
bench.profiles [R4 EXAMPLES.tar [FR CORE.tgz]]`.

Figures are CPU time of this process, the best of five rounds, on a made-up patient's record: one each of the
common types, observations as the bulk, which is how generated records are spread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from fhir_server import packages
from fhir_server.search import index
from profiles import codec
from profiles.validation import validate, validator
from terminology import service
from tests.profiles import fr_core

Json = dict[str, Any]
ROUNDS = 5
TARGETS = {
    "load_s": 0.3,
    "validate_patient_us": 100.0,
    "judge_patient_us": 100.0,
    "judge_ins_us": 400.0,
    "extract_per_s": 20_000.0,
    "validate_examples_per_s": 1500.0,
    "install_s": 5.0,
}

SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
PATIENT, ENCOUNTER = {"reference": "urn:uuid:patient"}, {"reference": "urn:uuid:encounter"}
WHEN, LATER = "2019-03-04T09:10:11+01:00", "2019-03-04T09:25:11+01:00"


def _concept(system: str, code: str, text: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


def _with_id(kind: str, number: int, /, **members: Any) -> Json:
    return {"resourceType": kind, "id": f"{kind.lower()}-{number:06d}", **members}


def _observation(number: int) -> Json:
    category = [
        _concept("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs", "vital-signs")
    ]
    value = {"value": 60 + number % 40, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
    return _with_id(
        "Observation",
        number,
        status="final",
        category=category,
        code=_concept(LOINC, "8867-4", "Heart rate"),
        subject=PATIENT,
        encounter=ENCOUNTER,
        effectiveDateTime=WHEN,
        issued="2019-03-04T09:10:11.123+01:00",
        valueQuantity=value,
    )


def _patient(number: int) -> Json:
    v2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
    numbers = [
        {"type": _concept(v2, code, code), "system": f"urn:oid:1.2.{code}", "value": str(number)}
        for code in ("MR", "PI", "SS")
    ]
    return _with_id(
        "Patient",
        number,
        active=True,
        identifier=numbers,
        gender="female",
        birthDate="1950-02-03",
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Fictive</div>'},
        name=[{"use": "official", "family": "Désirée", "given": ["Zoë", "Anne"], "prefix": ["Mme"]}],
        telecom=[{"system": "phone", "value": "0500000000", "use": "home"}],
        address=[{"line": ["1 rue Haute"], "city": "Foix", "postalCode": "09000", "country": "FR"}],
        maritalStatus=_concept("http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "M", "M"),
        multipleBirthBoolean=False,
        communication=[{"language": _concept("urn:ietf:bcp:47", "fr-FR", "Français")}],
    )


def _others(number: int) -> list[Json]:
    period = {"start": WHEN, "end": LATER}
    doctor = {"reference": "urn:uuid:doctor", "display": "Dr Fictif"}
    finished = _concept(SNOMED, "185349003", "Encounter for check up (procedure)")
    encounter = _with_id(
        "Encounter",
        number,
        status="finished",
        type=[finished],
        subject=PATIENT,
        period=period,
        participant=[{"individual": doctor, "period": period}],
        serviceProvider={"reference": "urn:uuid:hospital"},
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
    )
    clinical = _concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active", "active")
    condition = _with_id(
        "Condition",
        number,
        clinicalStatus=clinical,
        code=_concept(SNOMED, "38341003", "Hypertension"),
        subject=PATIENT,
        encounter=ENCOUNTER,
        onsetDateTime=WHEN,
        recordedDate=WHEN,
    )
    procedure = _with_id(
        "Procedure",
        number,
        status="completed",
        code=_concept(SNOMED, "430193006", "Medication reconciliation"),
        subject=PATIENT,
        encounter=ENCOUNTER,
        performedPeriod=period,
    )
    request = _with_id(
        "MedicationRequest",
        number,
        status="stopped",
        intent="order",
        subject=PATIENT,
        encounter=ENCOUNTER,
        authoredOn=WHEN,
        requester=doctor,
        medicationCodeableConcept=_concept(
            "http://www.nlm.nih.gov/research/umls/rxnorm", "313782", "Acetaminophen"
        ),
    )
    report = _with_id(
        "DiagnosticReport",
        number,
        status="final",
        code=_concept(LOINC, "51990-0", "Panel"),
        subject=PATIENT,
        encounter=ENCOUNTER,
        effectiveDateTime=WHEN,
        issued="2019-03-04T09:10:11.123+01:00",
        result=[{"reference": f"urn:uuid:observation-{n}", "display": "Heart rate"} for n in range(6)],
    )
    return [encounter, condition, procedure, request, report]


def record() -> list[Json]:
    """A hundred resources."""
    resources = [_observation(number) for number in range(73)] + [_patient(n) for n in range(2)]
    return resources + [one for number in range(5) for one in _others(number)]


def best(run: Callable[[], object]) -> float:
    """CPU seconds of the best round."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def load_seconds() -> float:
    """All tables unfolded for every type, in a new process."""
    code = """
import time, json
start = time.process_time()
from profiles import definitions
for type in definitions.resource_types():
    definitions.properties(type), definitions.search_parameters(type)
definitions.codes(""), definitions.compartment("Patient")
print(time.process_time() - start)
"""
    command = [sys.executable, "-c", code]
    return min(float(subprocess.check_output(command)) for _ in range(3))


def measure() -> dict[str, float]:
    """The figures by name."""
    resources, zone, base = record(), ZoneInfo("Europe/Paris"), "http://127.0.0.1/fhir"
    bodies = [codec.dump(resource) for resource in resources]
    patient = _patient(1)
    problems = [issue.diagnostics for resource in resources for issue in validate(resource)]
    if problems:
        raise SystemExit(f"the benchmark's own resources are wrong: {problems[0]}")
    each = 10 * len(resources)
    return {
        "load_s": load_seconds(),
        "body_bytes": sum(map(len, bodies)) / len(bodies),
        "parse_per_s": each / best(lambda: [codec.parse(body) for _ in range(10) for body in bodies]),
        "validate_per_s": each
        / best(lambda: [validate(resource) for _ in range(10) for resource in resources]),
        "validate_patient_us": best(lambda: [validate(patient) for _ in range(1000)]) * 1000,
        "extract_per_s": each
        / best(lambda: [index.extract(r, base, zone) for _ in range(10) for r in resources]),
    }


def judging() -> dict[str, float]:
    """The whole Validator: `judge_…` with invariants, extensions, identifiers and terminology in process;
    `ins` is FR Core's example patient under fr-core-patient-ins, `first` the same in a new Validator."""
    judge, patient, french = validator(codes=service.standard()), _patient(1), fr_core.patient()
    problems = [one.diagnostics for one in judge.validate(french) if one.severity == "error"]
    if problems:
        raise SystemExit(f"the benchmark's own patient is wrong: {problems[0]}")
    resources = record()
    judge.validate(patient)
    start = time.process_time()
    validator().validate(french)
    first = time.process_time() - start
    return {
        "judge_patient_us": best(lambda: [judge.validate(patient) for _ in range(1000)]) * 1000,
        "judge_ins_us": best(lambda: [judge.validate(french) for _ in range(300)]) / 300 * 1e6,
        "judge_per_s": 5
        * len(resources)
        / best(lambda: [judge.validate(one) for _ in range(5) for one in resources]),
        "first_ins_ms": first * 1000,
    }


def examples(archive: Path) -> dict[str, float]:
    """HL7's examples: base structure alone, and the whole Validator."""
    with tarfile.open(archive) as members:
        bodies = [members.extractfile(one) for one in members.getmembers() if one.name.endswith(".json")]
        found = [codec.parse(body.read()) for body in bodies if body is not None]
    judge = validator(codes=service.standard())
    return {
        "validate_examples_per_s": len(found) / best(lambda: [validate(one) for one in found]),
        "judge_examples_per_s": len(found) / best(lambda: [judge.validate(one) for one in found]),
    }


def install_seconds(package: Path) -> float:
    """Reading a package file and putting it in place."""
    with tempfile.TemporaryDirectory() as folder:
        return best(lambda: packages.install(Path(folder), package))


if __name__ == "__main__":
    figures = measure() | judging()
    if len(sys.argv) > 1:
        figures |= examples(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        figures["install_s"] = install_seconds(Path(sys.argv[2]))
    print(json.dumps({"figures": figures, "targets": TARGETS}, indent=1))
