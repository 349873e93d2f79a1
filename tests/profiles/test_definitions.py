"""The tables say what the standard says, at places picked for their difficulty."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from profiles import definitions, packages


def test_every_resource_type_and_no_abstract_one() -> None:
    types = definitions.resource_types()
    assert len(types) == 146
    assert {"Patient", "Binary", "Parameters", "Task", "VisionPrescription"} < types
    assert not {"Resource", "DomainResource", "Element", "HumanName", "MetadataResource"} & types


def test_every_type_named_anywhere_is_known() -> None:
    keys = set(definitions._table("elements"))
    for key in keys:
        for element in definitions.elements(key).values():
            unknown = {type for type in element.types if type not in keys and not definitions.is_type(type)}
            assert unknown == set(), (key, element.name)
            assert set(element.targets) <= definitions.resource_types() | {"Resource", "DomainResource"} | {
                "MetadataResource"
            }, (key, element.name)


@pytest.mark.parametrize(
    ("type", "name", "min", "max", "types"),
    [
        ("Patient", "contact", 0, None, ("Patient.contact",)),
        ("Patient.contact", "name", 0, 1, ("HumanName",)),
        ("Patient", "id", 0, 1, ("id",)),
        ("HumanName", "id", 0, 1, ("string",)),
        ("Extension", "url", 1, 1, ("uri",)),
        ("Questionnaire.item", "item", 0, None, ("Questionnaire.item",)),
        ("Observation.component", "referenceRange", 0, None, ("Observation.referenceRange",)),
        ("Patient", "multipleBirth", 0, 1, ("boolean", "integer")),
        ("Bundle.entry", "resource", 0, 1, ("Resource",)),
        ("Observation", "code", 1, 1, ("CodeableConcept",)),
        ("Timing", "repeat", 0, 1, ("Timing.repeat",)),
        ("Narrative", "div", 1, 1, ("xhtml",)),
    ],
)
def test_elements(type: str, name: str, min: int, max: int | None, types: tuple[str, ...]) -> None:
    element = definitions.elements(type)[name]
    assert (element.min, element.max, element.types) == (min, max, types)


def test_the_json_names_of_a_choice() -> None:
    names = {name for name in definitions.properties("Patient") if name.startswith(("deceased", "multiple"))}
    assert names == {"deceasedBoolean", "deceasedDateTime", "multipleBirthBoolean", "multipleBirthInteger"}
    assert definitions.properties("Observation")["valueQuantity"][1] == "Quantity"


@pytest.mark.parametrize(
    ("type", "ancestor", "expected"),
    [
        ("Age", "Quantity", True),
        ("code", "string", True),
        ("url", "uri", True),
        ("Patient", "DomainResource", True),
        ("Binary", "DomainResource", False),
        ("Binary", "Resource", True),
        ("Patient.contact", "Element", True),
        ("Quantity", "Age", False),
        ("Nothing", "Element", False),
    ],
)
def test_specialisation(type: str, ancestor: str, expected: bool) -> None:
    assert definitions.is_kind_of(type, ancestor) is expected


def test_codes_of_required_bindings() -> None:
    gender = definitions.elements("Patient")["gender"].value_set
    assert definitions.codes(gender) == {
        "http://hl7.org/fhir/administrative-gender": frozenset({"male", "female", "other", "unknown"})
    }
    assert definitions.codes("http://hl7.org/fhir/ValueSet/mimetypes") is None
    bound = {
        e.value_set for key in definitions._table("elements") for e in definitions.elements(key).values()
    } - {""}
    assert {url for url in bound if definitions.codes(url) is None} == {
        "http://hl7.org/fhir/ValueSet/currencies",
        "http://hl7.org/fhir/ValueSet/mimetypes",
        "http://hl7.org/fhir/ValueSet/ucum-units",
        "http://loinc.org/vs/LL379-9",
    }


def test_every_regex_compiles() -> None:
    assert len(definitions.primitives()) == 20
    for primitive in definitions.primitives().values():
        re.compile(primitive.regex)


def test_search_parameters_of_a_type_include_the_common_ones() -> None:
    binary = set(definitions.search_parameters("Binary"))
    common = {
        "_id",
        "_lastUpdated",
        "_tag",
        "_profile",
        "_security",
        "_source",
        "_content",
        "_filter",
        "_query",
    }
    assert common | {"security-context"} <= binary
    assert "_text" not in binary
    patient = definitions.search_parameters("Patient")
    assert common | {"_text", "name", "birthdate", "general-practitioner", "mothersMaidenName"} <= set(
        patient
    )
    assert {code for code, parameter in patient.items() if parameter.type == "special"} == {
        "_text", "_content", "_filter", "_query",
    }  # fmt: skip
    assert set(patient["general-practitioner"].targets) == {
        "Practitioner",
        "Organization",
        "PractitionerRole",
    }


def test_a_composite_names_its_components() -> None:
    parameter = definitions.search_parameters("Observation")["code-value-quantity"]
    assert [expression for _url, expression in parameter.components] == ["code", "value.as(Quantity)"]
    assert all(definitions.search_parameter(url) is not None for url, _expression in parameter.components)


def test_our_own_search_parameters_are_merged() -> None:
    assert packages.search_parameters()
    for own in packages.search_parameters():
        for base in own["base"]:
            assert definitions.search_parameters(base)[own["code"]].url == own["url"]
    assert definitions.search_parameters("ServiceRequest")["audience"].type == "reference"


def test_compartments() -> None:
    assert definitions.compartment("Patient")["Observation"] == ("subject", "performer")
    assert definitions.compartment("Patient")["ServiceRequest"] == ("subject", "performer")
    assert {
        name
        for name in ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device", "Group")
        if definitions.compartment(name)
    } == {"Patient", "Encounter", "RelatedPerson", "Practitioner", "Device"}


def test_the_tables_load_in_under_a_third_of_a_second() -> None:
    code = """
import time, json
start = time.perf_counter()
from profiles import definitions
for type in definitions.resource_types():
    definitions.properties(type), definitions.search_parameters(type)
definitions.codes(""), definitions.compartment("Patient"), definitions.primitives()
print(json.dumps(time.perf_counter() - start))
"""
    seconds = [json.loads(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert min(seconds) < 0.3
