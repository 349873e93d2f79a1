"""What a resource looks like in MongoDB: one document of its current version, one for each earlier one.

The current document `Type/id` carries what a search asks for, in forms that every server of the protocol
compares alike, without correlating several fields of one array element:

    x     words: one string for each way to ask for an entry by equality or beginning, `kind ␟ name ␟ value`
    k     by kind letter and entry name: the least and greatest start (`a`, `z`) and end (`b`, `y`) of its
          values, and `h: 1` (has one); order and ranges are asked here
    u     by entry name and unit: the same limits for the numbers of one unit
    text  by name: the words of a text, with a space around
    raw   the entries that words and limits say too little of: dates and numbers of names with several
          different values, composites whose values do not pair freely, positions

`␟` is U+001F; in a value it is escaped, as is NUL, which a pattern may not hold.
MongoDB manual: https://www.mongodb.com/docs/manual/core/document/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fhir_server.search.evaluate import View
from fhir_server.search.nodes import EntryKind
from fhir_server.store.bodies import packed, unpacked
from fhir_server.store.contract import Entries, Indexed, Put, Version

Document = dict[str, Any]
Path = tuple[str, str, str]

SEPARATOR = "\x1f"
DUPLICATE = 11000  # the server's code for a second document of one id
LETTERS: Mapping[EntryKind, str] = {
    "token": "t",
    "reference": "r",
    "date": "d",
    "string": "s",
    "number": "n",
}
ENTRIES = ("x", "raw", "text")  # what `view` reads
INDEX = ("x", "k", "u", "text", "raw")
VERSION = ("type", "id", "ver", "seq", "at", "method", "body")


def safe(text: str) -> str:
    """The text without separator and NUL; different texts stay different, and a beginning a beginning."""
    return text.replace("\x1a", "\x1a0").replace(SEPARATOR, "\x1a1").replace("\x00", "\x1a2")


def word(kind: str, *parts: str) -> str:
    """One element of `x`. Kinds: `t` token, `c` its code alone, `y` its system alone; `r` reference; `s`
    folded text, `w` text as written; `f` word of a text; `p` + kind letter: has such an entry; `m` a path of
    limits: several different values are there."""
    return SEPARATOR.join((kind, *map(safe, parts)))


def field(name: str) -> str:
    """An entry name or unit as a field name, which may hold no dot and begin with no dollar sign."""
    return safe(name).replace("%", "%25").replace(".", "%2E").replace("$", "%24")


def unsafe(text: str) -> str:
    """The text that `safe` was given."""
    return text.replace("\x1a2", "\x00").replace("\x1a1", SEPARATOR).replace("\x1a0", "\x1a")


def unfield(name: str) -> str:
    """The entry name that `field` was given."""
    return unsafe(name.replace("%24", "$").replace("%2E", ".").replace("%25", "%"))


def key(type: str, id: str) -> str:
    return f"{type}/{id}"


def one_of(keys: Sequence[str]) -> Any:
    """What `_id` is asked to be: a single one by equality, which simple servers need not search for."""
    return keys[0] if len(keys) == 1 else {"$in": list(keys)}


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


def reindexed(item: Indexed) -> tuple[Document, Document]:
    """The filter that finds the version if it is current, and the change of its words and limits."""
    made = _indexed(item.entries)
    gone = {name: "" for name in INDEX if name not in made}
    change = {"$set": made, **({"$unset": gone} if gone else {})}
    return {"_id": key(item.type, item.id), "ver": item.version, "live": True}, change


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


def component(name: str, at: int) -> str:
    """The entry name under which a composite's component is indexed like an entry of its own."""
    return f"{name}{SEPARATOR}{at}"


def unit_path(name: str, system: str | None, code: str | None) -> Path:
    """The path of the limits of the name's numbers with this unit; None is any."""
    if system is None and code is None:
        return ("k", "n", field(name))
    marks = ("*" if each is None else "=" + safe(each).replace("|", "\x1a3") for each in (system, code))
    return ("u", field(name), field("|".join(marks)))


def _indexed(entries: Entries) -> Document:
    index = _Index()
    kinds: dict[EntryKind, Sequence[tuple[Any, ...]]] = {
        "token": entries.tokens,
        "reference": entries.references,
        "date": entries.dates,
        "string": entries.strings,
        "number": entries.numbers,
    }
    for kind, rows in kinds.items():
        for name, *value in rows:
            index.add(kind, name, *value)
    for name, values in entries.composites:
        for at, (kind, *value) in enumerate(values):
            index.add(kind, component(name, at), *value)
    for name, north, _ in entries.positions:
        index.limit(("k", "p", field(name)), north, north, ())
    for name, words in entries.texts:
        index.words |= dict.fromkeys(word("f", name, each) for each in words.split(" "))
    return index.document(entries)


