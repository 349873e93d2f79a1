"""JSON bytes ↔ a resource as a plain dict, losing nothing: not a digit of a decimal, not a repeated name.

`parse` reads with orjson. Where a number carries more than a Python int or float tells back (a fraction, an
exponent, a negative zero, more than 18 digits), the text is read again with the standard library and such a
number becomes a `Written`, a Decimal that remembers how it was written. `dump` writes it back as it came.

Two conditions are judged on an indented copy, as that costs microseconds in native code and a walk in Python
costs ten times as much: nesting (the indentation of the deepest line) and repeated names (fewer names than
the source has).

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

# A number with a fraction, exponent, leading "-0", or too long for 64 bits. A number follows a name's colon,
# "[" or ",". A string can look like this too; it then only costs the slower reading.
_KEEPS_TEXT = re.compile(rb'(?:"\s*:|[\[,])\s*(?:-0|-?\d+[.eE]|-?\d{19})')
_DEEPER = b"\n" + b" " * (2 * (MAX_DEPTH + 1))
# What makes counting '":' in the source an unsafe count of its names.
_UNCOUNTABLE = re.compile(rb'"\s+:|\\u00(?:22|20|3[aA])')
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
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    try:
        resource: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse_syntax(body, error)
    if type(resource) is not dict:
        raise Invalid(
            "json-not-an-object", "line 1, column 1: the body is not a JSON object; a FHIR resource is one"
        )
    _check_shape(body, resource)
    if _KEEPS_TEXT.search(body):
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


def _check_shape(body: bytes, resource: dict[str, Any]) -> None:
    """Refuse excessive depth and repeated names. See the module's head for how."""
    laid_out = orjson.dumps(resource, option=orjson.OPT_INDENT_2)
    if _DEEPER in laid_out:
        raise Invalid("json-too-deep", f"nesting is deeper than {MAX_DEPTH} levels")
    if body.count(b'":') != laid_out.count(b'": ') or _UNCOUNTABLE.search(body):
        _refuse_repeated_names(body.decode("utf-8"))


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
