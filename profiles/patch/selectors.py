"""The selectors of XML Patch: a subset of XPath 1.0 that finds one node.

    path       = ["/"] step *("/" step)
    step       = (name / "*" / "text()" / "comment()" / "node()" / "processing-instruction(" [literal] ")"
               / "@" name / "." / "namespace::" prefix) *("[" predicate "]")
    predicate  = test *("and" test)
    test       = number / "last()" / "position()" "=" number / path ["=" literal]

Steps go down by children; attributes and namespaces end a path. A name without prefix is of the patch's own
default namespace, FHIR's when it has none; `f` and `h` mean FHIR and XHTML where the patch does not declare
them. Other axes, functions and operators are refused. RFC 5261 §4.1; XPath 1.0 §2
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from profiles.outcomes import Invalid, Unprocessable
from profiles.xml.members import FHIR, XHTML
from profiles.xml.tree import XML, Child, Comment, Element, Instruction, Name, Text

PREFIXES: Mapping[str, str] = {"": FHIR, "f": FHIR, "h": XHTML, "xml": XML}
MAX_LENGTH = 2000
MAX_VISITS = 3_000_000
"""Nodes that the selectors of one patch may look at: a few seconds."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<literal>"[^"]*"|'[^']*')|(?P<number>[0-9]{1,9})(?![\w.])|(?P<sign>::|//|\.\.|[/\[\]()@=.*,|])"""
    r"""|(?P<name>[^\W\d][\w.-]*(?::(?!:)[^\W\d][\w.-]*)?))"""
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that a path ends in; `value` None when only its place is known."""

    owner: Element
    name: Name


@dataclass(frozen=True, slots=True)
class Declaration:
    """A namespace declaration that a path ends in."""

    owner: Element
    prefix: str


Found = Child | Attribute | Declaration


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a predicate: a position (0 for the last), or a path that is there, or has that value."""

    position: int | None = None
    path: Path | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """`kind` is element, text, comment, node, instruction, attribute, self or namespace; `name` of the first
    and of an attribute, its second part "*" for any; of an instruction, its target in the second part."""

    kind: str
    name: Name = ("", "")
    predicates: tuple[tuple[Test, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """Steps from the node that one stands at, or from the document if `absolute`."""

    steps: tuple[Step, ...]
    absolute: bool = False


def parse(text: str, scope: Mapping[str, str]) -> Path:
    """A selector; `scope` holds the prefixes of the patch. Raises Invalid naming the character."""
    if len(text) > MAX_LENGTH:
        raise Invalid("bad-patch", f"a selector has at most {MAX_LENGTH} characters")
    parser = _Parser(text, {**PREFIXES, **{prefix: uri for prefix, uri in scope.items() if uri}})
    path = parser.path()
    if parser.peek():
        parser.wrong("the end is expected")
    return path


class _Parser:
    """A selector being read."""

    def __init__(self, text: str, scope: Mapping[str, str]) -> None:
        self.scope = scope
        self.tokens: list[tuple[str, str, int]] = []
        self.depth = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise Invalid("bad-patch", f"selector, character {at + 1}: this is not understood")
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind], match.start(kind)))
            at = match.end()
        self.tokens.append(("end", "", at))
        self.place = 0

    def peek(self, ahead: int = 0) -> str:
        place = min(self.place + ahead, len(self.tokens) - 1)
        return self.tokens[place][1]

    def kind(self) -> str:
        return self.tokens[self.place][0]

    def take(self) -> str:
        text = self.peek()
        self.place = min(self.place + 1, len(self.tokens) - 1)
        return text

    def expect(self, sign: str) -> None:
        if self.kind() == "literal" or self.peek() != sign:
            self.wrong(f"{sign!r} is expected")
        self.take()

    def wrong(self, why: str) -> NoReturn:
        raise Invalid("bad-patch", f"selector, character {self.tokens[self.place][2] + 1}: {why}")

    def path(self) -> Path:
        self.depth += 1
        if self.depth > 10:
            self.wrong("predicates are nested too deeply")
        absolute = self.kind() == "sign" and self.peek() == "/"
        if absolute:
            self.take()
        steps = [self.step()]
        while self.kind() == "sign" and self.peek() == "/":
            if steps[-1].kind in ("attribute", "namespace"):
                self.wrong("nothing follows an attribute or a namespace")
            self.take()
            steps.append(self.step())
        self.depth -= 1
        return Path(tuple(steps), absolute)

    def step(self) -> Step:
        kind, name = self.node_test()
        predicates: list[tuple[Test, ...]] = []
        while self.kind() == "sign" and self.peek() == "[":
            self.take()
            tests = [self.test()]
            while self.kind() == "name" and self.peek() == "and":
                self.take()
                tests.append(self.test())
            self.expect("]")
            predicates.append(tuple(tests))
        return Step(kind, name, tuple(predicates))

    def node_test(self) -> tuple[str, Name]:
        kind, text = self.kind(), self.peek()
        if kind == "sign" and text in ("@", ".", "*"):
            self.take()
            if text == "@":
                return "attribute", self.qualified(self.name(), default="")
            return ("self", ("", "")) if text == "." else ("element", ("*", "*"))
        name = self.name()
        if self.kind() == "sign" and self.peek() == "::":
            if name == "namespace":
                self.take()
                return "namespace", ("", self.name())
            self.wrong("this axis is not offered")
        if self.kind() == "sign" and self.peek() == "(":
            self.take()
            return self.call(name)
        return "element", self.qualified(name, default=self.scope[""])

    def call(self, name: str) -> tuple[str, Name]:
        kinds = {
            "text": "text",
            "comment": "comment",
            "node": "node",
            "processing-instruction": "instruction",
        }
        if name not in kinds:
            self.wrong(f"{name[:64]}() is not offered")
        target = ""
        if name == "processing-instruction" and self.kind() == "literal":
            target = self.take()[1:-1]
        self.expect(")")
        return kinds[name], ("", target)

    def test(self) -> Test:
        if self.kind() == "number":
            return Test(position=self.number())
        if self.kind() == "name" and self.peek() in ("last", "position") and self.peek(1) == "(":
            name = self.take()
            self.expect("(")
            self.expect(")")
            if name == "last":
                return Test(position=0)
            self.expect("=")
            return Test(position=self.number())
        path = self.path()
        if self.kind() != "sign" or self.peek() != "=":
            return Test(path=path)
        self.take()
        if self.kind() != "literal":
            self.wrong("a text in quotes is expected")
        return Test(path=path, value=self.take()[1:-1])

    def number(self) -> int:
        if self.kind() != "number" or int(self.peek()) < 1:
            self.wrong("a number from 1 is expected")
        return int(self.take())

    def name(self) -> str:
        if self.kind() != "name":
            self.wrong("a name is expected")
        return self.take()

    def qualified(self, name: str, *, default: str) -> Name:
        prefix, colon, local = name.rpartition(":")
        if not colon:
            return default, name
        if prefix not in self.scope:
            self.wrong(f"the prefix {prefix[:64]!r} is not declared")
        return self.scope[prefix], local


