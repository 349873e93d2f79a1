"""FHIRPath text → syntax tree: a tokenizer of one regular expression and a precedence-climbing parser.

Raises Invalid (`fhirpath-syntax`) naming the place. FHIRPath N1 §9 (lexical elements), §11 (grammar)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from profiles.fhirpath import temporal
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

MAX_LENGTH = 20_000
MAX_DEPTH = 60
MAX_CHAIN = 150
"""Steps of one path and operands of one chain of operators: they nest to the left in the tree."""
MAX_HEIGHT = 200
"""Of the whole tree, as chains nest within one another."""

_CLOCK = r"\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?"
_TOKEN = re.compile(
    "|".join(
        (
            r"(?P<space>\s+|//[^\n]*|/\*.*?\*/)",
            rf"(?P<time>@T{_CLOCK})",
            rf"(?P<date>@\d{{4}}(?:-\d\d(?:-\d\d)?)?(?P<clock>T(?:{_CLOCK}(?:Z|[+-]\d\d:\d\d)?)?)?)",
            r"(?P<number>\d+(?:\.\d+)?)",
            r"(?P<string>'(?:[^'\\]|\\.)*')",
            r"(?P<quoted>`(?:[^`\\]|\\.)*`)",
            r"(?P<external>%(?:[A-Za-z_]\w*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'))",
            r"(?P<special>\$(?:this|index|total)\b)",
            r"(?P<name>[A-Za-z_]\w*)",
            r"(?P<sign><=|>=|!=|!~|[-+*/&|=~<>.,()\[\]{}])",
        )
    ),
    re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPED: Mapping[str, str] = MappingProxyType({"n": "\n", "r": "\r", "t": "\t", "f": "\f"})
_BINDING: Mapping[str, int] = MappingProxyType({
    "implies": 1, "or": 2, "xor": 2, "and": 3, "in": 4, "contains": 4, "=": 5, "~": 5, "!=": 5, "!~": 5,
    "<": 6, ">": 6, "<=": 6, ">=": 6, "|": 7, "is": 8, "as": 8, "+": 9, "-": 9, "&": 9,
    "*": 10, "/": 10, "div": 10, "mod": 10,
})  # fmt: skip
_NEVER_NAMES = frozenset({"and", "or", "xor", "implies", "div", "mod", "true", "false"})
_CALENDAR = frozenset({"year", "month", "week", "day", "hour", "minute", "second", "millisecond"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The tree of one whole expression. Raises Invalid."""
    if len(text) > MAX_LENGTH:
        raise Invalid("fhirpath-syntax", f"a FHIRPath expression has at most {MAX_LENGTH} characters")
    tree = _Parser(text).whole()
    level: tuple[Expression, ...] = (tree,)
    height = 0
    while level:
        height += 1
        level = tuple(part for one in level for part in parts(one))
    if height > MAX_HEIGHT:
        raise Invalid("fhirpath-syntax", f"a FHIRPath expression nests at most {MAX_HEIGHT} deep")
    return tree


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(at, "this starts no FHIRPath token")
        kind = match.lastgroup or ""
        if match["date"] is not None:
            kind = "datetime" if match["clock"] is not None else "date"
        if kind != "space":
            tokens.append(_Token(kind, match.group(), at))
        at = match.end()
    return [*tokens, _Token("end", "", len(text))]


