"""A resource as FHIR XML.

Elements stand in the standard's order, a primitive's value in its `value` attribute, ids of elements and URLs
of extensions in attributes, a narrative as it was written. FHIR R4 xml.html
"""

from __future__ import annotations

import re
from decimal import Decimal
from html.entities import name2codepoint
from typing import Any, NoReturn
from xml.parsers import expat

from profiles import definitions
from profiles.codec import Written
from profiles.outcomes import NotAcceptable
from profiles.xml.members import FHIR, XHTML, Member, members

Json = dict[str, Any]

_ESCAPED = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    ord("\t"): "&#9;",
    ord("\n"): "&#10;",
    ord("\r"): "&#13;",
}
_NEEDS_ESCAPE = re.compile(r"[&<>\"\t\n\r]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_OF_XML = frozenset({"amp", "lt", "gt", "quot", "apos"})


def dump(resource: Json) -> bytes:
    """Compact UTF-8 XML with its declaration.

    Raises NotAcceptable, naming the place, for what has no XML form: a member that is not of its type, a
    control character, a narrative that is not well-formed. A resource that passed validation has none.
    """
    return _Writer("").document(resource)


def dump_indented(resource: Json) -> bytes:
    """As `dump`, an element a line, two spaces a level, for people; narratives as they are."""
    return _Writer("\n").document(resource)


class _Writer:
    """Gathers the pieces of one document. `line` is what stands before each element's indentation, empty for
    the compact form."""

    __slots__ = ("line", "out")

    def __init__(self, line: str) -> None:
        self.line = line
        self.out: list[str] = []

    def document(self, resource: Json) -> bytes:
        self.out.append('<?xml version="1.0" encoding="UTF-8"?>')
        self.resource(resource, f' xmlns="{FHIR}"', 0)
        self.out.append(self.line)
        return "".join(self.out).encode("utf-8")

    def start(self, depth: int) -> str:
        return f"{self.line}{'  ' * depth}<" if self.line else "<"

    def resource(self, resource: Any, namespace: str, depth: int) -> None:
        type = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(type, str) or type not in definitions.resource_types():
            _refuse("Resource", "there is no such resource type")
        self.out.append(f"{self.start(depth)}{type}{namespace}")
        inner = {name: value for name, value in resource.items() if name != "resourceType"}
        self.content(type, type, inner, depth)

    def content(self, tag: str, type: str, value: Json, depth: int) -> None:
        """The rest of an element whose start tag is open: its attributes, what is in it, its end tag."""
        known = members(type)
        inside: list[tuple[int, int, Member]] = []
        for place, name in enumerate(value):
            member = known.get(name) or known.get(name[1:] if name[:1] == "_" else "")
            if member is None:
                _refuse(type, "a member is not of this type")
            if member.kind == "attribute":
                if name != member.name:
                    _refuse(type, "an id or a url has an extension")
                self.out.append(f' {name}="{_text(value[name], type, name)}"')
            elif name == member.name or member.name not in value:
                inside.append((member.place, place, member))
        if not inside:
            self.out.append("/>")
            return
        inside.sort(key=_rank)
        self.out.append(">")
        for _, _, member in inside:
            self.member(type, member, value, depth + 1)
        self.out.append(f"{self.line}{'  ' * depth}</{tag}>" if self.line else f"</{tag}>")

    def member(self, type: str, member: Member, owner: Json, depth: int) -> None:
        value, sibling = owner.get(member.name), owner.get("_" + member.name)
        if member.kind != "primitive" and sibling is not None:
            _refuse(type, f"{member.name} has an extension that XML has no place for")
        if isinstance(value, list) or isinstance(sibling, list):
            values = value if isinstance(value, list) else []
            siblings = sibling if isinstance(sibling, list) else []
            for place in range(max(len(values), len(siblings))):
                one = values[place] if place < len(values) else None
                extra = siblings[place] if place < len(siblings) else None
                self.one(type, member, one, extra, depth)
        else:
            self.one(type, member, value, sibling, depth)

    def one(self, type: str, member: Member, value: Any, sibling: Any, depth: int) -> None:
        name = member.name
        if member.kind == "xhtml":
            self.out.append((f"{self.line}{'  ' * depth}" if self.line else "") + _div(value, type))
            return
        self.out.append(self.start(depth) + name)
        if member.kind == "primitive":
            if value is not None:
                self.out.append(f' value="{_text(value, type, name)}"')
            self.content(name, "Element", _object(sibling or {}, type, name), depth)
        elif member.kind == "resource":
            self.out.append(">")
            self.resource(value, "", depth + 1)
            self.out.append(f"{self.line}{'  ' * depth}</{name}>" if self.line else f"</{name}>")
        else:
            self.content(name, member.type, _object(value, type, name), depth)


def _rank(item: tuple[int, int, Member]) -> tuple[int, int]:
    return item[0], item[1]


def _object(value: Any, type: str, name: str) -> Json:
    if not isinstance(value, dict):
        _refuse(f"{type}.{name}", "an object is expected here")
    return value


def _text(value: Any, type: str, name: str) -> str:
    """A primitive's text, escaped for an attribute."""
    if isinstance(value, str):
        if not value.isprintable() and _NOT_XML.search(value):
            _refuse(f"{type}.{name}", "XML cannot hold a character that is here")
        return value.translate(_ESCAPED) if _NEEDS_ESCAPE.search(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Written):
        return value.text
    if not isinstance(value, int | float | Decimal):
        _refuse(f"{type}.{name}", "a primitive value is expected here")
    return str(value)


def _div(value: Any, type: str) -> str:
    """The narrative's own text, HTML's named entities in XML's way."""
    place = f"{type}.div"
    if not isinstance(value, str) or _NOT_XML.search(value):
        _refuse(place, "no text that XML can hold")
    text = _ENTITY.sub(_entity, value) if "&" in value else value
    root: list[str] = []

    def start(name: str, attributes: object) -> None:
        if not root:
            root.append(name)

    made = expat.ParserCreate("UTF-8", " ")
    made.StartElementHandler = start
    try:
        made.Parse(text.encode("utf-8"), True)
    except expat.ExpatError:
        root.clear()
    if root != [f"{XHTML} div"] or not text.startswith("<div"):
        _refuse(place, "the narrative is not a well-formed div")
    return text.rstrip()


def _entity(match: re.Match[str]) -> str:
    name = match[1]
    if name in _OF_XML:
        return match[0]
    return f"&#{name2codepoint[name]};" if name in name2codepoint else f"&amp;{name};"


def _refuse(place: str, why: str) -> NoReturn:
    raise NotAcceptable(
        "no-xml-form", f"{place}: {why}; ask for application/fhir+json instead", expression=place
    )
