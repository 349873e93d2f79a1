"""A job as plain records of the store, so that no ended process loses one.

What was asked (`job`), how far it is (`job-progress`), how it ended (`job-result`) and that nobody wants it
any more (`job-cancelled`) are records of their own: each has one writer, so a cancellation stays.
A process that works on a job holds its `job-lease`, which expires by itself when the process dies.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fhir_server.access import Access, Scope
from fhir_server.store.contract import Store
from profiles.outcomes import TooManyRequests

State = Literal["waiting", "done", "failed"]
SECOND = 1_000_000
KEPT = 24 * 3600 * SECOND
"""How long results stay; microseconds."""
LONGEST = 7 * KEPT
LEASE = 60 * SECOND
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """`kind` says which work does it, `request` what was asked; `result` what the work returned, or for a
    failed one its status and OperationOutcome. Times in UTC microseconds."""

    id: str
    kind: str
    access: Access
    request: Mapping[str, Any]
    created: int
    state: State = "waiting"
    progress: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    expires: int = 0


class Jobs:
    """The jobs of a store. `woken` is set in this process when one was added."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store, self._now = store, now
        self.woken = asyncio.Event()

    async def submit(self, kind: str, access: Access, request: Mapping[str, Any], *, most: int) -> Job:
        """Recorded; it will be done even if this process ends now. Raises TooManyRequests when the asker has
        `most` of that kind waiting."""
        await self._check_room(kind, access, most)
        job = Job(secrets.token_urlsafe(18), kind, access, request, self._now())
        value = {
            "kind": kind,
            "access": _packed(access),
            "request": dict(request),
            "created": job.created,
        }
        await self._store.put_record("job", job.id, value, expires=job.created + LONGEST)
        self.woken.set()
        return job

    async def _check_room(self, kind: str, access: Access, most: int) -> None:
        waiting = set(await self.waiting())
        mine = [
            id
            for id, value in await self._store.list_records("job")
            if id in waiting and value["kind"] == kind and value["access"]["subject"] == access.subject
        ]
        if len(mine) >= most:
            raise TooManyRequests(
                "too-many-jobs", f"{most} of your jobs are waiting already; ask again later"
            )

    async def find(self, id: str) -> Job | None:
        """None for one that never was, was cancelled, or is over since long."""
        if await self.cancelled(id):
            return None
        asked = await self._store.get_record("job", id)
        if asked is None:
            return None
        ended = await self._store.get_record("job-result", id) or {}
        progress = {} if ended else await self._store.get_record("job-progress", id) or {}
        return Job(
            id,
            asked["kind"],
            _unpacked(asked["access"]),
            asked["request"],
            asked["created"],
            ended.get("state", "waiting"),
            str(progress.get("text", "")),
            ended.get("result", {}),
            int(ended.get("expires", 0)),
        )

    async def waiting(self) -> list[str]:
        """The ids of those that are neither ended nor cancelled, oldest first."""
        asked = await self._store.list_records("job")
        over = {
            id for kind in ("job-result", "job-cancelled") for id, _ in await self._store.list_records(kind)
        }
        return [id for _, id in sorted((value["created"], id) for id, value in asked if id not in over)]

    async def known(self) -> frozenset[str]:
        """The ids whose files are still wanted."""
        over = {id for id, _ in await self._store.list_records("job-cancelled")}
        return frozenset(id for id, _ in await self._store.list_records("job") if id not in over)

    async def cancel(self, id: str) -> None:
        """It stops at its next step; nothing of it is shown any more."""
        await self._store.put_record("job-cancelled", id, {}, expires=self._now() + LONGEST)

    async def cancelled(self, id: str) -> bool:
        return await self._store.get_record("job-cancelled", id) is not None

    async def take(self, id: str) -> bool:
        """Whether this process may work on it: nobody else does."""
        expires = self._now() + LEASE
        return await self._store.put_record("job-lease", id, {}, expires=expires, only_if_absent=True)

    async def tell(self, id: str, text: str) -> None:
        """How far it is; the lease is good for another while."""
        now = self._now()
        await self._store.put_record("job-lease", id, {}, expires=now + LEASE)
        await self._store.put_record("job-progress", id, {"text": text}, expires=now + LONGEST)

    async def end(self, id: str, state: State, result: Mapping[str, Any]) -> None:
        """Done or failed; the job is forgotten after KEPT."""
        expires = self._now() + KEPT
        value = {"state": state, "result": dict(result), "expires": expires}
        await self._store.put_record("job-result", id, value, expires=expires)
        asked = await self._store.get_record("job", id)
        if asked is not None:
            await self._store.put_record("job", id, asked, expires=expires)
        await self._store.delete_record("job-lease", id)


def _packed(access: Access) -> Json:
    return {
        "subject": access.subject,
        "scopes": [[scope.type, scope.letters] for scope in access.scopes],
        "audience": None if access.audience is None else sorted(access.audience),
    }


def _unpacked(value: Json) -> Access:
    audience = value["audience"]
    return Access(
        value["subject"],
        tuple(Scope(type, letters) for type, letters in value["scopes"]),
        None if audience is None else frozenset(audience),
    )
