"""A resource → its index entries: what every search parameter of its type finds, as neutral values.

Each type has a plan, made once: JSON member → the values reached from it and how each becomes entries. Only
members that a resource has cost anything. Beside an entry under the parameter's own code there are derived
names, one for each modifier that looks at another face of the element:

    tokens      code                Coding, CodeableConcept, Identifier, ContactPoint, code, boolean, string,
                                    uri; a code with a required binding also under its implied system
                code:of-type        an Identifier's type's system, and "<type code>|<value>"
                code:identifier     a Reference's identifier, under a reference parameter's code
    strings     code                each part of a name or address on its own
                code:text           display and text of what a token or reference parameter finds
    references  code                "Type/id" here, else as written; a canonical with a version also without;
                                    a reference into `contained` has no entry
    dates       code                a Timing by its outer limits
    numbers     code                the value as low and high, a Range by its ends; a quantity under
                                    (system, code) and, when it differs, under ("", unit)
                code:canonical      a quantity in a UCUM unit, in base units: see `units`

    composites  code                for each element one entry per combination of its components' values
                code:canonical      the same with quantities in base units
    positions   near                latitude and longitude
    texts       _text, _content     see `words`

uri parameters are tokens without system.
FHIR R4 search.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

from fhir_server.search import entries
from fhir_server.search.composites import Composed, composed
from fhir_server.search.found import Convert, Found
from fhir_server.search.words import texts_of
from fhir_server.store.contract import Entries
from profiles import definitions
from profiles.definitions import SearchParameter
from profiles.fhirpath import compiler, paths
from profiles.fhirpath.nodes import Environment, resource_node
from profiles.outcomes import Invalid

Json = dict[str, Any]
VERSION = 1
"""Of the entries that are made. To be raised with every change that a stored index lacks."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One branch of one parameter."""

    steps: tuple[paths.Step, ...]
    convert: Convert


@dataclass(frozen=True, slots=True)
class _Computed:
    """A parameter whose expression is no plain path."""

    run: compiler.Evaluate
    code: str
    search_type: str


@dataclass(frozen=True, slots=True)
class _Plan:
    by_member: Mapping[str, tuple[_Source, ...]]
    computed: tuple[_Computed, ...]
    composed: tuple[Composed, ...]


def extract(resource: Json, fhir_base: str, zone: tzinfo, own: tuple[SearchParameter, ...] = ()) -> Entries:
    """All entries of a valid resource, each once. `fhir_base` has no final slash: references that start with
    it become "Type/id". Dates without offset are read in `zone`. `own` are the parameters that this server
    has beside the built-in ones; one whose expression fails here finds nothing."""
    type = str(resource["resourceType"])
    found = Found(fhir_base, zone)
    _gather(_plan(type), resource, found)
    for parameter in own:
        with suppress(Invalid):
            _gather(_own_plan(type, parameter), resource, found)
    return found.entries(texts_of(resource))


def _gather(plan: _Plan, resource: Json, found: Found) -> None:
    for member, sources in plan.by_member.items():
        value = resource.get(member)
        if value is None:
            continue
        start = value if isinstance(value, list) else [value]
        for source in sources:
            values = start
            for step in source.steps:
                values = step(values, resource)
            for item in values:
                if item is not None:
                    source.convert(item, found)
    for computed in plan.computed:
        _compute(computed, resource, found)
    for composite in plan.composed:
        composite.extract(resource, found)


def _compute(computed: _Computed, resource: Json, found: Found) -> None:
    root = resource_node(resource)
    for value, type, _sibling in computed.run(root, Environment()):
        convert = entries.converter(computed.code, computed.search_type, type.removeprefix("System."), "")
        if convert is not None and value is not None:
            convert(value, found)


@cache
def _plan(type: str) -> _Plan:
    return _made(type, definitions.search_parameters(type).values())


@lru_cache(maxsize=2048)
def _own_plan(type: str, parameter: SearchParameter) -> _Plan:
    return _made(type, [parameter])


def _made(type: str, parameters: Collection[SearchParameter]) -> _Plan:
    by_member: dict[str, list[_Source]] = {}
    computed = []
    for parameter in parameters:
        if not parameter.expression or parameter.type == "composite" or parameter.code == "_id":
            continue
        branches = paths.branches(parameter.expression, type)
        if branches is None:
            run = compiler.compile(parameter.expression)
            computed.append(_Computed(run, parameter.code, parameter.type))
            continue
        for branch in branches:
            convert = entries.converter(parameter.code, parameter.type, branch.type, _value_set(branch))
            if convert is not None:
                by_member.setdefault(branch.member, []).append(_Source(branch.steps, convert))
    return _Plan(
        MappingProxyType({m: tuple(sources) for m, sources in by_member.items()}),
        tuple(computed),
        composed([each for each in parameters if each.type == "composite"], type),
    )


def _value_set(branch: paths.Branch) -> str:
    owner, name = branch.element
    element = definitions.elements(owner).get(name)
    return element.value_set if element is not None else ""
