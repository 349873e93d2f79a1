"""Every modifier and every prefix on every type of search parameter, every form of include: over HTTP, with
the exact sets, and the same from the reference evaluator. FHIR R4 search.html"""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import parse_qsl

import pytest

from profiles import definitions
from tests.mongodb import SLOWLY
from tests.rest.search_world import LOINC, UCUM, WORLD, evaluated, fill
from tests.rest.serving import ALL, Served

# each row: query, the ids it finds. Where nothing is found the row above or below is the positive control.
TYPES_OF_VALUES = """
# token: search.html#token
Patient?gender=female                                        p1
Patient?gender=http://hl7.org/fhir/administrative-gender|male  p2
Patient?gender=|male                                         p2
Patient?gender=other
Patient?gender=male,female                                   p1 p2
Patient?identifier=urn:ipp|12                                p2
Patient?identifier=12                                        p2
Patient?identifier=urn:ipp|                                  p2
Patient?identifier=urn:ins|12
Patient?identifier=urn:ins|1\\,2\\|3\\$4\\\\5                p1
Patient?deceased=false                                       p1 p2 p3
Patient?deceased=true
Patient?active=false
Patient?_id=p1,p3                                            p1 p3
Patient?_tag=urn:tag|t                                       p1
Patient?_security=R                                          p1
Patient?gender:not=female                                    p2 p3
Patient?gender:not=female,male                               p3
Patient?gender:missing=true                                  p3
Patient?gender:missing=false                                 p1 p2
Patient?identifier:text=matr                                 p1
Patient?identifier:text=numero
Patient?identifier:of-type=urn:t|IPP|12                      p2
Patient?identifier:of-type=urn:t|INS|12
Patient?_id:not=p1                                           p2 p3
Patient?_id:missing=true
Patient?_id:missing=false                                    p1 p2 p3
Observation?code:text=mesure 1                               o1 o2
Observation?status=final&code=2-2                            o3 o4
# string: search.html#string
Patient?family=lefevre                                       p1 p2
Patient?family=fevre
Patient?family:contains=FÈVRE                                p1 p2
Patient?family:exact=Lefèvre                                 p1
Patient?family:exact=Lefevre
Patient?family:missing=true                                  p3
Patient?family:missing=false                                 p1 p2
Patient?name=zoe                                             p1 p2
Patient?family=zoe,lef                                       p1 p2
Patient?family=zoe&family=lef                                p2
Observation?value-string=oeil                                o5
Observation?value-string:exact=Œil
Observation?value-string:exact=Œil rouge                     o5
# reference: search.html#reference
Observation?subject=Patient/p1                               o1 o3
Observation?subject=p1                                       o1 o3
Observation?subject:Patient=p1                               o1 o3
Observation?subject:Group=p1
Observation?subject=http://test/fhir/Patient/p1              o1 o3
Observation?subject=https://other.example/Patient/p1         o5
Observation?subject:missing=true                             o4
Observation?subject:missing=false                            o1 o2 o3 o5
Patient?general-practitioner:identifier=urn:rpps|9           p2
Patient?general-practitioner:identifier=urn:rpps|8
Patient?general-practitioner:missing=true                    p3
Patient?general-practitioner=doc                             p1
QuestionnaireResponse?questionnaire=http://q.example/q       qr1 qr2
QuestionnaireResponse?questionnaire=http://q.example/q\\|1    qr1
# date: search.html#date
Patient?birthdate:missing=false                              p1 p2 p3
Observation?date:missing=true                                o5
Patient?birthdate=1980                                       p1 p2
Patient?birthdate=1980-02                                    p1 p2
Patient?birthdate=1980-02-10                                 p1
Observation?date=2024-02-10                                  o1
Observation?date=2024-02-10T09:00Z                           o1
Observation?date=2024-01-01T00:30+01:00                      o4
Observation?date=2023-12-31T23:30Z                           o4
Observation?date=2024-01-01                                  o4
# number
RiskAssessment?probability=0.1                               r1
RiskAssessment?probability=1e-1                              r1
RiskAssessment?probability=0.6                               r2
RiskAssessment?probability=0.5
RiskAssessment?probability=0.55                              r2
RiskAssessment?probability:missing=true
RiskAssessment?probability:missing=false                     r1 r2 r3
# quantity
Observation?value-quantity=100                               o1 o3
Observation?value-quantity=100|UCUM|mg                       o1
Observation?value-quantity=100||points                       o3
Observation?value-quantity=100||mg                           o1
Observation?value-quantity=100|UCUM|g
Observation?value-quantity:missing=true                      o5
# uri
ValueSet?url=http://terms.example/a                          v1
ValueSet?url:below=http://terms.example/a                    v1 v2
ValueSet?url:above=http://terms.example/a/b/c                v1 v2
ValueSet?url:missing=true
ValueSet?url:missing=false                                   v1 v2 v3
Patient?_profile=http://profiles.example/a/b                 p1
Patient?_profile:below=http://profiles.example/a             p1
Patient?_source=http://source.example/x/y                    p1
Patient?_source:below=http://source.example/x                p1
Patient?_source:above=http://source.example/x/y/z            p1
# composite
Observation?code-value-quantity=LOINC|1-1$100                o1
Observation?code-value-quantity=1-1$gt100                    o2
Observation?code-value-quantity=2-2$lt5|UCUM|mg              o4
Observation?component-code-value-quantity=s$7                o3
Observation?component-code-value-quantity=s$5
Observation?combo-code-value-quantity=d$5,1-1$105.5          o2 o3
Observation?code-value-string=3-3$oeil                       o5
# special
Location?near=43.6|1.44|10|km                                l1
Location?near=43.6|1.44|100|km                               l1 l2
Location?near=43.6|1.44                                      l1
Observation?_content=oeil                                    o5
Observation?_content="mesure 2 2"                            o3 o4
Patient?_text=x
Patient?_list=list                                           p1
Observation?_list=list                                       o4
Patient?_filter=gender eq female or birthdate eq 1981        p1 p3
# chains: search.html#chaining
Observation?subject:Patient.gender=female                    o1 o3
Observation?subject.organization.name=part                   o1 o3
Observation?patient.organization.partof.name=tete            o1 o3
Observation?patient.organization.partof.name=autre
Observation?subject:Patient.general-practitioner.family=med  o1 o3
Observation?subject:Patient.gender:not=female                o2
Observation?subject:Patient.birthdate=lt1980-02-05           o2
Observation?subject:Patient.gender:missing=false             o1 o2 o3
Observation?encounter.service-provider:Organization.name=part  o1
# _has: search.html#has
Patient?_has:Observation:patient:code=1-1                    p1 p2
Patient?_has:Observation:patient:code=2-2                    p1
Patient?_has:Observation:patient:code=3-3
Patient?_has:Observation:subject:_has:Observation:has-member:code=2-2  p2
Patient?_has:Observation:subject:encounter.class=AMB         p1
Organization?_has:Organization:partof:_id=part               top
Organization?_has:Patient:organization:_has:Observation:subject:code=1-1  part
Practitioner?_has:Patient:general-practitioner:gender=female doc
Patient?_has:Observation:patient:code:not=1-1                p1
Practitioner?_has:PractitionerRole:practitioner:organization.partof.name=tete  doc
"""

