"""Plain paths, the form of nearly all search expressions, as straight steps from a resource's own members.

`branches` resolves at compile time what the general compiler decides at run time: which branch of a union is
for the resource type, which JSON member each type of a choice has, what type comes out.
`Observation.effective` becomes four branches, `effectiveDateTime` of type dateTime and so on; a resource
without that member then costs nothing. Results are equal to those of the general compiler (tested on each
other); what is not plain is left to it.

FHIR R4 search.html; fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from profiles import definitions
from profiles.fhirpath import compiler
from profiles.fhirpath.functions.fhir import target
from profiles.fhirpath.nodes import Environment, fhir_type, is_type, kept_as
from profiles.fhirpath.parser import parse, type_name
from profiles.fhirpath.steps import steps
from profiles.fhirpath.syntax import Call, Constant, Expression, Item, Member, Operation, Special, TypeTest

Json = dict[str, Any]
Step = Callable[[list[Any], Json], list[Any]]
Test = Callable[[Any, Json], bool]


@dataclass(frozen=True, slots=True)
class Branch:
    """The values of `member`, led through `steps`, are JSON values of `type`. `element` is the last element's
    owner and name, for its binding. Without a `member` it is the resource itself (only from `foci`)."""

    member: str
    steps: tuple[Step, ...]
    type: str
    element: tuple[str, str]

    def values(self, resource: Json) -> list[Any]:
        """What the branch finds in a resource; a null within a primitive array is None."""
        if not self.member:
            return [resource]
        found = resource.get(self.member)
        if found is None:
            return []
        values = found if isinstance(found, list) else [found]
        for step in self.steps:
            values = step(values, resource)
        return values


class _NotPlain(Exception):
    """The expression needs the general compiler."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A branch in the making; the empty `member` stands for the resource itself."""

    member: str
    steps: tuple[Step, ...]
    type: str
    element: tuple[str, str]


@lru_cache(maxsize=8192)
def branches(expression: str, type: str) -> tuple[Branch, ...] | None:
    """The branches that apply to resources of `type`, in the order written; None when the expression is not a
    plain path. Raises Invalid for a syntax error."""
    ways = foci(expression, type)
    return None if ways is None or any(not way.member for way in ways) else ways


@lru_cache(maxsize=1024)
def foci(expression: str, type: str) -> tuple[Branch, ...] | None:
    """As `branches`, but a branch may be the resource itself, as in `Observation | Observation.component`."""
    try:
        return tuple(
            Branch(way.member, way.steps, way.type, way.element) for way in _ways(parse(expression), type)
        )
    except _NotPlain:
        return None


def _ways(tree: Expression, type: str) -> list[_Way]:
    match tree:
        case Member(None, name) if definitions.is_type(name) and name[0].isupper():
            return [_Way("", (), type, (type, ""))] if definitions.is_kind_of(type, name) else []
        case Member(of, name):
            start = [_Way("", (), type, (type, ""))] if of is None else _ways(of, type)
            return [further for way in start for further in _children(way, name)]
        case Operation("|", left, right):
            return _ways(left, type) + _ways(right, type)
        case TypeTest("as", of, name):
            return _of_type(_ways(of, type), name)
        case Call(Member() | Call() | Item() as of, "as" | "ofType", (argument,)):
            name = type_name(argument) or ""
            return _of_type(_ways(of, type), name)
        case Call(Member() | Call() | Item() as of, "where", (criterion,)):
            return [_then(way, _filter(_test(criterion, way))) for way in _ways(of, type)]
        case Call(Member() | Call() | Item() as of, "extension", (Constant("String", str(url)),)):
            extended = [further for way in _ways(of, type) for further in _children(way, "extension")]
            return [_then(way, _filter(_equals("url", url))) for way in extended]
        case Item(of, Constant("Integer", int(place))):
            ways = _ways(of, type)
            if len(ways) == 1:
                return [_then(ways[0], lambda values, resource: values[place : place + 1])]
    raise _NotPlain


def _of_type(ways: list[_Way], name: str) -> list[_Way]:
    if any(way.type in definitions.ABSTRACT for way in ways) or not definitions.is_type(fhir_type(name)):
        raise _NotPlain
    return [way for way in ways if kept_as(way.type, name)]


def _children(way: _Way, name: str) -> list[_Way]:
    if way.type in definitions.ABSTRACT or way.type in definitions.primitives():
        raise _NotPlain
    found = []
    for member, type, _is_primitive in steps(way.type, name):
        element = (way.type, name)
        if not way.member:
            found.append(_Way(member, (), type, element))
        else:
            found.append(_Way(way.member, (*way.steps, _member(member)), type, element))
    return found


def _then(way: _Way, step: Step) -> _Way:
    if not way.member:
        raise _NotPlain
    return _Way(way.member, (*way.steps, step), way.type, way.element)


def _member(name: str) -> Step:
    def step(values: list[Any], resource: Json) -> list[Any]:
        found: list[Any] = []
        for value in values:
            child = value.get(name)
            if child is None:
                continue
            if isinstance(child, list):
                found += child
            else:
                found.append(child)
        return found

    return step


def _filter(test: Test) -> Step:
    return lambda values, resource: [value for value in values if test(value, resource)]


def _equals(name: str, text: str) -> Test:
    return lambda value, resource: value.get(name) == text


def _test(criterion: Expression, way: _Way) -> Test:
    """The test of a `where`: the two common forms directly, any other by the general compiler."""
    match criterion:
        case TypeTest("is", Call(None | Special("this"), "resolve", ()), type) if way.type == "Reference":
            return _refers_to(type)
        case Operation("=", Member(None, name), Constant("String", str(text))):
            found = steps(way.type, name)
            if len(found) == 1 and found[0][2] and not definitions.elements(way.type)[name].repeats:
                return _equals(name, text)
    judge, type = compiler.criterion_of(criterion), way.type
    return lambda value, resource: judge((value, type, None), Environment(resource=resource)) is True


def _refers_to(type: str) -> Test:
    head = type + "/"

    def test(value: Any, resource: Json) -> bool:
        text = value.get("reference")
        if isinstance(text, str) and text.startswith(head):
            return True
        found = target(value, resource)
        return found is not None and is_type(found[1], type)

    return test
