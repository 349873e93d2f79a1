"""Query → tree, as s-expressions: one row per rule of search.html."""

from zoneinfo import ZoneInfo

import pytest

from fhir_server.access import SYSTEM, Access, Scope
from fhir_server.search.plan import plan
from profiles.outcomes import Invalid

BASE = "https://here.example/fhir"
PARIS = ZoneInfo("Europe/Paris")
NOW = 1_700_000_000_000_000


def where(query: str, access: Access = SYSTEM) -> str:
    """`Type?name=value&…`, nothing decoded."""
    type, _, rest = query.partition("?")
    pairs = [tuple(pair.split("=", 1)) for pair in rest.split("&")] if rest else []
    return str(plan(type, pairs, access, fhir_base=BASE, zone=PARIS, now=NOW).select.where)  # type: ignore[arg-type]


DAY = 1_704_063_600_000_000  # 2024-01-01T00:00+01:00
NEXT = DAY + 86_400_000_000

TREES = [
    # token
    ("Patient", "(all)"),
    ("Patient?gender=male", "(token gender *|male)"),
    ("Patient?gender=male,female", "(token gender *|male *|female)"),
    ("Patient?identifier=urn:x|12", "(token identifier urn:x|12)"),
    ("Patient?identifier=|12", "(token identifier |12)"),
    ("Patient?identifier=urn:x|", "(token identifier urn:x|*)"),
    (r"Patient?identifier=urn:x|1\,2\|3\$\\", r"(token identifier urn:x|1,2|3$\)"),
    ("Patient?gender:not=male,female", "(not (token gender *|male *|female))"),
    ("Patient?identifier:of-type=urn:t|MR|12", "(token identifier:of-type urn:t|MR|12)"),
    ("Observation?code:text=Tension%20", "(string code:text starts 'tension%20')"),
    ("Patient?active=true&gender=male", "(and (token active *|true) (token gender *|male))"),
    ("Patient?_tag=urn:x|a", "(token _tag urn:x|a)"),
    ("Patient?_security=a", "(token _security *|a)"),
    ("Patient?_id=1,2", "(id 1 2)"),
    ("Patient?_id:not=1", "(not (id 1))"),
    ("Patient?_id:missing=false", "(all)"),
    # composite
    (
        "Observation?code-value-quantity=urn:l|8480-6$gt120",
        "(composite code-value-quantity (token code urn:l|8480-6)"
        " (number value-quantity [e>120.0] None|None))",
    ),
    (
        r"Observation?code-value-string=a\$b$Ox",
        "(composite code-value-string (token code *|a$b) (string value-string starts 'ox'))",
    ),
    (
        "DocumentReference?relationship=DocumentReference/1$replaces",
        "(composite relationship (ref relatesto DocumentReference/1) (token relation *|replaces))",
    ),
    # special
    ("Location?near=43.6|1.44|5|km", "(near near 43.6 1.44 5000.0)"),
    ("Location?near=43.6|1.44|5", "(near near 43.6 1.44 5000.0)"),
    ("Location?near=43.6|1.44", "(near near 43.6 1.44 50000.0)"),
    (
        "Location?near=43.6|1.44|300|m,0|0|1|[mi_us]",
        "(or (near near 43.6 1.44 300.0) (near near 0.0 0.0 1609.3472186944373))",
    ),
    ("Patient?_text=Œdème", "(text _text 'oedeme')"),
    (
        'Patient?_text=(bone OR liver) and NOT "L\'os  long" metast*',
        "(and (or (text _text 'bone') (text _text 'liver')) (not (text _text 'l os long')) "
        "(text _text 'metast'*))",
    ),
    ("Patient?_content=a", "(or (text _text 'a') (text _content 'a'))"),
    # uri
    ("ValueSet?url:below=http://a/b/", "(or (token url |http://a/b |http://a/b/) (below url http://a/b/))"),
    (
        "ValueSet?url:above=http://a/b/c",
        "(token url |http://a/b/c |http://a/b/c/ |http://a/b |http://a/b/ |http://a |http://a/)",
    ),
    ("ValueSet?url:above=urn:oid:1.2", "(token url |urn:oid:1.2)"),
    # missing
    ("Patient?birthdate:missing=true", "(missing birthdate)"),
    ("Patient?birthdate:missing=false", "(not (missing birthdate))"),
    ("Patient?gender:missing=true", "(and (missing gender) (missing gender:text))"),
    (
        "Patient?organization:missing=true",
        "(and (missing organization) (missing organization:text) (missing organization:identifier))",
    ),
    # uri
    ("Patient?_profile=http://x/p", "(token _profile |http://x/p)"),
    ("Patient?_source=urn:s", "(token _source |urn:s)"),
    # reference
    ("Task?focus=ServiceRequest/12", "(ref focus ServiceRequest/12)"),
    ("Patient?organization=12", "(ref organization Organization/12)"),
    (
        "Patient?general-practitioner=12",
        "(ref general-practitioner Practitioner/12 Organization/12 PractitionerRole/12)",
    ),
    ("Patient?general-practitioner:Organization=12", "(ref general-practitioner Organization/12)"),
    ("Patient?organization=https://here.example/fhir/Organization/12", "(ref organization Organization/12)"),
    (
        "Patient?organization=https://there.example/fhir/Organization/12",
        "(ref organization https://there.example/fhir/Organization/12)",
    ),
    ("Patient?organization:identifier=urn:x|1", "(token organization:identifier urn:x|1)"),
    # string
    ("Patient?family=Lefèvre,  DUPONT ", "(string family starts 'lefevre' 'dupont')"),
    ("Patient?family:contains=EF", "(string family contains 'ef')"),
    (
        "Patient?family:exact=Lefèvre",
        "(and (string family starts 'lefevre') (string family exact 'Lefèvre'))",
    ),
    # date
    ("Patient?birthdate=2024-01-01", f"(date birthdate [s>={DAY} e<={NEXT}])"),
    ("Patient?birthdate=eq2024-01-01", f"(date birthdate [s>={DAY} e<={NEXT}])"),
    ("Patient?birthdate=ne2024-01-01", f"(date birthdate [s<{DAY}] [e>{NEXT}])"),
    ("Patient?birthdate=gt2024-01-01", f"(date birthdate [e>{NEXT}])"),
    ("Patient?birthdate=lt2024-01-01", f"(date birthdate [s<{DAY}])"),
    ("Patient?birthdate=ge2024-01-01", f"(date birthdate [e>{NEXT}] [s>={DAY} e<={NEXT}])"),
    ("Patient?birthdate=le2024-01-01", f"(date birthdate [s<{DAY}] [s>={DAY} e<={NEXT}])"),
    ("Patient?birthdate=sa2024-01-01", f"(date birthdate [s>={NEXT}])"),
    ("Patient?birthdate=eb2024-01-01", f"(date birthdate [e<={DAY}])"),
    (
        "Patient?_lastUpdated=gt2024-01-01T00:00:00%2B".replace("%2B", " ") + "01:00",
        f"(date _lastUpdated [e>{DAY + 1_000_000}])",
    ),
    ("Patient?birthdate=ap2023-11-14T22:13:20Z", f"(date birthdate [s<{NOW + 1_000_000} e>{NOW}])"),
    # number and quantity
    ("RiskAssessment?probability=100", "(number probability [s>=99.5 s<100.5 e<=100.5] None|None)"),
    ("RiskAssessment?probability=1.00", "(number probability [s>=0.995 s<1.005 e<=1.005] None|None)"),
    ("RiskAssessment?probability=1e2", "(number probability [s>=50.0 s<150.0 e<=150.0] None|None)"),
    ("RiskAssessment?probability=gt0.8", "(number probability [e>0.8] None|None)"),
    ("RiskAssessment?probability=lt-0.8", "(number probability [s<-0.8] None|None)"),
    (
        "Observation?value-quantity=gt5.4|http://unitsofmeasure.org|mg",
        "(number value-quantity:canonical [e>0.0054] |g)",
    ),
    ("Observation?value-quantity=lt5||mg", "(number value-quantity [s<5.0] None|mg)"),
    # chains and _has
    ("Task?focus:ServiceRequest.status=active", "(chain focus ServiceRequest (token status *|active))"),
    (
        "Observation?subject:Patient.organization.name=x",
        "(chain subject Patient (chain organization Organization (string name starts 'x')))",
    ),
    ("Patient?organization.name=x", "(chain organization Organization (string name starts 'x'))"),
    (
        "Patient?general-practitioner.active=true",
        "(or (chain general-practitioner Practitioner (token active *|true)) "
        "(chain general-practitioner Organization (token active *|true)) "
        "(chain general-practitioner PractitionerRole (token active *|true)))",
    ),
    ("Patient?_has:Observation:patient:code=x", "(has Observation patient (token code *|x))"),
    (
        "Patient?_has:Observation:patient:_has:Provenance:target:_id=1",
        "(has Observation patient (has Provenance target (id 1)))",
    ),
    (
        "Organization?_has:Patient:organization:general-practitioner.family:exact=X",
        "(has Patient organization (chain general-practitioner Practitioner "
        "(and (string family starts 'x') (string family exact 'X'))))",
    ),
]


