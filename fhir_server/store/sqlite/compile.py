"""A search tree as SQL: the question "does the resource at this rno match?", for any node at any depth.

Only EXISTS and CROSS JOIN, which the planner does not reorder, so nothing depends on ANALYZE. Dictionary
numbers are looked up while compiling, inside the same read transaction. Which rows are asked, and in which
order, is `drive`'s business.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, assert_never

from fhir_server.search.nodes import (
    And,
    Below,
    Chain,
    Composite,
    Date,
    Differs,
    EntryKind,
    Everything,
    Has,
    Ids,
    Missing,
    Near,
    Node,
    Not,
    Nothing,
    Number,
    Or,
    Part,
    Reference,
    String,
    Text,
    Token,
)
from fhir_server.store.sqlite.columns import FALSE, INLINE, TRUE, Sql, joined, within
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.special import (
    below_condition,
    near_condition,
    part_condition,
    parts_condition,
    text_expression,
    text_rows,
    texts_together,
)

TABLE_OF: dict[EntryKind, str] = {
    "token": "tok",
    "reference": "ref",
    "date": "dat",
    "string": "str",
    "number": "num",
}
HELD: dict[type[Part], tuple[str, tuple[str, ...]]] = {
    Token: ("tok", ("vid",)),
    Reference: ("ref", ("tgt",)),
    Date: ("dat", ("s", "e")),
    Number: ("num", ("s", "e", "uv")),
    String: ("str", ("v", "x")),
}
"""Where the entries of a kind are, and the columns of their values."""
NESTED = 3  # hops written inside one another; what lies deeper becomes a set of its own


class Compiler:
    """`condition` for one search on one connection; aliases are numbered so that nested queries never meet.

    SQLite's parser gives up at about seven EXISTS inside one another, so whatever lies deeper is a named set
    in front (`WITH s1(rno) AS …`); every statement is therefore run through `rows`, which puts the sets in
    front.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self._numbers = itertools.count()
        self._sets: list[Sql] = []
        self._depth = 0

    def rows(self, text: str, params: Sequence[object]) -> list[Any]:
        """Run a statement whose pieces this compiler made; all rows."""
        sets = ", ".join(part.text for part in self._sets)
        before = [param for part in self._sets for param in part.params]
        text = f"WITH {sets} {text}" if sets else text
        return self.names.connection.execute(text, (*before, *params)).fetchall()

    def set_of(self, sql: Sql) -> str:
        """The name of a set with the column rno, to be used in what `rows` runs."""
        name = f"s{len(self._sets)}"
        self._sets.append(Sql(f"{name}(rno) AS ({sql.text})", sql.params))
        return name

    def _inner(self, where: Node, type: str, rno: str) -> Sql:
        """The condition at the far end of a hop."""
        if isinstance(where, Everything | Nothing):
            return self.condition(where, type, rno)
        if self._depth < NESTED:
            self._depth += 1
            inner = self.condition(where, type, rno)
            self._depth -= 1
            return inner
        tid = self.names.type(type)
        if tid is None:
            return FALSE
        depth, self._depth = self._depth, 0
        inner = self.condition(where, type, "t.rno")
        self._depth = depth
        if inner in (TRUE, FALSE):
            return inner
        listed = f"SELECT t.rno FROM tok t WHERE t.pid=0 AND t.vid=? AND {inner.text}"
        return Sql(f"{rno} IN (SELECT rno FROM {self.set_of(Sql(listed, (tid, *inner.params)))})")

    def alias(self) -> str:
        return f"a{next(self._numbers)}"

    def condition(self, node: Node, type: str, rno: str) -> Sql:
        """Whether the current resource of `type` at the SQL expression `rno` matches."""
        texts = text_expression(node)
        if texts is not None:
            rows = text_rows(texts)
            return Sql(f"{rno} IN ({rows.text})", rows.params)
        match node:
            case Everything():
                return TRUE
            case Nothing():
                return FALSE
            case And(nodes):
                return joined("AND", [self.condition(each, type, rno) for each in texts_together(nodes)])
            case Or(nodes):
                return joined("OR", [self.condition(each, type, rno) for each in nodes])
            case Not(inner):
                return self._negated(self.condition(inner, type, rno))
            case Ids(ids):
                return self._ids(ids, type, rno)
            case Token():
                return self._token(node, type, rno)
            case Below():
                return self._entry("tok", type, node.param, rno, lambda a: below_condition(node, a))
            case Reference():
                by_value = len(node.targets) <= INLINE
                return self._entry("ref", type, node.param, rno, self._holds(node), by_value=by_value)
            case Date() | Number() | String():
                return self._entry(HELD[node.__class__][0], type, node.param, rno, self._holds(node))
            case Differs(part):
                holds = self._holds(part)
                return self._entry(
                    HELD[part.__class__][0], type, part.param, rno, lambda a: self._negated(holds(a))
                )
            case Composite(param, parts):
                return self._entry("cmp", type, param, rno, lambda a: parts_condition(self, parts, a))
            case Near():
                return self._entry("geo", type, node.param, rno, lambda a: near_condition(node, a))
            case Text():
                return FALSE  # no such text is kept
            case Missing(param, kind):
                return self._negated(self._entry(TABLE_OF[kind], type, param, rno, lambda a: TRUE))
            case Chain(param, target, where):
                return self._chain(param, target, where, type, rno)
            case Has(source, param, where):
                return self._has(source, param, where, rno)
            case _:
                assert_never(node)

    def _holds(self, part: Part) -> Callable[[str], Sql]:
        """The part's condition on a row of its table, by the row's alias."""
        return lambda a: part_condition(self, part, a, HELD[part.__class__][1])

    @staticmethod
    def _negated(sql: Sql) -> Sql:
        if sql == TRUE:
            return FALSE
        return TRUE if sql == FALSE else Sql(f"NOT ({sql.text})", sql.params)

    def _entry(
        self,
        table: str,
        type: str,
        param: str,
        rno: str,
        condition: Callable[[str], Sql],
        *,
        by_value: bool = False,
    ) -> Sql:
        """EXISTS in an index table: found by rno, or by value and rno where the value is exact."""
        pid = self.names.param(type, param)
        if pid is None:
            return FALSE
        a = self.alias()
        where = condition(a)
        if where == FALSE:
            return FALSE
        index = "" if by_value else f" INDEXED BY {table}_r"
        return Sql(
            f"EXISTS(SELECT 1 FROM {table} {a}{index} WHERE {a}.rno={rno} AND {a}.pid=? AND {where.text})",
            (pid, *where.params),
        )

    def _ids(self, ids: Sequence[str], type: str, rno: str) -> Sql:
        tid = self.names.type(type)
        if tid is None or not ids:
            return FALSE
        inside = within("id", ids)
        return Sql(
            f"{rno} IN (SELECT rno FROM ent WHERE {inside.text} AND tid=? AND rno IS NOT NULL)",
            (*inside.params, tid),
        )

    def exact_tokens(self, node: Token) -> list[int] | None:
        """The dictionary numbers, when every value names a code; None when one asks for a whole system."""
        if any(code is None for _, code in node.values):
            return None
        return sorted(
            {
                vid
                for system, code in node.values
                if code is not None
                for vid in self.names.tokens(system, code)
            }
        )

    def _token(self, node: Token, type: str, rno: str) -> Sql:
        vids = self.exact_tokens(node)
        by_value = vids is not None and len(vids) <= INLINE
        return self._entry("tok", type, node.param, rno, self._holds(node), by_value=by_value)

    def tokens(self, node: Token, a: str, column: str) -> Sql:
        """A token's alternatives, on a column of dictionary numbers."""
        vids = self.exact_tokens(node)
        if vids is not None:
            return within(f"{a}.{column}", vids) if vids else FALSE
        return joined("OR", [self.unit(pair, a, column) for pair in node.values])

    def unit(self, pair: tuple[str | None, str | None], a: str, column: str = "uv") -> Sql:
        """(system, code) with None = any, on a column of dictionary numbers."""
        system, code = pair
        if code is not None:
            vids = self.names.tokens(system, code)
            return within(f"{a}.{column}", vids) if vids else FALSE
        if system is None:
            return TRUE
        d = self.alias()
        return Sql(f"EXISTS(SELECT 1 FROM tv {d} WHERE {d}.vid={a}.{column} AND {d}.sys=?)", (system,))

    def _chain(self, param: str, target: str, where: Node, type: str, rno: str) -> Sql:
        pid, tid = self.names.param(type, param), self.names.type(target)
        if pid is None or tid is None:
            return FALSE
        f, e = self.alias(), self.alias()
        inner = self._inner(where, target, f"{e}.rno")
        if inner == FALSE:
            return FALSE
        return Sql(
            f"EXISTS(SELECT 1 FROM ref {f} INDEXED BY ref_r CROSS JOIN ent {e} ON {e}.eid={f}.tgt "
            f"WHERE {f}.rno={rno} AND {f}.pid=? AND {e}.tid=? AND {e}.rno IS NOT NULL AND {inner.text})",
            (pid, tid, *inner.params),
        )

    def _has(self, source: str, param: str, where: Node, rno: str) -> Sql:
        pid = self.names.param(source, param)
        if pid is None:
            return FALSE
        f, r = self.alias(), self.alias()
        inner = self._inner(where, source, f"{f}.rno")
        if inner == FALSE:
            return FALSE
        return Sql(
            f"EXISTS(SELECT 1 FROM res {r} CROSS JOIN ref {f} ON {f}.pid=? AND {f}.tgt={r}.eid "
            f"WHERE {r}.rno={rno} AND {inner.text})",
            (pid, *inner.params),
        )
