"""What a long-lived archive asks of the SQLite index: what is purged, used, damaged; inside `SqliteIndex`."""

from __future__ import annotations

from collections.abc import Iterator

from dicomweb.index.connections import Connections
from dicomweb.index.contract import Damage, Masked, Trace, Usage
from dicomweb.rows import page_faults

PAGE = 5000  # rows read at a time


class Keeping(Connections):
    """The part of the `Index` contract that is about files and time."""

    def purgeable(self, before: int, limit: int) -> list[tuple[int, Masked]]:
        found = self._all(
            "SELECT n, study, series, uid, sha256, path, at, by, reason FROM masked "
            "WHERE purged = 0 AND at < ? ORDER BY at LIMIT ?",
            (before, limit),
        )
        return [
            (number, Masked(study, series, uid, sha256, path, Trace(*trace)))
            for number, study, series, uid, sha256, path, *trace in found
        ]

    def is_needed(self, number: int) -> bool:
        """The same content has the same UID."""
        found = self._all(
            "SELECT EXISTS(SELECT 1 FROM instance i WHERE i.uid = m.uid AND i.path = m.path) OR "
            "EXISTS(SELECT 1 FROM conflict c WHERE c.uid = m.uid AND c.sha256 = m.sha256) OR "
            "EXISTS(SELECT 1 FROM masked o WHERE o.study = m.study AND o.path = m.path AND o.purged = 0 "
            "AND o.n <> m.n) FROM masked m WHERE m.n = ?",
            (number,),
        )
        return bool(found and found[0][0])

    def mark_purged(self, number: int, at: int) -> None:
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE masked SET purged = ?, layout = x'', attributes = '{}' WHERE n = ? AND purged = 0",
                (at, number),
            )
            if changed.rowcount:
                connection.execute(
                    "UPDATE usage SET instances = instances - 1, "
                    "bytes = bytes - (SELECT size FROM masked WHERE n = ?1) "
                    "WHERE source = (SELECT source FROM masked WHERE n = ?1)",
                    (number,),
                )

    def paths(self) -> Iterator[str]:
        for table, where in (("instance", ""), ("conflict", ""), ("masked", "purged = 0 AND ")):
            last = 0
            sql = f"SELECT n, path FROM {table} WHERE {where}n > ? ORDER BY n LIMIT {PAGE}"  # noqa: S608
            while rows := self._all(sql, (last,)):
                last = rows[-1][0]
                yield from (row[1] for row in rows)

    def integrity(self) -> list[str]:
        return page_faults(self._all)

    def usage(self) -> dict[str, Usage]:
        return {row[0]: Usage(*row[1:]) for row in self._all("SELECT source, instances, bytes FROM usage")}

    def damaged(self) -> list[Damage]:
        return [Damage(*row) for row in self._all("SELECT path, uid, what, at FROM damage ORDER BY at, path")]

    def put_damage(self, damage: Damage) -> None:
        """The first time it was seen stays."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO damage VALUES(?, ?, ?, ?) ON CONFLICT DO UPDATE SET what = excluded.what",
                (damage.path, damage.uid, damage.what, damage.at),
            )

    def clear_damage(self, path: str) -> None:
        if self._all("SELECT 1 FROM damage WHERE path = ?", (path,)):
            with self._writing() as connection:
                connection.execute("DELETE FROM damage WHERE path = ?", (path,))
