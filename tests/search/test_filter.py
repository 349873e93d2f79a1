"""`_filter`, from the text to the resources found, and what is refused where. FHIR R4 search_filter.html"""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.search import evaluate
from fhir_server.search.index import extract
from fhir_server.search.plan import plan
from profiles import codec
from profiles.outcomes import Invalid

BASE, PARIS = "https://here.example/fhir", ZoneInfo("Europe/Paris")
NOW = 1_700_000_000_000_000


def tree(type: str, text: str, access: Access = SYSTEM) -> str:
    planned = plan(type, [("_filter", text)], access, fhir_base=BASE, zone=PARIS, now=NOW)
    return str(planned.select.where)


WORLD = {
    "Patient/p": '"gender":"male","birthDate":"1950-02-01","active":true,'
    '"name":[{"family":"Petit","given":["Zoë","Anne"]}],'
    '"identifier":[{"system":"urn:ins","value":"ABC"}]',
    "Patient/q": '"gender":"female","birthDate":"1980-05-05","name":[{"family":"Grandpré","given":["Zoë"]}],'
    '"generalPractitioner":[{"reference":"Practitioner/x"}]',
    "Patient/r": '"name":[{"family":"(a) or ]b"}],"birthDate":"2000"',
    "Practitioner/x": '"gender":"female"',
    "Observation/a": '"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1234-5"}]},'
    '"subject":{"reference":"Patient/p"},"valueQuantity":{"value":5.4,"unit":"mg",'
    '"system":"http://unitsofmeasure.org","code":"mg"},"effectivePeriod":{"start":"2024-01-10","end":"2024-01-20"}',
    "Observation/b": '"status":"amended","code":{"coding":[{"system":"urn:l","code":"bp"},{"code":"panel"}]},'
    '"subject":{"reference":"Patient/q"},"component":['
    '{"code":{"coding":[{"code":"sys"}]},"valueQuantity":{"value":150}},'
    '{"code":{"coding":[{"code":"dia"}]},"valueQuantity":{"value":80}}],"effectiveDateTime":"2024-01-15"',
    "RiskAssessment/m": '"status":"final","subject":{"reference":"Patient/p"},'
    '"prediction":[{"probabilityDecimal":0.5}]',
    "RiskAssessment/n": '"status":"final","subject":{"reference":"Patient/p"},'
    '"prediction":[{"probabilityDecimal":0.9}]',
    "ValueSet/v": '"status":"draft","url":"http://a/b/c"',
}


@pytest.fixture(scope="module")
def world() -> evaluate.Memory:
    memory = evaluate.Memory()
    for seq, (key, body) in enumerate(WORLD.items()):
        type, _, id = key.partition("/")
        resource = codec.parse(f'{{"resourceType":"{type}","id":"{id}",{body}}}'.encode())
        memory.views[key] = evaluate.View(type, id, extract(resource, BASE, PARIS), seq)
    return memory


