"""The SQLite index's tables, and which DICOM attribute fills which column.

Columns are only what is searched or counted; everything else is in the JSON. The display order of a study is
series number, series arrival, instance number, arrival.
"""

from __future__ import annotations

from collections.abc import Mapping

from dicomweb.index.contract import Level

VERSION = 10

TABLES = """
CREATE TABLE study(
  n INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE,
  date TEXT NOT NULL, time TEXT NOT NULL, accession TEXT NOT NULL, description TEXT NOT NULL,
  study_id TEXT NOT NULL,
  patient_id TEXT NOT NULL, patient_issuer TEXT NOT NULL,
  birth_date TEXT NOT NULL, sex TEXT NOT NULL,
  modalities TEXT NOT NULL, series_count INTEGER NOT NULL DEFAULT 0,
  instance_count INTEGER NOT NULL DEFAULT 0,
  first_received INTEGER NOT NULL, last_received INTEGER NOT NULL, pending_since INTEGER,
  last_seq INTEGER NOT NULL DEFAULT 0, processed_seq INTEGER NOT NULL DEFAULT 0,
  attached INTEGER NOT NULL DEFAULT 0, mixed INTEGER NOT NULL DEFAULT 0,
  calling_ae TEXT NOT NULL, source TEXT NOT NULL, attributes BLOB NOT NULL,
  representative INTEGER NOT NULL DEFAULT 0);
CREATE INDEX study_patient ON study(patient_id);
CREATE INDEX study_accession ON study(accession);
CREATE INDEX study_date ON study(date);
CREATE INDEX study_birth ON study(birth_date);
CREATE INDEX study_due ON study(pending_since) WHERE pending_since IS NOT NULL;
CREATE TABLE identifier(value TEXT NOT NULL, issuer TEXT NOT NULL, study INTEGER NOT NULL,
  PRIMARY KEY(value, issuer, study)) WITHOUT ROWID;
CREATE INDEX identifier_study ON identifier(study);
CREATE TABLE series(
  n INTEGER PRIMARY KEY, study INTEGER NOT NULL, uid TEXT NOT NULL, number INTEGER,
  modality TEXT NOT NULL,
  description TEXT NOT NULL, body_part TEXT NOT NULL, date TEXT NOT NULL, time TEXT NOT NULL,
  performed_date TEXT NOT NULL, performed_time TEXT NOT NULL,
  instance_count INTEGER NOT NULL DEFAULT 0, attributes BLOB NOT NULL,
  representative INTEGER NOT NULL DEFAULT 0,
  UNIQUE(study, uid));
CREATE INDEX series_uid ON series(uid);
CREATE INDEX series_modality ON series(modality, study);
CREATE TABLE instance(
  n INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, study INTEGER NOT NULL,
  series INTEGER NOT NULL,
  sop_class TEXT NOT NULL, number INTEGER, transfer_syntax TEXT NOT NULL,
  sha256 TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, received INTEGER NOT NULL,
  calling_ae TEXT NOT NULL, source TEXT NOT NULL, brief BLOB NOT NULL);
CREATE INDEX instance_series ON instance(series, number, n);
CREATE TABLE body(n INTEGER PRIMARY KEY, layout BLOB NOT NULL, attributes BLOB NOT NULL);
CREATE TABLE conflict(
  n INTEGER PRIMARY KEY, uid TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL,
  transfer_syntax TEXT NOT NULL,
  sha256 TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, received INTEGER NOT NULL,
  calling_ae TEXT NOT NULL, source TEXT NOT NULL, layout BLOB NOT NULL, attributes BLOB NOT NULL,
  UNIQUE(uid, sha256));
CREATE TABLE mark(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE name(role TEXT NOT NULL, folded TEXT NOT NULL, study INTEGER NOT NULL,
  PRIMARY KEY(role, folded, study)) WITHOUT ROWID;
CREATE INDEX name_study ON name(study);
CREATE VIRTUAL TABLE spelling USING fts5(patient_name, referring, content='',
  tokenize='trigram case_sensitive 1');
CREATE TABLE masked(
  n INTEGER PRIMARY KEY, uid TEXT NOT NULL, study TEXT NOT NULL, series TEXT NOT NULL, sop_class TEXT NOT
  NULL, transfer_syntax TEXT NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL,
  received INTEGER NOT NULL, calling_ae TEXT NOT NULL, source TEXT NOT NULL, layout BLOB NOT NULL,
  attributes BLOB NOT NULL, at INTEGER NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
  purged INTEGER NOT NULL DEFAULT 0);
CREATE INDEX masked_study ON masked(study);
CREATE INDEX masked_kept ON masked(at) WHERE purged = 0;
CREATE TABLE withdrawn(study TEXT PRIMARY KEY, at INTEGER NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE workitem(uid TEXT PRIMARY KEY, n INTEGER NOT NULL, state TEXT NOT NULL, owner TEXT NOT NULL,
  studies TEXT NOT NULL, attributes BLOB NOT NULL, changed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE origin(study TEXT NOT NULL, instance TEXT NOT NULL, gateway TEXT NOT NULL, sha256 TEXT NOT NULL,
  dataset TEXT NOT NULL, ae_title TEXT NOT NULL, received INTEGER NOT NULL,
  PRIMARY KEY(study, instance, gateway, sha256)) WITHOUT ROWID;
CREATE TABLE commitment(uid TEXT NOT NULL, peer TEXT NOT NULL, asked INTEGER NOT NULL,
  due INTEGER NOT NULL, tries INTEGER NOT NULL, items BLOB NOT NULL, PRIMARY KEY(uid, peer)) WITHOUT ROWID;
CREATE INDEX commitment_due ON commitment(due);
CREATE TABLE performed(uid TEXT PRIMARY KEY, state TEXT NOT NULL, ae_title TEXT NOT NULL,
  organisation TEXT NOT NULL, attributes BLOB NOT NULL, changed INTEGER NOT NULL,
  revision INTEGER NOT NULL, due INTEGER) WITHOUT ROWID;
CREATE INDEX performed_due ON performed(due) WHERE due IS NOT NULL;
CREATE TABLE performed_study(study TEXT NOT NULL, step TEXT NOT NULL, place INTEGER NOT NULL,
  PRIMARY KEY(study, step)) WITHOUT ROWID;
CREATE INDEX performed_study_step ON performed_study(step, place);
CREATE TABLE performed_order(accession TEXT NOT NULL, step TEXT NOT NULL,
  PRIMARY KEY(accession, step)) WITHOUT ROWID;
CREATE TABLE step_message(n INTEGER PRIMARY KEY AUTOINCREMENT, step TEXT NOT NULL, kind TEXT NOT NULL,
  syntax TEXT NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL, source TEXT NOT NULL,
  addressed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX step_message_fresh ON step_message(n) WHERE addressed = 0;
CREATE INDEX step_message_at ON step_message(at);
CREATE INDEX step_message_step ON step_message(step, n);
CREATE UNIQUE INDEX step_message_source ON step_message(source) WHERE source <> '';
CREATE TABLE step_telling(peer TEXT NOT NULL, message INTEGER NOT NULL, step TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'waiting', due INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(peer, message)) WITHOUT ROWID;
CREATE INDEX step_telling_open ON step_telling(peer, step, message) WHERE state <> 'told';
CREATE INDEX step_telling_message ON step_telling(message);
CREATE TABLE subscriber(ae_title TEXT PRIMARY KEY, owner TEXT NOT NULL, channel TEXT NOT NULL DEFAULT '',
  every TEXT, every_lock INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE subscription(workitem TEXT NOT NULL, ae_title TEXT NOT NULL, lock INTEGER NOT NULL,
  PRIMARY KEY(workitem, ae_title)) WITHOUT ROWID;
CREATE INDEX subscription_subscriber ON subscription(ae_title);
CREATE TABLE event(n INTEGER PRIMARY KEY AUTOINCREMENT, ae_title TEXT NOT NULL, workitem TEXT NOT NULL,
  kind INTEGER NOT NULL, attributes BLOB NOT NULL);
CREATE INDEX event_subscriber ON event(ae_title, n);
CREATE TABLE usage(source TEXT PRIMARY KEY, instances INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE damage(path TEXT PRIMARY KEY, uid TEXT NOT NULL, what TEXT NOT NULL, at INTEGER NOT NULL)
  WITHOUT ROWID;
"""

