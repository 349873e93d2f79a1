"""Changed duplicates, kept aside until a person decides: rows of the SQLite index, inside the caller's
connection. Whatever is not served any more goes where masked instances are, with the trace."""
# ruff: noqa: S608 - SQL is put together from constants of this module; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

import orjson

from dicomweb.attributes import first
from dicomweb.index import masking, rows
from dicomweb.index.contract import Aside, Instance, Trace

_ASIDE = (
    "c.n, c.uid, c.study, c.series, c.transfer_syntax, c.sha256, c.path, c.size, c.received, c.calling_ae, "
    "c.source, c.layout, c.attributes"
)


def of_study(connection: sqlite3.Connection, study: str) -> list[Aside]:
    """Those of the instances that are served in this study, oldest first."""
    found = connection.execute(
        f"SELECT {_ASIDE} FROM study st JOIN instance i ON i.study = st.n JOIN conflict c ON c.uid = i.uid "
        "WHERE st.uid = ? ORDER BY c.n",
        (study,),
    )
    return [_aside(row) for row in found.fetchall()]


def counts(connection: sqlite3.Connection, studies: Collection[str]) -> dict[str, int]:
    """Of those that have some."""
    found = {
        study: connection.execute(
            "SELECT count(*) FROM study st JOIN instance i ON i.study = st.n "
            "JOIN conflict c ON c.uid = i.uid WHERE st.uid = ?",
            (study,),
        ).fetchone()[0]
        for study in studies
    }
    return {study: count for study, count in found.items() if count}


def settle(connection: sqlite3.Connection, aside: Aside, take: bool, trace: Trace) -> bool:
    """`take`: it is served from now on, in place of what was; else it is masked. False when it is settled
    already."""
    gone = connection.execute(
        "DELETE FROM conflict WHERE n = ? AND uid = ?", (aside.number, aside.instance.uid)
    )
    if not gone.rowcount:
        return False
    one = aside.instance
    if take:
        held = connection.execute(
            "SELECT st.uid FROM instance i JOIN study st ON st.n = i.study WHERE i.uid = ?", (one.uid,)
        ).fetchone()
        if held:
            masking.mask(connection, (held[0], None, one.uid), trace)
        rows.insert(connection, one)
        rows.unuse(connection, one)  # it was counted when it came
        return True
    connection.execute(
        "INSERT INTO masked(uid, study, series, sop_class, transfer_syntax, sha256, path, size, received, "
        "calling_ae, source, layout, attributes, at, by, reason) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            one.uid, one.study, one.series, one.sop_class, one.transfer_syntax, one.sha256, one.path,
            one.size, one.received, one.calling_ae, one.source, one.layout, orjson.dumps(one.attributes),
            trace.at, trace.by, trace.reason,
        ),
    )  # fmt: skip
    return True


def _aside(row: tuple[Any, ...]) -> Aside:
    number, uid, study, series, syntax, sha256, path, size, received, title, source, layout, body = row
    attributes = orjson.loads(body)
    sop_class = first(attributes, "00080016")
    named = (study, series, uid, sop_class, syntax, attributes, layout, sha256)
    return Aside(number, Instance(*named, path, size, received, title, source))
