"""Composites, positions, texts and beginnings of addresses: their rows, and the questions asked of them.

A composite entry is one row of `cmp`: three columns per component (a1 a2 a3, b1 …), filled by the kind of its
value: a token's number; a reference's; start, end; folded, written; low, high, unit. The first two
components lead the table's key, so `code-value-quantity=8480-6$gt120` reads one stretch of it. The texts of a
resource are one row of an FTS5 index without content of its own, under the number of its version: rows of
older versions stay, as the versions do, and are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

from fhir_server.search.nodes import (
    And,
    Below,
    Date,
    Near,
    Node,
    Number,
    Or,
    Part,
    Reference,
    String,
    Text,
    Token,
)
from fhir_server.store.contract import Entries, Value
from fhir_server.store.sqlite.columns import FALSE, Sql, bounded, joined, starting, text_condition, within
from fhir_server.store.sqlite.names import Writing

if TYPE_CHECKING:
    from fhir_server.store.sqlite.compile import Compiler

TEXT_COLUMNS = {"_text": "narrative", "_content": "content"}
LETTERS = "abc"
LONGEST = 20_000  # characters of one question to the text index


def text_row(rno: int, entries: Entries) -> tuple[int, str, str]:
    """The row of one version's texts."""
    texts = dict(entries.texts)
    return rno, texts.get("_text", ""), texts.get("_content", "")


def columns(names: Writing, values: tuple[Value, ...]) -> list[object]:
    """The nine columns of one composite entry."""
    row: list[object] = []
    for value in values:
        match value:
            case ("token", system, code):
                row += (names.token_added(system, code), 0, 0)
            case ("reference", target):
                row += (names.target_added(target), 0, 0)
            case ("number", low, high, system, code):
                row += (low, high, names.token_added(system, code))
            case _:
                row += (value[1], value[2], 0)
    return [*row, *[0] * (3 * len(LETTERS) - len(row))]


def parts_condition(compiler: Compiler, parts: Sequence[Part], alias: str) -> Sql:
    """A composite's conditions on a row of `cmp`."""
    columns = [tuple(f"{letter}{n}" for n in (1, 2, 3)) for letter in LETTERS]
    return joined(
        "AND",
        [part_condition(compiler, part, alias, each) for part, each in zip(parts, columns, strict=False)],
    )


def part_condition(compiler: Compiler, part: Part, alias: str, columns: Sequence[str]) -> Sql:
    """A condition on one entry, in the columns that hold it."""
    first, second = f"{alias}.{columns[0]}", f"{alias}.{columns[min(1, len(columns) - 1)]}"
    match part:
        case Token():
            return compiler.tokens(part, alias, columns[0])
        case Reference(_, targets):
            eids = compiler.names.targets(targets)
            return within(first, eids) if eids else FALSE
        case Date(_, any_of):
            return joined("OR", [bounded(each, first, second) for each in any_of])
        case Number(_, any_of, unit):
            between = joined("OR", [bounded(each, first, second) for each in any_of])
            return joined("AND", [between, compiler.unit(unit, alias, columns[2])])
        case String():
            return text_condition(part, first, second)
        case _:
            assert_never(part)


def below_condition(node: Below, alias: str) -> Sql:
    """On a row of `tok`: the dictionary has few codes with one beginning, so they are listed first."""
    codes = starting("code", node.prefix)
    return Sql(f"{alias}.vid IN (SELECT vid FROM tv WHERE {codes.text} AND sys='')", codes.params)


def near_condition(node: Near, alias: str) -> Sql:
    """On a row of `geo`: first the band of latitudes, which has an index, then the circle itself."""
    return Sql(
        f"({alias}.lat BETWEEN ? AND ? AND reaches(?, ?, ?, {alias}.lat, {alias}.lon))",
        (*node.band, node.latitude, node.longitude, node.radius),
    )


def reaches(latitude: float, longitude: float, radius: float, lat: float, lon: float) -> bool:
    """The SQL function of that name."""
    return Near("", latitude, longitude, radius).reaches(lat, lon)


def text_expression(node: Node) -> str | None:
    """A tree of texts alone, as one question to the text index; None for anything else."""
    match node:
        case Text(param, words, starts) if param in TEXT_COLUMNS:
            return f'{TEXT_COLUMNS[param]} : "{words}"{" *" if starts else ""}'
        case And(nodes) | Or(nodes) if nodes:
            parts = [part for each in nodes if (part := text_expression(each)) is not None]
            whole = f"({(' AND ' if isinstance(node, And) else ' OR ').join(parts)})"
            return whole if len(parts) == len(nodes) and len(whole) <= LONGEST else None
        case _:
            return None


def texts_together(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The same conjunction, with its texts as one node."""
    texts = tuple(each for each in nodes if text_expression(each) is not None)
    if len(texts) < 2 or text_expression(And(texts)) is None:
        return nodes
    return (And(texts), *(each for each in nodes if each not in texts))


def text_rows(expression: str) -> Sql:
    """The write numbers of all versions, old ones too, of which that is true, in their order."""
    return Sql("SELECT rowid FROM txt WHERE txt MATCH ?", (expression,))
