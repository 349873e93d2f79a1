"""What a resource looks like in MongoDB: one document of its current version, one for each earlier one.

The current document `Type/id` carries what a search asks for, in forms that every server of the protocol
compares alike, without correlating several fields of one array element:

    x   words: one string for each way to ask for an entry by equality or by beginning, `kind ␟ name ␟ value`
    k   by kind letter and entry name: the least and greatest start (`a`, `z`) and end (`b`, `y`) of its
        values, and `h: 1` (has one); order and ranges are asked here
    u   by entry name and unit: the same limits for the numbers of one unit
    raw the dates and numbers of names with several different values, for which the limits are too wide

`␟` is U+001F; in a value it is escaped, as is NUL, which a pattern may not hold.
MongoDB manual: https://www.mongodb.com/docs/manual/core/document/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.search.evaluate import View
from fhir_server.search.nodes import EntryKind
from fhir_server.store.bodies import packed, unpacked
from fhir_server.store.contract import Entries, Put, Version

Document = dict[str, Any]

SEPARATOR = "\x1f"
LETTERS: Mapping[EntryKind, str] = {
    "token": "t",
    "reference": "r",
    "date": "d",
    "string": "s",
    "number": "n",
}
VERSION = ("type", "id", "ver", "seq", "at", "method", "body")


def safe(text: str) -> str:
    """The text without separator and NUL; different texts stay different, and a beginning a beginning."""
    return text.replace("\x1a", "\x1a0").replace(SEPARATOR, "\x1a1").replace("\x00", "\x1a2")


def word(kind: str, *parts: str) -> str:
    """One element of `x`. Kinds: `t` token, `c` its code alone, `y` its system alone; `r` reference; `s`
    folded text, `w` text as written; `p` + kind letter: has such an entry; `m` a path
    of limits: several different values are there."""
    return SEPARATOR.join((kind, *map(safe, parts)))


def field(name: str) -> str:
    """An entry name or unit as a field name, which may hold no dot and begin with no dollar sign."""
    return safe(name).replace("%", "%25").replace(".", "%2E").replace("$", "%24")


def unsafe(text: str) -> str:
    """The text that `safe` was given."""
    return text.replace("\x1a2", "\x00").replace("\x1a1", SEPARATOR).replace("\x1a0", "\x1a")


def key(type: str, id: str) -> str:
    return f"{type}/{id}"


def current(put: Put, seq: int) -> Document:
    """The document of what `put` makes current; a tombstone is not live and has no words."""
    return {
        "_id": key(put.type, put.id),
        "type": put.type,
        "id": put.id,
        "ver": put.expect + 1,
        "seq": seq,
        "at": put.at,
        "method": put.method,
        "body": packed(put.body),
        "live": put.body is not None,
        **(_indexed(put.entries) if put.body is not None else {}),
    }


def archived(old: Document, until: int) -> Document:
    """The document of an earlier version, current until that moment (UTC microseconds)."""
    whose = key(old["type"], old["id"])
    return {
        "_id": f"{whose}/{old['ver']}",
        "key": whose,
        **{name: old[name] for name in VERSION},
        "until": until,
    }


def version(document: Mapping[str, Any]) -> Version:
    """From a current or an earlier document."""
    return Version(
        document["type"],
        document["id"],
        document["ver"],
        document["seq"],
        document["at"],
        document["method"],
        unpacked(document["body"]),
    )


def _indexed(entries: Entries) -> Document:
    words: dict[str, None] = {}
    limits = _Limits()
    for name, system, code in entries.tokens:
        said = (word("t", name, system, code), word("c", name, code), word("y", name, system))
        words |= dict.fromkeys((word("pt", name), *said))
        limits.add(("k", "t", field(name)), code, code)
    for name, target in entries.references:
        words |= dict.fromkeys((word("pr", name), word("r", name, target)))
        limits.add(("k", "r", field(name)), target, target)
    for name, folded, written in entries.strings:
        words |= dict.fromkeys((word("ps", name), word("s", name, folded), word("w", name, written)))
        limits.add(("k", "s", field(name)), folded, folded)
    for name, start, end in entries.dates:
        words[word("pd", name)] = None
        limits.add(("k", "d", field(name)), start, end)
    for name, low, high, system, code in entries.numbers:
        words[word("pn", name)] = None
        for path in number_paths(name, system, code):
            limits.add(path, low, high)
    words |= dict.fromkeys(word("m", *path) for path in limits.several())
    document = {"x": list(words), **limits.document()}
    raw = _raw(entries, {path[-1] for path in limits.several() if path[0] == "k"})
    return {**document, "raw": raw} if raw else document


def number_paths(name: str, system: str | None, code: str | None) -> list[tuple[str, str, str]]:
    """Where the limits of a number stand: of any unit, of its code, of its system, of exactly its unit."""
    return [unit_path(name, *unit) for unit in ((None, None), (None, code), (system, None), (system, code))]


def unit_path(name: str, system: str | None, code: str | None) -> tuple[str, str, str]:
    """The path of the limits of the name's numbers with this unit; None is any."""
    if system is None and code is None:
        return ("k", "n", field(name))
    marks = ("*" if each is None else "=" + safe(each).replace("|", "\x1a3") for each in (system, code))
    return ("u", field(name), field("|".join(marks)))