class _Index:
    """The words and the limits of a resource, gathered."""

    def __init__(self) -> None:
        self.words: dict[str, None] = {}
        self._limits: dict[Path, tuple[set[Any], set[Any], set[Any]]] = {}  # starts, ends, whole values

    def add(self, kind: EntryKind, name: str, *value: Any) -> None:
        """An entry of one of the five kinds."""
        letter = LETTERS[kind]
        path = ("k", letter, field(name))
        said = [word("p" + letter, name)]
        match kind:
            case "token":
                system, code = value
                said += [word("t", name, system, code), word("c", name, code), word("y", name, system)]
                self.limit(path, code, code, value)
            case "number":
                low, high, system, code = value
                for unit in ((None, None), (None, code), (system, None), (system, code)):
                    self.limit(unit_path(name, *unit), low, high, value)
            case "date":
                start, end = value
                self.limit(path, start, end, value)
            case "reference":
                said.append(word("r", name, *value))
                self.limit(path, value[0], value[0], value)
            case "string":
                folded, written = value
                said += [word("s", name, folded), word("w", name, written)]
                self.limit(path, folded, folded, value)
        self.words |= dict.fromkeys(said)

    def limit(self, path: Path, start: Any, end: Any, value: tuple[Any, ...]) -> None:
        for found, each in zip(
            self._limits.setdefault(path, (set(), set(), set())), (start, end, value), strict=True
        ):
            found.add(each)

    def document(self, entries: Entries) -> Document:
        several = [path for path, (_, _, values) in self._limits.items() if len(values) > 1]
        marked = [*several, *map(pairs_path, _paired(entries))]
        made: Document = {"x": [*self.words, *(word("m", *path) for path in marked)]}
        for (top, middle, last), (starts, ends, _) in self._limits.items():
            limits = {"h": 1, "a": min(starts), "z": max(starts)}
            if middle in "dn" or top == "u":
                limits |= {"b": min(ends), "y": max(ends)}
            made.setdefault(top, {}).setdefault(middle, {})[last] = limits
        if entries.texts:
            made["text"] = {field(name): f" {words} " for name, words in entries.texts}
        raw = _raw(entries, {last for top, middle, last in several if top == "k" and middle in "dn"})
        return {**made, "raw": raw} if raw else made


def pairs_path(name: str) -> Path:
    """Marked as several where a composite's values do not pair freely."""
    return ("k", "c", field(name))


def _paired(entries: Entries) -> list[str]:
    """The composites of which not every combination of their components' values is an entry."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for name, values in entries.composites:
        found.setdefault(name, set()).add(values)
    return [
        name
        for name, rows in found.items()
        if len(rows) < math.prod(len(set(each)) for each in zip(*rows, strict=True))
    ]


def _raw(entries: Entries, names: set[str]) -> Document:
    """The dates and numbers of those (escaped) names, and what is always judged on itself."""
    raw = {
        "dates": [{"n": n, "s": s, "e": e} for n, s, e in entries.dates if field(n) in names],
        "numbers": [
            {"n": n, "s": s, "e": e, "y": y, "c": c} for n, s, e, y, c in entries.numbers if field(n) in names
        ],
        "composites": [
            {"n": name, "v": [{"k": kind, "v": value} for kind, *value in values]}
            for name, values in entries.composites
        ],
        "positions": [{"n": name, "lat": north, "lon": east} for name, north, east in entries.positions],
    }
    return {kind: rows for kind, rows in raw.items() if rows}


def view(document: Mapping[str, Any], *, written: bool = False) -> View:
    """What a doubtful condition is judged on; the texts either as folded or as written, the other empty."""
    raw = document.get("raw", {})
    said = [each.split(SEPARATOR) for each in document.get("x", ())]
    texts = (parts for parts in said if parts[0] == ("w" if written else "s"))
    tokens = (parts[1:] for parts in said if parts[0] == "t")
    return View(
        document["type"],
        document["id"],
        Entries(
            tokens=tuple((unsafe(n), unsafe(y), unsafe(c)) for n, y, c in tokens),
            dates=tuple((each["n"], each["s"], each["e"]) for each in raw.get("dates", ())),
            numbers=tuple(
                (each["n"], each["s"], each["e"], each["y"], each["c"]) for each in raw.get("numbers", ())
            ),
            references=tuple((unsafe(parts[1]), unsafe(parts[2])) for parts in said if parts[0] == "r"),
            strings=tuple(
                (unsafe(name), "", unsafe(text)) if written else (unsafe(name), unsafe(text), "")
                for kind, name, text in texts
            ),
            composites=tuple(
                (each["n"], tuple((part["k"], *part["v"]) for part in each["v"]))
                for each in raw.get("composites", ())
            ),
            positions=tuple((each["n"], each["lat"], each["lon"]) for each in raw.get("positions", ())),
            texts=tuple((unfield(name), text[1:-1]) for name, text in document.get("text", {}).items()),
        ),
    )


def targets(document: Mapping[str, Any], param: str) -> list[str]:
    """What the entries `param` of the document refer to."""
    beginning = word("r", param) + SEPARATOR
    return [
        unsafe(each.removeprefix(beginning)) for each in document.get("x", ()) if each.startswith(beginning)
    ]
