"""FHIRPath N1 §5.1 Existence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiles.fhirpath.functions.calling import Builder, Run, count, each, plain
from profiles.fhirpath.nodes import Collection, Scope, boolean, truth
from profiles.fhirpath.syntax import Expression


def _exists(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("exists", arguments, 0, 1)
    if not arguments:
        return lambda focus, scope: boolean(bool(of(focus, scope)))
    criterion = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return boolean(any(truth(each(criterion, node, scope, i)) is True for i, node in enumerate(found)))

    return run


def _all(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
    count("all", arguments, 1, 1)
    criterion = build(arguments[0])

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        return boolean(all(truth(each(criterion, node, scope, i)) is True for i, node in enumerate(found)))

    return run


def _not(found: Collection) -> Collection:
    value = truth(found)
    return boolean(None if value is None else not value)


BUILDERS: Mapping[str, Builder] = {
    "exists": _exists,
    "all": _all,
    "empty": plain(lambda found: boolean(not found), "empty"),
    "not": plain(_not, "not"),
    "count": plain(lambda found: [(len(found), "System.Integer", None)], "count"),
}
