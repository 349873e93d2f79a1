"""FHIRPath N1 §5.8 Tree navigation, §5.9 Utility functions, §10 `type()`; 2.1's `defineVariable`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from profiles import definitions
from profiles.fhirpath.functions.calling import (
    Builder,
    Compile,
    Run,
    argument,
    count,
    each,
    inner,
    valued,
    weight,
    words,
)
from profiles.fhirpath.nodes import TYPE_INFO, Collection, Scope, is_given
from profiles.fhirpath.steps import all_children
from profiles.fhirpath.syntax import Expression
from profiles.outcomes import Invalid


def _children(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    made = [child for node in found for child in all_children(node)]
    scope.evaluation.spend(len(made))
    return made


def _descendants(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    made: Collection = []
    level = _children(found, [], scope)
    while level:
        made += level
        level = _children(level, [], scope)
    return made


def _trace(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """Its input; the environment's `trace`, if any, is told."""
    count("trace", arguments, 1, 2)
    name = compile.run(arguments[0])
    projection = compile.run(arguments[1]) if len(arguments) == 2 else None

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        tell = scope.evaluation.environment.trace
        if tell is not None:
            label = "".join(str(node[0]) for node in name(focus, scope)[:1])
            told = found
            if projection is not None:
                own = inner(scope, len(found) * weight(arguments))
                told = [item for i, node in enumerate(found) for item in each(projection, node, own, i)]
            tell(label, told)
        return found

    return run


def _define_variable(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
    """Its input; what follows in the path can ask for `%name`: the value of the second argument, or the
    input. Raises Invalid for a name that has a meaning already."""
    count("defineVariable", arguments, 1, 2)
    name = compile.run(arguments[0])
    value = compile.run(arguments[1]) if len(arguments) == 2 else None

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        word = words(argument(name(found, scope)).of, "defineVariable")
        known = scope.variables or {}
        if word in known or word in scope.evaluation.environment.constants or is_given(word):
            raise Invalid("fhirpath-variable", f"FHIRPath variable %{word[:64]} has a meaning already")
        scope.evaluation.spend(1 + len(known))
        scope.variables = {**known, word: found if value is None else value(found, scope)}
        return found

    return run


def _moment(scope: Scope) -> datetime:
    """The same for the whole of an evaluation."""
    if scope.evaluation.moment is None:
        scope.evaluation.moment = scope.evaluation.environment.now or datetime.now(UTC)
    return scope.evaluation.moment


def _now(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    return [(_moment(scope).isoformat(timespec="milliseconds"), "System.DateTime", None)]


def _today(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    return [(_moment(scope).date().isoformat(), "System.Date", None)]


def _time_of_day(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    return [(_moment(scope).time().isoformat(timespec="milliseconds"), "System.Time", None)]


def _type(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    made: Collection = []
    for _value, type, _sibling in found:
        if type.startswith("System."):
            info = {"namespace": "System", "name": type[7:], "baseType": "System.Any"}
        else:
            base = definitions.base_type(type)
            info = {"namespace": "FHIR", "name": type, "baseType": f"FHIR.{base}" if base else "System.Any"}
        made.append((info, TYPE_INFO, None))
    return made


BUILDERS: Mapping[str, Builder] = {
    "children": valued("children", 0, 0, _children),
    "descendants": valued("descendants", 0, 0, _descendants),
    "trace": _trace,
    "defineVariable": _define_variable,
    "now": valued("now", 0, 0, _now),
    "today": valued("today", 0, 0, _today),
    "timeOfDay": valued("timeOfDay", 0, 0, _time_of_day),
    "type": valued("type", 0, 0, _type),
}
