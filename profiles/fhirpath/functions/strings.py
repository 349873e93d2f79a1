"""FHIRPath N1 §5.6 String manipulation, with 2.1's encoding, escaping, `split`, `join` and `trim`.

Regular expressions run in RE2, whose time is linear in the text: no pattern can stall the server. What RE2
has not (look-around, back-references) is refused by name.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import re2

from profiles.fhirpath.functions.calling import (
    Builder,
    Compile,
    Run,
    Test,
    TestBuilder,
    on_text,
    test_on_text,
    text_of,
    valued,
    whole,
    words,
)
from profiles.fhirpath.nodes import Collection, Scope
from profiles.fhirpath.syntax import Constant, Expression
from profiles.fhirpath.values import MAX_TEXT, number_node, single, text_node, too_long
from profiles.outcomes import Invalid

MAX_PATTERN = 2000
MAX_PATTERN_BYTES = 2**21
"""What RE2 may use for one pattern; 128 of them are kept."""
_CODE_POINT = re.compile(r"\\u([0-9A-Fa-f]{4})")
_GROUP = re.compile(r"\\(.)|\$(\d)|\$\{(\w+)\}", re.DOTALL)


def _substring(text: str, values: list[Any], scope: Scope) -> Collection:
    start = whole(values[0], "substring")
    if not 0 <= start < len(text):
        return []
    end = len(text) if len(values) == 1 else start + max(0, whole(values[1], "substring"))
    return text_node(text[start:end], scope.evaluation)


def _replace(text: str, values: list[Any], scope: Scope) -> Collection:
    old, new = words(values[0], "replace"), words(values[1], "replace")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_TEXT:
        raise too_long()
    return text_node(text.replace(old, new), scope.evaluation)


@lru_cache(maxsize=128)
def _test(source: str, method: str) -> Callable[[str], bool]:
    """A pattern that is only asked whether it fits: on bytes and without groups, a tenth of the time."""
    find = getattr(_pattern(source, captures=False), method)
    return lambda text: find(_encoded(text)) is not None


def _encoded(text: str) -> bytes:
    """UTF-8; a lone half of a surrogate pair, as JSON can hold, becomes bytes that fit no character."""
    return text.encode("utf-8", "surrogatepass")


def _check_unicode(text: str) -> None:
    """Raises Invalid for half a surrogate pair, which RE2 cannot be handed."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid("fhirpath-type", "a text with half a surrogate pair is no Unicode")


@lru_cache(maxsize=512)
def _pattern(source: str, *, captures: bool) -> Any:
    if len(source) > MAX_PATTERN:
        raise Invalid("fhirpath-regex", f"a regular expression has at most {MAX_PATTERN} characters here")
    _check_unicode(source)
    options = re2.Options()
    options.log_errors, options.dot_nl, options.never_capture = False, True, not captures
    options.max_mem = MAX_PATTERN_BYTES
    try:
        return re2.compile(_CODE_POINT.sub(r"\\x{\1}", source), options)
    except re2.error:
        raise Invalid(
            "fhirpath-regex", "this regular expression is wrong, or uses what is not offered (look-around)"
        ) from None


def _matched(name: str, method: str) -> TestBuilder:
    """A pattern that is written in the expression is compiled with it."""
    general = test_on_text(name, 1, 1, lambda text, values: _test(words(values[0], name), method)(text))

    def builder(of: Run, arguments: tuple[Expression, ...], compile: Compile) -> Test:
        match arguments:
            case (Constant("String", str(source)),):
                fits = _test(source, method)
                return test_on_text(name, 0, 0, lambda text, values: fits(text))(of, (), compile)
        return general(of, arguments, compile)

    return builder


def _replace_matches(text: str, values: list[Any], scope: Scope) -> Collection:
    source, new = words(values[0], "replaceMatches"), words(values[1], "replaceMatches")
    if not source:
        return text_node(text, scope.evaluation)
    _check_unicode(text)
    pieces, at, length = [], 0, 0
    for match in _pattern(source, captures=True).finditer(text):
        piece = text[at : match.start()] + _expanded(new, match)
        length += len(piece)
        if length > MAX_TEXT:
            raise too_long()
        scope.evaluation.spend(1)
        pieces.append(piece)
        at = match.end()
    return text_node("".join(pieces) + text[at:], scope.evaluation)


