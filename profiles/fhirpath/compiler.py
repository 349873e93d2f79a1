"""A FHIRPath syntax tree → one Python closure over a resource.

Each form of the tree has a small builder; functions are looked up in `functions`, one file per chapter of the
specification. What is not offered is refused when compiling, by name, never when running.

FHIRPath N1; FHIR R4 fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from profiles import definitions
from profiles.fhirpath import functions, operators
from profiles.fhirpath.functions.calling import Run, Test, as_run
from profiles.fhirpath.nodes import (
    CODE_SYSTEMS,
    Collection,
    Environment,
    Evaluation,
    Node,
    Scope,
    is_given,
    is_type,
    resource_node,
    truth,
)
from profiles.fhirpath.parser import parse
from profiles.fhirpath.steps import child
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
    parts,
)
from profiles.outcomes import Invalid

Evaluate = Callable[[Node, Environment], Collection]
Judge = Callable[[Node, Environment], bool | None]
Built = TypeVar("Built")


def evaluate(expression: str, resource: dict[str, Any], **constants: Collection) -> Collection:
    """The nodes that an expression finds in a resource. Raises Invalid when it cannot be compiled, or fails
    as the specification has it."""
    return compile(expression)(resource_node(resource), Environment(constants=constants))


@lru_cache(maxsize=4096)
def compile(expression: str) -> Evaluate:
    """An expression as a function of a node and an Environment.

    Raises Invalid when the text is wrong (`fhirpath-syntax`) or names what is not offered
    (`fhirpath-unsupported`). The function raises Invalid alone, whatever the node holds: `fhirpath-singleton`
    for several items where one is meant, `fhirpath-type` for operands that do not fit,
    `fhirpath-too-costly` beyond `Environment.cost_limit`.
    """
    run = _built(_PLAIN.run, expression)

    def evaluate(node: Node, environment: Environment) -> Collection:
        try:
            return run([node], Scope(Evaluation(node, environment), node))
        except RecursionError:
            raise too_deep() from None

    return evaluate


@lru_cache(maxsize=4096)
def criterion(expression: str) -> Judge:
    """An expression that is true of a node, false, or empty (None): an invariant, at the least cost.

    Raises Invalid as `compile` does, and so does the function.
    """
    return _judge(_built(_PLAIN.test, expression))


def criterion_of(tree: Expression) -> Judge:
    """As `criterion`, of a tree that is part of one that has been parsed."""
    return _judge(_PLAIN.test(tree))


def _built(build: Callable[[Expression], Built], expression: str) -> Built:
    try:
        return build(parse(expression))
    except RecursionError:
        raise too_deep() from None


def _judge(test: Test) -> Judge:
    def judge(node: Node, environment: Environment) -> bool | None:
        try:
            return test([node], Scope(Evaluation(node, environment), node))
        except RecursionError:
            raise too_deep() from None

    return judge


def too_deep() -> Invalid:
    """For what nests deeper than there is room on the stack."""
    return Invalid("fhirpath-too-costly", "this FHIRPath expression nests too deeply")


class _Compiler:
    """Trees to closures. `within` is the compiler of what is evaluated once per item: there, what depends on
    no item is worked out once and kept for the evaluation."""

    def __init__(self, within: _Compiler | None = None) -> None:
        self.within = within or self
        self.keeps = within is None

    def run(self, tree: Expression) -> Run:
        """The closure of one tree."""
        run = self._start(tree)
        return _bounded(run) if _defines(tree) else run

    def _start(self, tree: Expression) -> Run:
        """The closure of what something further in the same path is asked of."""
        if self.keeps and _is_work(tree) and _is_fixed(tree):
            return _kept(self._run(tree), _mark(repr(tree)))
        return self._run(tree)

    def _run(self, tree: Expression) -> Run:
        match tree:
            case Constant():
                return _constant(tree)
            case Member(of, name):
                return _head(name) if of is None else _member(self._run(of), name)
            case Call(of, "descendants", ()) if of is not None and self.keeps and _is_fixed(of):
                return _kept(functions.build("descendants", self._run(of), (), self), _mark(repr(tree)))
            case Call(of, name, arguments):
                return self._call(of, name, arguments)
            case Item(of, index):
                return _item(self._run(of), self.run(index))
            case Operation(operator, left, right) if operator not in _JUDGING:
                return operators.build(operator, self.run(left), self.run(right))
            case Operation() | TypeTest("is"):
                return as_run(self.test(tree))
            case TypeTest(_, of, type):
                return operators.as_type(self.run(of), type)
            case Special(name):
                return _special(name)
            case External(name):
                return _external(name)
            case Sign(operator, of):
                return operators.sign(operator, self.run(of))

    def _call(self, of: Expression | None, name: str, arguments: tuple[Expression, ...]) -> Run:
        if name == "as" and isinstance(of, Call) and of.name == "descendants":
            # R4's dom-3; of many items it can only mean what R5 writes there
            name = "ofType"
        return functions.build(name, None if of is None else self._run(of), arguments, self.within)

    def test(self, tree: Expression) -> Test:
        """The closure of one tree's truth."""
        judging = self.judging(tree)
        if judging is not None:
            return _bounded(judging) if _defines(tree) else judging
        run = self.run(tree)
        return lambda focus, scope: truth(run(focus, scope))

    def judging(self, tree: Expression) -> Test | None:
        """As `test`, where the tree can give nothing but a Boolean; else None."""
        match tree:
            case Operation(operator, left, right) if operator in operators.LOGIC:
                return operators.build_logic(operator, self.test(left), self.test(right))
            case Operation("=", left, Constant("String", str(text))):
                return operators.equals_text(self.run(left), text)
            case Operation("!=", left, Constant("String", str(text))):
                return _not(operators.equals_text(self.run(left), text))
            case Operation(operator, left, right) if operator in operators.TESTS:
                return operators.build_test(operator, self.run(left), self.run(right))
            case TypeTest("is", of, type):
                return operators.is_of_type(self.run(of), type)
            case Call(of, "not", ()) if of is not None:
                return _not(self.test(of))
            case Call(of, name, arguments) if name in functions.TESTS:
                start = None if of is None else self._start(of)
                return functions.build_test(name, start, arguments, self.within)
        return None