PREFIXES = """
# search.html#prefix, date: o1 a moment on 2024-02-10, o2 2024-02-01 to 20, o3 the year 2024,
# o4 2024-01-01 00:30
Observation?date=eq2024-02                                   o1 o2
Observation?date=ne2024-02                                   o3 o4
Observation?date=gt2024-02-15                                o2 o3
Observation?date=lt2024-02-10                                o2 o3 o4
Observation?date=ge2024-02-10                                o1 o2 o3
Observation?date=le2024-02-10                                o1 o2 o3 o4
Observation?date=sa2024-01-15                                o1 o2
Observation?date=eb2024-02-21                                o1 o2 o4
Observation?date=ap2024-02-10                                o1 o2 o3 o4
Observation?date=ge2024-02-01&date=lt2024-03-01              o1 o2 o3
# number: 0.1, 0.55, 0.9
RiskAssessment?probability=eq0.55                            r2
RiskAssessment?probability=ne0.55                            r1 r3
RiskAssessment?probability=gt0.55                            r3
RiskAssessment?probability=lt0.55                            r1
RiskAssessment?probability=ge0.55                            r2 r3
RiskAssessment?probability=le0.55                            r1 r2
RiskAssessment?probability=sa0.1                             r2 r3
RiskAssessment?probability=eb0.9                             r1 r2
RiskAssessment?probability=ap0.5                             r2
RiskAssessment?probability=ap0.2
# quantity: 100 mg, 105.5 mg, 100 points, < 5 mg
Observation?value-quantity=eq100                             o1 o3
Observation?value-quantity=ne100|UCUM|mg                     o2 o4
Observation?value-quantity=gt100|UCUM|mg                     o2
Observation?value-quantity=lt100                             o4
Observation?value-quantity=ge100|UCUM|mg                     o1 o2
Observation?value-quantity=le100|UCUM|mg                     o1 o4
Observation?value-quantity=sa100                             o2
Observation?value-quantity=eb100                             o4
Observation?value-quantity=ap100                             o1 o2 o3
# in a composite, in a chain, in _has
Observation?code-value-quantity=1-1$ap100                    o1 o2
Observation?subject:Patient.birthdate=sa1980
Observation?subject:Patient.birthdate=ap1980                 o1 o2 o3
Patient?_has:Observation:patient:value-quantity=sa100        p2
Patient?_lastUpdated=gt2020                                  p1 p2 p3
Patient?_lastUpdated=lt2020
"""