FOUND = [
    # the standard's own examples
    ("Patient", 'name co "pet"', "p"),
    ("Patient", 'given eq "zoe" and birthdate ge 1960-10-10', "q"),
    ("Observation", "code eq http://loinc.org|1234-5", "a"),
    ("Observation", 'subject.name co "pet"', "a"),
    ("Observation", "subject.id eq p", "a"),
    # strings
    ("Patient", "family eq PETIT", "p"),
    ("Patient", "family eq peti", ""),
    ("Patient", "family sw peti", "p"),
    ("Patient", "family ew PRÉ", "q"),
    ("Patient", "given ne zoe", "p"),
    ("Patient", "not (given eq anne)", "qr"),
    ("Patient", "family gt h", "p"),
    ("Patient", "family lt h", "qr"),
    ("Patient", "family ge petit", "p"),
    ("Patient", "family le grandpre", "qr"),
    ("Patient", r'family eq "(a) or ]b"', "r"),
    ("Patient", r'family eq "gran\u0064pr\u00e9"', "q"),
    # tokens
    ("Patient", "gender eq MALE", "p"),
    ("Patient", "gender ne male", "q"),
    ("Patient", "gender ne http://hl7.org/fhir/administrative-gender|male", "q"),
    ("Patient", "identifier eq urn:ins|abc", "p"),
    ("Patient", "identifier eq urn:other|abc", ""),
    ("Observation", "code eq loinc|1234-5", "a"),
    ("Observation", "code ne panel", "ab"),
    ("Patient", "active pr true", "p"),
    ("Patient", "active pr false", "qr"),
    ("Patient", "_id ne p", "qr"),
    # dates
    ("Patient", "birthdate eq 1950-02", "p"),
    ("Patient", "birthdate ne 1950-02", "qr"),
    ("Patient", "birthdate lt 1980", "p"),
    ("Patient", "birthdate sa 1980", "r"),
    ("Patient", "birthdate eb 1980", "p"),
    ("Patient", "birthdate ap 1981", "q"),
    ("Patient", "birthdate co 2000-07-07", "r"),
    ("Observation", "date po 2024-01-19", "a"),
    ("Observation", "date po 2024-01", "ab"),
    ("Observation", "date po 2024-02", ""),
    ("Observation", "date co 2024-01-15", "ab"),
    ("Observation", "date eq 2024-01", "ab"),
    # numbers, quantities
    ("RiskAssessment", "probability gt 0.5", "n"),
    ("RiskAssessment", "probability ge 0.5", "mn"),
    ("RiskAssessment", "probability co 0.5", "m"),
    ("RiskAssessment", "probability ne 0.5", "n"),
    ("Observation", "value-quantity eq 5.4|ucum|mg", "a"),
    ("Observation", "value-quantity lt 6", "a"),
    ("Observation", "value-quantity ap 5", "a"),
    ("Observation", "value-quantity gt 6", ""),
    # references
    ("Observation", "subject re Patient/q", "b"),
    ("Observation", f"subject re {BASE}/Patient/q", "b"),
    ("Observation", "subject eq p", "a"),
    ("Observation", "subject ne Patient/q", "a"),
    ("Observation", "performer pr false", "ab"),
    # addresses
    ("ValueSet", "url eq http://a/b/c", "v"),
    ("ValueSet", "url sw http://a/", "v"),
    ("ValueSet", "url ne http://a/b/c", ""),
    ("ValueSet", "url ss http://a", "v"),
    ("ValueSet", "url sb http://a/b/c/d", "v"),
    # brackets, chains, _has
    ("Observation", "subject[gender eq male].name co pet", "a"),
    ("Observation", "subject[gender eq female].name co pet", ""),
    ("Observation", "subject:Patient.general-practitioner:Practitioner.gender eq female", "b"),
    ("Patient", "_has:Observation:patient:status eq final", "p"),
    ("Patient", "_has:Observation:patient:_has:Task:focus:status eq x", ""),
    (
        "Observation",
        "component-code-value-quantity[component-code eq sys].component-value-quantity gt 100",
        "b",
    ),
    ("Observation", "component-code-value-quantity[code eq dia].quantity gt 100", ""),
    ("Observation", "component-code-value-quantity[code eq dia].quantity lt 100", "b"),
    ("Observation", "component-code-value-quantity eq sys$gt100", "b"),
    ("Observation", "component-code-value-quantity ne sys$gt100", "a"),
    ("Observation", "_content eq panel", "b"),
    # words between
    ("Patient", "gender eq male or gender eq female and birthdate gt 1970", "q"),
    ("Patient", "gender eq male or (gender eq female and birthdate lt 1970)", "p"),
    ("Patient", "(gender eq male OR gender eq female) AND not(birthdate gt 1970)", "p"),
    ("Patient", "not (not (gender eq male))", "p"),
]  # fmt: skip


