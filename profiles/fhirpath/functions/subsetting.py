"""FHIRPath N1 §5.3 Subsetting, §5.4 Combining."""

from __future__ import annotations

from collections.abc import Mapping

from profiles.fhirpath.functions.calling import Builder, argument, plain, valued, whole
from profiles.fhirpath.nodes import Collection, Scope
from profiles.fhirpath.operators import union
from profiles.fhirpath.values import distinct, key
from profiles.outcomes import Invalid


def _single(found: Collection) -> Collection:
    if len(found) > 1:
        raise Invalid("fhirpath-single", "FHIRPath single() met several items")
    return found


def _skip(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    return found[max(0, whole(argument(arguments[0]).of, "skip")) :]


def _take(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    return found[: max(0, whole(argument(arguments[0]).of, "take"))]


def _intersect(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    scope.evaluation.spend(len(found) + len(arguments[0]))
    marks = {key(node, scope.evaluation) for node in arguments[0]}
    return distinct([node for node in found if key(node, scope.evaluation) in marks], scope.evaluation)


def _exclude(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    scope.evaluation.spend(len(found) + len(arguments[0]))
    marks = {key(node, scope.evaluation) for node in arguments[0]}
    return [node for node in found if key(node, scope.evaluation) not in marks]


def _combine(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    scope.evaluation.spend(len(found) + len(arguments[0]))
    return found + arguments[0]


BUILDERS: Mapping[str, Builder] = {
    "first": plain(lambda found: found[:1], "first"),
    "last": plain(lambda found: found[-1:], "last"),
    "tail": plain(lambda found: found[1:], "tail"),
    "single": plain(_single, "single"),
    "skip": valued("skip", 1, 1, _skip),
    "take": valued("take", 1, 1, _take),
    "intersect": valued("intersect", 1, 1, _intersect),
    "exclude": valued("exclude", 1, 1, _exclude),
    "union": valued("union", 1, 1, lambda found, rest, scope: union(found, rest[0], scope)),
    "combine": valued("combine", 1, 1, _combine),
}
