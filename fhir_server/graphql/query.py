"""A GraphQL document, taken apart and held to its bounds; nothing is executed here.

The grammar is graphql-core's. What stays are the fields to collect for a type: fragments opened, conditions
judged, aliases and equal fields merged. GraphQL October 2021 §2, §6.3
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLError
from graphql.language import ast, parse

from profiles import definitions
from profiles.outcomes import Invalid

LONGEST, MOST_TOKENS, DEEPEST = 50_000, 5_000, 24
OWN = frozenset(("skip", "include", "flatten", "first", "singleton", "slice"))


@dataclass(frozen=True, slots=True)
class Field:
    """One field to answer. `nodes` are all places that ask for it; `arguments` and `directives` have their
    values."""

    key: str
    name: str
    arguments: Mapping[str, Any]
    directives: Mapping[str, Mapping[str, Any]]
    selections: tuple[ast.SelectionNode, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Query:
    """An operation with the fragments and variables it needs."""

    selections: tuple[ast.SelectionNode, ...]
    fragments: Mapping[str, ast.FragmentDefinitionNode]
    variables: Mapping[str, Any] = field(default_factory=dict)

    def fields(self, selections: Sequence[ast.SelectionNode], type: str) -> list[Field]:
        """What is asked of a value of that type (a type key), in order, each key once. Raises Invalid."""
        found: dict[str, Field] = {}
        for node in self._opened(selections, type, ()):
            made = self._field(node)
            before = found.get(made.key)
            if before is None:
                found[made.key] = made
                continue
            if (before.name, before.arguments) != (made.name, made.arguments):
                raise wrong(node, f"'{made.key}' is asked for twice, with other arguments; give one an alias")
            found[made.key] = Field(
                before.key,
                before.name,
                before.arguments,
                before.directives,
                (*before.selections, *made.selections),
                before.line,
                before.column,
            )
        return list(found.values())

    def _opened(
        self, selections: Sequence[ast.SelectionNode], type: str, open: tuple[str, ...]
    ) -> Iterator[ast.FieldNode]:
        for node in selections:
            if not self._wanted(node):
                continue
            if isinstance(node, ast.FieldNode):
                yield node
            elif isinstance(node, ast.InlineFragmentNode):
                if node.type_condition is None or applies(node.type_condition.name.value, type):
                    yield from self._opened(node.selection_set.selections, type, open)
            elif isinstance(node, ast.FragmentSpreadNode):
                name = node.name.value
                fragment = self.fragments.get(name)
                if fragment is None:
                    raise wrong(node, f"there is no fragment '{name}'")
                if name in open:
                    raise wrong(node, f"the fragment '{name}' opens itself")
                if applies(fragment.type_condition.name.value, type):
                    yield from self._opened(fragment.selection_set.selections, type, (*open, name))

    def _wanted(self, node: ast.SelectionNode) -> bool:
        """`@skip` and `@include`."""
        given = {each.name.value: each for each in node.directives or ()}
        skip, include = given.get("skip"), given.get("include")
        return not (
            (skip is not None and self._condition(skip))
            or (include is not None and not self._condition(include))
        )

    def _condition(self, node: ast.DirectiveNode) -> bool:
        value = self._arguments(node).get("if")
        if not isinstance(value, bool):
            raise wrong(node, f"@{node.name.value} takes 'if', a Boolean")
        return value

    def _field(self, node: ast.FieldNode) -> Field:
        directives = {}
        for each in node.directives or ():
            if each.name.value not in OWN:
                raise wrong(
                    each, f"there is no directive @{each.name.value}; there are @{', @'.join(sorted(OWN))}"
                )
            directives[each.name.value] = self._arguments(each)
        return Field(
            node.alias.value if node.alias else node.name.value,
            node.name.value,
            self._arguments(node),
            directives,
            tuple(node.selection_set.selections) if node.selection_set else (),
            *place(node),
        )

    def _arguments(self, node: ast.FieldNode | ast.DirectiveNode) -> dict[str, Any]:
        return {each.name.value: self._value(each.value) for each in node.arguments or ()}

    def _value(self, node: ast.ValueNode) -> Any:
        """A literal, or a variable's value. Objects have no use in FHIR's queries."""
        match node:
            case ast.VariableNode():
                if node.name.value not in self.variables:
                    raise wrong(node, f"the variable ${node.name.value} has no value")
                return self.variables[node.name.value]
            case ast.IntValueNode() | ast.FloatValueNode():
                return node.value
            case ast.StringValueNode() | ast.EnumValueNode():
                return node.value
            case ast.BooleanValueNode():
                return node.value
            case ast.NullValueNode():
                return None
            case ast.ListValueNode():
                return [self._value(each) for each in node.values]
        raise wrong(node, "an argument is a text, a number, a Boolean, a code, or a list of these")


def read(text: str, name: str = "", variables: Mapping[str, Any] | None = None) -> Query:
    """The operation of that name, or the only one. Raises Invalid with line and column."""
    if len(text) > LONGEST:
        raise Invalid("graphql-too-long", f"a query has at most {LONGEST} characters")
    try:
        document = parse(text, max_tokens=MOST_TOKENS)
    except GraphQLError as error:
        where = error.locations[0] if error.locations else None
        told = f"line {where.line}, column {where.column}: " if where else ""
        raise Invalid("graphql-syntax", f"{told}{error.message[:200]}") from error
    except RecursionError as error:
        raise Invalid("graphql-too-deep", "the query is nested too deeply") from error
    operations = [each for each in document.definitions if isinstance(each, ast.OperationDefinitionNode)]
    chosen = [each for each in operations if not name or (each.name and each.name.value == name)]
    if len(chosen) != 1:
        raise Invalid("graphql-operation", "the document has no single operation of that name")
    (operation,) = chosen
    if operation.operation is not ast.OperationType.QUERY:
        raise wrong(operation, "only queries are answered; write by the RESTful interactions")
    fragments = {
        each.name.value: each for each in document.definitions if isinstance(each, ast.FragmentDefinitionNode)
    }
    given = _variables(operation, variables or {})
    query = Query(tuple(operation.selection_set.selections), fragments, given)
    _check_depth(query, query.selections, 0, ())
    return query


def _variables(operation: ast.OperationDefinitionNode, given: Mapping[str, Any]) -> dict[str, Any]:
    """With the defaults; a variable that must have a value has one."""
    found: dict[str, Any] = {}
    empty = Query((), {})
    for each in operation.variable_definitions or ():
        name = each.variable.name.value
        if name in given:
            value = given[name]
            if isinstance(value, dict):
                raise wrong(each, f"the variable ${name} is an object, which no argument takes")
            found[name] = value
        elif each.default_value is not None:
            found[name] = empty._value(each.default_value)
        elif isinstance(each.type, ast.NonNullTypeNode):
            raise wrong(each, f"the variable ${name} needs a value")
        else:
            found[name] = None
    return found


def _check_depth(
    query: Query, selections: Sequence[ast.SelectionNode], depth: int, open: tuple[str, ...]
) -> None:
    if depth > DEEPEST:
        raise Invalid("graphql-too-deep", f"the query is nested more than {DEEPEST} deep")
    for node in selections:
        if isinstance(node, ast.FragmentSpreadNode):
            name = node.name.value
            fragment = query.fragments.get(name)
            if fragment is None or name in open:
                raise wrong(node, f"the fragment '{name[:64]}' is not there, or opens itself")
            _check_depth(query, fragment.selection_set.selections, depth + 1, (*open, name))
        elif isinstance(node, ast.FieldNode | ast.InlineFragmentNode) and node.selection_set:
            _check_depth(query, node.selection_set.selections, depth + 1, open)


def applies(condition: str, type: str) -> bool:
    """Whether a fragment `on condition` holds for a value of that type."""
    return condition == type or definitions.is_kind_of(type, condition)


def place(node: ast.Node) -> tuple[int, int]:
    """Line and column, from 1."""
    if node.loc is None:
        return 0, 0
    start = node.loc.start_token
    return start.line, start.column


def wrong(node: ast.Node, what: str) -> Invalid:
    """The error with its place in the query."""
    line, column = place(node)
    return Invalid("graphql-query", f"line {line}, column {column}: {what}")
