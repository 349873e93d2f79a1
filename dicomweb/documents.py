"""Instances that are read rather than looked at: structured reports as text or HTML, encapsulated
documents. Pure.

PS3.3 §A.35 (SR), §C.17.3 (content tree), §C.24.2 (encapsulated document); PS3.18 §8.7.4 (rendered media
types)
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from dicomweb.attributes import Attributes, first, values

MAX_DEPTH = 40
MAX_ITEMS = 20_000
DOCUMENT = "00420011"
TEXTS = ("text/html", "text/plain")
_VALUES = {
    "TEXT": "0040A160",
    "DATE": "0040A121",
    "TIME": "0040A122",
    "DATETIME": "0040A120",
    "PNAME": "0040A123",
    "UIDREF": "0040A124",
}
Line = tuple[int, str, str]  # depth, concept name, value


def is_report(attributes: Attributes) -> bool:
    """Whether the instance has a content tree."""
    return "0040A730" in attributes and first(attributes, "0040A040") in ("CONTAINER", "")


def document_type(attributes: Attributes) -> str:
    """The media type of an encapsulated document, "" when there is none."""
    found = first(attributes, "00420012").lower()
    known = found in ("application/pdf", "text/xml", "application/xml", "model/stl", "text/plain")
    return found if DOCUMENT in attributes and known else ""


def lines(attributes: Attributes) -> list[Line]:
    """The content tree, top down."""
    found = [(0, _name(attributes) or "Report", "")]
    for line in _items(attributes, 1):
        found.append(line)
        if len(found) >= MAX_ITEMS:
            break
    return found


def _items(attributes: Attributes, depth: int) -> Iterator[Line]:
    if depth > MAX_DEPTH:
        return
    for item in values(attributes, "0040A730"):
        yield depth, _name(item), _value(item)
        yield from _items(item, depth + 1)


def _name(item: Attributes) -> str:
    return next((first(code, "00080104") for code in values(item, "0040A043")), "")


def _value(item: Attributes) -> str:
    kind = first(item, "0040A040")
    if kind == "CODE":
        return next((first(code, "00080104") for code in values(item, "0040A168")), "")
    if kind == "NUM":
        for measured in values(item, "0040A300"):
            unit = next((first(code, "00080100") for code in values(measured, "004008EA")), "")
            return f"{first(measured, '0040A30A')} {unit}".strip()
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        return next((first(one, "00081155") for one in values(item, "00081199")), "")
    return first(item, _VALUES.get(kind, "0040A160")).replace("^", " ").strip()


def as_text(attributes: Attributes) -> str:
    """One line an item, indented by depth."""
    return "".join(
        "  " * depth + (f"{name}: {value}" if value and name else name or value) + "\n"
        for depth, name, value in lines(attributes)
    )


def as_html(attributes: Attributes) -> str:
    """A page without scripts or outside resources; every text is escaped."""
    (_depth, title, _), *rest = lines(attributes)
    body = "".join(
        f'<p style="margin-left:{1.5 * (depth - 1):g}em"><b>{escape(name)}</b> {escape(value)}</p>\n'
        for depth, name, value in rest
    )
    patient = escape(first(attributes, "00100010").replace("^", " "))
    return (
        f'<!doctype html>\n<html><head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
        f"<body><h1>{escape(title)}</h1>\n<p>{patient}</p>\n{body}</body></html>\n"
    )
