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
from profiles.outcomes import Invalid

BASE, PARIS = "https://here.example/fhir", ZoneInfo("Europe/Paris")


def hits(type: str, query: str, *bodies: str) -> str:
    """The indexes (hexadecimal digits) of those bodies that a query finds, as evaluated."""
    name, _, value = query.partition("=")
    where = plan(type, [(name, value)], SYSTEM, fhir_base=BASE, zone=PARIS).select.where
    world = evaluate.Memory()
    found = ""
    for n, body in enumerate(bodies):
        resource = codec.parse(b'{"resourceType":"%s",%s}' % (type.encode(), body.encode()))
        if evaluate.matches(where, evaluate.View(type, str(n), extract(resource, BASE, PARIS)), world):
            found += f"{n:x}"
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


UCUM = [
    f'"status":"final","code":{{}},"valueQuantity":{{"value":{value},"system":"http://unitsofmeasure.org","code":"{unit}"}}'
    for value, unit in (
        ("1", "g"),
        ("1000", "mg"),
        ("0.0010", "kg"),
        ("1000.4", "mg"),
        ("37", "Cel"),
        ("98.6", "[degF]"),
        ("310.15", "K"),
        ("7.4", "[pH]"),
        ("5", "[IU]"),
        ("5", "points"),
        ("120", "mm[Hg]"),
        ("1", "{tablet}"),
        ("1e300", "kg"),
    )
]
EXACTLY = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"1|{EXACTLY}|g", {0, 1, 2, 3}),
        (f"1.000|{EXACTLY}|g", {0, 1, 2, 3}),
        (f"1.0000|{EXACTLY}|g", {0, 1, 2}),
        (f"1000|{EXACTLY}|mg", {0, 1, 2, 3}),
        (f"1000.0|{EXACTLY}|mg", {0, 1, 2}),
        (f"ge1000|{EXACTLY}|mg", {0, 1, 2, 3, 12}),
        (f"gt0.001|{EXACTLY}|kg", {3, 12}),
        (f"le1|{EXACTLY}|g", {0, 1, 2}),
        (f"lt1000.4|{EXACTLY}|mg", {0, 1, 2}),
        (f"sa1|{EXACTLY}|g", {3, 12}),
        (f"eb1000.4|{EXACTLY}|mg", {0, 1, 2}),
        (f"ne1.0000|{EXACTLY}|g", {3, 12}),
        (f"ap0.95|{EXACTLY}|g", {0, 1, 2, 3}),
        (f"37.00|{EXACTLY}|Cel", {4, 5, 6}),
        (f"gt98.6|{EXACTLY}|[degF]", set()),
        (f"ge310.15|{EXACTLY}|K", {4, 5, 6}),
        (f"16.0|{EXACTLY}|kPa", {10}),
        (f"7.4|{EXACTLY}|[pH]", {7}),
        (f"gt7|{EXACTLY}|[pH]", {7}),
        (f"5|{EXACTLY}|[iU]", {8}),
        (f"5|{EXACTLY}|points", {9}),
        (f"1|{EXACTLY}|1", {11}),
        (f"1|{EXACTLY}|{{piece}}", {11}),
        ("1||g", {0}),
        ("1000", {1, 3}),
        ("1", {0, 11}),
        (f"5|{EXACTLY}|g", set()),
    ],
)
def test_quantities_of_one_dimension(query: str, found: set[int]) -> None:
    """search.html#quantity: in whatever unit of UCUM. Without a system and code, the number as written."""
    places = hits("Observation", f"value-quantity={query}", *UCUM)
    assert {int(place, 16) for place in places} == found


def test_a_quantity_out_of_measure_is_refused() -> None:
    with pytest.raises(Invalid, match="decimal number"):
        hits("Observation", f"value-quantity=1e300|{EXACTLY}|Ym", *UCUM)


