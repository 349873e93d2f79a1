"""Accounts with a password, kept as records.

    account         username → {practitioner, hash or null, disabled, created}
    account-of      Practitioner id → {username}
    failed-signin   SHA-256 of account and address → {count, until}

After five failures for one account from one address each further try waits, twice as long each time, up to
fifteen minutes; another address is not delayed, so nobody can lock a doctor out from afar.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import anyio

from fhir_server.store.contract import Store
from profiles.outcomes import Conflict, Invalid, NotFound
from smart_launch import passwords
from smart_launch.clock import SECOND, Clock, now

KIND, OF, FAILED = "account", "account-of", "failed-signin"
FREE = 5
LONGEST_WAIT = 15 * 60 * SECOND
FORGET = 24 * 3600 * SECOND
SHORTEST_PASSWORD = 8
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")
_PRACTITIONER = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Account:
    """Who may sign in, and which Practitioner that is. Without `hash` only a DPI's launch signs in."""

    username: str
    practitioner: str
    hash: str | None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a sign-in did not succeed, as far as the person is told; `wait` in seconds."""

    wait: int = 0


async def create_account(store: Store, username: str, practitioner: str, password: str | None) -> Account:
    """Raises Invalid, Conflict when the name or the practitioner has an account already."""
    username = fold(username)
    if not _USERNAME.match(username):
        raise Invalid("account-name", "an account name has 1 to 64 letters, digits, . _ @ or -")
    if not _PRACTITIONER.match(practitioner):
        raise Invalid("account-practitioner", "the practitioner is given by its FHIR id")
    if password is not None and not SHORTEST_PASSWORD <= len(password) <= passwords.LONGEST:
        raise Invalid("account-password", f"a password has at least {SHORTEST_PASSWORD} characters")
    hashed = await anyio.to_thread.run_sync(passwords.digest, password) if password is not None else None
    if await of_practitioner(store, practitioner) is not None:
        raise Conflict("account-exists", f"Practitioner/{practitioner} already has an account")
    record = {"practitioner": practitioner, "hash": hashed, "disabled": False, "created": now()}
    if not await store.put_record(KIND, username, record, only_if_absent=True):
        raise Conflict("account-exists", f"account {username} already exists")
    await store.put_record(OF, practitioner, {"username": username})
    return Account(username, practitioner, hashed)


async def get(store: Store, username: str) -> Account | None:
    username = fold(username)
    record = await store.get_record(KIND, username) if _USERNAME.match(username) else None
    if record is None:
        return None
    return Account(username, record["practitioner"], record["hash"], record["disabled"])


async def of_practitioner(store: Store, practitioner: str) -> Account | None:
    """The account of a Practitioner id."""
    link = await store.get_record(OF, practitioner)
    return await get(store, link["username"]) if link else None


async def list_accounts(store: Store) -> list[Account]:
    return [
        Account(username, record["practitioner"], record["hash"], record["disabled"])
        for username, record in sorted(await store.list_records(KIND))
    ]


async def set_disabled(store: Store, username: str, disabled: bool) -> None:
    """Takes effect at the next request of every open session. Raises NotFound."""
    username = fold(username)
    record = await store.get_record(KIND, username)
    if record is None:
        raise NotFound("account-unknown", f"no account {username}")
    await store.put_record(KIND, username, {**record, "disabled": disabled})


class SignIn:
    """Checks names and passwords; its only state is a lock, so that tries at once are counted one by one."""

    def __init__(self, store: Store, clock: Clock = now, verifier: passwords.Verifier | None = None) -> None:
        self._store, self._clock = store, clock
        self._verify = verifier or passwords.Verifier()
        self._counting = anyio.Lock()

    async def verify(self, username: str, password: str, address: str) -> Account | Refusal:
        """The account, or a refusal that is the same for an unknown name, a wrong password and a disabled
        account. The try is counted before the password is looked at."""
        who = f"{fold(username)[:100]}\x00{address}"
        key = hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()
        wait = await self._count(key)
        if wait:
            return Refusal(wait)
        account = await get(self._store, username)
        good = await self._verify(account.hash if account else None, password)
        if account is None or not good or account.disabled:
            return Refusal()
        await self._store.delete_record(FAILED, key)
        return account

    async def _count(self, key: str) -> int:
        """Seconds still to wait; 0 when the try may go on, which is then noted as failed until it
        succeeds."""
        async with self._counting:
            at = self._clock()
            noted = await self._store.get_record(FAILED, key) or {"count": 0, "until": 0}
            if at < noted["until"]:
                return int(-(-(noted["until"] - at) // SECOND))
            count = noted["count"] + 1
            delay = min(SECOND << (count - FREE), LONGEST_WAIT) if count >= FREE else 0
            record = {"count": min(count, FREE + 20), "until": at + delay}
            await self._store.put_record(FAILED, key, record, expires=at + FORGET)
            return 0


def fold(username: str) -> str:
    return username.strip().lower()