# each row: query, what is matched, what is included
INCLUDES = """
Observation?_id=o1&_include=Observation:subject | Observation/o1 | Patient/p1
Observation?_id=o1&_include=Observation:subject:Patient | Observation/o1 | Patient/p1
Observation?_id=o1&_include=Observation:subject:Group | Observation/o1 |
Observation?_id=o1&_include=Observation:* | Observation/o1 | Encounter/e1 Patient/p1 Practitioner/doc
Observation?_id=o1&_include=* | Observation/o1 | Encounter/e1 Patient/p1 Practitioner/doc
Observation?_id=o3&_include=Observation:has-member | Observation/o3 | Observation/o2
Observation?_id=o3&_include:iterate=Observation:has-member | Observation/o3 | Observation/o1 Observation/o2
Observation?_id=o3&_include:recurse=Observation:has-member | Observation/o3 | Observation/o1 Observation/o2
Observation?_id=o1&_include=Observation:patient&_include:iterate=Patient:organization | Observation/o1 | Organization/part Patient/p1
Observation?_id=o1&_include=Observation:patient&_include:iterate=Patient:organization&_include:iterate=Organization:partof | Observation/o1 | Organization/part Organization/top Patient/p1
Observation?_id=o5&_include=Observation:subject | Observation/o5 |
Patient?_id=p1&_revinclude=Observation:subject | Patient/p1 | Observation/o1 Observation/o3
Patient?_id=p1&_revinclude=Observation:subject:Patient | Patient/p1 | Observation/o1 Observation/o3
Patient?_id=p2&_revinclude=Observation:* | Patient/p2 | Observation/o2
Patient?_id=p1&_revinclude=* | Patient/p1 | Encounter/e1 List/list Observation/o1 Observation/o3 Patient/p2 RiskAssessment/r1 RiskAssessment/r2 RiskAssessment/r3
Observation?_id=o1&_revinclude=Observation:has-member | Observation/o1 | Observation/o2
Observation?_id=o1&_revinclude:iterate=Observation:has-member | Observation/o1 | Observation/o2 Observation/o3
Patient?_id=p1&_revinclude=Observation:subject&_include:iterate=Observation:encounter | Patient/p1 | Encounter/e1 Observation/o1 Observation/o3
Patient?_id=p1,p2&_include=Patient:link | Patient/p1 Patient/p2 |
Patient?_id=p3&_include=*&_revinclude=* | Patient/p3 |
QuestionnaireResponse?_id=qr1&_include=QuestionnaireResponse:questionnaire | QuestionnaireResponse/qr1 | Questionnaire/q1
QuestionnaireResponse?_id=qr2&_include=* | QuestionnaireResponse/qr2 | Questionnaire/q1 Questionnaire/q2
Questionnaire?_id=q1&_revinclude=QuestionnaireResponse:questionnaire | Questionnaire/q1 | QuestionnaireResponse/qr1 QuestionnaireResponse/qr2
Questionnaire?_id=q2&_include=*&_revinclude=Observation:* | Questionnaire/q2 |
"""  # noqa: E501