PAIRS = [
    '"status":"final","code":{"coding":[{"system":"urn:l","code":"dose"}]},"valueQuantity":'
    f'{{"value":{value},"system":"http://unitsofmeasure.org","code":"{unit}"}}'
    for value, unit in (("1", "g"), ("1000", "mg"), ("2", "g"))
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"code-value-quantity=urn:l|dose$1|{EXACTLY}|g", "01"),
        (f"code-value-quantity=urn:l|dose$gt1500|{EXACTLY}|mg", "2"),
        (f"code-value-quantity=urn:l|other$1|{EXACTLY}|g", ""),
        ("code-value-quantity=urn:l|dose$1000", "1"),
        ("code-value-quantity=urn:l|dose$1||g", "0"),
        (f"combo-code-value-quantity=urn:l|dose$1000|{EXACTLY}|mg", "01"),
    ],
)
def test_composites_of_quantities(query: str, found: str) -> None:
    assert hits("Observation", query, *PAIRS) == found


@pytest.mark.parametrize(
    "value", ["1000000000000000000", "1.000000000000000000E-245", "-1.000E+245", "0.00", "-3"]
)
def test_a_number_of_any_size_is_found_by_itself(value: str) -> None:
    """search.html#number: also where no float lies between the value and its limits."""
    body = f'"status":"final","code":{{}},"valueQuantity":{{"value":{value}}}'
    for prefix, found in (
        ("", "0"),
        ("ne", ""),
        ("ge", "0"),
        ("le", "0"),
        ("gt", ""),
        ("lt", ""),
        ("ap", "0"),
    ):
        assert hits("Observation", f"value-quantity={prefix}{value}", body) == found


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


def component(code: str, value: str) -> str:
    return f'{{"code":{{"coding":[{{"system":"l","code":"{code}"}},{{"code":"x{code}"}}]}},{value}}}'


def mmhg(value: int) -> str:
    return f'"valueQuantity":{{"value":{value},"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}'


PRESSURES = [
    f'"status":"final","code":{{"coding":[{{"code":"bp"}}]}},"component":[{component("s", mmhg(120))},'
    f"{component('d', mmhg(80))}]",
    f'"status":"final","code":{{"coding":[{{"code":"bp"}}]}},"component":[{component("s", mmhg(80))},'
    f"{component('d', mmhg(120))}]",
    f'"status":"final","code":{{"coding":[{{"code":"s"}}]}},{mmhg(120)}',
    '"status":"final","code":{"coding":[{"code":"s"}]},"valueString":"Œil rouge"',
    '"status":"final","code":{"coding":[{"code":"s"}]},"valueDateTime":"2024-02"',
    '"status":"final","code":{"coding":[{"code":"s"}]},'
    '"valueCodeableConcept":{"coding":[{"system":"v","code":"y"},{"code":"z"}]}',
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("component-code-value-quantity=l|s$gt100", "0"),
        ("component-code-value-quantity=s$120||mmHg", "0"),
        ("component-code-value-quantity=xs$le80|http://unitsofmeasure.org|mm[Hg]", "1"),
        ("component-code-value-quantity=d$gt100,s$gt100", "01"),
        ("component-code-value-quantity=other|s$gt100", ""),
        ("combo-code-value-quantity=s$gt100", "02"),
        ("code-value-quantity=s$gt100", "2"),
        ("code-value-quantity=s$lt100", ""),
        ("code-value-string=s$oeil", "3"),
        ("code-value-string=x$oeil", ""),
        ("code-value-date=s$ge2024-02-01", "4"),
        ("code-value-date=s$lt2024", ""),
        ("code-value-concept=s$v|y", "5"),
        ("code-value-concept=s$z", "5"),
        ("combo-code-value-concept=s$v|z", ""),
    ],
)
def test_composites(query: str, found: str) -> None:
    """search.html#composite: the values of one element, not of the resource."""
    assert hits("Observation", query, *PRESSURES) == found


