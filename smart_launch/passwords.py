"""Argon2id hashes of passwords and client secrets, computed in worker threads, two at a time.

The cost (19 MiB, two passes, one lane) is the smallest that OWASP's password storage sheet still accepts:
about 20 ms on one core, and two at once hold 38 MiB, so that a flood of wrong passwords neither stops the
event loop nor fills the memory. RFC 9106 §4
"""

from __future__ import annotations

import unicodedata

import anyio
import anyio.to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
LONGEST = 1024
"""Characters; a longer secret is refused before any hashing."""


def digest(secret: str) -> str:
    """The encoded hash, salt and parameters included."""
    return _HASHER.hash(_plain(secret))


def matches(encoded: str, secret: str) -> bool:
    """Whether the secret gives this hash; False for a hash that cannot be read."""
    if len(secret) > LONGEST:
        return False
    try:
        return _HASHER.verify(encoded, _plain(secret))
    except (VerificationError, InvalidHashError):
        return False


# What an unknown account is compared with, so that its answer takes as long as a wrong password's.
NOBODY = _HASHER.hash("\x00 no such account")


class Verifier:
    """Runs `matches` away from the event loop, at most `at_once` at a time."""

    def __init__(self, at_once: int = 2) -> None:
        self._limit = anyio.CapacityLimiter(at_once)

    async def __call__(self, encoded: str | None, secret: str) -> bool:
        known = encoded is not None
        good = await anyio.to_thread.run_sync(matches, encoded or NOBODY, secret, limiter=self._limit)
        return good and known


def _plain(secret: str) -> str:
    """One spelling for accented letters, whatever keyboard they were typed on. RFC 8265 §4.2"""
    return unicodedata.normalize("NFC", secret)
