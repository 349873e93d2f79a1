"""JSON bytes ↔ a resource as a plain dict, losing nothing: not a digit of a decimal, not a repeated name.

`parse` reads with orjson. Where a number carries more than a Python int or float tells back (a fraction, an
exponent, a negative zero, more than 18 digits), the text is read again with the standard library and such a
number becomes a `Written`, a Decimal that remembers how it was written. `dump` writes it back as it came.

Repeated names are found by counting: a compact copy, made of the dict, then has fewer '":' than the source,
both without white space. That costs microseconds in native code; only what it cannot settle is walked
through.

FHIR R4 json.html; datatypes.html#decimal; RFC 8259
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

import orjson

from profiles.outcomes import Invalid

MAX_DEPTH = 100
MAX_EXPONENT = 400
MAX_DIGITS = 400

# Numbers whose text must be kept, by what stands before a number: a name's colon, a comma, a bracket. Strings
# can look like this too; they then only cost the slower reading. Three patterns, as a literal start is found
# fast.
_KEEPS_TEXT = tuple(
    re.compile(before + rb"\s*(?:-0|-?\d+[.eE]|-?\d{19})") for before in (rb'"\s*:', rb",", rb"\[")
)
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_SPACES_AND_SIGN = b" \t\r\n-"
# Escapes that make counting '":' in the source an unsafe count of its names: of '"', ':' and white space.
_UNCOUNTABLE = re.compile(rb"\\u00(?:2[02]|3[aA]|0[9aAdD])")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]')


class Written(Decimal):
    """A decimal that remembers its text: `Written("1.50e3").text == "1.50e3"`; in all else a Decimal."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Written:
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __reduce__(self) -> tuple[type[Written], tuple[str]]:
        return (Written, (self.text,))

    def __deepcopy__(self, memo: object) -> Written:
        return self

    def __copy__(self) -> Written:
        return self


def parse(body: bytes) -> dict[str, Any]:
    """One JSON object.

    Raises Invalid, naming line and column, for what is not strict JSON in UTF-8 (NaN, comments, trailing
    commas, lone surrogates), for a root that is not an object, nesting deeper than 100, a repeated name, a
    number out of all measure.
    """
    resource: dict[str, Any] = _parse(body)
    if type(resource) is not dict:
        raise Invalid(
            "json-not-an-object", "line 1, column 1: the body is not a JSON object; a FHIR resource is one"
        )
    return resource


def parse_array(body: bytes) -> list[Any]:
    """One JSON array, as a JSON Patch is. Raises Invalid as `parse` does."""
    items: list[Any] = _parse(body)
    if type(items) is not list:
        raise Invalid("json-not-an-array", "line 1, column 1: the body is not a JSON array")
    return items


def _parse(body: bytes) -> Any:
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    try:
        resource: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse_syntax(body, error)
    if type(resource) is not dict and type(resource) is not list:
        return resource
    squeezed = body.translate(_DIGITS_ALIKE, _SPACES_AND_SIGN)
    _check_shape(body, squeezed, resource)
    if (b'":0' in squeezed or b",0" in squeezed or b"[0" in squeezed) and any(
        p.search(body) for p in _KEEPS_TEXT
    ):
        resource = json.loads(body, parse_float=_decimal, parse_int=_integer)
    return resource


def dump(resource: Any) -> bytes:
    """Compact UTF-8 JSON. Members keep their order and numbers their digits.

    Raises TypeError for what JSON cannot hold: a Decimal that is not finite, keys that are not strings.
    """
    return orjson.dumps(resource, default=_number)


def dump_indented(resource: Any) -> bytes:
    """As `dump`, two spaces a level, for people."""
    return orjson.dumps(resource, default=_number, option=orjson.OPT_INDENT_2)


def is_number(text: str) -> bool:
    """Whether the text is a number as JSON writes them."""
    return _NUMBER.fullmatch(text) is not None


def is_whole(text: str) -> bool:
    """Whether it is a number without fraction and exponent, and of a length that integers have."""
    match = _NUMBER.fullmatch(text) if len(text) <= 18 else None
    return match is not None and match.lastindex is None


def number(text: str) -> int | Written:
    """The value that `parse` has for a number of that text. Raises Invalid for one out of all measure."""
    match = _NUMBER.fullmatch(text)
    return _integer(text) if match is not None and match.lastindex is None else _decimal(text)


def _number(value: object) -> orjson.Fragment:
    if isinstance(value, Written):
        return orjson.Fragment(value.text)
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _decimal(text: str) -> Written:
    _, _, exponent = text.lower().partition("e")
    if len(text) > MAX_DIGITS or (exponent and (len(exponent) > 5 or abs(int(exponent)) > MAX_EXPONENT)):
        raise Invalid(
            "json-number", f"a number has more than {MAX_DIGITS} digits or an exponent over {MAX_EXPONENT}"
        )
    return Written(text)


def _integer(text: str) -> int | Written:
    if len(text) <= 18 and text != "-0":
        return int(text)
    return _decimal(text)


def _check_shape(body: bytes, squeezed: bytes, resource: Any) -> None:
    """Refuse excessive depth and repeated names. Depth first: orjson writes no more than 254 levels."""
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        check_depth(resource)
    names = orjson.dumps(resource).translate(_DIGITS_ALIKE, _SPACES_AND_SIGN).count(b'":')
    if squeezed.count(b'":') != names or _UNCOUNTABLE.search(body):
        _refuse_repeated_names(body.decode("utf-8"))


def check_depth(resource: Any) -> None:
    """Raises Invalid beyond the depth that `parse` takes. Level by level, so that neither the stack nor a
    laid-out copy can be blown up."""
    level: list[Any] = [resource]
    for _depth in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise Invalid("json-too-deep", f"nesting is deeper than {MAX_DEPTH} levels")


def _refuse_repeated_names(text: str) -> None:
    """The exact test, needed only where counting did not settle it."""
    names: list[set[str] | None] = []  # one per open bracket; None for an array
    string: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        what = token.group()
        if what == "{":
            names.append(set())
        elif what == "[":
            names.append(None)
        elif what in "}]":
            names.pop()
        elif what == ":" and string is not None and names and (open_names := names[-1]) is not None:
            name = json.loads(string.group())
            if name in open_names:
                raise Invalid(
                    "json-repeated-name",
                    f"{_place(text, string.start())}: the name {name[:64]!r} is repeated",
                )
            open_names.add(name)
        string = token if what[0] == '"' else None


def _refuse_syntax(body: bytes, error: orjson.JSONDecodeError) -> NoReturn:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        before = body[: wrong.start].decode("utf-8")
        raise Invalid("json-not-utf-8", f"{_place(before, len(before))}: this byte is not UTF-8") from None
    if not text.strip():
        raise Invalid(
            "json-empty", "line 1, column 1: the body is empty; a JSON object is expected"
        ) from None
    place = f"line {error.lineno}, column {error.colno}"
    raise Invalid("json-syntax", f"{place}: not valid JSON: {error.msg.partition(': line')[0]}") from None


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"
