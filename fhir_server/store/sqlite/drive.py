"""Which rows to ask: for a tree, a source of candidate rnos that is smaller than the whole type.

We choose ourselves, by counting up to a limit (about 0.02 ms per condition); the planner's free joins are up
to a thousand times slower when they guess wrong. A source is a superset: `rest` is what each candidate must
still fulfil.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from fhir_server.search.nodes import (
    And,
    Below,
    Bounds,
    Chain,
    Composite,
    Date,
    Everything,
    Has,
    Ids,
    Near,
    Node,
    Nothing,
    Number,
    Or,
    Reference,
    String,
    Text,
    Token,
)
from fhir_server.store.sqlite.columns import FALSE, Sql, bounded, joined, starting, text_condition, within
from fhir_server.store.sqlite.compile import NESTED, Compiler
from fhir_server.store.sqlite.pairs import pair_source, pairs_of
from fhir_server.store.sqlite.special import (
    below_condition,
    near_condition,
    parts_condition,
    text_expression,
    text_rows,
    texts_together,
)

SMALL = 2_000  # candidates that are fetched whole and sorted
MOST_PARTS = 100  # lists joined into one source; SQLite takes no more than 500
FEW = 100  # good enough: look no further for a better source


@dataclass(frozen=True, slots=True)
class Source:
    """`sql` yields a column rno, perhaps the same one twice; `size` counts its rows up to the limit asked
    for. `in_order`: the rows of one posting list, which can be walked newest first. `unique`: no rno
    twice."""

    sql: Sql
    size: int
    rest: Node
    in_order: bool = False
    unique: bool = False
    depth: int = 0


EMPTY = Source(Sql("SELECT rno FROM res WHERE 0"), 0, Everything(), in_order=True, unique=True)


class Driver:
    """Sources for one search; `limit` is where counting stops."""

    def __init__(self, compiler: Compiler, limit: int = SMALL + 1) -> None:
        self.compiler, self.names, self.limit = compiler, compiler.names, limit

    def listing(self, type: str, rest: Node) -> Source:
        """Every current resource of the type."""
        tid = self.names.type(type)
        if tid is None:
            return EMPTY
        return Source(Sql("SELECT rno FROM tok WHERE pid=0 AND vid=?", (tid,)), self.limit, rest, True, True)

    def best(self, node: Node, type: str) -> Source | None:
        """The smallest source found, or None when only the listing of the type will do."""
        texts = text_expression(node)
        if texts is not None:
            return self._of_text(texts, type)
        match node:
            case Nothing():
                return EMPTY
            case And(nodes):
                return self._of_all(nodes, type)
            case Or(nodes):
                return self._of_any(node, nodes, type)
            case (
                Ids()
                | Token()
                | Below()
                | Reference()
                | Date()
                | Number()
                | String()
                | Composite()
                | Near()
                | Text()
            ):
                return self._smallest(self._of_entry(node, type), node)
            case Chain() | Has():
                return self._of_hop(node, type)
            case _:
                return None

    def walkable(self, node: Node, type: str) -> Source | None:
        """The shortest posting list that can be walked in order, for conditions too large to fetch whole."""
        if isinstance(node, And):
            node = And(texts_together(node.nodes))
        found = [
            (source, other)
            for each, other in _each_and_others(node)
            if (isinstance(each, Token | Reference) or text_expression(each) is not None)
            and (source := self.best(each, type))
            and source.in_order
        ]
        if not found:
            return None
        source, other = min(found, key=lambda pair: pair[0].size)
        return replace(source, rest=other)

    def _sized(self, sql: Sql) -> int:
        counted = self.compiler.rows(
            f"SELECT count(*) FROM (SELECT 1 FROM ({sql.text}) LIMIT {self.limit})", sql.params
        )
        return int(counted[0][0])

    def _smallest(self, candidates: Iterable[Source], node: Node) -> Source | None:
        best: Source | None = None
        for candidate in candidates:
            sized = replace(candidate, size=self._sized(candidate.sql))
            if best is None or sized.size < best.size:
                best = sized
        return best

    def _of_all(self, nodes: tuple[Node, ...], type: str) -> Source | None:
        nodes = texts_together(nodes)
        best, paired = self._of_pairs(And(nodes), type)
        for node in sorted(nodes, key=_effort):
            if node in paired or (best is not None and best.size <= FEW):
                continue
            source = self.best(node, type)
            if source is None or (best is not None and source.size >= best.size):
                continue
            others = tuple(other for other in nodes if other is not node)
            rest = others if isinstance(source.rest, Everything) else (*others, source.rest)
            best = replace(source, rest=And(rest) if rest else Everything())
            if best.size <= FEW:
                break
        return best

    def _of_pairs(self, node: And, type: str) -> tuple[Source | None, tuple[Node, ...]]:
        """The smallest pair, and the conditions that it is smaller than."""
        best: Source | None = None
        paired: tuple[Node, ...] = ()
        for pair in pairs_of(node, type):
            sql = pair_source(self.compiler, pair, type)
            if sql is not None:
                source = Source(sql, self._sized(sql), pair.rest)
                paired = (*paired, pair.token, *pair.dates)
                best = source if best is None or source.size < best.size else best
        return best, paired

    def _of_any(self, node: Node, nodes: tuple[Node, ...], type: str) -> Source | None:
        sources: list[Source] = []
        if len(nodes) > MOST_PARTS:
            return None
        for each in nodes:
            source = self.best(each, type)
            if source is None:
                return None
            sources.append(source)
        if not sources:
            return EMPTY
        sources = [self._shallow(source) for source in sources]
        size = min(self.limit, sum(source.size for source in sources))
        sql = Sql(
            " UNION ALL ".join(f"SELECT rno FROM ({source.sql.text})" for source in sources),
            tuple(p for source in sources for p in source.sql.params),
        )
        rest = Everything() if all(isinstance(source.rest, Everything) for source in sources) else node
        return Source(sql, size, rest, depth=max(source.depth for source in sources))

    def _of_entry(self, node: Node, type: str) -> list[Source]:
        """Every way to list an entry condition, unsized; one without an index of its own gives none."""
        if isinstance(node, Ids):
            tid = self.names.type(type)
            if tid is None or not node.ids:
                return [EMPTY]
            ids = within("id", node.ids)
            return [
                _whole(
                    Sql(
                        f"SELECT rno FROM ent WHERE {ids.text} AND tid=? AND rno IS NOT NULL",
                        (*ids.params, tid),
                    ),
                    unique=True,
                )
            ]
        assert isinstance(node, Token | Below | Reference | Date | Number | String | Composite | Near)
        pid = self.names.param(type, node.param)
        if pid is None:
            return [EMPTY]
        match node:
            case Token():
                vids = self.compiler.exact_tokens(node)
                return [] if vids is None else [_posting("tok", "vid", pid, vids)]
            case Reference(_, targets):
                return [_posting("ref", "tgt", pid, self.names.targets(targets))]
            case Date(_, parts) | Number(_, parts) | String(_, _, parts) if len(parts) > MOST_PARTS:
                return []
            case Date() | Number() if not node.any_of:
                return [EMPTY]
            case Date(_, any_of):
                ways = {tuple(_way(bounds, preferred) for bounds in any_of) for preferred in ("s", "e")}
                return [
                    _whole(_union([_dates(pid, b, way) for b, way in zip(any_of, each, strict=True)]))
                    for each in sorted(ways)
                    if "" not in each
                ]
            case Number(_, any_of, unit):
                in_unit = self.compiler.unit(unit, "n")
                return [
                    _whole(
                        _union(
                            [
                                _scan("num n", pid, joined("AND", [_implied(bounds, "s"), in_unit])).sql
                                for bounds in any_of
                            ]
                        )
                    )
                ]
            case String(_, "exact"):
                return []
            case String(_, "starts", values):
                return [_whole(_union([_scan("str n", pid, starting("n.v", value)).sql for value in values]))]
            case String():
                return [_scan("str n", pid, text_condition(node, "n.v", "n.x"))]
            case Below():
                return [_scan("tok n", pid, below_condition(node, "n"))]
            case Composite(_, composed):
                return [_scan("cmp n", pid, parts_condition(self.compiler, composed, "n"))]
            case Near():
                return [_scan("geo n", pid, near_condition(node, "n"))]

    def _of_text(self, expression: str, type: str) -> Source:
        """The text index has old versions and all types in it: only what is listed counts."""
        tid = self.names.type(type)
        if tid is None:
            return EMPTY
        rows = text_rows(expression)
        text = (
            f"SELECT f.rowid AS rno FROM ({rows.text}) f CROSS JOIN tok z "
            "ON z.pid=0 AND z.vid=? AND z.rno=f.rowid"
        )
        sql = Sql(text, (*rows.params, tid))
        return Source(sql, self._sized(sql), Everything(), in_order=True, unique=True)

    def _of_hop(self, node: Chain | Has, type: str) -> Source | None:
        """From the far end, when that is small."""
        inner = self.best(node.where, node.type)
        if inner is None or inner.size > SMALL:
            return None
        if inner is EMPTY:
            return EMPTY
        inner = self._shallow(inner)
        compiler = self.compiler
        x, f = compiler.alias(), compiler.alias()
        rest = compiler.condition(inner.rest, node.type, f"{x}.rno")
        if isinstance(node, Chain):
            pid = self.names.param(type, node.param)
            r = compiler.alias()
            text = (
                f"SELECT {f}.rno AS rno FROM (SELECT rno FROM ({inner.sql.text})) {x} "
                f"CROSS JOIN res {r} ON {r}.rno={x}.rno "
                f"CROSS JOIN ref {f} ON {f}.pid=? AND {f}.tgt={r}.eid WHERE {rest.text}"
            )
            params: tuple[object, ...] = (*inner.sql.params, pid, *rest.params)
        else:
            pid, tid = self.names.param(node.type, node.param), self.names.type(type)
            e = compiler.alias()
            text = (
                f"SELECT {e}.rno AS rno FROM (SELECT rno FROM ({inner.sql.text})) {x} "
                f"CROSS JOIN ref {f} INDEXED BY ref_r ON {f}.rno={x}.rno AND {f}.pid=? "
                f"CROSS JOIN ent {e} ON {e}.eid={f}.tgt "
                f"WHERE {e}.tid=? AND {e}.rno IS NOT NULL AND {rest.text}"
            )
            params = (*inner.sql.params, pid, tid, *rest.params)
        if pid is None or rest == FALSE:
            return EMPTY
        sql = Sql(text, params)
        return Source(sql, self._sized(sql), Everything(), depth=inner.depth + 1)

    def _shallow(self, source: Source) -> Source:
        """The same source, as a named set when it is nested too deeply for SQLite's parser."""
        if source.depth < NESTED:
            return source
        name = self.compiler.set_of(source.sql)
        return replace(source, sql=Sql(f"SELECT rno FROM {name}"), depth=0)


