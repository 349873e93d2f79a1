"""Pieces of SQL: conditions on columns, and how they are joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from fhir_server.search.nodes import Bounds, String

GROUP = 50  # conditions joined in one bracket
INLINE = 64  # values written as one placeholder each; more go as one JSON array


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and its parameters, in order."""

    text: str
    params: tuple[object, ...] = ()


TRUE, FALSE = Sql("1"), Sql("0")


def joined(word: str, parts: Sequence[Sql]) -> Sql:
    """(a AND b …); the neutral and the absorbing value are taken out."""
    neutral, absorbing = (TRUE, FALSE) if word == "AND" else (FALSE, TRUE)
    kept = [part for part in parts if part != neutral]
    if absorbing in kept:
        return absorbing
    if not kept:
        return neutral
    if len(kept) == 1:
        return kept[0]
    while len(kept) > GROUP:  # SQLite refuses an expression deeper than 1,000
        kept = [_bracketed(word, kept[at : at + GROUP]) for at in range(0, len(kept), GROUP)]
    return _bracketed(word, kept)


def _bracketed(word: str, parts: Sequence[Sql]) -> Sql:
    text = "(" + f" {word} ".join(part.text for part in parts) + ")"
    return Sql(text, tuple(param for part in parts for param in part.params))


def within(column: str, values: Sequence[object]) -> Sql:
    """`column IN (…)` for any number of values."""
    if len(values) == 1:
        return Sql(f"{column}=?", (values[0],))
    if len(values) <= INLINE:
        return Sql(f"{column} IN ({','.join('?' * len(values))})", tuple(values))
    return Sql(f"{column} IN (SELECT value FROM json_each(?))", (orjson.dumps(list(values)).decode(),))


def bounded(bounds: Bounds, start: str, end: str) -> Sql:
    """The conditions on the columns of an interval's start and end."""
    parts = []
    for column, operator, value in (
        (start, ">=", bounds.start_from),
        (start, "<", bounds.start_before),
        (end, ">", bounds.end_after),
        (end, "<=", bounds.end_until),
    ):
        if value is not None:
            parts.append(Sql(f"{column}{operator}?", (value,)))
    return joined("AND", parts)


def after_prefix(prefix: str) -> str | None:
    """The first text after all that start with `prefix`, in code point order; None when there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[at])
        if point < 0x10FFFF:
            following = point + 1
            return prefix[:at] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)
    return None


def starting(column: str, prefix: str) -> Sql:
    end = after_prefix(prefix)
    if end is None:
        return Sql(f"{column}>=?", (prefix,))
    return Sql(f"{column}>=? AND {column}<?", (prefix, end))


def text_condition(node: String, folded: str, written: str) -> Sql:
    """On the columns of the folded text and of the text as written."""
    if node.how in ("exact", "equals"):
        return within(written if node.how == "exact" else folded, node.values)
    return joined("OR", [_reading(node.how, folded, value) for value in node.values])


def _reading(how: str, folded: str, value: str) -> Sql:
    match how:
        case "starts":
            begins = starting(folded, value)
            return Sql(f"({begins.text})", begins.params)
        case "ends":
            return Sql(f"substr({folded}, -?)=?", (len(value), value)) if value else TRUE
        case "before" | "after":
            return Sql(f"{folded}{'<' if how == 'before' else '>'}?", (value,))
        case _:
            return Sql(f"instr({folded}, ?)>0", (value,))
