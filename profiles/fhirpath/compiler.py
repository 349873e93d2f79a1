"""A FHIRPath syntax tree → one Python closure over a resource.

Each form of the tree has a small builder; functions are looked up in `functions`, one file per chapter of the
specification. What is not offered is refused when compiling, by name, never when running.

FHIRPath N1; FHIR R4 fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from profiles import definitions
from profiles.fhirpath import functions, operators
from profiles.fhirpath.nodes import (
    Collection,
    Environment,
    Node,
    Scope,
    children,
    is_type,
    resource_node,
    scope_of,
)
from profiles.fhirpath.parser import parse
from profiles.fhirpath.syntax import (
    Call,
    Constant,
    Expression,
    External,
    Item,
    Member,
    Operation,
    Sign,
    Special,
    TypeTest,
)
from profiles.outcomes import Invalid

Run = Callable[[Collection, Scope], Collection]


Evaluate = Callable[[Node, Environment], Collection]


def evaluate(expression: str, resource: dict[str, Any], **constants: Collection) -> Collection:
    """The nodes that an expression finds in a resource. Raises Invalid when it cannot be compiled, or fails
    as the specification has it."""
    return compile(expression)(resource_node(resource), Environment(constants=constants))


def compile(expression: str) -> Evaluate:
    """An expression as a function of a node and an Environment.

    Raises Invalid when the text is wrong (`fhirpath-syntax`) or names what is not offered
    (`fhirpath-unsupported`). The function raises Invalid alone, whatever the node holds: `fhirpath-singleton`
    for several items where one is meant, `fhirpath-type` for operands that do not fit,
    `fhirpath-too-costly` beyond `Environment.cost_limit`.
    """
    run = compile_expression(expression)
    return lambda node, environment: run([node], scope_of(node, environment))


@lru_cache(maxsize=4096)
def compile_expression(expression: str) -> Run:
    """The closure of a whole expression. Raises Invalid (`fhirpath-syntax`, `fhirpath-unsupported`)."""
    return build(parse(expression))


def build(tree: Expression) -> Run:
    """The closure of one tree."""
    match tree:
        case Constant():
            return _constant(tree)
        case Member(of, name):
            return _head(name) if of is None else _member(build(of), name)
        case Call(Call(_, "descendants", ()) as of, "as", arguments):
            # R4's dom-3; of many items it can only mean what R5 writes there
            return functions.build("ofType", build(of), arguments, build)
        case Call(of, name, arguments):
            return functions.build(name, None if of is None else build(of), arguments, build)
        case Item(of, index):
            return _item(build(of), build(index))
        case Operation(operator, left, right):
            return operators.build(operator, build(left), build(right))
        case TypeTest(operator, of, type):
            return operators.type_test(operator, build(of), type)
        case Special(name):
            return _special(name)
        case External(name):
            return _external(name)
        case Sign(operator, of):
            return operators.sign(operator, build(of))


def _constant(tree: Constant) -> Run:
    if tree.type == "Null":
        return lambda focus, scope: []
    value: Any = (tree.value, tree.unit) if tree.type == "Quantity" else tree.value
    node: Node = (value, "System." + tree.type, None)
    return lambda focus, scope: [node]


def _head(name: str) -> Run:
    """The first name of a path: the context itself when it is of that type, else a child."""
    if definitions.is_type(name) and name[0].isupper():
        return lambda focus, scope: [node for node in focus if is_type(node[1], name)]
    return lambda focus, scope: [child for node in focus for child in children(node, name)]


def _member(of: Run, name: str) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        return [child for node in of(focus, scope) for child in children(node, name)]

    return run


def _item(of: Run, index: Run) -> Run:
    def run(focus: Collection, scope: Scope) -> Collection:
        found, place = of(focus, scope), index(focus, scope)
        if len(place) != 1 or type(place[0][0]) is not int or not 0 <= place[0][0] < len(found):
            return []
        return [found[place[0][0]]]

    return run


def _special(name: str) -> Run:
    if name == "this":
        return lambda focus, scope: [scope.this]
    if name == "index":
        return lambda focus, scope: [(scope.place, "System.Integer", None)]
    return lambda focus, scope: scope.total or []


_FIXED: Mapping[str, str] = {
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
    "ucum": "http://unitsofmeasure.org",
}


def _external(name: str) -> Run:
    if name == "context":
        return lambda focus, scope: [scope.context or scope.this]
    if name == "rootResource":
        return lambda focus, scope: [resource_node(scope.root)]
    if name == "resource":
        return lambda focus, scope: [resource_node(scope.resource or scope.root)]
    if name in _FIXED:
        text: Node = (_FIXED[name], "System.String", None)
        return lambda focus, scope: [text]
    if name.startswith(("ext-", "vs-")):
        kind, _, rest = name.partition("-")
        folder = "StructureDefinition" if kind == "ext" else "ValueSet"
        url: Node = (f"http://hl7.org/fhir/{folder}/{rest}", "System.String", None)
        return lambda focus, scope: [url]

    def run(focus: Collection, scope: Scope) -> Collection:
        if name not in scope.environment.constants:
            raise Invalid("fhirpath-unknown-constant", f"FHIRPath constant %{name[:64]} is not known here")
        return list(scope.environment.constants[name])

    return run