_PLAIN = _Compiler(_Compiler())
_JUDGING = operators.TESTS | operators.LOGIC.keys()
_PER_ITEM = frozenset({"where", "exists", "all", "select", "repeat", "sort"})


def _is_work(tree: Expression) -> bool:
    return isinstance(tree, Member | Call | Item | Operation)


def _is_fixed(tree: Expression | None) -> bool:
    """Whether a tree gives the same for every item: it starts from a constant or `%resource`."""
    match tree:
        case Constant():
            return True
        case External(name):
            return is_given(name)
        case Member(of, _):
            return _is_fixed(of)
        case Call(of, name, arguments):
            if name in ("trace", "defineVariable") or not _is_fixed(of):
                return False
            return not any(map(_totals, arguments)) if name in _PER_ITEM else all(map(_is_fixed, arguments))
        case Item(of, other) | Operation(_, of, other):
            return _is_fixed(of) and _is_fixed(other)
        case TypeTest(_, of, _) | Sign(_, of):
            return _is_fixed(of)
    return False


def _totals(tree: Expression) -> bool:
    return tree == Special("total") or any(map(_totals, parts(tree)))


@lru_cache(maxsize=4096)
def _mark(written: str) -> object:
    """One for all trees that are written alike (1.0 is not 1.00): what an expression repeats is worked out
    once."""
    return object()


def _kept(run: Run, mark: object) -> Run:
    def kept(focus: Collection, scope: Scope) -> Collection:
        memory = scope.evaluation.memory
        if memory is None:
            memory = scope.evaluation.memory = {}
        found = memory.get(mark)
        if found is None:
            found = memory[mark] = run(focus, scope)
        return found

    return kept


def _defines(tree: Expression) -> bool:
    """Whether a path defines a variable on its way."""
    while isinstance(tree, Member | Call | Item) and tree.of is not None:
        if isinstance(tree, Call) and tree.name == "defineVariable":
            return True
        tree = tree.of
    return isinstance(tree, Call) and tree.name == "defineVariable"


def _bounded(run: Callable[[Collection, Scope], Built]) -> Callable[[Collection, Scope], Built]:
    """Variables are known to what follows in their own path: not beside it, nor outside the argument."""

    def bounded(focus: Collection, scope: Scope) -> Built:
        before = scope.variables
        found = run(focus, scope)
        scope.variables = before
        return found

    return bounded


def _not(test: Test) -> Test:
    def negated(focus: Collection, scope: Scope) -> bool | None:
        value = test(focus, scope)
        return None if value is None else not value

    return negated


def _constant(tree: Constant) -> Run:
    if tree.type == "Null":
        return lambda focus, scope: []
    value: Any = (tree.value, tree.unit) if tree.type == "Quantity" else tree.value
    found: Collection = [(value, "System." + tree.type, None)]
    return lambda focus, scope: found


def _head(name: str) -> Run:
    """The first name of a path: the context itself when it is of that type, else a child."""
    if definitions.is_type(name) and name[0].isupper():
        return lambda focus, scope: [node for node in focus if is_type(node[1], name)]
    step = child(name)

    def run(focus: Collection, scope: Scope) -> Collection:
        if len(focus) == 1:
            return step(focus[0])
        return [found for node in focus for found in step(node)]

    return run


def _member(of: Run, name: str) -> Run:
    step = child(name)

    def run(focus: Collection, scope: Scope) -> Collection:
        found = of(focus, scope)
        if len(found) == 1:
            return step(found[0])
        return [further for node in found for further in step(node)]

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


def _external(name: str) -> Run:
    if name == "context":
        return lambda focus, scope: [scope.evaluation.context]
    if name == "rootResource":
        return lambda focus, scope: [resource_node(scope.evaluation.root)]
    if name == "resource":
        return lambda focus, scope: [resource_node(scope.evaluation.resource)]
    if name in CODE_SYSTEMS or name.startswith(("ext-", "vs-")):
        kind, _, rest = name.partition("-")
        folder = "StructureDefinition" if kind == "ext" else "ValueSet"
        text = CODE_SYSTEMS.get(name) or f"http://hl7.org/fhir/{folder}/{rest}"
        found: Collection = [(text, "System.String", None)]
        return lambda focus, scope: found

    def run(focus: Collection, scope: Scope) -> Collection:
        if scope.variables is not None and name in scope.variables:
            return scope.variables[name]
        constants = scope.evaluation.environment.constants
        if name not in constants:
            raise Invalid("fhirpath-unknown-constant", f"FHIRPath constant %{name[:64]} is not known here")
        return list(constants[name])

    return run
