"""The tables, the connections, and the check that a file is one of ours.

`rno` is the write sequence (`Version.seq`): one row of `res` per version, and index rows for current versions
only, so every posting list is in newest-first order without a sort column. `ent` is the stable identity that
references point to; its `rno` is NULL while the resource is only referred to, or deleted. An absolute URL is
an `ent` of type 0. `pid` numbers a (type, entry name); pid 0 is the listing of a type, with the type's number
in `vid`. `cmp`, `geo` and `txt` are explained in `special`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from fhir_server.store.sqlite.special import reaches
from profiles.outcomes import SchemaMismatch, Unavailable

SCHEMA = 4
APPLICATION = 0x54444F53  # "TDOS"
OLDEST_SQLITE = (3, 35, 0)  # RETURNING
BUSY_SECONDS = 30.0
WAL_LIMIT = 64 * 1024 * 1024  # bytes the log file shrinks back to once it was copied over

TABLES = """
CREATE TABLE typ(tid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE par(pid INTEGER PRIMARY KEY, tid INT NOT NULL, name TEXT NOT NULL, UNIQUE(tid, name));
CREATE TABLE ent(eid INTEGER PRIMARY KEY, tid INT NOT NULL, id TEXT NOT NULL, rno INT);
CREATE UNIQUE INDEX ent_u ON ent(id, tid);
CREATE TABLE res(
  rno INTEGER PRIMARY KEY, eid INT NOT NULL, ver INT NOT NULL, tid INT NOT NULL, at INT NOT NULL,
  method TEXT NOT NULL, body BLOB);
CREATE UNIQUE INDEX res_u ON res(eid, ver);
CREATE INDEX res_h ON res(tid, rno);
CREATE INDEX res_a ON res(at);
CREATE TABLE tv(vid INTEGER PRIMARY KEY, sys TEXT NOT NULL, code TEXT NOT NULL);
CREATE UNIQUE INDEX tv_u ON tv(code, sys);
CREATE TABLE tok(pid INT, vid INT, rno INT, PRIMARY KEY(pid, vid, rno)) WITHOUT ROWID;
CREATE TABLE ref(pid INT, tgt INT, rno INT, PRIMARY KEY(pid, tgt, rno)) WITHOUT ROWID;
CREATE TABLE dat(pid INT, s INT, rno INT, e INT, PRIMARY KEY(pid, s, rno, e)) WITHOUT ROWID;
CREATE TABLE str(pid INT, v TEXT, rno INT, x TEXT, PRIMARY KEY(pid, v, rno, x)) WITHOUT ROWID;
CREATE TABLE num(pid INT, s REAL, rno INT, e REAL, uv INT, PRIMARY KEY(pid, s, rno, e, uv)) WITHOUT ROWID;
CREATE TABLE cmp(
  pid INT, rno INT, a1, a2, a3, b1, b2, b3, c1, c2, c3,
  PRIMARY KEY(pid, a1, b1, rno, a2, a3, b2, b3, c1, c2, c3)) WITHOUT ROWID;
CREATE TABLE geo(pid INT, lat REAL, rno INT, lon REAL, PRIMARY KEY(pid, lat, rno, lon)) WITHOUT ROWID;
CREATE VIRTUAL TABLE txt USING fts5(narrative, content, content='', tokenize='ascii');
CREATE INDEX tok_r ON tok(rno, pid);
CREATE INDEX ref_r ON ref(rno, pid);
CREATE INDEX dat_r ON dat(rno, pid);
CREATE INDEX dat_e ON dat(pid, e, rno, s);
CREATE INDEX str_r ON str(rno, pid);
CREATE INDEX num_r ON num(rno, pid);
CREATE INDEX cmp_r ON cmp(rno, pid);
CREATE INDEX geo_r ON geo(rno, pid);
CREATE TABLE rec(
  kind TEXT, key TEXT, value BLOB NOT NULL, expires INT, PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE INDEX rec_x ON rec(expires) WHERE expires IS NOT NULL;
CREATE TABLE counter(name TEXT PRIMARY KEY, value INT NOT NULL) WITHOUT ROWID;
"""


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection with our settings. `synchronous=FULL`: a commit returns after the log is on the disk."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.create_function("reaches", 5, reaches, deterministic=True)
    if read_only:
        connection.execute("PRAGMA cache_size=-32768")
        connection.execute("PRAGMA query_only=ON")
    else:
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=2000")
        connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT}")
    return connection


def prepare(path: Path) -> None:
    """Create the schema in an empty file, or check what is there. Raises SchemaMismatch, Unavailable."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise Unavailable("sqlite-too-old", f"SQLite {sqlite3.sqlite_version} is linked in, {wanted} needed")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            if not _checked(connection, path):
                _create(connection, path)
    except (sqlite3.OperationalError, OSError) as error:
        raise Unavailable("store-unavailable", f"{path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SchemaMismatch(
            f"{path} is no database, and this program needs one of schema {SCHEMA}"
        ) from error


def _checked(connection: sqlite3.Connection, path: Path) -> bool:
    """False for an empty file; nothing of another program's is touched."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if tables == 0:
        return False
    if application != APPLICATION:
        raise SchemaMismatch(f"{path} is a database of another program, not a store of schema {SCHEMA}")
    if found != SCHEMA:
        raise SchemaMismatch(f"{path} has schema {found}, this program needs schema {SCHEMA}")
    return True


def _create(connection: sqlite3.Connection, path: Path) -> None:
    """Another process may be at it too: the second one finds the work done."""
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise Unavailable(
            "store-unavailable", f"{path} lies on a file system without shared memory for SQLite's log"
        )
    connection.execute("BEGIN IMMEDIATE")
    if not _checked(connection, path):
        for statement in TABLES.strip().rstrip(";").split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")
