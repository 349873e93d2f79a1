"""Narratives: a well-formed XHTML div with the elements and attributes that FHIR allows, and nothing that
runs.

FHIR R4 narrative.html#xhtml (txt-1, txt-2)
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

EXPECTED = (
    "a narrative: one well-formed <div> in the XHTML namespace, with text or an image, of formatting "
    "elements only: no scripts, forms, events or DOCTYPE"
)
FRENCH = (
    "un narratif : un seul <div> bien formé dans l'espace de noms XHTML, avec un texte ou une image, fait "
    "d'éléments de mise en forme seulement : ni script, ni formulaire, ni événement, ni DOCTYPE"
)
ELEMENTS = frozenset({
    "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col",
    "colgroup", "dd", "dfn", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i",
    "img", "kbd", "li", "ol", "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table",
    "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var"
})  # fmt: skip
ATTRIBUTES = frozenset({
    "abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding",
    "cellspacing", "cellvalign", "char", "charoff", "charset", "cite", "class", "colspan", "compact",
    "coords", "dir", "frame", "headers", "height", "href", "hreflang", "hspace", "id", "lang",
    "longdesc", "name", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape", "span", "src",
    "start", "style", "summary", "tabindex", "title", "type", "valign", "value", "vspace", "width",
    "xml:lang", "xml:space", "xmlns"
})  # fmt: skip
MAX_NARRATIVE = 10_000_000
NAMESPACE = "http://www.w3.org/1999/xhtml"
_START = re.compile(r"<div[\s>/]")
_RUNS = re.compile(r"javascript:|vbscript:|data:text/html", re.IGNORECASE)
_IGNORED_IN_LINKS = re.compile(r"[\x00-\x20]+")  # as browsers do


class _Refused(Exception):
    pass


def _runs(link: str) -> bool:
    return _RUNS.match(_IGNORED_IN_LINKS.sub("", link)) is not None


def is_narrative(value: Any) -> bool:
    """Whether a JSON value is an acceptable `Narrative.div`."""
    if type(value) is not str or len(value) > MAX_NARRATIVE or not _START.match(value):
        return False
    parser = expat.ParserCreate("UTF-8")
    parser.UseForeignDTD(True)  # XHTML's named entities (&nbsp;) are then passed over instead of refused
    content: list[bool] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name not in ELEMENTS:
            raise _Refused
        for attribute, text in attributes.items():
            if attribute not in ATTRIBUTES or (attribute in ("href", "src") and _runs(text)):
                raise _Refused
            if attribute == "xmlns" and text != NAMESPACE:
                raise _Refused
        if name == "img":
            content.append(True)

    def text(data: str) -> None:
        if not content and not data.isspace():
            content.append(True)

    def refuse(*_arguments: object) -> None:
        raise _Refused

    parser.StartElementHandler = start
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.SkippedEntityHandler = lambda name, is_parameter: content.append(True)
    try:
        parser.Parse(value.encode(), True)
    except (_Refused, expat.ExpatError, UnicodeEncodeError):
        return False
    return bool(content)