@pytest.fixture(params=SLOWLY)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every test of this module, on every engine."""
    return str(request.param)


def rows(table: str) -> list[str]:
    table = table.replace("UCUM", UCUM).replace("LOINC", LOINC)
    return [line for line in table.strip().splitlines() if line and not line.startswith("#")]


async def ask(served: Served, query: str) -> dict[str, Any]:
    type, _, rest = query.partition("?")
    response = await served.client().get(f"/{type}", params=parse_qsl(rest, keep_blank_values=True))
    assert response.status_code == 200, (query, response.text)
    page: dict[str, Any] = response.json()
    return page


def named(page: dict[str, Any], mode: str) -> list[str]:
    found = (e["resource"] for e in page.get("entry", ()) if e["search"]["mode"] == mode)
    return sorted(f"{each['resourceType']}/{each['id']}" for each in found)


@pytest.mark.parametrize("table", [TYPES_OF_VALUES, PREFIXES], ids=["types and modifiers", "prefixes"])
async def test_values(served: Served, table: str) -> None:
    """What is found, what is counted, and what the reference evaluator finds, are the same exact sets."""
    memory = await fill(served)
    wrong = {}
    for row in rows(table):
        query, *ids = (part for part in row.replace("  ", "\0").split("\0") if part.strip())
        expected = set(ids[0].split()) if ids else set()
        type, _, rest = query.partition("?")
        page = await ask(served, query)
        found = {name.split("/")[1] for name in named(page, "match")}
        oracle = evaluated(served, memory, ALL, type, parse_qsl(rest, keep_blank_values=True))
        if not (found == expected == oracle and page["total"] == len(expected)):
            wrong[query] = (found, expected, oracle, page["total"])
    assert wrong == {}


async def test_includes(served: Served) -> None:
    await fill(served)
    wrong = {}
    for row in rows(INCLUDES):
        query, matched, included = (part.strip() for part in row.split("|"))
        page = await ask(served, query)
        found = (named(page, "match"), named(page, "include"), page["total"])
        if found != (matched.split(), included.split(), len(matched.split())):
            wrong[query] = found
    assert wrong == {}


ON = {
    "token": ("Patient", "gender"),
    "string": ("Patient", "family"),
    "reference": ("Patient", "organization"),
    "date": ("Patient", "birthdate"),
    "number": ("RiskAssessment", "probability"),
    "quantity": ("Observation", "value-quantity"),
    "uri": ("ValueSet", "url"),
    "composite": ("Observation", "code-value-quantity"),
    "special": ("Location", "near"),
}
ALLOWED = {
    "token": "missing text not above below in not-in",
    "string": "missing exact contains",
    "reference": "missing identifier above below Organization",
    "date": "missing",
    "number": "missing",
    "quantity": "missing",
    "uri": "missing above below",
    "composite": "",
    "special": "",
}
MODIFIERS = (
    "missing", "exact", "contains", "text", "not", "above", "below", "in", "not-in", "of-type", "identifier",
    "Patient", "Organization", "iterate", "x",
)  # fmt: skip


@pytest.mark.parametrize(
    ("type", "modifier"),
    [pair for pair in itertools.product(ON, MODIFIERS) if pair[1] not in ALLOWED[pair[0]].split()],
)
async def test_a_modifier_of_another_type_is_refused(served: Served, type: str, modifier: str) -> None:
    """search.html#modifiers: an error, not a search without it; the message names what the type takes."""
    on, code = ON[type]
    assert definitions.search_parameters(on)[code].type == type
    response = await served.client().get(f"/{on}?{code}:{modifier}=x")
    assert response.status_code == 400
    told = response.json()["issue"][0]["diagnostics"]
    assert f"{on}.{code} ({type}) has no modifier ':{modifier}'" in told
    assert (":missing" in told.partition("; ")[2]) == ("missing" in ALLOWED[type])


PREFIX_MISUSE = [
    ("Patient?birthdate=xx2020", "eq, ne, gt, lt, ge, le, sa, eb, ap"),
    ("RiskAssessment?probability=xx1", "eq, ne, gt, lt, ge, le, sa, eb, ap"),
    ("Observation?value-quantity=xx1", "eq, ne, gt, lt, ge, le, sa, eb, ap"),
    ("RiskAssessment?probability=gt", "decimal number"),
    ("Observation?value-quantity=1|mg", "[number]|[system]|[unit]"),
    ("Observation?code-value-quantity=1-1$x", "value-quantity"),
    ("Observation?code-value-quantity=1-1", "[code]$[value-quantity]"),
    ("Location?near=x", "[latitude]|[longitude]"),
]


@pytest.mark.parametrize(("query", "told"), PREFIX_MISUSE)
async def test_a_value_of_another_form_is_refused(served: Served, query: str, told: str) -> None:
    response = await served.client().get(f"/{query}")
    assert response.status_code == 400
    assert told in response.json()["issue"][0]["diagnostics"]


def test_the_tables_reach_every_type() -> None:
    """No type of parameter without a row, no resource of the world that is never found."""
    asked = "\n".join(rows(TYPES_OF_VALUES + PREFIXES))
    for on, code in ON.values():
        assert f"{on}?{code}" in asked.replace("Patient?organization", "") or f".{code}" in asked, (on, code)
    found = set(asked.split())
    never = {
        r["id"] for r in WORLD if r["resourceType"] in {"Patient", "Observation", "RiskAssessment"}
    } - found
    assert never == set()
