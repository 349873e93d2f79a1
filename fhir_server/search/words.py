"""Words of a text: what `_text` and `_content` index, and the grammar in which they are asked.

A text is its folded words joined by single spaces; what is neither letter nor digit parts words. The
narrative is `_text`; all else a person may read in the resource is `_content` (names, notes, displays, codes,
numbers, dates; no addresses of systems, no references, no base64). Asking `_content` looks at both.

    marrow                 the word             bone marrow           both words, anywhere
    "bone marrow"          one after the other  metast*               a word that begins so
    (bone OR liver) AND NOT metastases

FHIR R4 search.html#content
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from fhir_server.search.nodes import And, Node, Not, Or, Text
from profiles.folding import fold
from profiles.outcomes import Invalid

Json = dict[str, Any]
LONGEST = 200_000  # characters of a text that are indexed
MOST_TERMS, DEEPEST = 100, 20
_WORD = re.compile(r"[^\W_]+")
_APART = {code: " " for code in range(128) if not chr(code).isalnum()}
_INLINE = re.compile(r"</?(?:a|abbr|b|big|em|i|q|small|span|strong|sub|sup|tt|u)(?:\s[^>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_PIECE = re.compile(r'\s*(?:([()])|"([^"]*)"(\*?)|([^\s()"]+))')
_UNREAD = frozenset({"div", "data", "resourceType", "reference", "system", "versionId", "contained"})


def texts_of(resource: Json) -> Iterator[tuple[str, str]]:
    """The text entries of a resource: at most one of each name, none that is empty."""
    narrative = resource.get("text")
    div = narrative.get("div") if isinstance(narrative, dict) else None
    if isinstance(div, str):
        words = words_of(html.unescape(_TAG.sub(" ", _INLINE.sub("", div))))
        if words:
            yield "_text", words
    found: list[str] = []
    _gather(resource, found)
    words = words_of(" ".join(found))
    if words:
        yield "_content", words


def words_of(text: str) -> str:
    """Folded words joined by single spaces."""
    folded = fold(text[:LONGEST])
    if folded.isascii():  # nearly always, and in a third of the time
        return " ".join(folded.translate(_APART).split())
    return " ".join(_WORD.findall(folded))


def _gather(value: Json, found: list[str]) -> None:
    """Every string and number below, in the order written."""
    extension = "url" in value and len(value) == 2
    for name, child in value.items():
        if name in _UNREAD or (extension and name == "url"):
            continue
        if isinstance(child, str):
            found.append(child)
        elif isinstance(child, dict):
            _gather(child, found)
        elif isinstance(child, list):
            for each in child:
                if isinstance(each, dict):
                    _gather(each, found)
                elif isinstance(each, str):
                    found.append(each)
                elif each is not None and not isinstance(each, bool):
                    found.append(str(each))
        elif child is not None and not isinstance(child, bool):
            found.append(str(child))


def asked(code: str, text: str) -> Node:
    """One written value of `_text` or `_content`. Raises Invalid."""
    return _Asked(code, text).whole()


class _Asked:
    """The grammar, by descent."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.pieces = self._split(text)
        self.at = 0

    def whole(self) -> Node:
        node = self._any(DEEPEST)
        if self.at < len(self.pieces):
            raise self._wrong("a ')' closes nothing")
        return node

    def _split(self, text: str) -> list[tuple[str, str]]:
        """(kind, text): kind is "(", ")", "and", "or", "not", "term", "begins"."""
        found: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _PIECE.match(text, at)
            if match is None:
                raise self._wrong("a quotation mark is not closed")
            at = match.end()
            bracket, phrase, star, word = match.groups()
            if bracket:
                found.append((bracket, bracket))
            elif phrase is None and word.lower() in ("and", "or", "not"):
                found.append((word.lower(), word))
            else:
                begins = bool(star) or (phrase is None and word.endswith("*"))
                found.append(("begins" if begins else "term", word if phrase is None else phrase))
        if len(found) > MOST_TERMS:
            raise self._wrong(f"more than {MOST_TERMS} words")
        return found

    def _next(self) -> str:
        return self.pieces[self.at][0] if self.at < len(self.pieces) else ""

    def _any(self, left: int) -> Node:
        if left == 0:
            raise self._wrong(f"brackets deeper than {DEEPEST}")
        nodes = [self._all(left)]
        while self._next() == "or":
            self.at += 1
            nodes.append(self._all(left))
        return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))

    def _all(self, left: int) -> Node:
        nodes = [self._one(left)]
        while self._next() not in ("", "or", ")"):
            if self._next() == "and":
                self.at += 1
            nodes.append(self._one(left))
        return nodes[0] if len(nodes) == 1 else And(tuple(nodes))

    def _one(self, left: int) -> Node:
        kind, text = self.pieces[self.at] if self.at < len(self.pieces) else ("", "")
        self.at += 1
        match kind:
            case "not":
                return Not(self._one(left))
            case "(":
                node = self._any(left - 1)
                if self._next() != ")":
                    raise self._wrong("a '(' is not closed")
                self.at += 1
                return node
            case "term" | "begins":
                return self._term(text, starts=kind == "begins")
            case _:
                raise self._wrong("a word is missing beside AND, OR, NOT or a bracket")

    def _term(self, text: str, *, starts: bool) -> Node:
        words = words_of(text)
        if not words:
            raise self._wrong("a term without any letter or digit")
        found = Text(self.code, words, starts)
        return Or((Text("_text", words, starts), found)) if self.code == "_content" else found

    def _wrong(self, why: str) -> Invalid:
        return Invalid(
            "bad-text",
            f"'{self.code}': {why}; it takes words, \"words in a row\", begin*, AND, OR, NOT and brackets",
        )
