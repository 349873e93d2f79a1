"""Which invariants hold for every element of a shape, whatever its values: those need not be worked out.

A shape is the JSON names that an element has. `contentReference.empty() or …` holds wherever there is none;
`name.exists()` wherever there is one, as the structure has been found sound before. Most invariants of R4 are
settled like this, once for each shape, and a resource pays for the few that are not.

FHIRPath N1 §6.5 (three-valued logic); FHIR R4 conformance-rules.html#constraints
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from profiles import definitions
from profiles.fhirpath.syntax import Call, Constant, Expression, Item, Member, Operation, TypeTest


class Truth(Enum):
    """What is known of an expression's value; `OPEN` is all else."""

    TRUE = "true"
    FALSE = "false"
    EMPTY = "empty"
    OPEN = "open"


TRUE, FALSE, EMPTY, OPEN = Truth.TRUE, Truth.FALSE, Truth.EMPTY, Truth.OPEN
_EMPTY_OF_EMPTY = frozenset(
    {
        "where", "select", "first", "last", "tail", "skip", "take", "trace", "ofType", "as", "matches",
        "startsWith", "endsWith", "contains", "substring", "toInteger", "length", "replaceMatches",
        "resolve", "distinct", "not", "single",
    }
)  # fmt: skip
_OF_EMPTY = {"empty": TRUE, "exists": FALSE, "hasValue": FALSE, "all": TRUE, "isDistinct": TRUE}
_COMPARED = frozenset({"=", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "contains"})


def holds(tree: Expression, type: str, names: Collection[str]) -> bool:
    """Whether the expression is true of every element of that type key that has exactly these JSON names."""
    return truth(tree, _present(type, names)) is TRUE


def _present(type: str, names: Collection[str]) -> dict[str, bool]:
    """Element name → whether it is there."""
    found = dict.fromkeys(definitions.elements(type), False)
    for name, (element, _of) in definitions.properties(type).items():
        if name in names or "_" + name in names:
            found[element.name] = True
    return found


def truth(tree: Expression, present: dict[str, bool]) -> Truth:
    """What is known of a tree."""
    match tree:
        case Constant(type="Boolean", value=value):
            return TRUE if value else FALSE
        case Member(None, name):
            return EMPTY if present.get(name) is False else OPEN
        case Member(of, _) | Item(of, _) | TypeTest(_, of, _):
            return EMPTY if of is not None and truth(of, present) is EMPTY else OPEN
        case Call(of, name, _):
            return OPEN if of is None else _called(of, name, tree.arguments, present)
        case Operation("and" | "or" | "implies" as operator, left, right):
            return _LOGIC[operator](truth(left, present), truth(right, present))
        case Operation(operator, left, right) if operator in _COMPARED:
            sides = (truth(left, present), truth(right, present))
            return EMPTY if EMPTY in sides and operator in ("=", "!=", "<", "<=", ">", ">=") else OPEN
        case _:
            return OPEN


def _called(of: Expression, name: str, arguments: tuple[Expression, ...], present: dict[str, bool]) -> Truth:
    known = truth(of, present)
    if known is EMPTY:
        return EMPTY if name in _EMPTY_OF_EMPTY else _OF_EMPTY.get(name, OPEN)
    if name == "not":
        return {TRUE: FALSE, FALSE: TRUE}.get(known, OPEN)
    if not arguments and isinstance(of, Member) and of.of is None and present.get(of.name):
        return {"exists": TRUE, "empty": FALSE}.get(name, OPEN)
    return OPEN


def _and(left: Truth, right: Truth) -> Truth:
    if FALSE in (left, right):
        return FALSE
    return left if left is right else EMPTY if OPEN not in (left, right) else OPEN


def _or(left: Truth, right: Truth) -> Truth:
    if TRUE in (left, right):
        return TRUE
    return left if left is right else EMPTY if OPEN not in (left, right) else OPEN


def _implies(left: Truth, right: Truth) -> Truth:
    if left is FALSE or right is TRUE:
        return TRUE
    if left is TRUE:
        return right
    return EMPTY if OPEN not in (left, right) else OPEN


_LOGIC = {"and": _and, "or": _or, "implies": _implies}
