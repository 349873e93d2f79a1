"""Fields and the elements they name: what is allowed, and which values there are.

An element goes by its name; a choice by its stem (`value { … on Quantity }`) or by its typed name
(`valueQuantity`); `_birthDate` is what stands beside a primitive. Arguments of an element keep the values
that have what they say. FHIR R4 graphql.html#3.1.5.2
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphql.language import ast

from fhir_server.graphql.query import Field, Query
from profiles import definitions
from profiles.fhirpath import compiler
from profiles.fhirpath.nodes import Environment
from profiles.outcomes import Invalid

COST = 20_000  # of one FHIRPath of a query
CONNECTION = ("count", "offset", "pagesize", "first", "previous", "next", "last", "edges")
EDGE = ("mode", "score", "resource")
_ENTRY = re.compile(r"([A-Z][A-Za-z]+?)(List|Connection)?")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Values:
    """What an element holds: (value, type key) of each; whether it may repeat."""

    values: Sequence[tuple[Any, str]]
    repeats: bool


def entry(each: Field) -> tuple[str, str]:
    """(resource type, "", "List" or "Connection") of a field at the root. Raises Invalid."""
    whole = each.name in definitions.resource_types()
    match = _ENTRY.fullmatch(each.name)
    type, form = (each.name, "") if whole or match is None else (match[1], match[2] or "")
    if type not in definitions.resource_types():
        raise unknown(each, "the query", ["Patient", "PatientList", "PatientConnection"])
    if not form and not isinstance(each.arguments.get("id"), str | int):
        raise refused(each, f"{type} takes 'id'; {type}List and {type}Connection take search parameters")
    return type, form


def check_root(query: Query, each: Field) -> None:
    """A field of the system level and all below it. Raises Invalid."""
    type, form = entry(each)
    if form != "Connection":
        _check_parts(query, each, (type,))
        return
    for asked in query.fields(each.selections, "Connection"):
        if asked.name not in CONNECTION:
            raise unknown(asked, each.name, CONNECTION)
        if asked.name == "edges":
            for inner in query.fields(asked.selections, "Edge"):
                if inner.name not in EDGE:
                    raise unknown(inner, "edges", EDGE)
                if inner.name == "resource":
                    _check_parts(query, inner, (type,))


def check(query: Query, selections: Sequence[ast.SelectionNode], type: str) -> None:
    """All that is asked of one type. Raises Invalid."""
    for each in query.fields(selections, type):
        if each.name in ("resourceType", "__typename"):
            continue
        if each.name == "resource" and definitions.is_kind_of(type, "Reference"):
            _check_parts(query, each, _named(query, each.selections) or ("Resource",))
            continue
        listed = reverse(each, type)
        if listed is not None:
            _check_parts(query, each, (listed[0],))
            continue
        types = _types(each, type)
        _check_arguments(each, types)
        _check_parts(query, each, types)


def _check_parts(query: Query, each: Field, types: Sequence[str]) -> None:
    """An object is asked for parts, a plain value is not; a choice may be either."""
    complex_types = [type for type in types if type not in definitions.primitives()]
    if complex_types and not each.selections and len(complex_types) == len(types):
        raise refused(each, f"'{each.name}' is an object: say what of it, as {each.name} {{ … }}")
    if each.selections and not complex_types:
        raise refused(each, f"'{each.name}' is a plain value and has no parts")
    for type in complex_types if each.selections else ():
        check(query, each.selections, type)


def _named(query: Query, selections: Sequence[ast.SelectionNode]) -> tuple[str, ...]:
    """The resource types that fragments speak of."""
    found: list[str] = []
    for node in selections:
        if isinstance(node, ast.InlineFragmentNode) and node.type_condition:
            found.append(node.type_condition.name.value)
        elif isinstance(node, ast.FragmentSpreadNode) and node.name.value in query.fragments:
            found.append(query.fragments[node.name.value].type_condition.name.value)
    for name in found:
        if name not in definitions.resource_types() and name not in definitions.ABSTRACT:
            raise Invalid("graphql-query", f"a fragment speaks of {name[:64]}, which is no resource type")
    return tuple(found)


def _types(each: Field, type: str) -> tuple[str, ...]:
    """The types that a field of a type can have. Raises Invalid naming what there is."""
    if type == "Resource" and each.name not in definitions.elements(type):
        raise refused(each, f"'{each.name}' depends on the type: ask within '… on Patient {{ }}'")
    if type in ("Resource", "DomainResource") and each.name == "contained":
        return ("Resource",)
    found = definitions.elements(type).get(each.name)
    if found is not None:
        return found.types
    typed = definitions.properties(type).get(each.name)
    if typed is not None:
        return (typed[1],)
    beside = definitions.properties(type).get(each.name[1:]) if each.name.startswith("_") else None
    if beside is not None and beside[1] in definitions.primitives():
        return ("Element",)
    raise unknown(each, type, list(definitions.elements(type)))


def _check_arguments(each: Field, types: Sequence[str]) -> None:
    for name, value in each.arguments.items():
        if name in ("_count", "_offset"):
            _number(each, name, value)
        elif name == "fhirpath":
            if not isinstance(value, str):
                raise refused(each, "'fhirpath' takes a text")
            compiler.criterion(value)
        elif not any(name in definitions.elements(type) for type in types):
            raise refused(each, f"'{each.name}' has no argument '{name[:64]}'")


def _number(each: Field, name: str, value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise refused(each, f"'{name}' takes a number from 0 up")
    return int(text)


def reverse(each: Field, type: str) -> tuple[str, str] | None:
    """`ObservationList(_reference: patient)` within a resource: (type, parameter) of those that refer to
    it. Raises Invalid without `_reference`."""
    if not each.name.endswith("List") or type not in definitions.resource_types():
        return None
    source = each.name.removesuffix("List")
    if source not in definitions.resource_types():
        return None
    param = each.arguments.get("_reference")
    if not isinstance(param, str):
        raise refused(
            each, f"{each.name} within a resource takes '_reference', the parameter that leads here"
        )
    return source, param.replace("_", "-")


def search_pairs(each: Field) -> list[tuple[str, str]]:
    """The arguments as search parameters: an underscore within a name stands for a hyphen."""
    pairs = []
    for name, value in each.arguments.items():
        if name == "_reference":
            continue
        code = name[0] + name[1:].replace("_", "-")
        values = value if isinstance(value, list) else [value]
        pairs.append((code, ",".join(_text(one) for one in values)))
    return pairs


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def values(value: Json, type: str, each: Field) -> Values:
    """What the field finds in an object, its arguments applied."""
    element = definitions.elements(type).get(each.name)
    if element is not None and element.choice:
        names = [
            (name, of_type)
            for name, (owner, of_type) in definitions.properties(type).items()
            if owner.name == each.name
        ]
        found = [(value[name], of_type) for name, of_type in names if name in value]
        return Values(_kept(found, each), repeats=False)
    typed = definitions.properties(type).get(each.name)
    if typed is None:
        return Values([(value[each.name], "Element")] if each.name in value else [], repeats=False)
    owner, of_type = typed
    there = value.get(each.name)
    items = there if isinstance(there, list) else [] if there is None else [there]
    return Values(_kept([(item, of_type) for item in items if item is not None], each), owner.repeats)


def _kept(found: list[tuple[Any, str]], each: Field) -> list[tuple[Any, str]]:
    """Those that have what the arguments say, a page of them."""
    start = end = None
    for name, wanted in each.arguments.items():
        if name == "_offset":
            start = _number(each, name, wanted)
        elif name == "_count":
            end = _number(each, name, wanted)
        elif name == "fhirpath":
            judge = compiler.criterion(wanted)
            found = [(v, t) for v, t in found if judge((v, t, None), Environment(cost_limit=COST))]
        else:
            found = [(v, t) for v, t in found if isinstance(v, dict) and _says(v.get(name), wanted)]
    first = start or 0
    return found[first:] if end is None else found[first : first + end]


def _says(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return any(_says(each, wanted) for each in value)
    if isinstance(wanted, list):
        return any(_says(value, each) for each in wanted)
    return value is not None and _text(value) == _text(wanted)


def refused(each: Field, what: str) -> Invalid:
    return Invalid("graphql-query", f"line {each.line}, column {each.column}: {what}")


def unknown(each: Field, of: str, there: Sequence[str]) -> Invalid:
    """Names what was perhaps meant."""
    near = difflib.get_close_matches(each.name, there, 3) or list(there)[:8]
    return refused(each, f"{of} has no '{each.name[:64]}'; it has {', '.join(near)}")
