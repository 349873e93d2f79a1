"""The parser, the compiler as far as search needs it, and the plain paths, held to each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles import definitions
from profiles.fhirpath import analysis, compiler, paths, values
from profiles.fhirpath.functions import conversion
from profiles.fhirpath.nodes import Environment, resource_node
from profiles.fhirpath.parser import parse
from profiles.fhirpath.syntax import Call, Constant, Item, Member, Operation, Sign, TypeTest
from profiles.outcomes import Invalid
from tests.profiles.examples import EXAMPLES

a, b, c = (Member(None, name) for name in "abc")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.b", Member(a, "b")),
        ("a | b as c", Operation("|", a, TypeTest("as", b, "c"))),
        ("a or b and c", Operation("or", a, Operation("and", b, c))),
        ("a and b or c", Operation("or", Operation("and", a, b), c)),
        ("a = b and c", Operation("and", Operation("=", a, b), c)),
        ("a - b - c", Operation("-", Operation("-", a, b), c)),
        ("a + b * c", Operation("+", a, Operation("*", b, c))),
        ("-a.b", Sign("-", Member(a, "b"))),
        ("(a + b).c", Member(Operation("+", a, b), "c")),
        ("a[0].b", Member(Item(a, Constant("Integer", 0)), "b")),
        ("a.where(b = 'x\\'y')", Call(a, "where", (Operation("=", b, Constant("String", "x'y")),))),
        ("a is FHIR.Patient", TypeTest("is", a, "FHIR.Patient")),
        ("`a` // end\n", a),
        ("a /* in\nside */ .b", Member(a, "b")),
        ("@2024-01", Constant("Date", "2024-01")),
        ("@2024-01-01T", Constant("DateTime", "2024-01-01T")),
        ("@2024-01-01T10:00:00.5+01:00", Constant("DateTime", "2024-01-01T10:00:00.5+01:00")),
        ("@T10:30", Constant("Time", "10:30")),
        ("4 days", Constant("Quantity", Decimal(4), "day")),
        ("4.0 'mg'", Constant("Quantity", Decimal("4.0"), "mg")),
        ("{}", Constant("Null")),
        ("true", Constant("Boolean", True)),
        ("a.contains('x')", Call(a, "contains", (Constant("String", "x"),))),
        ("a.as(b)", Call(a, "as", (b,))),
    ],
)  # fmt: skip
def test_parse(text: str, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text",
    ["", "a.", "a b", "a..b", "(a", "a[", "'a", "a.b(", "f(,)", "1 +", "a is", "a and", "#", "a.$this", "{a}",
     "@2019-13", "@2019-02-29", "@T25:00",
     "é", "(" * 200 + "a" + ")" * 200, "-" * 5000 + "1", "a" * 30_000,
     "a" + ".a" * 5000, "a" + " or a" * 3000, "a" + "[0]" * 3000],
)  # fmt: skip
def test_a_syntax_error_names_its_place(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.slug == "fhirpath-syntax"


@given(st.text(alphabet="ab.()[]'|=<>-+@T1 {}%$`\\/*", max_size=25))
def test_any_text_gives_a_tree_or_a_clear_error(text: str) -> None:
    try:
        parse(text)
    except Invalid:
        return


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "contained": [{"resourceType": "Practitioner", "id": "doctor"}],
    "active": True,
    "name": [{"family": "Nom", "given": ["Un", "Deux"]}, {"use": "maiden", "family": "Jeune"}],
    "telecom": [{"system": "email", "value": "a@example.org"}, {"system": "phone", "value": "0102030405"}],
    "birthDate": "1950-01",
    "_birthDate": {"extension": [{"url": "http://example.org/when", "valueDateTime": "1950-01-02"}]},
    "deceasedDateTime": "2020-01-01",
    "generalPractitioner": [
        {"reference": "#doctor"},
        {"reference": "Organization/1"},
        {"reference": "https://there.example/Practitioner/2"},
        {"type": "Practitioner", "identifier": {"value": "x"}},
        {"display": "someone"},
    ],
}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("Patient.name.given", ["Un", "Deux"]),
        ("name.family", ["Nom", "Jeune"]),
        ("Resource.active", [True]),
        ("Organization.name", []),
        ("name[1].family", ["Jeune"]),
        ("name[2]", []),
        ("name.first().given.last()", ["Deux"]),
        ("name.where(use = 'maiden').family", ["Jeune"]),
        ("telecom.where(system='email').value", ["a@example.org"]),
        ("name.where(given.exists()).family", ["Nom"]),
        ("name.exists(use = 'maiden')", [True]),
        ("name.all(family.exists())", [True]),
        ("name.select(family)", ["Nom", "Jeune"]),
        ("deceased", ["2020-01-01"]),
        ("deceased as boolean", []),
        ("deceased is dateTime", [True]),
        ("deceased.ofType(dateTime)", ["2020-01-01"]),
        ("deceased.as(FHIR.dateTime)", ["2020-01-01"]),
        ("deceased.exists() and deceased != false", [True]),
        ("photo.exists() or active", [True]),
        ("photo and true", []),
        ("photo.empty()", [True]),
        ("active.not()", [False]),
        ("name.count() > 1", [True]),
        ("'Nom' in name.family", [True]),
        ("name.family contains 'Non'", [False]),
        ("name.family | name.family", ["Nom", "Jeune"]),
        ("('b' | 'a' | 'b' | 'c' | 'a')", ["b", "a", "c"]),
        ("(2 | 1 | 2.0 | 3)", [2, 1, 3]),
        ("name.select(given)", ["Un", "Deux"]),
        ("name.select(given.first())", ["Un"]),
        ("name.select($this.use | family)", ["Nom", "maiden", "Jeune"]),
        ("birthDate.extension('http://example.org/when').value", ["1950-01-02"]),
        ("birthDate.hasExtension('http://example.org/what')", [False]),
        ("generalPractitioner.where(resolve() is Practitioner).reference",
         ["#doctor", "https://there.example/Practitioner/2"]),
        ("generalPractitioner.where(resolve() is Practitioner).count()", [3]),
        ("generalPractitioner.where(resolve() is Organization).reference", ["Organization/1"]),
        ("%resource.active", [True]),
        ("%loinc", ["http://loinc.org"]),
        ("name.where($this.use.empty()).family", ["Nom"]),
        ("name.where($index = 1).family", ["Jeune"]),
        ("'<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>'.htmlChecks()", [True]),
        ("'<div xmlns=\"http://www.w3.org/1999/xhtml\"><script>x</script></div>'.htmlChecks()", [False]),
        ("active.htmlChecks()", []),
        ("photo.htmlChecks()", []),
        ("name.first().iif(text.exists(), text, family + given.first())", ["NomUn"]),
        ("birthDate.type().name | birthDate.type().baseType", ["date", "FHIR.Element"]),
        ("1.type().namespace", ["System"]),
    ],
)  # fmt: skip
def test_evaluate(expression: str, values: list[object]) -> None:
    assert [value for value, _type, _sibling in compiler.evaluate(expression, PATIENT)] == values


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("12 'cm' * 3 'cm'", "36 'cm2'"),
        ("12 'cm2' / 3 'cm'", "4 'cm'"),
        ("10 'm/s' * 10 's'", "100 'm'"),
        ("60 / 1 's'", "60 's-1'"),
        ("4 'g' / 2 'mol.l' ", "2 'g/mol/l'"),
        ("3 'mm[Hg]' * 2 'm'", "6 '(mm[Hg]).(m)'"),
        ("3 'm' + 3 'cm'", "303 'cm'"),
        ("3 'cm' - 3 'm'", "-297 'cm'"),
        ("1 'm' + 1 'g'", ""),
        ("2 minutes + 60 seconds", "180 second"),
        ("23 = 23 '1'", "true"),
        ("23 = 23 'm'", ""),
        ("(23 | 23 '1').count()", "1"),
        ("100 'cm' = 1 'm'", "true"),
        ("1 year = 1 'a'", ""),
        ("1 year ~ 1 'a'", "true"),
        ("1 year.toQuantity('a')", "1 'a'"),
        ("1 week = 7 'd'", "true"),
        ("37 'Cel'.toQuantity('K')", "310.15 'K'"),
        ("2 '1'.comparable(3)", "true"),
        ("2 'm'.comparable(3)", "false"),
        ("2 * 1 year = 2 years", "true"),
        ("1 year / 2 = 6 months", "true"),
        ("(99.27 'g' / 3 'g').value", "33.09"),
        ("4.5 'mg'.unit", "mg"),
        ("7 days.toQuantity('weeks')", "1 week"),
        ("'A\tb' ~ 'a b'", "true"),
        ("'a  b' ~ 'a b'", "false"),
        ("'x' & name[9].family & 'y'", "xy"),
        ("'x' & name[0].given[2]", "x"),
        ("name.given.distinct().count()", "4"),
        ("@1950-01-01 + %age = @1962-01-01", "true"),
        ("%age = 12 years", "true"),
        ("%age = 12 'a'", "true"),
        ("%age > 11 years", "true"),
        ("@2014 - 1 month", "2014"),
        ("@2014 + 23 months", "2015"),
        ("@2016 + 365 days", "2017"),
        ("@2019-03-01 + 24 months", "2021-03-01"),
        ("@2019-01-31 + 1 month", "2019-02-28"),
        ("@2020-02-29 - 1 year", "2019-02-28"),
        ("@1973-12-25T00:00:00.000+10:00 + 42.53 seconds", "1973-12-25T00:00:42.530+10:00"),
        ("@1973-12-25T00:00:00.000+10:00 + 42.53 minutes", "1973-12-25T00:42:00.000+10:00"),
        ("@T23:30 + 1 hour", "00:30"),
        ("name[0].select(%resource.active.select(1.0).toString() & %resource.active.select(1.00).toString())",
         "1.01.00"),
        ("%age.value.toString()", "12"),
        ("(%age.value / 5).toString()", "2.4"),
        ("%age.value is decimal", "true"),
        ("0.1 + 0.2", "0.3"),
        ("0.1 + 0.2 = 0.3", "true"),
        ("1 / 3", "0.3333333333333333333333333333"),
        ("100.log(10)", "2"),
        ("'\\uD83D\\uDD25'.length()", "1"),
        ("@2024-01 < @2024-01-15", ""),
        ("@2024-01 < @2024-02-15", "true"),
        ("@2024-01-01T10:00+01:00 = @2024-01-01T09:00Z", "true"),
        ("@2024-01-01T10:00 = @2024-01-01T09:00Z", ""),
        ("@2024-01-01T10:00 < @2024-01-03T09:00Z", "true"),
        ("@2024 = @2024-01", ""),
        ("@2024 ~ @2024-01", "false"),
    ],
)  # fmt: skip
def test_values(expression: str, written: str) -> None:
    """FHIRPath N1 §6.1, §6.2, §6.6."""
    age = {"value": 12, "system": "http://unitsofmeasure.org", "code": "a"}
    given = {"given": ["Un", "Deux", None, None], "_given": [None, None, {"id": "a"}, {"id": "b"}]}
    patient = PATIENT | {"name": [given, *PATIENT["name"][1:]]}
    found = compiler.evaluate(expression, patient, age=[(age, "Age", None)])
    assert "|".join(conversion.text(values.value_of(node)) or "" for node in found) == written


@pytest.mark.parametrize(
    ("expression", "type", "found"),
    [
        ("name.given", "Patient", {"string"}),
        ("Patient.name.first().given.extension.value.unit", "Patient", {"string"}),
        ("deceased", "Patient", {"boolean", "dateTime"}),
        ("deceased.ofType(boolean)", "Patient", {"boolean"}),
        ("(1 'mg').value", "Patient", {"System.Decimal"}),
        ("name.where(given.exists()).select(family | period.start)", "Patient", {"string", "dateTime"}),
        ("contact.name.exists() and active", "Patient", {"System.Boolean"}),
        ("managingOrganization.resolve().anything", "Patient", None),
        ("contained.anything", "Patient", None),
        ("repeat(item).linkId", "Questionnaire", {"string"}),
        ("repeat(item | answer.item).linkId", "QuestionnaireResponse", None),
        ("repeat(link.other.resolve()).id", "Patient", None),
        ("name.defineVariable('n', given.first()).family", "Patient", {"string"}),
        ("generalPractitioner.getReferenceKey(Practitioner)", "Patient", {"System.String"}),
        ("value.code", "Observation", {"code"}),
        ("birthDate.extension.url", "Patient", {"uri"}),
        ("birthDate.value", "Patient", "has no element value"),
        ("name.family.given", "Patient", "has no element given"),
        ("(deceased as boolean).start", "Patient", "has no element start"),
        ("Encounter.status", "Patient", "Encounter is not the type"),
        ("children().first()", "Patient", "have none"),
        ("descendants()[0]", "Patient", "have none"),
        ("name.where(use = other)", "Patient", "has no element other"),
    ],
)  # fmt: skip
def test_analysis(expression: str, type: str, found: set[str] | str | None) -> None:
    """The types that come out, or what is said of the fault."""
    if isinstance(found, str):
        with pytest.raises(Invalid, match=found) as caught:
            analysis.check(expression, type)
        assert caught.value.slug == "fhirpath-semantic"
    else:
        assert analysis.check(expression, type).types == found


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("getResourceKey()", ["Patient/p"]),
        ("contained.getResourceKey()", ["Practitioner/doctor"]),
        ("name.getResourceKey()", []),
        ("generalPractitioner.getReferenceKey()",
         ["Organization/1", "https://there.example/Practitioner/2", "Patient/p"]),
        ("generalPractitioner.getReferenceKey(Organization)", ["Organization/1"]),
        ("generalPractitioner.getReferenceKey(FHIR.Device)", []),
        ("getResourceKey() = generalPractitioner.last().getReferenceKey(Patient)", [True]),
    ],
)  # fmt: skip
def test_keys(expression: str, keys: list[object]) -> None:
    """SQL on FHIR v2, functions."""
    to_itself = {"reference": "Patient/p/_history/3"}
    patient = PATIENT | {"id": "p", "generalPractitioner": [*PATIENT["generalPractitioner"], to_itself]}
    assert [value for value, _type, _sibling in compiler.evaluate(expression, patient)] == keys


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("defineVariable('v', 'a').select(%v)", ["a"]),
        ("defineVariable('n', name.first()).select(%n.given)", ["Un", "Deux"]),
        ("name.defineVariable('all').first().select(%all.family)", ["Nom", "Jeune"]),
        ("name.select(defineVariable('n', family).select(%n & '!'))", ["Nom!", "Jeune!"]),
        ("name.where(defineVariable('n', family).exists(%n = 'Nom')).given", ["Un", "Deux"]),
        ("defineVariable('a', 1).select(%a) | defineVariable('a', 2).select(%a)", [1, 2]),
        ("defineVariable('a', 1).defineVariable('b', %a + 1).select(%b)", [2]),
        ("name.select(defineVariable('i', $index).select(%i))", [0, 1]),
        ("'aaa'.replace(defineVariable('p', 'a').select(%p), defineVariable('p', 'b').select(%p))", ["bbb"]),
    ],
)  # fmt: skip
def test_variables(expression: str, values: list[object]) -> None:
    """FHIRPath 2.1 §5.9, defineVariable."""
    assert [value for value, *_ in compiler.evaluate(expression, PATIENT)] == values


@pytest.mark.parametrize(
    ("expression", "slug"),
    [
        ("defineVariable('a', 1).active | select(%a)", "fhirpath-unknown-constant"),
        ("select(defineVariable('a', 1).active).select(%a)", "fhirpath-unknown-constant"),
        ("defineVariable('a').defineVariable('a')", "fhirpath-variable"),
        ("defineVariable('context', 1)", "fhirpath-variable"),
        ("defineVariable('vs-x', 1)", "fhirpath-variable"),
        ("defineVariable(1, 1)", "fhirpath-type"),
    ],
)
def test_variables_that_are_refused(expression: str, slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        compiler.evaluate(expression, PATIENT)
    assert caught.value.slug == slug


def test_references_in_a_circle_end() -> None:
    one: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "1",
        "link": [{"other": {"reference": "Patient/2"}}],
    }
    two: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "2",
        "link": [{"other": {"reference": "Patient/1"}}],
    }
    environment = Environment(resolve={"Patient/1": one, "Patient/2": two}.get)
    run = compiler.compile("repeat(link.other.resolve()).id")
    assert [value for value, *_ in run(resource_node(one), environment)] == ["2", "1"]


ABOVE = {"animal": {"animal", "cat", "lion"}, "cat": {"cat", "lion"}}


def _subsumes(system: str, above: str, below: str) -> bool | None:
    return None if system == "unknown" or above not in ABOVE else below in ABOVE[above]


def _concept(*codes: str, system: str = "s") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} for code in codes]}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("code.subsumes(component[0].code)", True),
        ("code.subsumedBy(component[0].code)", None),
        ("component[0].code.subsumedBy(code)", True),
        ("component[0].code.coding.subsumedBy(code)", True),
        ("code.subsumes(code)", True),
        ("code.subsumes(component[1].code)", False),
        ("component[1].code.subsumes(component[2].code)", None),
        ("code.subsumes(component[3].code)", False),
        ("code.subsumes(component[9].code)", None),
        ("code.memberOf('http://v')", True),
        ("component[0].code.memberOf('http://v')", False),
        ("code.memberOf('http://w')", None),
        ("conformsTo('http://p')", True),
        ("conformsTo('http://q')", False),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Observation')", True),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", False),
        ("subject.resolve().active", True),
        ("focus.resolve().active", None),
        ("%limit > 3", True),
        ("%context.code.coding.code = 'animal' and %resource.id = 'r' and %rootResource.id = 'root'", True),
    ],
)  # fmt: skip
def test_questions_to_the_environment(expression: str, holds: bool | None) -> None:
    observation = {
        "resourceType": "Observation",
        "code": _concept("animal"),
        "component": [{"code": _concept("lion")}, {"code": _concept("cat", system="unknown")},
                      {"code": _concept("lion", system="unknown")}, {"code": {"text": "lion"}}],
        "subject": {"reference": "Patient/1"},
        "focus": [{"reference": "Patient/2"}],
    }  # fmt: skip
    environment = Environment(
        resource={"resourceType": "Observation", "id": "r"},
        root={"resourceType": "Bundle", "id": "root"},
        constants={"limit": [(4, "System.Integer", None)]},
        resolve=lambda text: PATIENT if text == "Patient/1" else None,
        member_of=lambda node, url: node[0] == observation["code"] if url == "http://v" else None,
        subsumes=_subsumes,
        conforms_to=lambda resource, url: {"http://p": True, "http://q": False}.get(url),
    )
    assert compiler.criterion(expression)(resource_node(observation), environment) is holds


@pytest.mark.parametrize(
    ("expression", "slug"),
    [
        ("@T10:00 + 2 days", "fhirpath-type"),
        ("@2024 + 2 'mg'", "fhirpath-type"),
        ("name.invent()", "fhirpath-unsupported"),
        ("name.where()", "fhirpath-arguments"),
        ("name.count(1)", "fhirpath-arguments"),
        ("name.ofType(1)", "fhirpath-arguments"),
        ("%nothing", "fhirpath-unknown-constant"),
        ("name.single()", "fhirpath-single"),
    ],
)
def test_what_is_refused(expression: str, slug: str) -> None:
    with pytest.raises(Invalid) as caught:
        compiler.evaluate(expression, PATIENT)
    assert caught.value.slug == slug


def _searches() -> list[tuple[str, str, str]]:
    return [
        (type, parameter.code, parameter.expression)
        for type in sorted(definitions.resource_types())
        for parameter in definitions.search_parameters(type).values()
        if parameter.expression
    ]


def test_every_search_expression_compiles_and_all_but_three_are_plain_paths() -> None:
    not_plain = set()
    for type, _code, expression in _searches():
        compiler.compile(expression)
        if paths.branches(expression, type) is None:
            not_plain.add(expression)
    assert len(_searches()) > 2500
    assert not_plain == {
        "Observation", "Observation | Observation.component",
        "Patient.deceased.exists() and Patient.deceased != false",
    }  # fmt: skip


def _found_both_ways(resource: dict[str, Any]) -> int:
    """How many parameters find something, by the straight steps; held to what the compiler finds."""
    found_any = 0
    for code, expression in _SEARCHES[resource["resourceType"]]:
        branches = paths.branches(expression, resource["resourceType"])
        if branches is None:
            continue
        quick = [v for branch in branches for v in branch.values(resource) if v is not None]
        general = [
            value for value, _type, _sibling in compiler.evaluate(expression, resource) if value is not None
        ]
        unique = [value for place, value in enumerate(quick) if value not in quick[:place]]
        assert sorted(map(repr, unique)) == sorted({repr(value): value for value in general}), code
        found_any += bool(quick)
    return found_any


_SEARCHES = {
    example["resourceType"]: [row[1:] for row in _searches() if row[0] == example["resourceType"]]
    for example in EXAMPLES
}


@pytest.mark.parametrize("resource", EXAMPLES, ids=lambda resource: resource["resourceType"])
def test_plain_paths_find_what_the_compiler_finds(resource: dict[str, Any]) -> None:
    assert _found_both_ways(resource)


@st.composite
def thinned(draw: st.DrawFn) -> dict[str, Any]:
    """An example with some of its members taken out and some items doubled: its shapes stay sound."""

    def thin(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {name for name in value if name == "resourceType" or draw(st.integers(0, 4))}
            return {name: thin(of) for name, of in value.items() if name in kept}
        if isinstance(value, list):
            items = [thin(item) for item in value]
            return items + items[:1] if draw(st.booleans()) else items
        return value

    made: dict[str, Any] = thin(draw(st.sampled_from(EXAMPLES)))
    return made


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(thinned())
def test_plain_paths_find_it_in_any_sound_resource(resource: dict[str, Any]) -> None:
    _found_both_ways(resource)
