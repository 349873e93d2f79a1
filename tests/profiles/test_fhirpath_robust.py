"""Whatever is asked of whatever resource, evaluation ends soon and raises the project's own error alone."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.fhirpath import analysis, compiler, functions
from profiles.fhirpath.nodes import Environment, Node, resource_node
from profiles.outcomes import Invalid
from tests.profiles.examples import EXAMPLES

Json = dict[str, Any]

NAMES = ("name", "id", "code", "coding", "value", "extension", "contained", "birthDate", "text", "low",
         "item", "Patient", "Observation", "Resource", "effective", "status", "subject", "reference",
         "div")  # fmt: skip
TYPES = ("string", "Quantity", "Patient", "dateTime", "System.String", "FHIR.code", "Resource", "boolean")
ATOMS = st.sampled_from(
    ["1", "-3", "0", "2.50", "1e", "99999999999999999999", "0.0000001", "'a'", "''", "'[a-z]+'", "'('",
     "true",
     "false", "{}", "@2024", "@2024-02-29", "@2024-01-01T10:00:00.5+14:00", "@2024-01-01T",
     "@T23:59", "@9999-12-31", "@0001", "4 days", "1 year", "3 'mg'", "1.50 'g'", "37 'Cel'", "2 'mo'",
     "1 'parsec'", "'\\ud800'", "$this", "$index", "$total", "%resource",
     "%context", "%rootResource", "%ucum", "%`vs-a`", "%some", "%nothing", "'http://x|1'"]
)  # fmt: skip
ALL_FUNCTIONS = sorted({*functions.BUILDERS, *functions.TESTS})
BINARY = ("and", "or", "xor", "implies", "=", "!=", "~", "!~", "<", "<=", ">", ">=", "|", "+", "-", "*", "/",
          "div", "mod", "&", "in", "contains")  # fmt: skip


def _calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda of, name: f"{of}.{name}", inner, st.sampled_from(NAMES)),
        st.builds(
            lambda of, name, arguments: f"{of}.{name}({', '.join(arguments)})",
            inner,
            st.sampled_from(ALL_FUNCTIONS),
            st.lists(inner, max_size=2),
        ),
        st.builds(lambda a, sign, b: f"({a} {sign} {b})", inner, st.sampled_from(BINARY), inner),
        st.builds(lambda of, sign, type: f"({of} {sign} {type})", inner, st.sampled_from(["is", "as"]),
                  st.sampled_from(TYPES)),
        st.builds(lambda of, type: f"{of}.ofType({type})", inner, st.sampled_from(TYPES)),
        st.builds(lambda of, index: f"{of}[{index}]", inner, inner),
        st.builds(lambda of: f"-({of})", inner),
    )  # fmt: skip


EXPRESSIONS = st.recursive(st.one_of(ATOMS, st.sampled_from(NAMES)), _calls, max_leaves=8)
JUNK = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, "", "x", "2024-13-45", "\ud800", [], [None], {}, {"value": "x"}, [[1]],
     {"resourceType": "Nothing"}, {"reference": "#"}, ["a", None, {"id": 1}]]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """An example with a few of its values replaced by what does not belong there."""
    resource = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(0, 4))):
        place: Any = resource
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.booleans()):
                place[key] = copy.deepcopy(draw(JUNK))
                break
            place = place[key]
    return resource


def environment(resource: Json) -> Environment:
    one: Node = ("x", "System.String", None)
    return Environment(
        constants={"some": [one, one]},
        resolve=lambda reference: resource if reference else None,
        member_of=lambda node, url: None,
        conforms_to=lambda value, url: None,
        cost_limit=20_000,
    )


def slug_of(run: Callable[[], object]) -> str:
    """The slug of the refusal, "" when there is none. Any other error goes up."""
    try:
        run()
    except Invalid as error:
        return error.slug
    return ""


def ask(expression: str, resource: Json) -> None:
    """Everything that can be done with an expression and a resource."""
    around, root = environment(resource), resource_node(resource)
    for run in (
        lambda: compiler.compile(expression)(root, around),
        lambda: compiler.criterion(expression)(root, around),
        lambda: analysis.check(expression, root[1]),
    ):
        slug = slug_of(run)
        assert not slug or slug.startswith("fhirpath-")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EXPRESSIONS, mutated())
def test_any_expression_on_any_resource(expression: str, resource: Json) -> None:
    ask(expression, resource)


@pytest.mark.parametrize("name", ALL_FUNCTIONS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_every_function_meets_anything(name: str, data: st.DataObject) -> None:
    of = data.draw(st.one_of(ATOMS, st.sampled_from(["name", "descendants()", "value", "name.given"])))
    arguments = ", ".join(data.draw(st.lists(ATOMS, max_size=2)))
    ask(f"{of}.{name}({arguments})", data.draw(mutated()))


HUGE = (Decimal("9E+999999"), Decimal("1E-999999"), Decimal("-9.99E+400"), 10**1500, 10**400, -(10**308),
        Decimal("9" * 500), 1e308, float("inf"), Decimal("NaN"), Decimal("sNaN"))  # fmt: skip


@pytest.mark.parametrize("number", HUGE, ids=lambda number: repr(number)[:20])
@pytest.mark.parametrize("code", ["a", "mo", "d", "mg", "Cel", "[pH]", "1", None])
def test_numbers_out_of_all_measure(number: object, code: str | None) -> None:
    quantity = {"value": number, "code": code, "system": "http://unitsofmeasure.org"}
    resource = {"resourceType": "Observation", "valueQuantity": quantity, "effectiveDateTime": "2024-01-01"}
    calls = [f"{of}.{name}()" for of in ("value", "value.value") for name in ALL_FUNCTIONS]
    calls += [f"2.{name}(%context.value.value)" for name in ALL_FUNCTIONS]
    pairs = ("value", "1 year", "3 'mg'", "effective", "value.value", "2", "2.50")
    calls += [f"{a} {sign} {b}" for sign in BINARY for a, b in (*((p, "value") for p in pairs),
              *(("value.value", p) for p in pairs))]  # fmt: skip
    for expression in calls:
        start = time.process_time()
        ask(expression, resource)
        assert time.process_time() - start < 2, expression


@pytest.mark.parametrize("operator", BINARY)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_operator_meets_anything(operator: str, data: st.DataObject) -> None:
    sides = st.one_of(ATOMS, st.sampled_from(["descendants()", "value", "birthDate", "code"]))
    ask(f"({data.draw(sides)}) {operator} ({data.draw(sides)})", data.draw(mutated()))


DEEP: Json = {"resourceType": "Questionnaire", "id": "deep"}
_item = DEEP
for _depth in range(300):
    _item["item"] = [{"linkId": str(_depth)}]
    _item = _item["item"][0]
WIDE: Json = {"resourceType": "Patient", "name": [{"family": str(n)} for n in range(400)]}
_MANY = "%resource.descendants().descendants()"


@pytest.mark.parametrize(
    ("expression", "resource", "slugs"),
    [
        ("(1 | 2).repeat($this + 1)", {}, {"fhirpath-too-costly"}),
        ("'x'.repeat($this & $this)", {}, {"fhirpath-too-costly"}),
        ("(1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9).aggregate($total.combine($total), 1)" + ".count()", WIDE, {""}),
        ("name.aggregate($total.combine($total), 1)", WIDE, {"fhirpath-too-costly"}),
        ("name.aggregate($total & $total, 'ab')", WIDE, {"fhirpath-too-costly"}),
        ("name.aggregate($total * $total, 1000.1)", WIDE, {""}),
        ("name.aggregate($total * $total, 3 'mg')", WIDE, {""}),
        ("name.aggregate($total * $total, 3)", WIDE, {""}),
        ("name.select(%resource.name.select(%resource.name.select(%resource.name)))", WIDE,
         {"fhirpath-too-costly"}),
        ("name.where(%resource.name.where(%resource.name.where(%resource.name.where(family = '1').exists())"
         ".exists()).exists())", WIDE, {""}),
        ("name.where(family.select(%resource.name).where("
         + " or ".join(["family = 'x'"] * 140) + ").exists())", WIDE, {"fhirpath-too-costly"}),
        ("name.where($this.select(%resource.name.where(family = $this.family)).exists())", WIDE, {""}),
        (f"{_MANY}.where({_MANY}.exists())", DEEP, {"", "fhirpath-too-costly"}),
        ("repeat(item).count()", DEEP, {"", "fhirpath-too-costly"}),
        ("descendants() = descendants()", DEEP, {"", "fhirpath-too-costly"}),
        ("descendants().distinct().count()", DEEP, {"", "fhirpath-too-costly"}),
        ("name.replaceMatches('', '')", {"resourceType": "ValueSet", "name": "x" * 100_000}, {""}),
        ("name.replaceMatches('x', 'yyyyyyyyyyyyyyyyyyyy')",
         {"resourceType": "ValueSet", "name": "x" * 100_000}, {"fhirpath-too-costly"}),
        ("name.matches('(a+)+$')", {"resourceType": "ValueSet", "name": "a" * 50_000 + "!"}, {""}),
        ("name.matches('(?=a)a')", {"resourceType": "ValueSet", "name": "a"}, {"fhirpath-regex"}),
        ("'\\ud800a'.matches('a')", {}, {""}),
        ("'\\ud800'.replaceMatches('a', 'b')", {}, {"fhirpath-type"}),
        ("'a'.matches('\\ud800')", {}, {"fhirpath-type"}),
        ("'\\ud800'.encode('base64').decode('base64')", {}, {""}),
        ("2.power(100000)", {}, {""}),
        ("99999999999999999999999.power(99999999999)", {}, {""}),
        ("1.5.power(-99999999999.5)", {}, {""}),
        ("1000000.exp()", {}, {""}),
        ("@9999-12-31 + 1 year", {}, {""}),
        ("@2024 + 99999999999999999999 years", {}, {""}),
        ("@0001-01-01T00:00:00+14:00 < @0001-01-01", {}, {""}),
        ("'" + "9" * 5000 + "'.toInteger()", {}, {""}),
        ("1" + "0" * 5000, {}, {"", "fhirpath-syntax"}),
        ("9" * 300 + " + 1", {}, {""}),
    ],
)  # fmt: skip
def test_runaway_input_is_bounded(expression: str, resource: Json, slugs: set[str]) -> None:
    start = time.process_time()
    assert slug_of(lambda: compiler.evaluate(expression, resource)) in slugs
    assert time.process_time() - start < 5


def nest(expression: str, times: int) -> str:
    for _ in range(times):
        expression = f"name.where({expression}.exists())" + ".given" * 100
    return expression


WORST = "a.where(" * 55 + "a" + ")" * 55 + ".a" * 120


def under(frames: int, run: Callable[[], object]) -> object:
    """Run with that many frames of the stack taken."""
    return run() if not frames else under(frames - 1, run)


@pytest.mark.parametrize("frames", [0, 300, 500, 600, 700, 800])
def test_a_stack_that_is_nearly_full_gives_a_clear_error(frames: int) -> None:
    for n, do in enumerate((compiler.compile, compiler.criterion)):
        expression = f"{WORST} = {frames * 10 + n}"
        assert slug_of(lambda: under(frames, lambda: do(expression))) in ("", "fhirpath-too-costly")  # noqa: B023
        run = do(expression)
        around = environment(WIDE)
        assert slug_of(lambda: under(frames, lambda: run(resource_node(WIDE), around))) in (  # noqa: B023
            "",
            "fhirpath-too-costly",
        )
    assert slug_of(lambda: under(frames, lambda: analysis.check(WORST, "Patient"))) in (
        "fhirpath-semantic",
        "fhirpath-too-costly",
    )


@pytest.mark.parametrize("times", [1, 10, 25])
def test_nested_chains_never_exhaust_the_stack(times: int) -> None:
    with pytest.raises(Invalid) if times > 1 else pytest.raises(AssertionError):
        compiler.evaluate(nest("name", times), WIDE)
        raise AssertionError
