"""One page of a search, or a count: source, condition, order, position.

Order: the sort keys, missing values last, ties by seq. The tie follows the direction of the first key
(ascending key, oldest first), newest first without any; so one index walk serves key and tie together. A
position is the keys' values and the seq. Three ways to a page: a small source is fetched whole and sorted;
without sort keys a posting list is walked; else the sort key's own index is walked, and then the resources
without a value.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from fhir_server.search.nodes import And, Everything, Missing, Node, Select, Sort
from fhir_server.store.sqlite.columns import TRUE, Sql, joined
from fhir_server.store.sqlite.compile import Compiler
from fhir_server.store.sqlite.drive import SMALL, Driver, Source
from fhir_server.store.sqlite.names import Names
from fhir_server.store.sqlite.pairs import pair_walk

COUNT_LIMIT = 50_000  # sources are compared up to this size before a count
Hit = tuple[int, tuple[object, ...]]  # rno, position

WALKED = {"date": ("dat", "s"), "string": ("str", "v"), "number": ("num", "s")}
WHOLE = {
    "dat": ("s", "e"),
    "str": ("v", "x"),
    "num": ("s", "e", "uv"),
}  # what makes one resource's row unique


@dataclass(frozen=True, slots=True)
class _Order:
    """Sort keys, and whether ties run newest first; `flipped` walks the same order from its other end."""

    keys: tuple[Sort, ...]
    newest_first: bool
    flipped: bool

    @property
    def descending(self) -> bool:
        return self.newest_first != self.flipped

    def falls(self, key: Sort) -> bool:
        return key.descending != self.flipped


def page(names: Names, select: Select) -> list[Hit]:
    """At most `count` hits in the select's order."""
    order = _order(select)
    hits: list[Hit] = []
    for type, where in select.searched:
        hits += _Pages(names).hits(type, where, order, select.count, select.after)
    if select.beside:
        hits = sorted(hits, key=lambda hit: _rank(order, hit[1]))[: select.count]
    return hits[::-1] if order.flipped else hits


def count(names: Names, type: str, where: Node) -> int:
    """Exact number of distinct resources."""
    compiler = Compiler(names)
    driver = Driver(compiler, COUNT_LIMIT)
    source = driver.best(where, type) or driver.listing(type, where)
    rest = compiler.condition(source.rest, type, "t.rno")
    distinct = "*" if source.unique else "DISTINCT t.rno"
    rows = compiler.rows(
        f"SELECT count({distinct}) FROM ({source.sql.text}) t WHERE {rest.text}",
        (*source.sql.params, *rest.params),
    )
    return int(rows[0][0])


