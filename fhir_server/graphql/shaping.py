"""The directives that reshape the answer: @first, @flatten, @singleton, @slice. FHIR R4 graphql.html"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.graphql.query import Field
from profiles.fhirpath import compiler
from profiles.fhirpath.nodes import Environment
from profiles.outcomes import Invalid

COST = 20_000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sliced:
    """What `@slice` makes of a list: (name of the slice, value) of each."""

    parts: Sequence[tuple[str, Any]]


def shaped(parts: Sequence[tuple[Field, Any]]) -> Json:
    """The object out of its fields' values."""
    result: Json = {}
    for each, value in parts:
        if isinstance(value, Sliced):
            _add_slices(result, each.key, value)
            continue
        if isinstance(value, list) and ("first" in each.directives or "singleton" in each.directives):
            value = value[0] if value else None
        if "flatten" in each.directives:
            _lift(result, value)
        else:
            result[each.key] = value
    return result


def slice_name(each: Field, item: Any, of_type: str, index: int) -> str:
    """By the FHIRPath of `@slice` on the element; `$index` counts from 0. Raises Invalid."""
    path = each.directives["slice"].get("path")
    if not isinstance(path, str):
        raise Invalid(
            "graphql-query", f"line {each.line}, column {each.column}: @slice takes 'path', a FHIRPath"
        )
    if path == "$index":
        return str(index)
    found = compiler.compile(path)((item, of_type, None), Environment(cost_limit=COST))
    if not found:
        return ""
    value = found[0][0]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _add_slices(result: Json, key: str, sliced: Sliced) -> None:
    """Each under a name of its own, `name.official`; several of one name are a list."""
    gathered: dict[str, list[Any]] = {}
    for name, value in sliced.parts:
        gathered.setdefault(f"{key}.{name}" if name else key, []).append(value)
    for name, values in gathered.items():
        result[name] = values[0] if len(values) == 1 else values


def _lift(result: Json, value: Any) -> None:
    """The parts of an object, or of each in a list, become the parent's own; those of a list are lists."""
    if isinstance(value, list):
        for one in value:
            for key, inner in one.items() if isinstance(one, dict) else ():
                there = result.setdefault(key, [])
                if isinstance(there, list):
                    there += inner if isinstance(inner, list) else [] if inner is None else [inner]
    elif isinstance(value, dict):
        result.update(value)
