"""What every function builder shares: the shapes, and the checks of arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from profiles.fhirpath.nodes import Collection, Node, Scope, boolean, known_type
from profiles.fhirpath.parser import type_name
from profiles.fhirpath.syntax import Constant, Expression, parts
from profiles.fhirpath.values import Value, is_text, named, single, value_of
from profiles.outcomes import Invalid

Run = Callable[[Collection, Scope], Collection]
Test = Callable[[Collection, Scope], bool | None]
"""What an expression comes to as a Boolean, None for empty: criteria and invariants make no collections."""


class Compile(Protocol):
    """Trees of arguments to closures."""

    def run(self, tree: Expression) -> Run:
        """The closure that gives a collection."""

    def test(self, tree: Expression) -> Test:
        """The closure that gives a truth."""

    def judging(self, tree: Expression) -> Test | None:
        """As `test`, where the tree can give nothing but a Boolean; else None."""


Builder = Callable[[Run, tuple[Expression, ...], Compile], Run]
TestBuilder = Callable[[Run, tuple[Expression, ...], Compile], Test]


def plain(function: Callable[[Collection], Collection], name: str) -> Builder:
    """A function of its input alone, without arguments."""

    def builder(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
        count(name, arguments, 0, 0)
        return lambda focus, scope: function(of(focus, scope))

    return builder


def plain_test(name: str, function: Callable[[Collection], bool | None]) -> TestBuilder:
    """As `plain`, with a truth for its result."""

    def builder(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
        count(name, arguments, 0, 0)
        return lambda focus, scope: function(of(focus, scope))

    return builder


def valued(
    name: str, least: int, most: int, function: Callable[[Collection, list[Collection], Scope], Collection]
) -> Builder:
    """A function of its input and of the collections that its arguments give."""

    def builder(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Run:
        count(name, arguments, least, most)
        runs = [compile.run(argument) for argument in arguments]
        return lambda focus, scope: function(of(focus, scope), [run(focus, scope) for run in runs], scope)

    return builder


def valued_test(
    name: str, least: int, most: int, function: Callable[[Collection, list[Collection], Scope], bool | None]
) -> TestBuilder:
    """As `valued`, with a truth for its result."""

    def builder(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
        count(name, arguments, least, most)
        runs = [compile.run(argument) for argument in arguments]
        return lambda focus, scope: function(of(focus, scope), [run(focus, scope) for run in runs], scope)

    return builder


def on_text(
    name: str, least: int, most: int, function: Callable[[str, list[Any], Scope], Collection]
) -> Builder:
    """A function of one text and single values: empty when the text or any argument is. Raises Invalid for an
    input that is no text, paid for by its length."""

    def run(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
        given = _text_and_values(name, found, arguments, scope)
        return [] if given is None else function(given[0], given[1], scope)

    return valued(name, least, most, run)


def test_on_text(name: str, least: int, most: int, judge: Callable[[str, list[Any]], bool]) -> TestBuilder:
    """As `on_text`, with a truth for its result, and a short way for arguments that are written as texts."""

    def builder(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
        count(name, arguments, least, most)
        runs = [compile.run(argument) for argument in arguments]
        written = [one.value for one in arguments if isinstance(one, Constant) and one.type == "String"]
        is_written = len(written) == len(arguments)

        def test(focus: Collection, scope: Scope) -> bool | None:
            found = of(focus, scope)
            if is_written and len(found) == 1 and is_text(found[0]):
                text: str = found[0][0]
                scope.evaluation.spend(1 + len(text) // 64)
                return judge(text, written)
            given = _text_and_values(name, found, [run(focus, scope) for run in runs], scope)
            return None if given is None else judge(*given)

        return test

    return builder


def as_run(test: Test) -> Run:
    """A truth as a collection."""
    return lambda focus, scope: boolean(test(focus, scope))


def _text_and_values(
    name: str, found: Collection, arguments: list[Collection], scope: Scope
) -> tuple[str, list[Any]] | None:
    node = single(found)
    values = [argument(item).of for item in arguments]
    if node is None or node[0] is None or None in values:
        return None
    text = text_of(node, name)
    scope.evaluation.spend(1 + len(text) // 64)
    return text, values


def text_of(node: Node, name: str) -> str:
    """A node's text; a FHIR date is one, as JSON has it. Raises Invalid (`fhirpath-type`)."""
    kind, of = value_of(node)
    if kind == "String":
        return str(of)
    if isinstance(node[0], str) and not node[1].startswith("System."):
        return node[0]
    raise Invalid("fhirpath-type", f"FHIRPath {name}() works on a text, not on {named(node)}")


def argument(collection: Collection) -> Value:
    """The value of an argument that is one item; `of` None for none. Raises Invalid for several."""
    node = single(collection)
    return Value("", None) if node is None else value_of(node)


def whole(value: Any, name: str) -> int:
    """An argument that is an integer. Raises Invalid."""
    if type(value) is not int:
        raise Invalid("fhirpath-type", f"FHIRPath {name}() takes an integer here")
    return value


def words(value: Any, name: str) -> str:
    """An argument that is a text. Raises Invalid."""
    if not isinstance(value, str):
        raise Invalid("fhirpath-type", f"FHIRPath {name}() takes a text here")
    return value


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
    if found is None or not known_type(found):
        raise Invalid("fhirpath-arguments", f"FHIRPath {name}() takes the name of a type")
    return found


def weight(trees: tuple[Expression, ...]) -> int:
    """What asking these of one item costs: more for long expressions."""
    count, level = 0, trees
    while level:
        count += len(level)
        level = tuple(part for tree in level for part in parts(tree))
    return 1 + count // 10


def inner(scope: Scope, cost: int) -> Scope:
    """A scope to move from item to item with `each`, paid for: items by the `weight` of what they are
    asked."""
    scope.evaluation.spend(cost)
    own = Scope(scope.evaluation, scope.this, 0, scope.total)
    own.variables = scope.variables
    return own


def each(run: Run, node: Node, scope: Scope, index: int) -> Collection:
    """An argument evaluated with one item as focus, `$this` and `$index`; `scope` is the caller's `inner`."""
    scope.this, scope.place = node, index
    return run([node], scope)


def is_true(test: Test, node: Node, scope: Scope, index: int) -> bool:
    """A criterion asked of one item."""
    scope.this, scope.place = node, index
    return test([node], scope) is True