@pytest.mark.parametrize(("query", "tree"), TREES, ids=[query for query, _ in TREES])
def test_a_query_means(query: str, tree: str) -> None:
    assert where(query) == tree


REFUSED = [
    ("Patient?nmae=x", "unknown-parameter", "did you mean 'name'? Valid: _content, _filter, _id, "),
    ("Patient?_query=x", "unknown-parameter", "'_query' is not offered here. Valid:"),
    ("Patient?name:exakt=x", "unknown-modifier", "it takes :missing, :exact, :contains"),
    ("Patient?gender:exact=x", "unknown-modifier", "it takes :missing, :not, :text"),
    ("Observation?code-value-quantity=8480-6", "bad-composite", "takes [code]$[value-quantity]"),
    ("Observation?code-value-quantity:missing=true", "unknown-modifier", "it takes none"),
    ("Observation?_sort=code-value-quantity", "bad-sort", "(composite) has no order"),
    ("Location?near=43.6", "bad-near", "[latitude]|[longitude]|[distance]|[unit]"),
    ("Location?near=91|0", "bad-near", "-90 to 90"),
    ("Location?near=1|0|5|kg", "bad-near", "a UCUM length"),
    ("Location?near=1|0|-5", "bad-near", "from 0 up"),
    ("Location?near=1|x", "bad-number", "'near'"),
    ("Patient?_text=(a", "bad-text", "'(' is not closed"),
    ("Patient?_text=a)", "bad-text", "closes nothing"),
    ('Patient?_text="a', "bad-text", "quotation mark"),
    ("Patient?_text=a AND", "bad-text", "a word is missing"),
    ("Patient?_text=---", "bad-text", "without any letter"),
    ("Patient?_id:text=x", "unknown-modifier", "it takes :missing, :not"),
    (
        "Patient?organization:Patient=x",
        "unknown-modifier",
        "it takes :missing, :identifier, :above, :below, :Organization",
    ),
    ("Patient?name=", "empty-value", "empty value"),
    ("Patient?name=a,,b", "empty-value", "empty value"),
    ("Patient?name=\u0301", "empty-value", "without any letter"),
    ("Patient?birthdate=2024-13-01", "bad-date", "month 13"),
    ("Patient?birthdate=xx2024", "bad-prefix", "eq, ne, gt"),
    ("Patient?birthdate=hier", "bad-date", "YYYY"),
    ("Patient?gender=|", "bad-token", "[system]|[code]"),
    ("Patient?gender=a|b|c", "bad-token", "[system]|[code]"),
    ("Patient?identifier:of-type=a|b", "bad-token", "[type system]"),
    ("Patient?active:missing=maybe", "bad-missing", "true or false"),
    ("Patient?organization=?x", "bad-reference", "[type]/[id]"),
    ("Patient?general-practitioner:Organization=Practitioner/1", "bad-reference", "another type"),
    ("RiskAssessment?probability=viele", "bad-number", "decimal"),
    ("RiskAssessment?probability=1e999999999", "bad-number", "decimal"),
    ("RiskAssessment?probability=NaN", "bad-number", "decimal"),
    ("Observation?value-quantity=1|x", "bad-quantity", "[number]"),
    ("Patient?gender.name=x", "bad-chain", "no reference"),
    ("Patient?organization:Patient.name=x", "bad-chain", "but to Organization"),
    ("Patient?organization.nmae=x", "unknown-parameter", "nothing that Patient.organization"),
    ("Provenance?target._id=1", "ambiguous-chain", "say which"),
    ("Procedure?" + "part-of." * 8 + "_id=1", "ambiguous-chain", "say which"),
    ("Patient?_has:Observtion:patient:code=x", "unknown-type", "did you mean 'Observation'?"),
    ("Organization?_has:Observation:patient:code=x", "bad-has", "does not refer to Organization"),
    ("Patient?_has:Observation:code=x", "bad-parameter-name", "_has:[type]"),
    ("Patient?na me=x", "bad-parameter-name", "not the name"),
    ("Patient?" + "link." * 9 + "name=x", "chain-too-deep", "more than 8"),
    ("Patient?_sort=-nmae", "unknown-parameter", "did you mean 'name'?"),
    ("Patient?_count=-1", "bad-count", "_count"),
    ("Patient?_total=some", "bad-total", "none, estimate, accurate"),
    ("Patient?_summary=some", "bad-summary", "count"),
    ("Patient?_include=Patient:name", "bad-include", "no reference"),
    ("Patient?_include=Observation:patient", "bad-include", "_include:iterate"),
    ("Patient?_include=Patient:organization:Task", "bad-include", "does not refer to Task"),
    ("Patient?_include:often=Patient:organization", "unknown-modifier", ":iterate"),
    ("Patient?_revinclude=Task", "bad-include", "[type]:[reference"),
    ("Patient?_revinclude=Tsk:focus", "unknown-type", "not a resource type"),
]


