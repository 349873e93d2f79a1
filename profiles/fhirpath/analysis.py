"""What an expression can find, told from the definitions alone: names that lead nowhere are faults.

Evaluation is lenient, as the language has it: an unknown name finds nothing. Those who write expressions
(profiles, search parameters) want to be told. `check` follows the types through the tree; where the type
cannot be known (`resolve()`, `%variables`, `contained`) it stays silent.

FHIRPath N1 §10.1 (type safety and strict evaluation); FHIR R4 fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from profiles import definitions
from profiles.fhirpath.nodes import fhir_type, is_type, kept_as
from profiles.fhirpath.parser import parse, type_name
from profiles.fhirpath.syntax import (
    Call,
    Constant,
    Expression,
    External,
    Item,
    Member,
    Operation,
    Sign,
    Special,
    TypeTest,
)
from profiles.outcomes import Invalid


@dataclass(frozen=True, slots=True)
class Shape:
    """The type keys that items can have (None: unknown), and whether their order means something."""

    types: frozenset[str] | None
    ordered: bool = True


UNKNOWN = Shape(None)
_ORDERED = frozenset({"first", "last", "tail", "skip", "take"})
_SAME = _ORDERED | {
    "where",
    "single",
    "distinct",
    "exclude",
    "intersect",
    "trace",
    "sort",
    "checkModifiers",
    "defineVariable",
}
_CRITERIA = frozenset({"where", "exists", "all", "sort", "trace", "defineVariable"})
_PLAIN_NAMES = ("id", "extension")
_QUANTITY: Mapping[str, str] = MappingProxyType({"value": "System.Decimal", "unit": "System.String"})
_RESULTS: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(
        ("exists", "empty", "not", "all", "allTrue", "anyTrue", "allFalse", "anyFalse", "subsetOf",
         "supersetOf", "isDistinct", "is", "startsWith", "endsWith", "contains", "matches", "matchesFull",
         "hasValue", "memberOf", "subsumes", "subsumedBy", "conformsTo", "htmlChecks", "hasExtension",
         "comparable"),
        "Boolean",
    ),
    **dict.fromkeys(("count", "length", "indexOf", "lastIndexOf", "precision", "toInteger"), "Integer"),
    **dict.fromkeys(
        ("substring", "upper", "lower", "replace", "replaceMatches", "toChars", "toString", "trim", "join",
         "split", "encode", "decode", "escape", "unescape"),
        "String",
    ),
    **{f"convertsTo{kind}": "Boolean" for kind in
       ("Boolean", "Integer", "Decimal", "Date", "DateTime", "Time", "String", "Quantity")},
    **{f"to{kind}": kind for kind in ("Boolean", "Decimal", "Date", "DateTime", "Time", "Quantity")},
})  # fmt: skip


def check(expression: str, type: str) -> Shape:
    """What the expression finds when it starts at an element of that type key.

    Raises Invalid: `fhirpath-syntax`, or `fhirpath-semantic` for a name that no such element has, and for
    counting on an order where there is none.
    """
    try:
        return _shape(parse(expression), Shape(frozenset({type})))
    except RecursionError:
        raise Invalid("fhirpath-too-costly", "this FHIRPath expression nests too deeply") from None


def _shape(tree: Expression, focus: Shape) -> Shape:
    match tree:
        case Member(of, name):
            return _head(name, focus) if of is None else _children(_shape(of, focus), name)
        case Call(of, name, arguments):
            return _call(name, focus if of is None else _shape(of, focus), arguments, focus)
        case Item(of, index):
            _shape(index, focus)
            return _in_order(_shape(of, focus), "[]")
        case Operation(operator, left, right):
            return _operation(operator, _shape(left, focus), _shape(right, focus))
        case TypeTest("is", of, _):
            _shape(of, focus)
            return Shape(frozenset({"System.Boolean"}))
        case TypeTest(_, of, type):
            return _kept(_shape(of, focus), type)
        case Constant(type, _):
            return UNKNOWN if type == "Null" else Shape(frozenset({"System." + type}))
        case Sign(_, of):
            return _shape(of, focus)
        case Special("this"):
            return focus
        case Special() | External():
            return UNKNOWN


def _head(name: str, focus: Shape) -> Shape:
    if not (definitions.is_type(name) and name[0].isupper()):
        return _children(focus, name)
    if focus.types is None:
        return Shape(frozenset({name}))
    kept = frozenset(type for type in focus.types if is_type(type, name))
    if not kept and not any(definitions.is_kind_of(name, type) for type in focus.types):
        raise _wrong(f"{name} is not the type of what the expression starts from ({_listed(focus.types)})")
    return Shape(kept or frozenset({name}), focus.ordered)


def _children(of: Shape, name: str) -> Shape:
    if of.types is None:
        return of
    found: set[str] = set()
    for type in of.types:
        element = definitions.elements(type).get(name)
        if element is not None:
            found.update(element.types)
        elif type in definitions.primitives() and name in _PLAIN_NAMES:
            found.add("Extension" if name == "extension" else "System.String")
        elif type == "System.Quantity" and name in _QUANTITY:
            found.add(_QUANTITY[name])
        elif type in definitions.ABSTRACT or type in ("Element", "BackboneElement", "System.TypeInfo"):
            return Shape(None, of.ordered)
    if not found:
        raise _wrong(f"{_listed(of.types)} has no element {name[:64]}")
    return Shape(frozenset(found), of.ordered)


def _call(name: str, of: Shape, arguments: tuple[Expression, ...], focus: Shape) -> Shape:
    if name in ("ofType", "as", "is"):
        type = type_name(arguments[0]) if len(arguments) == 1 else None
        return UNKNOWN if type is None or name == "is" else _kept(of, type)
    if name == "getReferenceKey":
        return Shape(frozenset({"System.String"}))
    if name == "repeat":
        return _repeated(of, arguments)
    if name in ("select", "aggregate", "iif"):
        return _projected(name, of, arguments)
    inner = of if name in _CRITERIA else focus
    shapes = [_shape(argument, inner) for argument in arguments]
    if name in _ORDERED:
        _in_order(of, name + "()")
    if name in _SAME:
        return of
    if name in ("union", "combine") and shapes:
        return _both(of, shapes[0])
    if name == "extension":
        return Shape(frozenset({"Extension"}))
    if name == "children":
        return Shape(_all_children(of), ordered=False)
    if name == "descendants":
        return Shape(None, ordered=False)
    return Shape(frozenset({"System." + _RESULTS[name]})) if name in _RESULTS else UNKNOWN


def _repeated(of: Shape, arguments: tuple[Expression, ...]) -> Shape:
    """Later rounds can start from other types than the first, so a name is not held to the first alone."""
    try:
        found = _shape(arguments[0], of) if arguments else UNKNOWN
        known = found.types is not None and of.types is not None
        again = _shape(arguments[0], found) if known else UNKNOWN
    except Invalid:
        return UNKNOWN
    return _both(found, again) if known else UNKNOWN


def _projected(name: str, of: Shape, arguments: tuple[Expression, ...]) -> Shape:
    shapes = [_shape(argument, of) for argument in arguments]
    if name == "select" and shapes:
        return Shape(shapes[0].types, of.ordered and shapes[0].ordered)
    if name == "iif" and len(shapes) == 3:
        return _both(shapes[1], shapes[2])
    return UNKNOWN


def _operation(operator: str, left: Shape, right: Shape) -> Shape:
    if operator == "|":
        return _both(left, right)
    if operator in ("+", "-", "*", "/", "div", "mod"):
        return UNKNOWN
    return Shape(frozenset({"System.String" if operator == "&" else "System.Boolean"}))


def _both(one: Shape, other: Shape) -> Shape:
    known = one.types is not None and other.types is not None
    return Shape((one.types or frozenset()) | (other.types or frozenset()) if known else None)


def _kept(of: Shape, type: str) -> Shape:
    bare = type.rpartition(".")[2]
    if of.types is None or any(known in definitions.ABSTRACT for known in of.types):
        return Shape(
            frozenset({fhir_type(bare)}) if definitions.is_type(fhir_type(bare)) else None, of.ordered
        )
    return Shape(frozenset(known for known in of.types if kept_as(known, type)) or None, of.ordered)


def _in_order(of: Shape, asked: str) -> Shape:
    if not of.ordered:
        raise _wrong(f"{asked} counts on an order, and children() and descendants() have none")
    return of


def _all_children(of: Shape) -> frozenset[str] | None:
    if of.types is None or not all(definitions.elements(type) for type in of.types):
        return None
    return frozenset(
        type for one in of.types for element in definitions.elements(one).values() for type in element.types
    )


def _listed(types: frozenset[str]) -> str:
    return ", ".join(sorted(types)[:5])


def _wrong(why: str) -> Invalid:
    return Invalid("fhirpath-semantic", f"FHIRPath: {why}")
