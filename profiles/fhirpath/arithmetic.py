"""`+ - * / div mod &` and the signs, on numbers, texts, quantities and dates.

Numbers are exact to a hundred digits; what cannot be computed (division by zero, overflow) is empty, what has
no meaning (a text less a text) raises. FHIRPath N1 §6.6
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from profiles.fhirpath import temporal, units
from profiles.fhirpath.nodes import Collection, Node, Scope
from profiles.fhirpath.values import (
    Value,
    calculate,
    in_calendar,
    named,
    number_node,
    quantities_of,
    single,
    text_node,
    value_of,
)
from profiles.outcomes import Invalid

Run = Callable[[Collection, Scope], Collection]
OPERATORS = frozenset({"+", "-", "*", "/", "div", "mod", "&"})
_NUMBERS = ("Integer", "Decimal")
_TEMPORAL = ("Date", "DateTime", "Time")


def build(operator: str, left: Run, right: Run) -> Run:
    """The closure of `left operator right`."""
    if operator == "&":
        return lambda focus, scope: _concatenated(left(focus, scope), right(focus, scope), scope)

    def run(focus: Collection, scope: Scope) -> Collection:
        a, b = single(left(focus, scope)), single(right(focus, scope))
        if a is None or b is None or a[0] is None or b[0] is None:
            return []
        return _apply(operator, a, b, scope)

    return run


def signed(operator: str, node: Node) -> Collection:
    """`+node` or `-node`. Raises Invalid for what is no number or quantity."""
    kind, of = value_of(node)
    if kind in _NUMBERS:
        return number_node(-of if operator == "-" else of)
    if kind == "Quantity":
        return [((-of[0] if operator == "-" else of[0], of[1]), "System.Quantity", None)]
    raise Invalid("fhirpath-type", f"FHIRPath has no {operator} for {named(node)}")


def _concatenated(left: Collection, right: Collection, scope: Scope) -> Collection:
    texts = []
    for node in (single(left), single(right)):
        kind, of = value_of(node) if node is not None and node[0] is not None else Value("String", "")
        if kind != "String":
            raise Invalid("fhirpath-type", "FHIRPath & joins texts only")
        texts.append(of)
    return text_node(texts[0] + texts[1], scope.evaluation)


def _apply(operator: str, a: Node, b: Node, scope: Scope) -> Collection:
    (kind, one), (other_kind, other) = value_of(a), value_of(b)
    if kind in _NUMBERS and other_kind in _NUMBERS:
        return _numbers(operator, one, other)
    if operator == "+" and kind == other_kind == "String":
        return text_node(one + other, scope.evaluation)
    if kind in _TEMPORAL and other_kind == "Quantity" and operator in "+-":
        return _moved(one, in_calendar(other) if isinstance(b[0], dict) else other, operator)
    if "Quantity" in (kind, other_kind):
        first, second = quantities_of(a, b)
        if first is not None and second is not None:
            return _quantities(operator, first, second)
    raise Invalid("fhirpath-type", f"FHIRPath has no {named(a)} {operator} {named(b)}")


def _numbers(operator: str, a: int | Decimal, b: int | Decimal) -> Collection:
    whole = isinstance(a, int) and isinstance(b, int)
    result = calculate(lambda: _CALCULATIONS[operator](Decimal(a), Decimal(b)))
    if result is None:
        return []
    if operator == "div" or (whole and operator != "/"):
        return number_node(int(result))
    return number_node(result)


def _divided(a: Decimal, b: Decimal) -> Decimal:
    exact = a / b
    return exact if len(exact.as_tuple().digits) < 29 else round(exact, 28)


_CALCULATIONS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divided,
    "div": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
}


def _quantities(operator: str, a: units.Quantity, b: units.Quantity) -> Collection:
    unit: str | None = a[1]
    if operator in "+-":
        pair = units.in_finer(a, b)
        if pair is None:
            return []
        a, b, unit = *pair, pair[0][1]
        amount = calculate(lambda: _CALCULATIONS[operator](a[0], b[0]))
    elif operator in "*/":
        unit = (units.product if operator == "*" else units.quotient)(a[1], b[1])
        amount = calculate(lambda: _CALCULATIONS[operator](a[0], b[0]))
    else:
        raise Invalid("fhirpath-type", f"FHIRPath has no {operator} for quantities")
    return [] if amount is None or unit is None else [((amount, unit), "System.Quantity", None)]


def _moved(moment: temporal.Moment, quantity: units.Quantity, operator: str) -> Collection:
    amount, unit = quantity
    try:
        moved = temporal.add(moment, Fraction(-amount if operator == "-" else amount), unit)
    except KeyError:
        raise Invalid("fhirpath-type", "FHIRPath moves a date by years to milliseconds only") from None
    return [] if moved is None else [(str(moved), "System." + moved.kind, None)]
