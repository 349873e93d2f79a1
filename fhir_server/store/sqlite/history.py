"""The versions of a history: of one resource, of types, of everything; newest first."""

from __future__ import annotations

from fhir_server.store.contract import Past, Version
from fhir_server.store.sqlite.columns import Sql, joined, within
from fhir_server.store.sqlite.reader import COLUMNS, Reading, version

FEW = 2_000  # versions since a moment that are fetched whole and put in order


def versions(reading: Reading, past: Past) -> list[Version]:
    """At most `count` of them."""
    conditions = [_whose(reading, past)]
    if past.before is not None:
        conditions.append(Sql("r.rno<?", (past.before,)))
    if past.since is not None:
        conditions.append(Sql("r.at>=?", (past.since,)))
    if past.during is not None:
        start, end = past.during
        conditions.append(
            Sql(
                "r.at<? AND NOT EXISTS(SELECT 1 FROM res n WHERE n.eid=r.eid AND n.ver=r.ver+1 AND n.at<=?)",
                (end, start),
            )
        )
    where = joined("AND", conditions)
    rows = reading.rows(
        f"SELECT y.name, e.id, {COLUMNS} FROM (SELECT r.rno AS rno FROM res r {_index(reading, past)} "
        f"WHERE {where.text} ORDER BY r.rno DESC LIMIT ?) x CROSS JOIN res r ON r.rno=x.rno "
        "CROSS JOIN ent e ON e.eid=r.eid CROSS JOIN typ y ON y.tid=r.tid ORDER BY x.rno DESC",
        (*where.params, past.count),
    )
    return [version(row[0], row[1], row[2:]) for row in rows]


def _whose(reading: Reading, past: Past) -> Sql:
    if past.id:
        assert past.types is not None
        eid = reading.names.entity(past.types[0], past.id)
        return Sql("0") if eid is None else Sql("r.eid=?", (eid,))
    if past.types is None:
        return Sql("1")
    tids = [tid for tid in map(reading.names.type, past.types) if tid is not None]
    return within("r.tid", tids) if tids else Sql("0")


def _index(reading: Reading, past: Past) -> str:
    """The walk: one resource's own versions; the few since a moment, if they are few; one type's; or all in
    the order of writing, which several types together take too."""
    if past.id:
        return "INDEXED BY res_u"
    if past.since is not None:
        counted = f"SELECT count(*) FROM (SELECT 1 FROM res WHERE at>=? LIMIT {FEW + 1})"
        if reading.rows(counted, (past.since,))[0][0] <= FEW:
            return "INDEXED BY res_a"
    return "INDEXED BY res_h" if past.types is not None and len(past.types) == 1 else "NOT INDEXED"
