"""The formats of primitive types: for each a test and the words for what is expected.

The tests follow the standard's regular expressions. Where those are slow on hostile text, or mean other white
space than Python's, the same set of texts is described in another way. FHIR R4 datatypes.html#primitive
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from profiles import definitions
from profiles.schema import narrative

MAX_STRING = 1_048_576
"""Characters; FHIR's limit is 1 MB of a string."""

Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Format:
    """`test` is true of a valid JSON value; `expected` completes "expected …", `french` does in French."""

    test: Test
    expected: str
    french: str


_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_BASE64 = re.compile(r"[0-9A-Za-z+/]*={0,2}")
_SPACE = re.compile(r"[ \t\r\n]+")
_NO_SPACE = re.compile(r"[^\x00-\x20]+")
_CODE = re.compile(r"[^\x00-\x20]+(?:[ \t\r\n][^\x00-\x20]+)*")


def _string(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_STRING and not _FORBIDDEN.search(value)


def _matching(pattern: re.Pattern[str]) -> Test:
    match = pattern.fullmatch
    return lambda value: type(value) is str and match(value) is not None


def _dated(pattern: re.Pattern[str]) -> Test:
    """The standard's pattern lets 30 February pass."""
    match = pattern.fullmatch

    def test(value: Any) -> bool:
        if type(value) is not str or match(value) is None:
            return False
        if len(value) < 10 or value[8:10] <= "28":
            return True
        try:
            date(int(value[:4]), int(value[5:7]), int(value[8:10]))
        except ValueError:
            return False
        return True

    return test


def _base64(value: Any) -> bool:
    if type(value) is not str or not value:
        return False
    if _BASE64.fullmatch(value) is None:
        value = _SPACE.sub("", value)
    return len(value) % 4 == 0 and _BASE64.fullmatch(value) is not None


def _between(least: int, most: int) -> Test:
    return lambda value: type(value) is int and least <= value <= most


def _decimal(value: Any) -> bool:
    return isinstance(value, int | Decimal | float) and type(value) is not bool


def _standard(name: str) -> re.Pattern[str]:
    return re.compile(definitions.primitives()[name].regex, re.ASCII)


_INT = 2**31
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "boolean": Format(lambda value: type(value) is bool, "true or false", "true ou false"),
        "integer": Format(_between(-_INT, _INT - 1), "a whole number of 32 bits", "un entier de 32 bits"),
        "unsignedInt": Format(
            _between(0, _INT - 1), "a whole number from 0 to 2147483647", "un entier de 0 à 2147483647"
        ),
        "positiveInt": Format(
            _between(1, _INT - 1), "a whole number from 1 to 2147483647", "un entier de 1 à 2147483647"
        ),
        "decimal": Format(_decimal, "a number", "un nombre"),
        "string": Format(
            _string,
            "a string of 1 to 1048576 characters without control characters",
            "un texte de 1 à 1048576 caractères, sans caractères de contrôle",
        ),
        "markdown": Format(
            _string,
            "a string of 1 to 1048576 characters without control characters",
            "un texte de 1 à 1048576 caractères, sans caractères de contrôle",
        ),
        "code": Format(
            _matching(_CODE),
            "a code: a string with no white space but single ones between words",
            "un code : un texte sans blancs, sinon un seul entre deux mots",
        ),
        "id": Format(
            _matching(_standard("id")),
            "an id: 1 to 64 of A-Z a-z 0-9 - .",
            "un id : 1 à 64 parmi A-Z a-z 0-9 - .",
        ),
        "uri": Format(
            _matching(_NO_SPACE), "a URI: a string without white space", "une URI : un texte sans blancs"
        ),
        "url": Format(
            _matching(_NO_SPACE), "a URL: a string without white space", "une URL : un texte sans blancs"
        ),
        "canonical": Format(
            _matching(_NO_SPACE),
            "a canonical URL: a string without white space",
            "une URL canonique : un texte sans blancs",
        ),
        "oid": Format(_matching(_standard("oid")), "an OID as urn:oid:1.2.3", "un OID comme urn:oid:1.2.3"),
        "uuid": Format(
            _matching(_standard("uuid")),
            "a UUID as urn:uuid: and lower-case hexadecimal digits",
            "un UUID : urn:uuid: et des chiffres hexadécimaux en minuscules",
        ),
        "date": Format(
            _dated(_standard("date")),
            "a date: YYYY, YYYY-MM or YYYY-MM-DD, one that exists",
            "une date : AAAA, AAAA-MM ou AAAA-MM-JJ, et qui existe",
        ),
        "dateTime": Format(
            _dated(_standard("dateTime")),
            "a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss±hh:mm, one that exists",
            "un dateTime : AAAA, AAAA-MM, AAAA-MM-JJ ou AAAA-MM-JJThh:mm:ss±hh:mm, et qui existe",
        ),
        "instant": Format(
            _dated(_standard("instant")),
            "an instant: YYYY-MM-DDThh:mm:ss.sss±hh:mm, one that exists",
            "un instant : AAAA-MM-JJThh:mm:ss.sss±hh:mm, et qui existe",
        ),
        "time": Format(_matching(_standard("time")), "a time: hh:mm:ss", "une heure : hh:mm:ss"),
        "base64Binary": Format(_base64, "base64 text", "du texte en base64"),
        "xhtml": Format(narrative.is_narrative, narrative.EXPECTED, narrative.FRENCH),
    }
)
"""Every primitive type."""