@pytest.mark.parametrize(("query", "slug", "told"), REFUSED)
def test_a_query_is_refused(query: str, slug: str, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        where(query)
    assert caught.value.slug == slug
    assert told in str(caught.value)


def test_a_value_is_never_repeated_in_an_error() -> None:
    for query in ("Patient?birthdate=geheim", "Patient?gender=ge|hei|m", "RiskAssessment?probability=geheim"):
        with pytest.raises(Invalid) as caught:
            where(query)
        assert "geheim" not in str(caught.value)
        assert "hei" not in str(caught.value)


def test_lenient_passes_over_unknown_parameters_only() -> None:
    found = plan(
        "Patient",
        [("nmae", "x"), ("gender", "male"), ("_sort", "nmae"), ("organization.nmae", "x")],
        SYSTEM,
        fhir_base=BASE,
        zone=PARIS,
        lenient=True,
    )
    assert str(found.select.where) == "(token gender *|male)"
    assert [(issue.severity, issue.slug) for issue in found.ignored] == [("warning", "unknown-parameter")] * 3
    assert found.parameters == (("gender", "male"),)
    with pytest.raises(Invalid):
        plan("Patient", [("birthdate", "x")], SYSTEM, fhir_base=BASE, zone=PARIS, lenient=True)


READER = Access("Practitioner/p1", (Scope("*", "rs"),), frozenset({"Practitioner/p1"}))
MINE = "(ref audience Practitioner/p1)"


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("ServiceRequest", MINE),
        ("ServiceRequest?status=active", f"(and {MINE} (token status *|active))"),
        (
            "Task?focus:ServiceRequest.status=active",
            f"(and (chain focus ServiceRequest {MINE}) "
            f"(chain focus ServiceRequest (and {MINE} (token status *|active))))",
        ),
        (
            "Patient?_has:ServiceRequest:subject:status=active",
            f"(and (has ServiceRequest subject {MINE}) "
            f"(has ServiceRequest subject (and {MINE} (token status *|active))))",
        ),
        (
            "Organization?_has:Patient:organization:gender=male",
            f"(has Patient organization (and (has ServiceRequest subject {MINE}) (token gender *|male)))",
        ),
        ("Basic", "(none)"),
        ("Practitioner?_has:Basic:author:_id=1", "(none)"),
    ],
)
def test_access_goes_along_at_every_hop(query: str, tree: str) -> None:
    assert where(query, READER) == tree


def test_no_right_finds_nothing() -> None:
    assert where("Patient", Access("x", (), frozenset())) == "(none)"
