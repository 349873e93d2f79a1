"""One filter of an include → a test of a concept.

FHIR R4 valueset-filter-operator; codesystem.html#filters
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import re2

from profiles import quantities
from terminology.code_systems.concept import Concept, System
from terminology.code_systems.ucum import CANONICAL

Test = Callable[[Concept], bool]
Json = dict[str, Any]
MAX_PATTERN = 500


class CannotJudge(Exception):
    """A filter that has no meaning here; the text says which and why."""


def test_of(system: System, filter: Json) -> Test:
    """Raises CannotJudge."""
    name, op, value = str(filter.get("property")), filter.get("op"), str(filter.get("value"))
    if name not in system.properties:
        raise CannotJudge(f"the property '{name}' of {system.url} is not known here")
    if name == CANONICAL and system.url == quantities.SYSTEM:
        return _canonical(value)
    match op:
        case "is-a":
            return _in(name, frozenset(_known(system, value, system.descendants(value))))
        case "descendent-of":
            return _in(name, frozenset(_known(system, value, system.descendants(value))[1:]))
        case "child-of":
            _known(system, value, system.descendants(value))
            return _in(name, frozenset(system.children(value)))
        case "descendent-leaf":
            below = _known(system, value, system.descendants(value))[1:]
            return _in(name, frozenset(code for code in below if not system.children(code)))
        case "is-not-a":
            inside = _in(name, frozenset(_known(system, value, system.descendants(value))))
            return lambda concept: not inside(concept)
        case "generalizes":
            return _in(name, frozenset(_known(system, value, system.ancestors(value))))
        case "=":
            return _equal(system, name, value)
        case "in" | "not-in":
            members = frozenset(part.strip() for part in value.split(","))
            return _either(_in(name, members), op == "in")
        case "regex":
            matches = _regex(value)
            return lambda concept: any(matches(text) for text in _values(concept, name))
        case "exists":
            return _either(lambda concept: bool(_values(concept, name)), value == "true")
    raise CannotJudge(f"the filter operator '{op}' is not known here")


def _known(system: System, code: str, found: tuple[str, ...]) -> tuple[str, ...]:
    if not found:
        raise CannotJudge(f"a filter names a code that {system.url} does not have")
    return found


def _either(test: Test, wanted: bool) -> Test:
    return lambda concept: test(concept) is wanted


def _in(name: str, members: frozenset[str]) -> Test:
    if name in ("concept", "code"):
        return lambda concept: concept.code in members
    return lambda concept: not members.isdisjoint(_values(concept, name))


def _equal(system: System, name: str, value: str) -> Test:
    if name == "parent":
        return _in("code", frozenset(system.children(value)))
    if name == "child":
        return _in("code", frozenset(system.parents(value)))
    if name in ("inactive", "notSelectable"):
        wanted = value == "true"
        return _either(lambda concept: concept.inactive if name == "inactive" else concept.abstract, wanted)
    return _in(name, frozenset({value}))


def _values(concept: Concept, name: str) -> tuple[str, ...]:
    """What a filter may compare: a property's values as text."""
    match name:
        case "concept" | "code":
            return (concept.code,)
        case "display":
            return (concept.display,) if concept.display else ()
        case "definition":
            return (concept.definition,) if concept.definition else ()
    return tuple(_text(one.value) for one in concept.properties if one.code == name)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return str(value.get("code", ""))
    return str(value)


def _canonical(value: str) -> Test:
    wanted = quantities.canonical(Decimal(1), value)
    if wanted is None:
        raise CannotJudge("a filter names a unit that UCUM does not have")

    def test(concept: Concept) -> bool:
        found = quantities.canonical(Decimal(1), concept.code)
        return found is not None and found[1] == wanted[1]

    return test


@lru_cache(maxsize=256)
def _regex(pattern: str) -> Callable[[str], bool]:
    """The whole text must match. RE2 takes linear time whatever the pattern. Raises CannotJudge."""
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options) if len(pattern) <= MAX_PATTERN else None
    except re2.error:
        compiled = None
    if compiled is None:
        raise CannotJudge(
            "a filter's regular expression is wrong, too long, or uses what is not offered here"
        )
    return lambda text: compiled.fullmatch(text) is not None