@functools.total_ordering
class _Falling:
    """A value that stands before the smaller ones."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Falling) and self.value == other.value

    def __lt__(self, other: _Falling) -> bool:
        return bool(self.value > other.value)


def _rank(order: _Order, position: tuple[Any, ...]) -> list[object]:
    """Sorts positions of several types as `_order_by` sorts those of one."""
    rank: list[object] = []
    for key, value in zip(order.keys, position, strict=False):
        rank.append((value is None) != order.flipped)
        if value is not None:
            rank.append(_Falling(value) if order.falls(key) else value)
    rank.append(_Falling(position[-1]) if order.descending else position[-1])
    return rank


def _order(select: Select) -> _Order:
    """`_lastUpdated` is the order of writing, so it ends the keys; so does `_id` of one type, which has no
    ties."""
    keys: list[Sort] = []
    newest_first = not select.sort or select.sort[0].descending
    for key in select.sort:
        if key.param == "_lastUpdated":
            newest_first = key.descending
            break
        keys.append(key)
        if key.param == "_id" and not select.beside:
            break
    return _Order(tuple(keys), newest_first, select.backwards)


class _Pages:
    def __init__(self, names: Names) -> None:
        self.names = names
        self.compiler = Compiler(names)
        self.driver = Driver(self.compiler)

    def hits(
        self, type: str, where: Node, order: _Order, wanted: int, after: tuple[object, ...] | None
    ) -> list[Hit]:
        by_pair = pair_walk(self.compiler, where, type, order.keys[0].param) if order.keys else None
        if by_pair is not None and isinstance(by_pair.rest, Everything):
            return self._by_key(type, where, order, wanted, after)
        source = self.driver.best(where, type)
        if source is not None and source.size <= SMALL:
            return self._sorted(type, source, order, wanted, after)
        if not order.keys:
            walk = self.driver.walkable(where, type) or self.driver.listing(type, where)
            return self._sorted(type, walk, order, wanted, after)
        if order.keys[0].kind in WALKED and order.keys[0].param != "_id":
            return self._by_key(type, where, order, wanted, after)
        return self._sorted(type, source or self.driver.listing(type, where), order, wanted, after)

    def _sorted(
        self, type: str, source: Source, order: _Order, wanted: int, after: tuple[object, ...] | None
    ) -> list[Hit]:
        """Candidates of a source, in order; without keys SQLite walks a posting list and stops early."""
        keys = [self._key(type, key) for key in order.keys]
        rest = self.compiler.condition(source.rest, type, "t.rno")
        columns = "".join(f", {key.text} AS k{n}" for n, key in enumerate(keys))
        distinct = "" if source.unique else "DISTINCT "
        params = [*(p for key in keys for p in key.params), *source.sql.params, *rest.params]
        place = self._place(order, after)
        params += place.params
        if keys:
            text = (
                f"SELECT * FROM (SELECT t.rno AS rno{columns} "
                f"FROM (SELECT {distinct}rno FROM ({source.sql.text})) t WHERE {rest.text}) q "
                f"WHERE {place.text} ORDER BY {self._order_by(order)} LIMIT ?"
            )
        else:
            direction = "DESC" if order.descending else "ASC"
            place_text = place.text.replace("q.rno", "t.rno")
            text = (
                f"SELECT {distinct}t.rno AS rno FROM ({source.sql.text}) t "
                f"WHERE {rest.text} AND {place_text} ORDER BY t.rno {direction} LIMIT ?"
            )
        rows = self.compiler.rows(text, (*params, wanted))
        return [(row[0], (*row[1:], row[0])) for row in rows]

    def _by_key(
        self, type: str, where: Node, order: _Order, wanted: int, after: tuple[object, ...] | None
    ) -> list[Hit]:
        """Walk the first key's index; the resources without a value come last (first, when flipped)."""
        phases = (
            (self._without_value, self._with_value)
            if order.flipped
            else (self._with_value, self._without_value)
        )
        if after is not None and (after[0] is None) != order.flipped:
            phases = (phases[1],)  # type: ignore[assignment]
        found: list[Hit] = []
        for number, phase in enumerate(phases):
            if len(found) < wanted:
                start = after if number == 0 else None
                found += phase(type, where, order, wanted - len(found), start)
        return found

    def _without_value(
        self, type: str, where: Node, order: _Order, wanted: int, after: tuple[object, ...] | None
    ) -> list[Hit]:
        first = order.keys[0]
        rest = _Order(order.keys[1:], order.newest_first, order.flipped)
        lacking = And((where, Missing(first.param, first.kind)))
        hits = self.hits(type, lacking, rest, wanted, after[1:] if after is not None else None)
        return [(rno, (None, *position)) for rno, position in hits]

    def _with_value(
        self, type: str, where: Node, order: _Order, wanted: int, after: tuple[object, ...] | None
    ) -> list[Hit]:
        """A resource stands at its lowest value, descending at its highest: its other rows are passed
        over."""
        rows, column, rest = self._walked(type, where, order.keys[0])
        falls = order.falls(order.keys[0])
        others = [self._key(type, key) for key in order.keys[1:]]
        columns = "".join(f", {key.text} AS k{n}" for n, key in enumerate(others, 1))
        condition = self.compiler.condition(rest, type, "t.rno")
        place, start = self._place(order, after), TRUE
        if after is not None:
            start = Sql(f"{column}{'<' if falls else '>'}=?", (after[0],))
            if len(order.keys) == 1 and falls == order.descending:
                start = Sql(f"({column}, t.rno){'<' if falls else '>'}(?, ?)", (after[0], after[-1]))
        text = (
            f"SELECT * FROM (SELECT t.rno AS rno, {column} AS k0{columns} FROM {rows.text} "
            f"AND {start.text} AND {condition.text}) q "
            f"WHERE {place.text} ORDER BY {self._order_by(order, walked=True)} LIMIT ?"
        )
        params = [
            *(p for key in others for p in key.params),
            *rows.params,
            *start.params,
            *condition.params,
            *place.params,
        ]
        found = self.compiler.rows(text, (*params, wanted))
        return [(row[0], (*row[1:], row[0])) for row in found]

    def _walked(self, type: str, where: Node, key: Sort) -> tuple[Sql, str, Node]:
        """(the rows `t` to walk, the column with the key's value, what each must fulfil)."""
        walk = pair_walk(self.compiler, where, type, key.param) if key.kind == "date" else None
        if walk is not None:
            return Sql("cmp t WHERE t.pid=? AND t.a1=?", (walk.pid, walk.vid)), "t.b1", walk.rest
        table, column = WALKED[key.kind]
        y_row, t_row = (f"({', '.join(f'{alias}.{each}' for each in WHOLE[table])})" for alias in "yt")
        text = (
            f"{table} t WHERE t.pid=? AND NOT EXISTS(SELECT 1 FROM {table} y INDEXED BY {table}_r "
            f"WHERE y.rno=t.rno AND y.pid=t.pid AND {y_row}{'>' if key.descending else '<'}{t_row})"
        )
        pid = self.names.param(type, key.param)
        return Sql(text, (pid,)), f"t.{column}", where

    def _key(self, type: str, key: Sort) -> Sql:
        """The value a resource is sorted by, as a correlated subquery; NULL when it has none."""
        if key.param == "_id":
            return Sql("(SELECT e.id FROM res r CROSS JOIN ent e ON e.eid=r.eid WHERE r.rno=t.rno)")
        pid = self.names.param(type, key.param)
        pick = "max" if key.descending else "min"
        if pid is None:
            return Sql("NULL")
        if key.kind == "token":
            return Sql(
                f"(SELECT {pick}(d.code) FROM tok u INDEXED BY tok_r CROSS JOIN tv d ON d.vid=u.vid "
                "WHERE u.rno=t.rno AND u.pid=?)",
                (pid,),
            )
        if key.kind == "reference":
            return Sql(
                f"(SELECT {pick}(CASE e.tid WHEN 0 THEN e.id ELSE y.name||'/'||e.id END) FROM ref u "
                "INDEXED BY ref_r CROSS JOIN ent e ON e.eid=u.tgt LEFT JOIN typ y ON y.tid=e.tid "
                "WHERE u.rno=t.rno AND u.pid=?)",
                (pid,),
            )
        table, column = WALKED[key.kind]
        return Sql(
            f"(SELECT {pick}(u.{column}) FROM {table} u INDEXED BY {table}_r WHERE u.rno=t.rno AND u.pid=?)",
            (pid,),
        )

    @staticmethod
    def _order_by(order: _Order, *, walked: bool = False) -> str:
        parts = []
        for n, key in enumerate(order.keys):
            if not (walked and n == 0):
                parts.append(f"q.k{n} IS NULL {'DESC' if order.flipped else 'ASC'}")
            parts.append(f"q.k{n} {'DESC' if order.falls(key) else 'ASC'}")
        return ", ".join([*parts, f"q.rno {'DESC' if order.descending else 'ASC'}"])

    @staticmethod
    def _place(order: _Order, after: tuple[object, ...] | None) -> Sql:
        """Strictly after a position: first key beyond, or equal and the next key beyond, … or all equal and
        the seq."""
        if after is None:
            return TRUE
        sql = Sql(f"q.rno{'<' if order.descending else '>'}?", (after[-1],))
        for n in range(len(order.keys) - 1, -1, -1):
            value, falls = after[n], order.falls(order.keys[n])
            beyond = f"q.k{n}{'<' if falls else '>'}?"
            if value is None:
                further = Sql(f"q.k{n} IS NOT NULL") if order.flipped else Sql("0")
            elif order.flipped:
                further = Sql(beyond, (value,))
            else:
                further = Sql(f"({beyond} OR q.k{n} IS NULL)", (value,))
            same = joined("AND", [Sql(f"q.k{n} IS ?", (value,)), sql])
            sql = joined("OR", [further, same])
        return sql
