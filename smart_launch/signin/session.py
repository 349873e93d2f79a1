"""Sessions of people: a random 256-bit cookie, of which the store keeps only the SHA-256.

A session ends eight hours after sign-in, after thirty minutes without a request, at sign-out, or when the
account is disabled. Its record never changes: the last use is a record of its own, so that a request on its
way cannot bring a signed-out session back.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from fhir_server.settings import Settings
from fhir_server.store.contract import Store
from smart_launch.clock import SECOND, Clock, now

KIND, USED = "session", "session-used"
ABSOLUTE = 8 * 3600 * SECOND
IDLE = 30 * 60 * SECOND
TOUCH = 60 * SECOND
"""How fresh the note of last use must be: at most one write a minute for each person."""


@dataclass(frozen=True, slots=True)
class Session:
    """One person at one browser. `via` says how they came: "password", or the issuer of the DPI that
    vouched."""

    key: str
    account: str
    practitioner: str
    via: str
    until: int

    @property
    def subject(self) -> str:
        return f"Practitioner/{self.practitioner}"


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, store: Store, settings: Settings, clock: Clock = now) -> None:
        self._store, self._clock = store, clock
        self._secure = settings.url.startswith("https://")
        # __Host- ties the cookie to this very host, but browsers take it with Secure only.
        self.cookie = "__Host-teledossier" if self._secure else "teledossier"

    async def open(self, account: str, practitioner: str, via: str = "password") -> str:
        """A new session; returns the cookie's value, which is nowhere else."""
        value = secrets.token_urlsafe(32)
        key, at = self.key(value), self._clock()
        record: dict[str, Any] = {
            "account": account,
            "practitioner": practitioner,
            "via": via,
            "until": at + ABSOLUTE,
        }
        await self._store.put_record(USED, key, {"at": at}, expires=at + IDLE)
        await self._store.put_record(KIND, key, record, expires=at + ABSOLUTE)
        return value

    async def find(self, value: str) -> Session | None:
        """The session of a cookie, noted as used; None when there is none in force."""
        found, at = await self._found(value), self._clock()
        if found is None:
            return None
        session, used = found
        if at >= used + TOUCH:
            await self._store.put_record(USED, session.key, {"at": at}, expires=min(at + IDLE, session.until))
        return session

    async def standing(self, value: str) -> Session | None:
        """The same, not noted as used: what a page keeps open is no sign of its person."""
        found = await self._found(value)
        return found[0] if found else None

    async def _found(self, value: str) -> tuple[Session, int] | None:
        """And when it was used last."""
        if not 20 <= len(value) <= 100:
            return None
        key, at = self.key(value), self._clock()
        record = await self._store.get_record(KIND, key)
        used = await self._store.get_record(USED, key) if record else None
        if record is None or used is None or at >= record["until"] or at >= used["at"] + IDLE:
            return None
        session = Session(key, record["account"], record["practitioner"], record["via"], record["until"])
        return session, used["at"]

    async def end(self, value: str) -> None:
        """Sign-out: the cookie is worth nothing from the next request on."""
        await self._store.delete_record(KIND, self.key(value))
        await self._store.delete_record(USED, self.key(value))

    @staticmethod
    def key(value: str) -> str:
        """Under what a cookie's session is kept: its SHA-256."""
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()

    def give(self, response: Response, value: str) -> None:
        """Set the cookie: out of scripts' reach, and not sent along by other sites' forms. RFC 6265 §5.2"""
        response.set_cookie(self.cookie, value, path="/", httponly=True, samesite="lax", secure=self._secure)

    def drop(self, response: Response) -> None:
        response.delete_cookie(self.cookie, path="/", httponly=True, samesite="lax", secure=self._secure)
