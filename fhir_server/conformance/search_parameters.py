"""Search parameters of one's own: SearchParameter resources that are stored or come in a package.

One has effect when it is not retired, has an expression, and its code is not taken on that type: the built-in
parameters go first, then the URLs in their order. What is written from then on is indexed by it; what is
stored already is by a reindex, and until that is done a search by it is refused.

FHIR R4 searchparameter.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_server.search.composites import LONGEST
from fhir_server.search.entries import KIND_OF
from profiles import definitions
from profiles.definitions import NOT_DOMAIN, SearchParameter
from profiles.fhirpath import analysis, compiler
from profiles.outcomes import Invalid, Issue

Json = dict[str, Any]
Codes = Mapping[str, SearchParameter]
CODE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,63}", re.ASCII)
LONGEST_URL = 1000
_ELSEWHERE = "is not the type of what the expression starts from"


@dataclass(frozen=True, slots=True)
class Own:
    """One of them: on which types it has effect. `print` changes with what it finds."""

    url: str
    parameter: SearchParameter
    types: tuple[str, ...]
    print: str


@dataclass(frozen=True, slots=True)
class OwnParameters:
    """All of them. `ready` are the prints of those that everything stored is indexed by."""

    all: tuple[Own, ...] = ()
    ready: frozenset[str] = frozenset()
    _by_type: dict[str, tuple[SearchParameter, ...]] = field(default_factory=dict, repr=False, compare=False)
    _codes: dict[str, Codes] = field(default_factory=dict, repr=False, compare=False)

    def on(self, type: str) -> tuple[SearchParameter, ...]:
        """By which a resource of that type is indexed."""
        if not self.all:
            return ()
        if type not in self._by_type:
            self._by_type[type] = tuple(own.parameter for own in self.all if type in own.types)
        return self._by_type[type]

    def searchable(self, type: str) -> Codes:
        """By code: the built-in ones and those that are ready."""
        if not self.all:
            return definitions.search_parameters(type)
        if type not in self._codes:
            mine = {
                o.parameter.code: o.parameter for o in self.all if type in o.types and o.print in self.ready
            }
            self._codes[type] = {**definitions.search_parameters(type), **mine}
        return self._codes[type]

    def pending(self, type: str) -> frozenset[str]:
        """The codes of those that are not ready."""
        return frozenset(o.parameter.code for o in self.all if type in o.types and o.print not in self.ready)


def own_parameters(resources: Iterable[Json], ready: frozenset[str] = frozenset()) -> OwnParameters:
    """Those that have effect; of several resources with one URL the first."""
    by_url: dict[str, Json] = {}
    for resource in resources:
        by_url.setdefault(str(resource.get("url") or ""), resource)
    taken: set[tuple[str, str]] = set()
    found: list[Own] = []
    for url in sorted(by_url):
        resource = by_url[url]
        if not url or not _has_effect(resource):
            continue
        parameter = definitions.search_parameter_of(resource)
        types = tuple(
            type
            for type in _types(resource)
            if (type, parameter.code) not in taken
            and parameter.code not in definitions.search_parameters(type)
        )
        taken |= {(type, parameter.code) for type in types}
        if types:
            found.append(Own(url, parameter, types, _print(resource, parameter, types)))
    return OwnParameters(tuple(found), ready)


def _has_effect(resource: Json) -> bool:
    kind = resource.get("type") in KIND_OF or resource.get("type") == "composite"
    return (
        kind
        and resource.get("status") != "retired"
        and bool(resource.get("expression"))
        and not faults(resource)
    )


def _types(resource: Json) -> Iterator[str]:
    """The resource types that its bases mean."""
    bases = resource.get("base") or ()
    for type in sorted(definitions.resource_types()):
        if type in bases or "Resource" in bases or ("DomainResource" in bases and type not in NOT_DOMAIN):
            yield type


def _print(resource: Json, parameter: SearchParameter, types: tuple[str, ...]) -> str:
    """With the version of the resource: between two of them it may have been away, and what was written then
    is not indexed by it."""
    version = (resource.get("id"), (resource.get("meta") or {}).get("versionId"), resource.get("version"))
    said = (parameter.code, parameter.type, parameter.expression, parameter.components, types, version)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def faults(resource: Json) -> list[Issue]:
    """Why a SearchParameter of valid structure cannot be used here; empty when it can, or asks for
    nothing."""
    found: list[Issue] = []
    code = str(resource.get("code"))
    if not CODE.fullmatch(code):
        text = (
            "the code of a search parameter has letters, digits, - and _, at most 64: it is asked for by it"
        )
        found.append(_fault("code", text))
    if len(str(resource.get("url"))) > LONGEST_URL:
        found.append(
            _fault("url", f"the URL of a search parameter has at most {LONGEST_URL} characters here")
        )
    expression = resource.get("expression")
    if isinstance(expression, str):
        found += _expression(expression, list(_types(resource)), "expression")
    components = resource.get("component") or ()
    if resource.get("type") == "composite" and isinstance(expression, str):
        found += _components(components)
    return found


def _components(components: Iterable[Json]) -> Iterator[Issue]:
    rows = list(components)
    if not 1 <= len(rows) <= LONGEST:
        yield _fault("component", f"a composite has 1 to {LONGEST} components here")
    for place, row in enumerate(rows):
        part = definitions.search_parameter(str(row.get("definition")).partition("|")[0])
        if part is None or part.type not in KIND_OF:
            text = (
                "the component is no parameter of the standard, or of a kind that cannot be a component here"
            )
            yield _fault(f"component[{place}].definition", text)
        yield from _expression(str(row.get("expression")), [], f"component[{place}].expression")


def _expression(expression: str, types: list[str], where: str) -> Iterator[Issue]:
    """Its grammar, and on each type its names; branches of other types are passed over."""
    try:
        compiler.compile(expression)
        for type in types:
            _check_names(expression, type)
    except Invalid as error:
        yield _fault(where, str(error))


def _check_names(expression: str, type: str) -> None:
    try:
        analysis.check(expression, type)
    except Invalid as error:
        if _ELSEWHERE not in str(error):
            raise


def _fault(where: str, text: str) -> Issue:
    return Issue("error", "invalid", "bad-search-parameter", text, f"SearchParameter.{where}")