@pytest.mark.parametrize(("type", "text", "found"), FOUND)
def test_finds(world: evaluate.Memory, type: str, text: str, found: str) -> None:
    where = plan(type, [("_filter", text)], SYSTEM, fhir_base=BASE, zone=PARIS, now=NOW).select.where
    ids = sorted(view.id for view in world.all_of(type) if evaluate.matches(where, view, world))
    assert "".join(ids) == found


REFUSED = [
    ("Patient", "", 1, "name of a search parameter"),
    ("Patient", "gender", 7, "a blank and one of eq, ne"),
    ("Patient", "gender eq", 10, "a blank and a value"),
    ("Patient", "gender like male", 8, "a blank and one of eq"),
    ("Patient", "gender eq male birthdate", 16, "'and', 'or' or the end"),
    ("Patient", "gender eq male and", 19, "name of a search parameter"),
    ("Patient", "(gender eq male", 16, "')'"),
    ("Patient", "gender eq male)", 15, "'and', 'or' or the end"),
    ("Patient", 'gender eq "male', 11, "closing quotation mark"),
    ("Patient", 'gender eq "\\ud800"', 19, "can be stored"),
    ("Patient", "colour eq red", 1, "'colour' is not a search parameter"),
    ("Patient", "active eq true and nmae eq x", 20, "did you mean 'name'"),
    ("Patient", "gender gt male", 8, "gender (token) has no 'gt'; it takes eq, ne, pr"),
    ("Patient", "birthdate gt yesterday", 11, "'birthdate'"),
    ("Patient", "birthdate eq gt2020", 11, "prefix as the operator"),
    ("Patient", "active pr maybe", 8, "true (it is present) or false"),
    ("Patient", "name.family eq x", 1, "is no reference"),
    ("Patient", "general-practitioner.colour eq x", 22, "colour"),
    ("Patient", "general-practitioner[active eq true] eq x", 37, "'.' and a name"),
    ("Patient", "general-practitioner[active eq true.name eq x", 42, "']'"),
    ("Patient", "general-practitioner:Patient.name eq x", 1, "does not refer to 'Patient'"),
    ("Patient", "gender:not eq x", 12, "not the end"),
    ("Patient", "_has:Observation:code:status eq x", 1, "does not refer to Patient"),
    ("Patient", "(" * 30 + "active eq true" + ")" * 30, 21, "deeper than 20"),
    ("Patient", " and ".join(["active eq true"] * 301), 0, "more than 300 tests"),
    (
        "Observation",
        "component-code-value-quantity[code eq x or code eq y].quantity gt 1",
        1,
        "joined by and",
    ),
    ("Observation", "component-code-value-quantity.quantity gt 1", 1, "one test for each of its components"),
    ("Observation", "component-code-value-quantity gt x$1", 31, "it takes eq, ne"),
]


@pytest.mark.parametrize(("type", "text", "place", "told"), REFUSED)
def test_refuses(type: str, text: str, place: int, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        tree(type, text)
    assert told in str(caught.value)
    assert not place or f"at character {place}:" in str(caught.value), str(caught.value)


def test_access_holds_within_a_filter() -> None:
    """At the hop of a chain, of brackets and of `_has`: what is not the reader's is not found through it."""
    some = Access("Practitioner/x", (Scope("*", "rs"),), frozenset({"Practitioner/x"}))
    mine = "(has ServiceRequest subject (ref audience Practitioner/x))"
    assert (
        tree("Location", "organization.name eq x", some)
        == "(chain organization Organization (string name equals 'x'))"
    )
    assert mine in tree("PractitionerRole", "_has:Task:owner:patient:Patient.gender eq male", some)
    only = Access("Client/x", (Scope("Observation", "rs"),), None)
    assert tree("Observation", "subject:Patient[active eq true].gender eq male", only) == "(none)"
    assert tree("Observation", "not (subject:Patient.gender eq male)", only) == "(all)"
