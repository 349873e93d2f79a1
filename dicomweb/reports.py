"""A structured report as a person reads it: its content tree as French HTML or as plain text. Pure.

Concepts are named in French where `report_words` knows their code, values keep their codes, measurements
their units. Depth and length are bounded; every text is escaped. PS3.3 §C.17.3 (content tree), §C.18
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby

from dicomweb import report_words as words
from dicomweb.attributes import Attributes, first, values

MAX_DEPTH = 40
MAX_ITEMS = 20_000
_TEXTS = {
    "TEXT": "0040A160",
    "DATE": "0040A121",
    "TIME": "0040A122",
    "DATETIME": "0040A120",
    "PNAME": "0040A123",
    "UIDREF": "0040A124",
}
_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; padding: 1rem 1.25rem; max-width: 60rem; }
body { color: #16232b; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; }
h2, h3, h4, h5, h6 { font-size: 1.05rem; margin: 1.1rem 0 .3rem; }
h2 { font-size: 1.15rem; border-bottom: 1px solid #c3d0d8; }
.qui { color: #46586a; margin: 0 0 .75rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; font-weight: 400; }
th, td { border-bottom: 1px solid #e4ebef; }
th { width: 34%; color: #46586a; }
td { white-space: pre-line; }
code { font-size: .8rem; color: #5a6b7a; }
.n2 th { padding-left: 1rem; } .n3 th { padding-left: 2rem; } .n4 th { padding-left: 3rem; }
@media (max-width: 30rem) {
  th, td { display: block; width: auto; border: 0; padding: .1rem 0; }
  tr { display: block; border-bottom: 1px solid #e4ebef; padding: .3rem 0; }
}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One content item: `depth` 0 is the title; `code` is what a coded value is called by machines."""

    depth: int
    kind: str
    name: str
    value: str = ""
    code: str = ""


def lines(attributes: Attributes) -> list[Line]:
    """The content tree, top down, at most MAX_ITEMS."""
    found = [Line(0, "CONTAINER", _name(attributes) or words.REPORT)]
    for line in _items(attributes, 1):
        if len(found) >= MAX_ITEMS:
            found.append(Line(1, "TEXT", "", words.TOO_LONG))
            break
        found.append(line)
    return found


def _items(attributes: Attributes, depth: int) -> Iterator[Line]:
    if depth > MAX_DEPTH:
        return
    for item in values(attributes, "0040A730"):
        value, code = _value(item)
        yield Line(depth, first(item, "0040A040"), _name(item), value, code)
        yield from _items(item, depth + 1)


def _name(item: Attributes) -> str:
    return next((_meaning(code) for code in values(item, "0040A043")), "")


def _meaning(code: Attributes) -> str:
    known = words.CONCEPTS.get((first(code, "00080102"), first(code, "00080100")))
    return known or first(code, "00080104") or first(code, "00080100")


def _value(item: Attributes) -> tuple[str, str]:
    """What a content item says, and the code of a coded one."""
    kind = first(item, "0040A040")
    if kind == "CODE":
        for code in values(item, "0040A168"):
            return _meaning(code), " ".join(filter(None, (first(code, "00080102"), first(code, "00080100"))))
    if kind == "NUM":
        for measured in values(item, "0040A300"):
            unit = next((_unit(code) for code in values(measured, "004008EA")), "")
            value = first(measured, "0040A30A").removesuffix(".0").replace(".", ",")
            return f"{value} {unit}".strip(), ""
        return next((_meaning(code) for code in values(item, "0040A301")), ""), ""
    if kind in words.REFERENCES:
        return next((_reference(kind, one) for one in values(item, "00081199")), ("", ""))
    text = first(item, _TEXTS.get(kind, "0040A160"))
    return _plain(kind, text), ""


def _unit(code: Attributes) -> str:
    value = first(code, "00080100")
    return "" if value == "1" or value.startswith("{") else value


def _reference(kind: str, one: Attributes) -> tuple[str, str]:
    frames = ", ".join(str(frame) for frame in values(one, "00081160"))
    where = f"{words.REFERENCES[kind]} {frames}".strip()
    return where, first(one, "00081155")


def _plain(kind: str, text: str) -> str:
    """Dates and names as people write them."""
    if kind in ("DATE", "DATETIME") and text[:8].isdecimal() and len(text) >= 8:
        day = f"{text[6:8]}/{text[4:6]}/{text[:4]}"
        return f"{day} {text[8:10]}h{text[10:12]}" if kind == "DATETIME" and len(text) >= 12 else day
    if kind == "TIME" and text[:4].isdecimal() and len(text) >= 4:
        return f"{text[:2]}h{text[2:4]}"
    return " ".join(text.replace("^", " ").split()) if kind == "PNAME" else text


def as_text(attributes: Attributes) -> str:
    """One line an item, indented by depth."""
    made = []
    for line in lines(attributes):
        value = " ".join(line.value.split())
        made.append(
            "  " * line.depth + (f"{line.name} : {value}" if value and line.name else line.name or value)
        )
    return "\n".join(made) + "\n"


def as_html(attributes: Attributes) -> str:
    """A page without scripts or outside resources."""
    title, *rest = lines(attributes)
    body = []
    for is_heading, group in groupby(rest, lambda line: line.kind == "CONTAINER"):
        if is_heading:
            for line in group:
                level = min(6, line.depth + 1)
                body.append(f"<h{level}>{escape(line.name)}</h{level}>\n" if line.name else "")
        else:
            part = list(group)
            top = min(line.depth for line in part)
            body.append(f"<table>{''.join(_row(line, line.depth - top + 1) for line in part)}</table>\n")
    return (
        f'<!doctype html>\n<html lang="fr"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title.name)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title.name)}</h1>\n"
        f'<p class="qui">{_about(attributes)}</p>\n{"".join(body)}</body></html>\n'
    )


def _row(line: Line, level: int) -> str:
    code = f" <code>{escape(line.code)}</code>" if line.code else ""
    head, cell = escape(line.name), f"{escape(line.value)}{code}"
    return f'<tr class="n{min(level, 4)}"><th scope="row">{head}</th><td>{cell}</td></tr>\n'


def _about(attributes: Attributes) -> str:
    """Whose, when, by whom, how far."""
    birth = _plain("DATE", first(attributes, "00100030"))
    day = _plain("DATE", first(attributes, "00080023") or first(attributes, "00080020"))
    verifiers = (_plain("PNAME", first(one, "0040A075")) for one in values(attributes, "0040A073"))
    parts = (
        _plain("PNAME", first(attributes, "00100010")),
        f"{words.BORN} {birth}" if birth else "",
        day,
        words.COMPLETION.get(first(attributes, "0040A491"), ""),
        words.VERIFICATION.get(first(attributes, "0040A493"), ""),
        f"{words.VERIFIED_BY} {name}" if (name := next(verifiers, "")) else "",
    )
    return escape(" · ".join(filter(None, parts)))