def _whole(sql: Sql, *, unique: bool = False) -> Source:
    return Source(sql, 0, Everything(), unique=unique)


def _union(parts: list[Sql]) -> Sql:
    return Sql(
        " UNION ALL ".join(part.text for part in parts), tuple(p for part in parts for p in part.params)
    )


def _posting(table: str, column: str, pid: int, numbers: list[int]) -> Source:
    if not numbers:
        return EMPTY
    inside = within(column, numbers)
    return Source(
        Sql(f"SELECT rno FROM {table} WHERE pid=? AND {inside.text}", (pid, *inside.params)),
        0,
        Everything(),
        in_order=True,
        unique=len(numbers) == 1,
    )


def _scan(table: str, pid: int, where: Sql) -> Source:
    return _whole(
        Sql(f"SELECT n.rno AS rno FROM {table} WHERE n.pid=? AND {where.text}", (pid, *where.params))
    )


def _way(bounds: Bounds, preferred: str) -> str:
    """The index that narrows a range: "s" on starts, "e" on ends, "" when all of either would be read."""
    ways = {
        "s": bounds.start_from is not None or bounds.start_before is not None or bounds.end_until is not None,
        "e": bounds.end_after is not None or bounds.end_until is not None or bounds.start_from is not None,
    }
    return preferred if ways[preferred] else next((way for way in "se" if ways[way]), "")


