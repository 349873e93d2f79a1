"""The grammar of `_filter`: a text → tests on paths of search parameters, joined by words. Knows no type.

    given eq "peter" and birthdate ge 2014-10-10     subject.name co pet
    subject[gender eq male].name co pet              both of one and the same subject
    component-code-value-quantity[component-code eq 8480-6].component-value-quantity gt 120
    not (status in (…)) · _has:Observation:patient:code eq loinc|1234-5

`and` and `or` bind alike, from left to right. An operator looks at the set of values that the path leads to:
`ne` asks for one that differs, `not (… eq …)` for none that is equal. `loinc`, `snomed`, `rxnorm` and `ucum`
stand for their systems. Subsumption and value sets are those of the modifiers `:below`, `:above`, `:in` and
`:not-in`. `filtered` gives it all its meaning. Every error names the character it is about.

FHIR R4 search_filter.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from profiles.outcomes import Invalid

LONGEST = 20_000  # characters
MOST_TESTS, DEEPEST = 300, 20
OPERATORS = (
    "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap",
    "sa", "eb", "pr", "po", "ss", "sb", "in", "ni", "re",
)  # fmt: skip
_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"(?:_has:[A-Za-z]+:[A-Za-z_][A-Za-z0-9_\-]*:)*[A-Za-z_][A-Za-z0-9_\-]*(?::[A-Za-z]+)?")
_WORD = re.compile(r"[A-Za-z]+")
_TOKEN = re.compile(r"[^\s)\]]+")
_STRING = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Segment:
    """One name of a path, and the filter in its brackets."""

    name: str
    at: int
    within: Filter | None = None


@dataclass(frozen=True, slots=True)
class Test:
    """`path operator value`; `at` is where the operator stands, from 1."""

    path: tuple[Segment, ...]
    operator: str
    value: str
    at: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Filters with one and the same word between them, "and" or "or"."""

    word: str
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Opposite:
    """`not (inner)`."""

    inner: Filter


Filter = Test | Joined | Opposite


def parse(text: str) -> Filter:
    """Raises Invalid naming the character where the text is wrong."""
    if len(text) > LONGEST:
        raise Invalid("bad-filter", f"'_filter' has more than {LONGEST} characters")
    reading = _Reading(text)
    found = reading.filter(DEEPEST)
    if reading.at < len(text):
        raise reading.wrong("'and', 'or' or the end")
    return found


class Misplaced(Invalid):
    """An error that names its place in the filter."""


@contextmanager
def at(place: int) -> Iterator[None]:
    """What is wrong within names the character."""
    try:
        yield
    except Misplaced:
        raise
    except Invalid as error:
        raise Misplaced(error.slug, f"'_filter', at character {place}: {error}") from error


class _Reading:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.tests = text, 0, 0
        self._skip()

    def wrong(self, wanted: str) -> Misplaced:
        return Misplaced("bad-filter", f"'_filter', at character {self.at + 1}: {wanted} is expected here")

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _taken(self, pattern: re.Pattern[str], wanted: str) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.wrong(wanted)
        self.at = match.end()
        return match[0]

    def _symbol(self, symbol: str) -> None:
        if not self.text.startswith(symbol, self.at):
            raise self.wrong(f"'{symbol}'")
        self.at += 1
        self._skip()

    def _keyword(self) -> str:
        """The lower-cased word that stands here, not taken."""
        match = _WORD.match(self.text, self.at)
        return match[0].lower() if match else ""

    def filter(self, left: int) -> Filter:
        """One or more, joined from left to right."""
        if left == 0:
            raise Misplaced("bad-filter", f"'_filter', at character {self.at + 1}: deeper than {DEEPEST}")
        parts, last, turns = [self._one(left)], "", 0
        while (word := self._keyword()) in ("and", "or"):
            if last not in ("", word):
                parts, turns = [Joined(last, tuple(parts))], turns + 1
                if turns >= left:
                    raise self.wrong(
                        f"a filter no deeper than {DEEPEST}; 'and' and 'or' change too often, ')'"
                    )
            self.at, last = self.at + len(word), word
            self._skip()
            parts.append(self._one(left))
        return parts[0] if len(parts) == 1 else Joined(last, tuple(parts))

    def _one(self, left: int) -> Filter:
        if self.text.startswith("(", self.at):
            return self._bracketed(left)
        if self._keyword() == "not" and re.match(
            r"not\s*\(", self.text[self.at : self.at + 200], re.IGNORECASE
        ):
            self.at += 3
            self._skip()
            return Opposite(self._bracketed(left))
        return self._test(left)

    def _bracketed(self, left: int) -> Filter:
        self._symbol("(")
        found = self.filter(left - 1)
        self._symbol(")")
        return found

    def _test(self, left: int) -> Test:
        self.tests += 1
        if self.tests > MOST_TESTS:
            raise Misplaced("bad-filter", f"'_filter' has more than {MOST_TESTS} tests")
        path = [self._segment(left)]
        while self.text.startswith(".", self.at):
            self.at += 1
            path.append(self._segment(left))
        if path[-1].within is not None:
            raise self.wrong("'.' and a name, after ']',")
        if len(path) > DEEPEST:
            raise self.wrong(f"a path of no more than {DEEPEST} names")
        before = self.at
        self._skip()
        operator, place = self._keyword(), self.at + 1
        if operator not in OPERATORS or self.at == before:
            raise self.wrong(f"a blank and one of {', '.join(OPERATORS)}")
        self.at += len(operator)
        before = self.at
        self._skip()
        if self.at == before:
            raise self.wrong("a blank and a value")
        return Test(tuple(path), operator, self._value(), place)

    def _segment(self, left: int) -> Segment:
        place = self.at + 1
        name = self._taken(_NAME, "the name of a search parameter")
        if not self.text.startswith("[", self.at):
            return Segment(name, place)
        self._symbol("[")
        within = self.filter(left - 1)
        if not self.text.startswith("]", self.at):
            raise self.wrong("']'")
        self.at += 1
        return Segment(name, place, within)

    def _value(self) -> str:
        if not self.text.startswith('"', self.at):
            value = self._taken(_TOKEN, "a value")
        else:
            try:
                value, self.at = _STRING.raw_decode(self.text, self.at)
            except ValueError as error:
                raise self.wrong("a JSON string with its closing quotation mark") from error
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self.wrong("a value of characters that can be stored")
        self._skip()
        return value


def names(path: Sequence[Segment]) -> str:
    """The path as it is written, without what is in brackets."""
    return ".".join(segment.name for segment in path)
