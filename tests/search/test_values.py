"""Search by value, from the query to the resource: prefixes and precision on real entries.

FHIR R4 search.html#prefix, #number, #quantity, #string, #date
"""

from zoneinfo import ZoneInfo

import pytest

from fhir_server.access import SYSTEM
from fhir_server.search import evaluate
from fhir_server.search.index import extract
from fhir_server.search.plan import plan
from profiles import codec

BASE, PARIS = "https://here.example/fhir", ZoneInfo("Europe/Paris")


def hits(type: str, query: str, *bodies: str) -> str:
    """The indexes of those bodies that a query finds, as evaluated."""
    name, _, value = query.partition("=")
    where = plan(type, [(name, value)], SYSTEM, fhir_base=BASE, zone=PARIS).select.where
    world = evaluate.Memory()
    found = ""
    for n, body in enumerate(bodies):
        resource = codec.parse(b'{"resourceType":"%s",%s}' % (type.encode(), body.encode()))
        if evaluate.matches(where, evaluate.View(type, str(n), extract(resource, BASE, PARIS)), world):
            found += str(n)
    return found


DATES = [
    f'"birthDate":"{date}"'
    for date in ("2024", "2024-02", "2024-02-10", "2024-03-01", "2023-12-31", "2025-01-01")
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("2024", "0123"),
        ("eq2024-02", "12"),
        ("2024-02-10", "2"),
        ("ne2024-02", "0345"),
        ("gt2024-02", "035"),
        ("lt2024-02", "04"),
        ("ge2024-02", "01235"),
        ("le2024-02", "0124"),
        ("sa2024-02", "35"),
        ("eb2024-02", "4"),
        ("gt2024", "5"),
        ("lt2024", "4"),
        ("ge2024", "01235"),
        ("le2024", "01234"),
        ("sa2024", "5"),
        ("eb2024", "4"),
        ("2024-02-10T10:00", ""),
        ("ge2024-02-10T10:00", "01235"),
        ("le2024-02-10T10:00", "0124"),
        ("2024-02,2025", "125"),
    ],
)
def test_dates(query: str, found: str) -> None:
    assert hits("Patient", f"birthdate={query}", *DATES) == found


QUANTITIES = [
    f'"status":"final","code":{{}},"valueQuantity":{{{each}}}'
    for each in (
        '"value":100,"system":"http://unitsofmeasure.org","code":"mg","unit":"milligramme"',
        '"value":100.00,"unit":"mg"',
        '"value":100.4,"system":"http://unitsofmeasure.org","code":"mg"',
        '"value":100.5,"system":"other","code":"mg"',
        '"value":99',
        '"value":5,"comparator":"<","code":"mg","system":"http://unitsofmeasure.org"',
    )
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("100", "012"),
        ("100.0", "01"),
        ("1e2", "01234"),
        ("gt100", "23"),
        ("lt100", "45"),
        ("ge100", "0123"),
        ("le100", "0145"),
        ("ne100", "345"),
        ("sa100", "23"),
        ("eb100", "45"),
        ("ap100", "01234"),
        ("lt4", "5"),
        ("gt200", ""),
        ("100|http://unitsofmeasure.org|mg", "02"),
        ("100||mg", "012"),
        ("100||milligramme", "0"),
        ("gt1|other|mg", "3"),
        ("99|http://unitsofmeasure.org|mg", ""),
        ("100,99", "0124"),
        ("-100", ""),
    ],
)
def test_quantities(query: str, found: str) -> None:
    assert hits("Observation", f"value-quantity={query}", *QUANTITIES) == found


NAMES = [
    '"name":[{"family":"Lefèvre"}]',
    '"name":[{"family":"LEFEVRE-DUPONT"}]',
    '"name":[{"family":"de  Lefevre"}]',
    '"active":true',
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("family=lefevre", "01"),
        ("family=LEFÈVRE", "01"),
        ("family:contains=fevre", "012"),
        ("family:exact=Lefèvre", "0"),
        ("family:exact=lefèvre", ""),
        ("family=de lefevre", "2"),
        ("family:missing=true", "3"),
        ("family:missing=false", "012"),
        ("family=dupont,de", "2"),
        ("name=lefevre", "01"),
    ],
)
def test_strings(query: str, found: str) -> None:
    assert hits("Patient", query, *NAMES) == found


TOKENS = [
    '"status":"active","category":[{"coding":[{"system":"s","code":"a","display":"Avis urgent"}]}],'
    '"subject":{"reference":"Patient/1"}',
    '"status":"draft","category":[{"coding":[{"code":"a"}],"text":"autre"}],'
    '"subject":{"reference":"https://here.example/fhir/Patient/1"}',
    '"status":"active","category":[{"text":"avis"}],"subject":{"identifier":{"system":"ins","value":"9"}}',
    '"status":"active","subject":{"display":"X"}',
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("category=a", "01"),
        ("category=s|a", "0"),
        ("category=|a", "1"),
        ("category=s|", "0"),
        ("category:not=s|a", "123"),
        ("category:text=avis", "02"),
        ("category:missing=true", "3"),
        ("category:missing=false", "012"),
        ("status=active", "023"),
        ("status=http://hl7.org/fhir/request-status|draft", "1"),
        ("status=active,draft", "0123"),
        ("subject=Patient/1", "01"),
        ("subject=1", "01"),
        ("subject:Patient=1", "01"),
        ("subject:Group=1", ""),
        ("subject=https://here.example/fhir/Patient/1", "01"),
        ("subject=https://there.example/fhir/Patient/1", ""),
        ("subject:identifier=ins|9", "2"),
        ("subject:missing=true", ""),
        ("category=A", ""),
    ],
)
def test_tokens_and_references(query: str, found: str) -> None:
    assert hits("ServiceRequest", query, *TOKENS) == found