def _dates(pid: int, bounds: Bounds, way: str) -> Sql:
    """By the index on starts or the one on ends; a unary plus hides the other column from the planner."""
    hidden = ".e" if way == "s" else ".s"
    index = " INDEXED BY dat_e" if way == "e" else ""
    where = _implied(bounds, way, lambda column: f"+{column}" if column.endswith(hidden) else column)
    return _scan(f"dat n{index}", pid, where).sql


def _implied(bounds: Bounds, way: str, keep: Callable[[str], str] = str) -> Sql:
    """The conditions, and what follows from start <= end, so that the range read has two limits."""
    parts = [bounded(bounds, keep("n.s"), keep("n.e"))]
    if way == "s" and bounds.end_until is not None:
        parts.append(Sql("n.s<=?", (bounds.end_until,)))
    if way == "e" and bounds.start_from is not None:
        parts.append(Sql("n.e>=?", (bounds.start_from,)))
    return joined("AND", parts)


def _each_and_others(node: Node) -> list[tuple[Node, Node]]:
    if not isinstance(node, And):
        return [(node, Everything())]
    return [(each, And(tuple(other for other in node.nodes if other is not each))) for each in node.nodes]


def _effort(node: Node) -> int:
    """Cheap ones first, so that a small set found early spares the dear ones."""
    match node:
        case Nothing() | Ids():
            return 0
        case Token() | Reference():
            return 1
        case Date() | Number() | Below() | Composite() | Near():
            return 2
        case String(how="contains"):
            return 5
        case String():
            return 3
        case _:
            return 4
