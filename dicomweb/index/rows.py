"""Instances into rows and rows back into values, for the SQLite index."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import orjson

from dicomweb.attributes import first, integer, patient_ids
from dicomweb.index import spelling
from dicomweb.index.contract import Found, Instance, Level, Origin, Outcome, PatientId, Study
from dicomweb.index.schema import COLUMNS, DATES, INSTANCE_TAGS, NAMES, SERIES_TAGS, STUDY_TAGS
from dicomweb.matching import texts

STUDY = (
    "st.n, st.uid, st.attributes, st.accession, st.modalities, st.series_count, st.instance_count, "
    "st.first_received, st.last_received, st.last_seq, st.processed_seq, st.attached, st.mixed, "
    "st.calling_ae, "
    "st.source"
)


def insert(connection: sqlite3.Connection, instance: Instance) -> Outcome:
    """One instance inside the caller's transaction; counts move only when it is new."""
    if instance.origin:
        note(connection, instance.origin)
    known = connection.execute("SELECT sha256 FROM instance WHERE uid = ?", (instance.uid,)).fetchone()
    if known:
        if known[0] == instance.sha256:
            return "duplicate"
        return _conflict(connection, instance)
    study = _study(connection, instance)
    series = _series(connection, instance, study)
    number = connection.execute(
        "INSERT INTO instance(uid, study, series, sop_class, number, transfer_syntax, sha256, path, size, "
        "received, "
        "calling_ae, source, brief) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            instance.uid,
            study,
            series,
            instance.sop_class,
            integer(instance.attributes, "00200013"),
            instance.transfer_syntax,
            instance.sha256,
            instance.path,
            instance.size,
            instance.received,
            instance.calling_ae,
            instance.source,
            _some(instance.attributes, INSTANCE_TAGS),
        ),
    ).lastrowid
    connection.execute(
        "INSERT INTO body VALUES(?,?,?)", (number, instance.layout, orjson.dumps(instance.attributes))
    )
    connection.execute(
        "UPDATE study SET instance_count = instance_count + 1, last_received = max(last_received, ?1), "
        "pending_since = coalesce(pending_since, ?1), last_seq = ?2, "
        "representative = CASE representative WHEN 0 THEN ?2 ELSE representative END WHERE n = ?3",
        (instance.received, number, study),
    )
    connection.execute(
        "UPDATE series SET instance_count = instance_count + 1, "
        "representative = CASE representative WHEN 0 THEN ?1 ELSE representative END WHERE n = ?2",
        (number, series),
    )
    _use(connection, instance)
    return "stored"


def unuse(connection: sqlite3.Connection, instance: Instance) -> None:
    """What was counted twice."""
    connection.execute(
        "UPDATE usage SET instances = instances - 1, bytes = bytes - ? WHERE source = ?",
        (instance.size, instance.source),
    )


def note(connection: sqlite3.Connection, origin: Origin) -> None:
    """What a gateway said; the first time counts."""
    connection.execute(
        "INSERT INTO origin(study, instance, gateway, sha256, dataset, ae_title, received) "
        "VALUES(?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        astuple(origin),
    )


def _use(connection: sqlite3.Connection, instance: Instance) -> None:
    """What the site takes, until the file is purged."""
    connection.execute(
        "INSERT INTO usage VALUES(?, 1, ?) "
        "ON CONFLICT DO UPDATE SET instances = instances + 1, bytes = bytes + excluded.bytes",
        (instance.source, instance.size),
    )


def _conflict(connection: sqlite3.Connection, instance: Instance) -> Outcome:
    kept = connection.execute(
        "INSERT INTO conflict(uid, study, series, transfer_syntax, sha256, path, size, received, "
        "calling_ae, source, "
        "layout, attributes) VALUES(?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
        (
            instance.uid,
            instance.study,
            instance.series,
            instance.transfer_syntax,
            instance.sha256,
            instance.path,
            instance.size,
            instance.received,
            instance.calling_ae,
            instance.source,
            instance.layout,
            orjson.dumps(instance.attributes),
        ),
    )
    if kept.rowcount:
        _use(connection, instance)
    return "conflict"


