"""FHIRPath N1 §5.1 Existence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from profiles.fhirpath.functions.calling import (
    Builder,
    Compile,
    Run,
    Test,
    TestBuilder,
    count,
    inner,
    is_true,
    plain,
    plain_test,
    valued,
    valued_test,
    weight,
)
from profiles.fhirpath.nodes import Collection, Scope, truth
from profiles.fhirpath.syntax import Expression
from profiles.fhirpath.values import distinct, key
from profiles.outcomes import Invalid


def _exists(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
    count("exists", arguments, 0, 1)
    if not arguments:
        return lambda focus, scope: bool(of(focus, scope))
    criterion, cost = compile.test(arguments[0]), weight(arguments)

    def test(focus: Collection, scope: Scope) -> bool:
        found = of(focus, scope)
        own = inner(scope, len(found) * cost)
        return any(is_true(criterion, node, own, i) for i, node in enumerate(found))

    return test


def _all(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
    count("all", arguments, 1, 1)
    criterion, cost = compile.test(arguments[0]), weight(arguments)

    def test(focus: Collection, scope: Scope) -> bool:
        found = of(focus, scope)
        own = inner(scope, len(found) * cost)
        return all(is_true(criterion, node, own, i) for i, node in enumerate(found))

    return test


def _not(found: Collection) -> bool | None:
    value = truth(found)
    return None if value is None else not value


def _booleans(name: str, judge: Callable[[list[bool]], bool]) -> TestBuilder:
    def test(found: Collection) -> bool:
        values = [node[0] for node in found]
        if not all(isinstance(value, bool) for value in values):
            raise Invalid("fhirpath-type", f"FHIRPath {name}() works on Booleans only")
        return judge(values)

    return plain_test(name, test)


def _subset(few: Collection, many: Collection, scope: Scope) -> bool:
    scope.evaluation.spend(len(few) + len(many))
    marks = {key(node, scope.evaluation) for node in many}
    return all(key(node, scope.evaluation) in marks for node in few)


def _is_distinct(found: Collection, arguments: list[Collection], scope: Scope) -> bool:
    return len(distinct(found, scope.evaluation)) == len(found)


BUILDERS: Mapping[str, Builder] = {
    "count": plain(lambda found: [(len(found), "System.Integer", None)], "count"),
    "distinct": valued("distinct", 0, 0, lambda found, rest, scope: distinct(found, scope.evaluation)),
}
TESTS: Mapping[str, TestBuilder] = {
    "exists": _exists,
    "all": _all,
    "empty": plain_test("empty", lambda found: not found),
    "not": plain_test("not", _not),
    "allTrue": _booleans("allTrue", all),
    "anyTrue": _booleans("anyTrue", any),
    "allFalse": _booleans("allFalse", lambda values: not any(values)),
    "anyFalse": _booleans("anyFalse", lambda values: not all(values)),
    "subsetOf": valued_test("subsetOf", 1, 1, lambda found, rest, scope: _subset(found, rest[0], scope)),
    "supersetOf": valued_test("supersetOf", 1, 1, lambda found, rest, scope: _subset(rest[0], found, scope)),
    "isDistinct": valued_test("isDistinct", 0, 0, _is_distinct),
}
