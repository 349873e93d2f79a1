"""What each peer was sent, and under which identity: what a correction has to reach. Rows of the queue's
file.

A row is written before its instance is sent, so that nothing that a peer may have is unknown here. The same
identity keeps the moment at which it was first used: an instance sent again is the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import orjson

from dicomweb.coercion.identity import Identity, load
from dicomweb.transfers.queue import Queue, submit
from dicomweb.transfers.record import Order

ROW = "instance, study, series, sop_class, request, patient, identity, at, corrected, salt, rejected"


@dataclass(frozen=True, slots=True)
class Delivered:
    """One instance at a peer. `patient` is the FHIR Patient's id, `identity` the digest of what was written
    into
    it since `at` (UTC microseconds); `corrected`: another identity stood there before. `salt`: its UIDs are
    renewed with it, "" = they are its own; `rejected`: the note that withdrew it, "" = none."""

    instance: str
    study: str
    series: str
    sop_class: str = ""
    request: str = ""
    patient: str = ""
    identity: str = ""
    at: int = 0
    corrected: bool = False
    salt: str = ""
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A note: which instances (as the peer knows them: renewed with `salt`) of a study are withdrawn there,
    under which title, and the identity that they bear there."""

    note: str
    peer: str
    study: str
    salt: str
    identity: Identity
    at: int
    title: str
    instances: tuple[tuple[str, str, str], ...]  # series, instance, SOP class, before renewal


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Synchronous, like the queue it belongs to."""

    queue: Queue

    def note(
        self, peer: str, rows: Iterable[Delivered], identity: Identity, now: int
    ) -> dict[str, Delivered]:
        """These are about to be sent there under this identity (`at`, `corrected` and `salt` of `rows` do not
        count). Returns what then stands, by instance: one that was rejected comes anew, with other UIDs."""
        wanted = list(rows)
        with self.queue.writing("NORMAL") as connection:
            connection.execute(
                "INSERT INTO identity VALUES(?, ?) ON CONFLICT DO NOTHING", (identity.digest, identity.dump())
            )
            connection.executemany(
                "INSERT INTO delivered(peer, instance, study, series, sop_class, request, patient, identity, "
                "at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "at = CASE WHEN identity = excluded.identity AND rejected = '' THEN at ELSE excluded.at END, "
                "corrected = corrected OR (identity <> excluded.identity), "
                "salt = CASE WHEN rejected = '' THEN salt ELSE rejected END, rejected = '', "
                "request = excluded.request, patient = excluded.patient, identity = excluded.identity",
                [
                    (peer, one.instance, one.study, one.series, one.sop_class, one.request, one.patient,
                     identity.digest, now)
                    for one in wanted
                ],
            )  # fmt: skip
        places = {one.study for one in wanted}
        names = {one.instance for one in wanted}
        return {
            row.instance: row for study in places for row in self.of(peer, study) if row.instance in names
        }

    def of(self, peer: str, study: str) -> list[Delivered]:
        """In the order of the UIDs; those rejected too."""
        return self._found("peer = ? AND study = ? ORDER BY instance", (peer, study))

    def peers(self, study: str) -> list[str]:
        """Those that were sent something of it."""
        rows = self.queue.rows("SELECT DISTINCT peer FROM delivered WHERE study = ? ORDER BY peer", (study,))
        return [str(row[0]) for row in rows]

    def studies_of(self, kind: str, id: str) -> list[str]:
        """Those that went somewhere as this Patient's, or under this ServiceRequest."""
        column = {"Patient": "patient", "ServiceRequest": "request"}[kind]
        asked = f"SELECT DISTINCT study FROM delivered WHERE {column} = ? ORDER BY study"  # noqa: S608
        rows = self.queue.rows(asked, (id,))
        return [str(row[0]) for row in rows]

    def orders(self, peer: str, study: str) -> dict[str, tuple[str, ...]]:
        """The requests under which it went there, each with the series that were chosen (none: all)."""
        rows = self.queue.rows(
            "SELECT request, series FROM transfer WHERE kind = 'relay' AND peer = ? AND study = ? ORDER BY n",
            (peer, study),
        )
        return {str(request): tuple(orjson.loads(str(series))) for request, series in rows}

    def adopt(self, peer: str, study: str, patients: tuple[str, str]) -> None:
        """The first Patient was merged into the second: what went as the one went as the other."""
        with self.queue.writing() as connection:
            connection.execute(
                "UPDATE delivered SET patient = ? WHERE peer = ? AND study = ? AND patient = ?",
                (patients[1], peer, study, patients[0]),
            )

    def identity(self, digest: str) -> Identity:
        rows = self.queue.rows("SELECT value FROM identity WHERE digest = ?", (digest,))
        return load(str(rows[0][0])) if rows else Identity()

    def reject(self, made: Rejection, order: Order) -> bool:
        """The note is to be sent and its instances are withdrawn, both or neither. False: this very note was
        ordered before."""
        with self.queue.writing() as connection:
            is_new = connection.execute(
                "INSERT INTO rejection VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    made.note, made.peer, made.study, made.salt, made.identity.dump(), made.at, made.title,
                    orjson.dumps(made.instances).decode(),
                ),
            ).rowcount  # fmt: skip
            if is_new:
                connection.executemany(
                    "UPDATE delivered SET rejected = ? WHERE peer = ? AND instance = ?",
                    [(made.note, made.peer, instance) for _series, instance, _class in made.instances],
                )
                submit(connection, order, made.at)
        return bool(is_new)

    def rejection(self, note: str) -> Rejection | None:
        rows = self.queue.rows(
            "SELECT note, peer, study, salt, identity, at, title, instances FROM rejection WHERE note = ?",
            (note,),
        )
        if not rows:
            return None
        name, peer, study, salt, identity, at, title, instances = rows[0]
        found = tuple((str(a), str(b), str(c)) for a, b, c in orjson.loads(str(instances)))
        return Rejection(
            str(name), str(peer), str(study), str(salt), load(str(identity)), int(str(at)), str(title), found
        )

    def _found(self, where: str, values: Sequence[object]) -> list[Delivered]:
        rows = self.queue.rows(f"SELECT {ROW} FROM delivered WHERE {where}", values)  # noqa: S608
        return [replace(Delivered(*row), corrected=bool(row[8])) for row in rows]