def _study(connection: sqlite3.Connection, instance: Instance) -> int:
    """The study's row number, made if new. An instance that names another patient than the study's marks it
    mixed."""
    ids = {(one.value, one.issuer) for one in patient_ids(instance.attributes)}
    row = connection.execute(
        "SELECT n, birth_date, mixed FROM study WHERE uid = ?", (instance.study,)
    ).fetchone()
    if row:
        known = set(connection.execute("SELECT value, issuer FROM identifier WHERE study = ?", (row[0],)))
        if not row[2] and (known != ids or row[1] != first(instance.attributes, "00100030")):
            connection.execute("UPDATE study SET mixed = 1 WHERE n = ?", (row[0],))
        return int(row[0])
    connection.execute("DELETE FROM withdrawn WHERE study = ?", (instance.study,))
    values = _columns("study", instance.attributes)
    number = connection.execute(
        f"INSERT INTO study(uid, first_received, last_received, pending_since, modalities, calling_ae, "
        f"source, "
        f"attributes, {', '.join(values)}) VALUES(?1, ?2, ?2, ?2, '', ?3, ?4, ?5{', ?' * len(values)})",
        (
            instance.study,
            instance.received,
            instance.calling_ae,
            instance.source,
            _some(instance.attributes, STUDY_TAGS),
            *values.values(),
        ),
    ).lastrowid
    connection.executemany(
        "INSERT OR IGNORE INTO name VALUES(?,?,?)",
        [(role, folded, number) for role, folded in names(instance.attributes)],
    )
    spelling.add(connection, int(number or 0))
    connection.executemany(
        "INSERT INTO identifier VALUES(?,?,?)", [(value, issuer, number) for value, issuer in ids]
    )
    return int(number or 0)


def _series(connection: sqlite3.Connection, instance: Instance, study: int) -> int:
    row = connection.execute(
        "SELECT n FROM series WHERE study = ? AND uid = ?", (study, instance.series)
    ).fetchone()
    if row:
        return int(row[0])
    values = _columns("series", instance.attributes)
    number = connection.execute(
        f"INSERT INTO series(study, uid, number, attributes, {', '.join(values)}) "
        f"VALUES(?, ?, ?, ?{', ?' * len(values)})",
        (
            study,
            instance.series,
            integer(instance.attributes, "00200011"),
            _some(instance.attributes, SERIES_TAGS),
            *values.values(),
        ),
    ).lastrowid
    modalities = connection.execute(
        "SELECT DISTINCT modality FROM series WHERE study = ? AND modality <> '' ORDER BY modality", (study,)
    )
    connection.execute(
        "UPDATE study SET series_count = series_count + 1, modalities = ? WHERE n = ?",
        ("\\".join(row[0] for row in modalities.fetchall()), study),
    )
    return int(number or 0)


def _columns(level: Level, attributes: Mapping[str, Any]) -> dict[str, str]:
    return {
        column: first(attributes, tag).replace(".", "") if column in DATES else first(attributes, tag)
        for column, tag in COLUMNS[level].items()
    }


def names(attributes: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(role, folded) of every group of the study's names; a name that is missing or empty counts as ""."""
    return {
        (role, folded)
        for role, tag in NAMES.items()
        for folded in list(texts(attributes, (tag,), "PN")) or [""]
    }


def _some(attributes: Mapping[str, Any], tags: tuple[str, ...]) -> bytes:
    return orjson.dumps({tag: attributes[tag] for tag in tags if tag in attributes})


def study(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Study:
    """A `STUDY` row as a value, its patient identifiers read with it."""
    number, uid, attributes, accession, modalities, *counts = row
    ids = connection.execute(
        "SELECT value, issuer FROM identifier WHERE study = ? ORDER BY value, issuer", (number,)
    )
    series, instances, first_received, last_received, last_seq, processed_seq, attached, mixed, ae, source = (
        counts
    )
    return Study(
        uid,
        orjson.loads(attributes),
        tuple(PatientId(*pair) for pair in ids.fetchall()),
        accession,
        tuple(filter(None, modalities.split("\\"))),
        series,
        instances,
        first_received,
        last_received,
        last_seq,
        processed_seq,
        bool(attached),
        bool(mixed),
        ae,
        source,
    )


def found(level: Level, row: tuple[Any, ...]) -> Found:
    """A `find_sql` row: study uid, modalities, two counts, study JSON [, series uid, count, series JSON [,
    uid, brief]], representative."""
    study_uid, modalities, series_count, instance_count, study_json, *rest, representative = row
    attributes: dict[str, Any] = orjson.loads(study_json)
    series_uid = instance_uid = ""
    attributes["00080061"] = {"vr": "CS", "Value": modalities.split("\\")} if modalities else {"vr": "CS"}
    attributes["00201206"] = {"vr": "IS", "Value": [series_count]}
    attributes["00201208"] = {"vr": "IS", "Value": [instance_count]}
    if level != "study":
        series_uid, count, series_json = rest[:3]
        attributes.update(orjson.loads(series_json))
        attributes["00201209"] = {"vr": "IS", "Value": [count]}
    if level == "instance":
        instance_uid = rest[3]
        attributes.update(orjson.loads(rest[4]))
    return Found(study_uid, series_uid, instance_uid, attributes, representative)
