"""The dictionaries: type, entry name, token and identity ↔ the small integers that the index tables hold.

Rows are never removed, so a number once read stays right in every process. `Writing` adds what is missing,
and can forget what a rolled-back savepoint had added.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

LOCAL = re.compile(r"([A-Z][A-Za-z]{0,63})/([A-Za-z0-9\-.]{1,64})", re.ASCII)
CACHE = 100_000
FOREIGN = 0  # the type number of an absolute URL


class Names:
    """Looks up; answers None for what was never written. One instance per connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._types: dict[str, int] = {}
        self._params: dict[tuple[str, str], int] = {}

    def _one(self, sql: str, *params: object) -> int | None:
        rows = self.connection.execute(sql, params).fetchall()
        return int(rows[0][0]) if rows else None

    def type(self, name: str) -> int | None:
        found = self._types.get(name)
        if found is None:
            found = self._one("SELECT tid FROM typ WHERE name=?", name)
            if found is not None:
                self._types[name] = found
        return found

    def param(self, type: str, name: str) -> int | None:
        found = self._params.get((type, name))
        if found is None:
            tid = self.type(type)
            if tid is not None:
                found = self._one("SELECT pid FROM par WHERE tid=? AND name=?", tid, name)
            if found is not None:
                self._params[type, name] = found
        return found

    def tokens(self, system: str | None, code: str) -> list[int]:
        """All numbers of that code: one when the system is given, several when it may be any."""
        if system is None:
            rows = self.connection.execute("SELECT vid FROM tv WHERE code=?", (code,))
        else:
            rows = self.connection.execute("SELECT vid FROM tv WHERE code=? AND sys=?", (code, system))
        return [vid for (vid,) in rows.fetchall()]

    def entity(self, type: str, id: str) -> int | None:
        tid = self.type(type)
        return None if tid is None else self._one("SELECT eid FROM ent WHERE id=? AND tid=?", id, tid)

    def target(self, reference: str) -> int | None:
        """The identity behind a reference entry, "Type/id" or an absolute URL."""
        local = LOCAL.fullmatch(reference)
        if local:
            return self.entity(local[1], local[2])
        return self._one("SELECT eid FROM ent WHERE id=? AND tid=?", reference, FOREIGN)

    def targets(self, references: Sequence[str]) -> list[int]:
        found = (self.target(reference) for reference in references)
        return [eid for eid in found if eid is not None]


class Writing(Names):
    """Adds what is missing; only for the writer's connection, inside its transaction. The texts wait here for
    the end of the transaction: the text index writes a part of its own at every savepoint, so that each
    commit of a group would pay for one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._tokens: dict[tuple[str, str], int] = {}
        self._entities: dict[tuple[int, str], int] = {}
        self._added: list[tuple[dict, object]] = []  # type: ignore[type-arg]
        self.texts: list[tuple[int, str, str]] = []  # write number, narrative, all else
        self._texts_before = 0
        self._written: list[tuple[int, str, str]] = []  # in this savepoint, of earlier ones

    def begin(self) -> None:
        """A savepoint starts: from here on, additions can be forgotten."""
        self._added.clear()
        self._texts_before = len(self.texts)
        self._written.clear()

    def forget(self) -> None:
        """The savepoint was rolled back: what it added to the dictionaries is gone."""
        for cache, key in self._added:
            cache.pop(key, None)
        self._added.clear()
        self.texts = [*self._written, *self.texts[: self._texts_before]]

    def write_texts(self) -> None:
        """Into the text index: before the transaction is committed, and before a condition is asked."""
        self.connection.executemany("INSERT INTO txt(rowid, narrative, content) VALUES(?, ?, ?)", self.texts)
        self._written += self.texts
        self.texts.clear()
        self._texts_before = 0

    def clear(self) -> None:
        """The whole transaction was rolled back."""
        for cache in (self._types, self._params, self._tokens, self._entities):
            cache.clear()
        self._added.clear()
        self.texts.clear()

    def _insert(self, sql: str, *params: object) -> int:
        return int(self.connection.execute(sql, params).lastrowid or 0)

    def type_added(self, name: str) -> int:
        found = self.type(name)
        if found is None:
            found = self._types[name] = self._insert("INSERT INTO typ(name) VALUES(?)", name)
            self._added.append((self._types, name))
        return found

    def param_added(self, type: str, name: str) -> int:
        found = self.param(type, name)
        if found is None:
            tid = self.type_added(type)
            found = self._insert("INSERT INTO par(tid, name) VALUES(?, ?)", tid, name)
            self._params[type, name] = found
            self._added.append((self._params, (type, name)))
        return found

    def token_added(self, system: str, code: str) -> int:
        key = (system, code)
        found = self._tokens.get(key)
        if found is None:
            found = self._one("SELECT vid FROM tv WHERE code=? AND sys=?", code, system)
            if found is None:
                found = self._insert("INSERT INTO tv(sys, code) VALUES(?, ?)", system, code)
                self._added.append((self._tokens, key))
            if len(self._tokens) >= CACHE:
                self._tokens.clear()
            self._tokens[key] = found
        return found

    def entity_added(self, tid: int, id: str) -> int:
        key = (tid, id)
        found = self._entities.get(key)
        if found is None:
            found = self._one("SELECT eid FROM ent WHERE id=? AND tid=?", id, tid)
            if found is None:
                found = self._insert("INSERT INTO ent(tid, id) VALUES(?, ?)", tid, id)
                self._added.append((self._entities, key))
            if len(self._entities) >= CACHE:
                self._entities.clear()
            self._entities[key] = found
        return found

    def target_added(self, reference: str) -> int:
        local = LOCAL.fullmatch(reference)
        if local:
            return self.entity_added(self.type_added(local[1]), local[2])
        return self.entity_added(FOREIGN, reference)