def test_composites_of_other_types() -> None:
    """Three components, %resource, and the one whose expressions the standard printed the wrong way round."""
    sequences = [
        '"coordinateSystem":0,"referenceSeq":{"chromosome":{"coding":[{"code":"1"}]},"windowStart":0,"windowEnd":9},'
        f'"variant":[{{"start":{start},"end":{start + 5}}},{{"start":90,"end":99}}]'
        for start in (10, 20)
    ]
    query = "chromosome-variant-coordinate=1$gt{}$lt{}"
    assert hits("MolecularSequence", query.format(5, 17), *sequences) == "0"
    assert hits("MolecularSequence", query.format(15, 30), *sequences) == "1"
    assert hits("MolecularSequence", query.format(5, 26), *sequences) == "01"
    assert hits("MolecularSequence", "chromosome-variant-coordinate=2$gt5$lt26", *sequences) == ""
    papers = [
        '"status":"current","content":[],"relatesTo":['
        f'{{"code":"{codes[0]}","target":{{"reference":"DocumentReference/a"}}}},'
        f'{{"code":"{codes[1]}","target":{{"reference":"DocumentReference/b"}}}}]'
        for codes in (("replaces", "signs"), ("signs", "replaces"))
    ]
    assert hits("DocumentReference", "relationship=DocumentReference/a$replaces", *papers) == "0"
    assert hits("DocumentReference", "relationship=b$replaces", *papers) == "1"
    groups = [
        '"type":"person","actual":true,"characteristic":[{"code":{"coding":[{"code":"c"}]},"valueBoolean":true}]'
    ]
    assert hits("Group", "characteristic-value=c$true", *groups) == "0"
    assert hits("Group", "characteristic-value=c$false", *groups) == ""


PLACES = [
    '"position":{"latitude":43.6045,"longitude":1.4440}',  # Toulouse
    '"position":{"latitude":42.9655,"longitude":1.6053}',  # Foix, 72.3 km away
    '"position":{"latitude":0,"longitude":179.9}',
    '"position":{"latitude":0,"longitude":-179.9}',  # 22.2 km from the one before
    '"name":"nowhere"',
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("43.6045|1.4440|72|km", "0"),
        ("43.6045|1.4440|73|km", "01"),
        ("43.6045|1.4440|73000|m", "01"),
        ("43.6045|1.4440|44|[mi_us]", "0"),
        ("43.6045|1.4440|46|[mi_us]", "01"),
        ("43.6045|1.4440|0", "0"),
        ("43.6045|1.4440", "0"),
        ("0|179.9|22", "2"),
        ("0|179.9|23", "23"),
        ("0|0|20100", "0123"),
    ],
)
def test_near(query: str, found: str) -> None:
    """location.html#search: a circle on the sphere, across the date line too."""
    assert hits("Location", f"near={query}", *PLACES) == found


TEXTS = [
    '"text":{"status":"generated","div":"<div><p>Greffe de <b>rein</b>&#233;</p></div>"},'
    '"name":[{"family":"Moelle"}]',
    '"name":[{"text":"Rein Œdème osseux"}]',
    '"text":{"status":"generated","div":"<div>rein gauche</div>"},'
    '"photo":[{"data":"cmVpbg==","title":"moelle osseuse"}]',
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("_text=greffe", "0"),
        ("_text=rein", "2"),
        ("_text=reine", "0"),
        ("_text=re*", "02"),
        ("_text=moelle", ""),
        ("_content=moelle", "02"),
        ("_content=rein", "12"),
        ('_content="moelle osseuse"', "2"),
        ('_content="osseuse moelle"', ""),
        ("_content=osseuse moelle", "2"),
        ("_content=moelle NOT greffe", "2"),
        ("_content=greffe OR oedeme", "01"),
        ("_content=OEDÈME,greffe", "01"),
        ('_content="rein oed"*', "1"),
        ("_content=b", ""),
        ("_content=cmVpbg", ""),
    ],
)
def test_texts(query: str, found: str) -> None:
    """search.html#content"""
    assert hits("Patient", query, *TEXTS) == found


ADDRESSES = [
    f'"status":"draft","url":"{url}"' for url in ("http://a/b", "http://a/b/c", "http://a/bc", "urn:x:b")
]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("url=http://a/b", "0"),
        ("url:below=http://a/b", "01"),
        ("url:below=http://a/b/", "01"),
        ("url:below=http://a", "012"),
        ("url:above=http://a/b/c/d", "01"),
        ("url:above=http://a/b", "0"),
        ("url:below=urn:x:b", "3"),
        ("url:missing=true", ""),
    ],
)
def test_addresses(query: str, found: str) -> None:
    """search.html#uri"""
    assert hits("ValueSet", query, *ADDRESSES) == found
