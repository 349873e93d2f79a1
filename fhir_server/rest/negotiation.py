"""Which format in, which format out. JSON only so far; what cannot be served says so instead of guessing.

FHIR R4 http.html#mime-type, http.html#parameters
"""

from __future__ import annotations

from functools import lru_cache

from fhir_server.rest.answer import Call
from profiles import codec
from profiles.outcomes import Invalid, NotAcceptable, UnsupportedMedia

JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json", "application/json+fhir"})
XML_TYPES = frozenset({"application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir"})
_ANY = frozenset({"*/*", "application/*"})
_FORM = "application/x-www-form-urlencoded"


def check_format(call: Call) -> None:
    """The answer can be in a format the client takes. Raises NotAcceptable. `_format` goes before Accept."""
    asked = call.first("_format")
    if asked:
        kind = asked.replace(" ", "+").partition(";")[0].strip().lower()  # an unescaped + arrives as a space
        if kind != "json" and kind not in JSON_TYPES:
            raise NotAcceptable("format", _why(kind, "_format"))
        return
    accept = call.headers.get("accept")
    if accept is not None and not accepts_json(accept):
        raise NotAcceptable("format", _why(accept.partition(",")[0].partition(";")[0].strip(), "Accept"))


@lru_cache(maxsize=256)
def accepts_json(accept: str) -> bool:
    """Whether an Accept header admits FHIR JSON of R4."""
    for choice in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in choice.split(";"))
        if kind and kind not in JSON_TYPES and kind not in _ANY:
            continue
        version = next(
            (p.partition("=")[2].strip('" ') for p in parameters if p.startswith("fhirversion")), "4.0"
        )
        if "q=0" in parameters or not version.startswith("4.0"):
            continue
        return True
    return not accept.strip()


def _why(kind: str, where: str) -> str:
    if kind == "xml" or kind in XML_TYPES:
        return "XML is not served; ask for application/fhir+json"
    return f"{where} names no format that is served; ask for application/fhir+json"


def is_fhir(content_type: str | None) -> bool:
    """Whether a body with that Content-Type is a FHIR resource (none at all counts as one)."""
    kind = (content_type or "application/fhir+json").partition(";")[0].strip().lower()
    return kind in JSON_TYPES or kind in XML_TYPES


def check_content_type(call: Call) -> None:
    """The body is FHIR JSON. Raises UnsupportedMedia."""
    content_type = call.headers.get("content-type")
    kind, _, parameters = (content_type or "application/fhir+json").partition(";")
    kind = kind.strip().lower()
    if kind in XML_TYPES:
        raise UnsupportedMedia("content-type", "XML is not read; send application/fhir+json")
    if kind not in JSON_TYPES:
        raise UnsupportedMedia("content-type", "this body type is not read; send application/fhir+json")
    charset = next(
        (
            p.partition("=")[2].strip('" ').lower()
            for p in parameters.split(";")
            if p.strip().lower().startswith("charset")
        ),
        "utf-8",
    )
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMedia("charset", "FHIR JSON is UTF-8")


def check_form(call: Call) -> None:
    """The body is a form, as POST _search sends. Raises UnsupportedMedia."""
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise UnsupportedMedia("content-type", f"_search takes {_FORM}")


def pretty(call: Call, body: bytes) -> bytes:
    """Indented if `_pretty=true`. Raises Invalid for another value than true and false."""
    value = call.first("_pretty")
    if value in ("", "false"):
        return body
    if value != "true":
        raise Invalid("bad-pretty", "_pretty is true or false")
    return codec.dump_indented(codec.parse(body))
