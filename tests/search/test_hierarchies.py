"""`:in`, `:not-in`, `:above`, `:below`: query → tree → found. FHIR R4 search.html#modifiers"""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.search import evaluate
from fhir_server.search.evaluate import Memory, View
from fhir_server.search.index import extract
from fhir_server.search.plan import plan
from profiles.outcomes import Invalid
from tests.terminology.making import COLOURS, chosen, include, terminology

BASE = "https://here.example/fhir"
PARIS = ZoneInfo("Europe/Paris")
WARM = {**chosen("concept", "is-a", "red"), "url": "ValueSet/warm"}
LARGE = {**include(system="urn:x", concept=[{"code": str(n)} for n in range(5_001)]), "url": "urn:large"}
CODES = terminology(WARM, LARGE)


def where(query: str, access: Access = SYSTEM) -> Any:
    type, _, rest = query.partition("?")
    pairs = [tuple(pair.split("=", 1)) for pair in rest.split("&")]
    return plan(type, pairs, access, fhir_base=BASE, zone=PARIS, codes=CODES).select.where  # type: ignore[arg-type]


RED = f"{COLOURS}|red {COLOURS}|crimson {COLOURS}|pink {COLOURS}|mauve"


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        (f"Observation?code:below={COLOURS}|red", f"(token code {RED})"),
        (f"Observation?code:above={COLOURS}|sky", f"(token code {COLOURS}|sky {COLOURS}|blue {COLOURS}|any)"),
        (
            f"Observation?code:above={COLOURS}|sky,{COLOURS}|red",
            f"(token code {COLOURS}|sky {COLOURS}|blue {COLOURS}|any {COLOURS}|red)",
        ),
        ("Observation?code:in=ValueSet/warm", f"(token code {RED})"),
        (f"Observation?code:in={BASE}/ValueSet/warm", f"(token code {RED})"),
        ("Observation?code:not-in=ValueSet/warm", f"(not (token code {RED}))"),
        (
            "Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1",
            "(token gender "
            + " ".join(
                f"http://hl7.org/fhir/administrative-gender|{g}"
                for g in ("male", "female", "other", "unknown")
            )
            + ")",
        ),
        (
            "Patient?_has:Observation:patient:code:in=ValueSet/warm",
            f"(has Observation patient (token code {RED}))",
        ),
    ],
)
def test_codes_of_a_query(query: str, tree: str) -> None:
    assert str(where(query)) == tree


@pytest.mark.parametrize(
    ("query", "slug", "told"),
    [
        ("Observation?code:in=urn:none", "unknown-value-set", "not known here"),
        (
            "Observation?code:not-in=http://hl7.org/fhir/ValueSet/observation-codes",
            "unknown-value-set",
            "listed: http://loinc.org is not loaded",
        ),
        ("Observation?code:in=http://hl7.org/fhir/ValueSet/ucum-units", "unknown-value-set", "listed"),
        ("Observation?code:in=urn:large", "too-costly", "5000"),
        ("Observation?code:below=red", "bad-token", "[system]|[code]"),
        (f"Observation?code:below={COLOURS}|", "bad-token", "both"),
        (f"Observation?code:below={COLOURS}|green", "unknown-code", "no such code"),
        (
            "Observation?code:above=http://snomed.info/sct|1",
            "unknown-code",
            "http://snomed.info/sct is not loaded",
        ),
        ("Observation?patient:below=Patient/1", "unknown-modifier", "no ':below' here"),
        ("Encounter?location:below=Patient/1", "bad-reference", "takes one of Location"),
        ("Encounter?location:below=a/b/c", "bad-reference", "takes an id"),
        ("Patient?birthdate:below=2024", "unknown-modifier", "no modifier ':below'"),
    ],
)
def test_what_is_refused(query: str, slug: str, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        where(query)
    assert caught.value.slug == slug
    assert told in str(caught.value)


def test_without_a_terminology_nothing_is_guessed() -> None:
    with pytest.raises(Invalid, match="needs a terminology"):
        plan("Observation", [("code:in", "urn:x")], SYSTEM, fhir_base=BASE, zone=PARIS)


def world() -> Memory:
    """site ← building ← ward ← bed, with an encounter in each; an encounter elsewhere; two parts of one."""
    resources: list[dict[str, Any]] = [
        {"resourceType": "Location", "id": "site"},
        {"resourceType": "Location", "id": "building", "partOf": {"reference": "Location/site"}},
        {"resourceType": "Location", "id": "ward", "partOf": {"reference": "Location/building"}},
        {"resourceType": "Location", "id": "bed", "partOf": {"reference": "Location/ward"}},
        {"resourceType": "Location", "id": "away"},
        {"resourceType": "Location", "id": "round", "partOf": {"reference": "Location/round"}},
    ]
    for place in ("site", "building", "ward", "bed", "away", "round"):
        at = {"location": {"reference": f"Location/{place}"}}
        resources.append({"resourceType": "Encounter", "id": f"e-{place}", "location": [at]})
    resources[6]["partOf"] = {"reference": "Encounter/e-away"}
    memory = Memory()
    for resource in resources:
        view = View(resource["resourceType"], resource["id"], extract(resource, BASE, PARIS))
        memory.views[view.reference] = view
    return memory


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("Encounter?location=Location/building", {"e-building"}),
        ("Encounter?location:below=Location/building", {"e-building", "e-ward", "e-bed"}),
        ("Encounter?location:below=building", {"e-building", "e-ward", "e-bed"}),
        (f"Encounter?location:below={BASE}/Location/bed,away", {"e-bed", "e-away"}),
        ("Encounter?location:above=Location/ward", {"e-ward", "e-building", "e-site"}),
        ("Encounter?location:above=site", {"e-site"}),
        ("Encounter?location:below=round", {"e-round"}),
        ("Location?partof:below=site", {"building", "ward", "bed"}),
        ("Location?partof:above=ward", {"building", "ward", "bed"}),
        ("Encounter?part-of:below=Encounter/e-away", {"e-site"}),
        ("Location?_has:Encounter:location:location:below=ward", {"ward", "bed"}),
    ],
)
def test_what_a_hierarchy_finds(query: str, ids: set[str]) -> None:
    memory = world()
    tree = where(query)
    type = query.partition("?")[0]
    assert {view.id for view in memory.all_of(type) if evaluate.matches(tree, view, memory)} == ids


def test_each_level_is_narrowed_to_what_the_reader_sees() -> None:
    """Encounters are clinical: those that lead the way must be the reader's too."""
    reader = Access("Practitioner/p", (Scope("*", "rs"),), frozenset({"Practitioner/p"}))
    tree = str(where("Encounter?part-of:below=1", reader))
    assert tree.count("(ref part-of Encounter/1)") == 9
    assert tree.count("(has ServiceRequest encounter (ref audience Practitioner/p))") == 9