class _Parser:
    """One pass over the tokens. The depth is bounded, so hostile text cannot exhaust the stack."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.place = 0
        self.depth = 0

    def whole(self) -> Expression:
        expression = self.expression(0)
        if self.next.kind != "end":
            raise _wrong(self.next.at, f"{self.next.text!r} does not belong here")
        return expression

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.tokens[self.place]
        self.place += 1
        return token

    def is_sign(self, text: str) -> bool:
        return self.next.kind == "sign" and self.next.text == text

    def expect(self, text: str) -> None:
        if not self.is_sign(text):
            raise _wrong(self.next.at, f"{text!r} is expected")
        self.place += 1

    def expression(self, binding: int) -> Expression:
        """Everything whose operators bind more tightly than `binding`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _wrong(self.next.at, f"nesting is deeper than {MAX_DEPTH}")
        left, length = self.signed(), 0
        while (power := self.power()) > binding:
            length = self.longer(length)
            operator = self.take().text
            if operator in ("is", "as"):
                left = TypeTest("is" if operator == "is" else "as", left, self.type_name())
            else:
                left = Operation(operator, left, self.expression(power))
        self.depth -= 1
        return left

    def longer(self, length: int) -> int:
        if length >= MAX_CHAIN:
            raise _wrong(self.next.at, f"more than {MAX_CHAIN} steps or operands follow one another")
        return length + 1

    def power(self) -> int:
        return _BINDING.get(self.next.text, 0) if self.next.kind in ("sign", "name") else 0

    def signed(self) -> Expression:
        if self.is_sign("-") or self.is_sign("+"):
            operator = self.take().text
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _wrong(self.next.at, f"nesting is deeper than {MAX_DEPTH}")
            of = self.signed()
            self.depth -= 1
            return Sign(operator, of)
        return self.path()

    def path(self) -> Expression:
        expression, length = self.term(), 0
        while True:
            length = self.longer(length)
            if self.is_sign("."):
                self.take()
                expression = self.invocation(expression)
            elif self.is_sign("["):
                self.take()
                expression = Item(expression, self.expression(0))
                self.expect("]")
            else:
                return expression

    def term(self) -> Expression:
        token = self.next
        if token.kind == "sign" and token.text in "({":
            return self.bracketed()
        if token.kind == "number":
            return self.number()
        if token.kind == "name" and token.text not in ("true", "false"):
            return self.invocation(None)
        self.take()
        match token.kind:
            case "string":
                return Constant("String", _unescape(token.text))
            case "name":
                return Constant("Boolean", token.text == "true")
            case "quoted":
                self.place -= 1
                return self.invocation(None)
            case "special":
                return Special(token.text[1:])
            case "external":
                name = token.text[1:]
                return External(name if name[0] not in "`'" else _unescape(name))
            case "date":
                return _moment("Date", token, token.text[1:])
            case "datetime":
                return _moment("DateTime", token, token.text[1:])
            case "time":
                return _moment("Time", token, token.text[2:])
        raise _wrong(token.at, "an expression is expected")

    def bracketed(self) -> Expression:
        if self.take().text == "{":
            self.expect("}")
            return Constant("Null")
        expression = self.expression(0)
        self.expect(")")
        return expression

    def number(self) -> Constant:
        text = self.take().text
        unit = self.next
        if unit.kind == "string":
            self.take()
            return Constant("Quantity", Decimal(text), _unescape(unit.text))
        if unit.kind == "name" and unit.text.removesuffix("s") in _CALENDAR:
            self.take()
            return Constant("Quantity", Decimal(text), unit.text.removesuffix("s"))
        return Constant("Decimal", Decimal(text)) if "." in text else Constant("Integer", int(text[:400]))

    def invocation(self, of: Expression | None) -> Expression:
        token = self.take()
        if token.kind == "special":
            raise _wrong(token.at, f"{token.text} stands at the head of a path only")
        if token.kind == "name":
            # After a dot a keyword can only be a name: HL7 itself writes Narrative.div without quotes.
            if of is None and token.text in _NEVER_NAMES:
                raise _wrong(token.at, f"{token.text!r} is a keyword")
            name = token.text
        elif token.kind == "quoted":
            name = _unescape(token.text)
        else:
            raise _wrong(token.at, "a name is expected")
        if not self.is_sign("("):
            return Member(of, name)
        self.take()
        arguments: list[Expression] = []
        while not self.is_sign(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.expression(0))
        self.take()
        return Call(of, name, tuple(arguments))

    def type_name(self) -> str:
        parts = [self.name()]
        while self.is_sign("."):
            self.take()
            parts.append(self.name())
        return ".".join(parts)

    def name(self) -> str:
        token = self.take()
        if token.kind == "quoted":
            return _unescape(token.text)
        if token.kind != "name":
            raise _wrong(token.at, "a type name is expected")
        return token.text


def type_name(expression: Expression) -> str | None:
    """A type name given as an argument, as in `ofType(FHIR.Patient)`; None when the tree is no name."""
    match expression:
        case Member(None, name):
            return name
        case Member(Member(None, namespace), name):
            return f"{namespace}.{name}"
        case _:
            return None


def _moment(kind: Literal["Date", "DateTime", "Time"], token: _Token, text: str) -> Constant:
    if temporal.parse(text, kind) is None:
        raise _wrong(token.at, f"{token.text!r} is not on the calendar or the clock")
    return Constant(kind, text)


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        what = match[1]
        return chr(int(what[1:], 16)) if len(what) == 5 else _ESCAPED.get(what, what)

    made = _ESCAPE.sub(one, text[1:-1])
    if made.isascii():
        return made
    # two escapes of a surrogate pair are one character
    return made.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _wrong(at: int, why: str) -> Invalid:
    return Invalid("fhirpath-syntax", f"FHIRPath, character {at + 1}: {why}")
