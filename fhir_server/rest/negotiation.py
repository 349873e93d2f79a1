"""Which format in, which format out: JSON or XML; what cannot be served says so instead of guessing.

FHIR R4 http.html#mime-type, http.html#parameters; RFC 9110 §12.5.1
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from fhir_server.rest.answer import Call
from profiles.outcomes import Invalid, NotAcceptable, UnsupportedMedia

Format = Literal["json", "xml"]
JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "application/json+fhir"})
FHIR_XML_TYPES = frozenset({"application/fhir+xml", "application/xml+fhir"})
XML_TYPES = FHIR_XML_TYPES | {"application/xml", "text/xml"}
FORMATS: Mapping[str, Format] = MappingProxyType(
    {"json": "json", "xml": "xml", **dict.fromkeys(JSON_TYPES, "json"), **dict.fromkeys(XML_TYPES, "xml")}
)
"""What `_format` may name; Accept and Content-Type, all but the two short names."""
_SERVED = "application/fhir+json or application/fhir+xml"
_FORM = "application/x-www-form-urlencoded"


def format_of(call: Call) -> Format | None:
    """The answer's format; None when the client takes neither. `_format` goes before Accept."""
    if call.query and (asked := call.first("_format")):
        kind = asked.replace(" ", "+").partition(";")[0]  # an unescaped + arrives as a space
        return FORMATS.get(kind.strip().lower())
    accept = call.headers.get("accept")
    return "json" if accept is None else accepted(accept)


@lru_cache(maxsize=256)
def accepted(accept: str) -> Format | None:
    """The format that an Accept header prefers: the higher q, then the one that is named and not only meant
    by a wildcard, then the one named first; JSON where nothing tells. RFC 9110 §12.5.1"""
    if not accept.strip():
        return "json"
    named: dict[Format, tuple[float, int]] = {}
    wild: dict[str, float] = {}
    for place, choice in enumerate(accept.split(",")):
        kind, *parameters = (part.strip().lower() for part in choice.split(";"))
        quality = _quality(parameters)
        if kind in ("*/*", "application/*"):
            wild[kind] = max(quality, wild.get(kind, 0.0))
        elif "/" in kind and (format := FORMATS.get(kind)) and _is_r4(parameters):
            named[format] = max(named.get(format, (0.0, -place)), (quality, -place))
    general = wild.get("application/*", wild.get("*/*", 0.0))
    ranks = {
        format: (named[format][0], True, named[format][1]) if format in named else (general, False, 0)
        for format in ("json", "xml")
    }
    best: Format = "xml" if ranks["xml"] > ranks["json"] else "json"
    return best if ranks[best][0] > 0 else None


def _quality(parameters: list[str]) -> float:
    """q from 0 to 1; what is no number counts as 1, as browsers and servers commonly have it."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            plain = value.replace(".", "", 1)
            return min(float(value), 1.0) if plain.isascii() and plain.isdecimal() and len(value) < 9 else 1.0
    return 1.0


def _is_r4(parameters: list[str]) -> bool:
    versions = [p.partition("=")[2].strip('" ') for p in parameters if p.startswith("fhirversion")]
    return all(version.startswith("4.0") for version in versions)


def check_format(call: Call) -> None:
    """The answer can be in a format the client takes. Raises NotAcceptable."""
    if format_of(call) is None:
        where = "_format" if call.first("_format") else "Accept"
        raise NotAcceptable("format", f"{where} names no format that is served; ask for {_SERVED}")


def is_fhir(content_type: str | None) -> bool:
    """Whether a body with that Content-Type says to be FHIR (none at all counts as such). Plain XML does not:
    a Binary may well hold some."""
    kind = _kind(content_type)
    return kind in JSON_TYPES or kind in FHIR_XML_TYPES


def is_xml(content_type: str | None) -> bool:
    """Whether it is XML of any kind."""
    return _kind(content_type) in XML_TYPES


def _kind(content_type: str | None) -> str:
    return (content_type or "application/fhir+json").partition(";")[0].strip().lower()


def body_format(call: Call) -> Format:
    """The format of a body that is a resource. Raises UnsupportedMedia."""
    content_type = call.headers.get("content-type")
    kind = _kind(content_type)
    format = FORMATS.get(kind) if "/" in kind else None
    if format is None:
        raise UnsupportedMedia("content-type", f"this body type is not read; send {_SERVED}")
    for parameter in (content_type or "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip('" ').lower() not in (
            "utf-8",
            "utf8",
            "us-ascii",
        ):
            raise UnsupportedMedia("charset", "FHIR is UTF-8")
    return format


def check_form(call: Call) -> None:
    """The body is a form, as POST _search sends. Raises UnsupportedMedia."""
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise UnsupportedMedia("content-type", f"_search takes {_FORM}")


def wants_pretty(call: Call) -> bool:
    """`_pretty`. Raises Invalid for another value than true and false."""
    if not call.query:
        return False
    value = call.first("_pretty")
    if value not in ("", "false", "true"):
        raise Invalid("bad-pretty", "_pretty is true or false")
    return value == "true"
