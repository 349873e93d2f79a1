"""What every function builder shares: the shapes, and the checks of arguments."""

from __future__ import annotations

from collections.abc import Callable

from profiles.fhirpath.nodes import Collection, Node, Scope
from profiles.fhirpath.parser import type_name
from profiles.fhirpath.syntax import Expression
from profiles.outcomes import Invalid

Run = Callable[[Collection, Scope], Collection]
Builder = Callable[[Run, tuple[Expression, ...], Callable[[Expression], Run]], Run]


def plain(function: Callable[[Collection], Collection], name: str) -> Builder:
    """A function of its input alone, without arguments."""

    def builder(of: Run, arguments: tuple[Expression, ...], build: Callable[[Expression], Run]) -> Run:
        count(name, arguments, 0, 0)
        return lambda focus, scope: function(of(focus, scope))

    return builder


def count(name: str, arguments: tuple[Expression, ...], least: int, most: int) -> None:
    """Raises Invalid when there are fewer or more arguments."""
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise Invalid(
            "fhirpath-arguments", f"FHIRPath {name}() takes {wanted} arguments, not {len(arguments)}"
        )


def named_type(name: str, arguments: tuple[Expression, ...]) -> str:
    """The type that is the one argument. Raises Invalid."""
    count(name, arguments, 1, 1)
    found = type_name(arguments[0])
    if found is None:
        raise Invalid("fhirpath-arguments", f"FHIRPath {name}() takes a type name")
    return found


def each(run: Run, node: Node, scope: Scope, index: int) -> Collection:
    """An argument evaluated with one item as focus, `$this` and `$index`."""
    scope.budget.spend(1)
    root, _this, budget, _index, total, resource, context, environment = scope
    return run([node], Scope(root, node, budget, index, total, resource, context, environment))