# level → column → tag of the attribute that fills it
COLUMNS: Mapping[Level, Mapping[str, str]] = {
    "study": {
        "date": "00080020",
        "time": "00080030",
        "accession": "00080050",
        "description": "00081030",
        "study_id": "00200010",
        "patient_id": "00100020",
        "patient_issuer": "00100021",
        "birth_date": "00100030",
        "sex": "00100040",
    },
    "series": {
        "modality": "00080060",
        "description": "0008103E",
        "body_part": "00180015",
        "date": "00080021",
        "time": "00080031",
        "performed_date": "00400244",
        "performed_time": "00400245",
    },
    "instance": {},
}
# role → tag of the names of a study, kept folded in every group they have, for matching without accents and
# case
NAMES: Mapping[str, str] = {"patient_name": "00100010", "referring": "00080090"}
DATES = frozenset({"date", "birth_date", "performed_date"})

# Attributes kept with the level itself, so that a query page reads no instance.
STUDY_TAGS = (
    "00080005",
    "00080020",
    "00080030",
    "00080050",
    "00080051",
    "00080080",
    "00080090",
    "00080201",
    "00081030",
    "00081032",
    "00081048",
    "00081060",
    "00081080",
    "00081110",
    "00100010",
    "00100020",
    "00100021",
    "00100022",
    "00100024",
    "00100030",
    "00100032",
    "00100040",
    "00101000",
    "00101001",
    "00101002",
    "00101010",
    "00101020",
    "00101030",
    "00102160",
    "00102180",
    "001021B0",
    "00104000",
    "00120062",
    "00200010",
    "0020000D",
)
SERIES_TAGS = (
    "00080005",
    "00080021",
    "00080031",
    "00080060",
    "00080070",
    "00080201",
    "00081010",
    "0008103E",
    "0008103F",
    "00081040",
    "00081050",
    "00081070",
    "00081090",
    "00180015",
    "00181000",
    "00181020",
    "00181030",
    "00185100",
    "0020000E",
    "00200011",
    "00200052",
    "00200060",
    "00400244",
    "00400245",
    "00400250",
    "00400251",
    "00400253",
    "00400254",
    "00400275",
    "0020000D",
)
INSTANCE_TAGS = (
    "00080005",
    "00080008",
    "00080016",
    "00080018",
    "00080023",
    "00080033",
    "00080201",
    "0020000D",
    "0020000E",
    "00200013",
    "00280008",
    "00280010",
    "00280011",
    "00280100",
    "00200032",
    "00200037",
)