class Selection:
    """Selectors run on one document, with a bound on their work altogether: no patch can run without end."""

    def __init__(self, root: Element) -> None:
        self.left = MAX_VISITS
        self.root = root

    def find(self, path: Path) -> list[tuple[Found, Element | None]]:
        """What the path finds, in the document's order, each with its parent; None for the root. Raises
        Unprocessable beyond the bound."""
        document = Element(("", ""), children=[self.root])
        found: list[tuple[Found, Element | None]] = [(document, None)]
        for step in path.steps:
            further: list[tuple[Found, Element | None]] = []
            for node, above in found:
                inside = above if step.kind == "self" else node if isinstance(node, Element) else None
                further += [(one, None if inside is document else inside) for one in self._step(step, node)]
            found = further
        return [(node, above) for node, above in found if node is not document]

    def _walk(self, path: Path, start: Found) -> list[Found]:
        found = [start]
        for step in path.steps:
            found = [node for one in found for node in self._step(step, one)]
        return found

    def _step(self, step: Step, node: Found) -> list[Found]:
        nodes = _children(step, node)
        self._spend(1 + (len(node.children) if isinstance(node, Element) else 0))
        for predicate in step.predicates:
            last = len(nodes)
            nodes = [
                one
                for place, one in enumerate(nodes, 1)
                if all(self._holds(test, one, place, last) for test in predicate)
            ]
        return nodes

    def _holds(self, test: Test, node: Found, place: int, last: int) -> bool:
        if test.position is not None:
            return place == (test.position or last)
        assert test.path is not None
        found = self._walk(test.path, node)
        return bool(found) if test.value is None else any(self._value(one) == test.value for one in found)

    def _value(self, node: Found) -> str:
        match node:
            case Attribute():
                return node.owner.attributes[node.name]
            case Declaration():
                return node.owner.declared[node.prefix]
            case _:
                text = node.text
                self._spend(len(text) // 16 + 1)
                return text

    def _spend(self, visits: int) -> None:
        self.left -= visits
        if self.left < 0:
            raise Unprocessable("patch-failed", "the selectors of this patch take more work than is allowed")


def _children(step: Step, node: Found) -> list[Found]:
    """The nodes that a step leads to, before its predicates."""
    if step.kind == "self":
        return [node]
    if not isinstance(node, Element):
        return []
    match step.kind:
        case "attribute":
            return [Attribute(node, step.name)] if step.name in node.attributes else []
        case "namespace":
            return [Declaration(node, step.name[1])] if step.name[1] in node.declared else []
        case "element":
            any_name = step.name == ("*", "*")
            return [c for c in node.children if isinstance(c, Element) and (any_name or c.name == step.name)]
        case "text":
            return [child for child in node.children if isinstance(child, Text)]
        case "comment":
            return [child for child in node.children if isinstance(child, Comment)]
        case "instruction":
            target = step.name[1]
            instructions = [child for child in node.children if isinstance(child, Instruction)]
            return [child for child in instructions if target in ("", child.target)]
    return list(node.children)
