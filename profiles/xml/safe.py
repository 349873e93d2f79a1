"""The XML parser as it is used on what comes from outside: no DOCTYPE, so no entities and nothing external;
UTF-8 only; every refusal names line and column.

Expat reads, and never recurses. Without a DOCTYPE there are no entities but XML's own five, so nothing can
grow while it is read: memory stays in proportion to a body that is limited already.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NoReturn
from xml.parsers import expat

from profiles.outcomes import Invalid

MAX_DEPTH = 100
"""Elements within each other."""
_UTF8 = frozenset({"", "utf-8", "utf8", "us-ascii"})


def parser() -> expat.XMLParserType:
    """Names come as "namespace name prefix", the prefix only where one is written."""
    made = expat.ParserCreate("UTF-8", " ")
    made.namespace_prefixes = True
    made.buffer_text = True
    made.ordered_attributes = True

    def no_doctype(*_: object) -> NoReturn:
        refuse(made, "xml-doctype", "a DOCTYPE is not accepted, so no entity definitions either")

    def declared(version: str, encoding: str | None, standalone: int) -> None:
        if (encoding or "").lower() not in _UTF8:
            refuse(made, "xml-not-utf-8", "the encoding declared is not UTF-8")

    made.StartDoctypeDeclHandler = no_doctype
    made.EntityDeclHandler = no_doctype
    made.ExternalEntityRefHandler = no_doctype
    made.XmlDeclHandler = declared
    return made


def run(made: expat.XMLParserType, body: bytes) -> None:
    """Parses the whole body. Raises Invalid, and what the handlers raise."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        before = body[: wrong.start].decode("utf-8")
        place = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
        raise Invalid("xml-not-utf-8", f"{place}: this byte is not UTF-8") from None
    if not body.strip():
        raise Invalid("xml-empty", "line 1, column 1: the body is empty; an XML document is expected")
    try:
        made.Parse(body, True)
    except expat.ExpatError as error:
        why = expat.errors.messages.get(error.code, "syntax error")
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise Invalid("xml-syntax", f"{place}: not valid XML: {why}") from None


def refuse(made: expat.XMLParserType, slug: str, why: str) -> NoReturn:
    """Raises Invalid with the place where the parser is."""
    raise Invalid(slug, f"line {made.CurrentLineNumber}, column {made.CurrentColumnNumber + 1}: {why}")


@lru_cache(maxsize=4096)
def split_name(name: str) -> tuple[str, str, str]:
    """(namespace or "", local name, prefix or "") of a name as the parser gives it."""
    parts = name.split(" ")
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) > 2 else ""