class _Limits:
    """The limits of the values at each path."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], set[tuple[Any, Any]]] = {}

    def add(self, path: tuple[str, str, str], start: Any, end: Any) -> None:
        self._found.setdefault(path, set()).add((start, end))

    def several(self) -> list[tuple[str, str, str]]:
        """The intervals' paths with more than one value: there the limits say too little."""
        return [
            path
            for path, values in self._found.items()
            if len(values) > 1 and path[:2] not in (("k", "t"), ("k", "r"), ("k", "s"))
        ]

    def document(self) -> Document:
        made: Document = {}
        for (top, middle, last), values in self._found.items():
            starts, ends = [start for start, _ in values], [end for _, end in values]
            limits = {"h": 1, "a": min(starts), "z": max(starts), "b": min(ends), "y": max(ends)}
            if top == "k" and middle in "trs":
                del limits["b"], limits["y"]
            made.setdefault(top, {}).setdefault(middle, {})[last] = limits
        return made


def _raw(entries: Entries, names: set[str]) -> Document:
    """The dates and numbers of those (escaped) names."""
    raw = {
        "dates": [{"n": n, "s": s, "e": e} for n, s, e in entries.dates if field(n) in names],
        "numbers": [
            {"n": n, "s": s, "e": e, "y": y, "c": c} for n, s, e, y, c in entries.numbers if field(n) in names
        ],
    }
    return {kind: rows for kind, rows in raw.items() if rows}


def view(document: Mapping[str, Any]) -> View:
    """What a doubtful condition is judged on: the raw dates and numbers, and the folded texts."""
    raw = document.get("raw", {})
    texts = (each.split(SEPARATOR) for each in document.get("x", ()) if each.startswith("s" + SEPARATOR))
    return View(
        document["type"],
        document["id"],
        Entries(
            dates=tuple((each["n"], each["s"], each["e"]) for each in raw.get("dates", ())),
            numbers=tuple(
                (each["n"], each["s"], each["e"], each["y"], each["c"]) for each in raw.get("numbers", ())
            ),
            strings=tuple((unsafe(name), unsafe(folded), "") for _, name, folded in texts),
        ),
    )


def targets(document: Mapping[str, Any], param: str) -> list[str]:
    """What the entries `param` of the document refer to."""
    beginning = word("r", param) + SEPARATOR
    return [
        unsafe(each.removeprefix(beginning)) for each in document.get("x", ()) if each.startswith(beginning)
    ]