def _expanded(template: str, match: Any) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1] is not None:
            return found[1]
        try:
            return match.group(int(found[2]) if found[2] is not None else found[3]) or ""
        except (IndexError, KeyError):
            raise Invalid("fhirpath-regex", "the replacement names a group that is not there") from None

    return _GROUP.sub(one, template) if "$" in template or "\\" in template else template


def _encode(text: str, values: list[Any], scope: Scope) -> Collection:
    data = _encoded(text)
    match values[0]:
        case "base64":
            return text_node(base64.b64encode(data).decode(), scope.evaluation)
        case "urlbase64":
            return text_node(base64.urlsafe_b64encode(data).decode(), scope.evaluation)
        case "hex":
            return text_node(data.hex(), scope.evaluation)
    return []


def _decode(text: str, values: list[Any], scope: Scope) -> Collection:
    try:
        match values[0]:
            case "base64":
                data = base64.b64decode(text, validate=True)
            case "urlbase64":
                data = base64.urlsafe_b64decode(text)
            case "hex":
                data = bytes.fromhex(text)
            case _:
                return []
        return text_node(data.decode(), scope.evaluation)
    except (binascii.Error, ValueError):
        return []


def _escape(text: str, values: list[Any], scope: Scope) -> Collection:
    match values[0]:
        case "html":
            return text_node(html.escape(text), scope.evaluation)
        case "json":
            return text_node(json.dumps(text, ensure_ascii=False)[1:-1], scope.evaluation)
    return []


def _unescape(text: str, values: list[Any], scope: Scope) -> Collection:
    match values[0]:
        case "html":
            return text_node(html.unescape(text), scope.evaluation)
        case "json":
            try:
                made = json.loads('"' + text.replace('\\"', '"').replace('"', '\\"') + '"')
            except ValueError:
                return []
            return text_node(made, scope.evaluation)
    return []


def _split(text: str, values: list[Any], scope: Scope) -> Collection:
    separator = words(values[0], "split")
    parts = text.split(separator) if separator else list(text)
    scope.evaluation.spend(len(parts))
    return [(part, "System.String", None) for part in parts]


def _join(found: Collection, arguments: list[Collection], scope: Scope) -> Collection:
    separator = single(arguments[0]) if arguments else ("", "System.String", None)
    if separator is None or not found:
        return []
    parts, between = [text_of(node, "join") for node in found if node[0] is not None], separator[0]
    if sum(map(len, parts)) + len(parts) * len(words(between, "join")) > MAX_TEXT:
        raise too_long()
    return text_node(between.join(parts), scope.evaluation)


def _characters(text: str, values: list[Any], scope: Scope) -> Collection:
    scope.evaluation.spend(len(text))
    return [(character, "System.String", None) for character in text]


def _tested(name: str, test: Callable[[str, str], bool]) -> TestBuilder:
    return test_on_text(name, 1, 1, lambda text, values: test(text, words(values[0], name)))


def _made(name: str, make: Callable[[str], str]) -> Builder:
    return on_text(name, 0, 0, lambda text, values, scope: text_node(make(text), scope.evaluation))


BUILDERS: Mapping[str, Builder] = {
    "indexOf": on_text("indexOf", 1, 1, lambda t, v, s: number_node(t.find(words(v[0], "indexOf")))),
    "lastIndexOf": on_text(
        "lastIndexOf", 1, 1, lambda t, v, s: number_node(t.rfind(words(v[0], "lastIndexOf")))
    ),
    "substring": on_text("substring", 1, 2, _substring),
    "upper": _made("upper", str.upper),
    "lower": _made("lower", str.lower),
    "trim": _made("trim", str.strip),
    "replace": on_text("replace", 2, 2, _replace),
    "replaceMatches": on_text("replaceMatches", 2, 2, _replace_matches),
    "length": on_text("length", 0, 0, lambda text, values, scope: number_node(len(text))),
    "toChars": on_text("toChars", 0, 0, _characters),
    "encode": on_text("encode", 1, 1, _encode),
    "decode": on_text("decode", 1, 1, _decode),
    "escape": on_text("escape", 1, 1, _escape),
    "unescape": on_text("unescape", 1, 1, _unescape),
    "split": on_text("split", 1, 1, _split),
    "join": valued("join", 0, 1, _join),
}
TESTS: Mapping[str, TestBuilder] = {
    "startsWith": _tested("startsWith", str.startswith),
    "endsWith": _tested("endsWith", str.endswith),
    "contains": _tested("contains", lambda text, part: part in text),
    "matches": _matched("matches", "search"),
    "matchesFull": _matched("matchesFull", "fullmatch"),
}
