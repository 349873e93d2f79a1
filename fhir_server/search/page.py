"""Cursors: where a page begins, sealed so that only this platform can read or make one.

A position holds values of the sort keys, which can be a person's name or birth date and would stand in
addresses and logs: so a cursor is encrypted and authenticated (AES-GCM), not only signed. It is bound to the
search it was made for (type and parameters); what the reader may see is settled anew on each page. The key
lives in a store record that the first process writes, so every process and every restart has the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_server.store.contract import Store
from profiles.outcomes import Invalid

NONCE = 12  # bytes
LONGEST = 8_000  # characters of a cursor
MOST = 1_000  # resources of a page


@dataclass(frozen=True, slots=True)
class Cursor:
    """The page after `position`, or the one before it."""

    position: tuple[object, ...]
    backwards: bool = False


async def key_of(store: Store) -> bytes:
    """The platform's cursor key, made once. 32 bytes."""
    record = await store.get_record("secret", "cursor")
    if record is None:
        await store.put_record("secret", "cursor", {"key": secrets.token_hex(32)}, only_if_absent=True)
        record = await store.get_record("secret", "cursor")
    assert record is not None
    return bytes.fromhex(record["key"])


def page_size(value: str) -> int:
    """What `_count` asks for, no more than MOST. Raises Invalid."""
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise Invalid("bad-count", "'_count' takes a number from 0 up")
    return min(int(value), MOST)


def bound_to(type: str, pairs: Sequence[tuple[str, str]]) -> bytes:
    """What a cursor is valid for: the type and the parameters but the page's own."""
    return hashlib.sha256(orjson.dumps([type, pairs])).digest()


def sealed(cursor: Cursor, key: bytes, bound: bytes) -> str:
    nonce = secrets.token_bytes(NONCE)
    text = orjson.dumps([cursor.backwards, cursor.position])
    return base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, text, bound)).decode().rstrip("=")


def opened(text: str, key: bytes, bound: bytes) -> Cursor:
    """Raises Invalid: not one of ours, changed, or of another search."""
    try:
        if len(text) > LONGEST or not text.isascii():
            raise ValueError("too long or not ASCII")
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if len(raw) <= NONCE:
            raise ValueError("too short")
        backwards, position = orjson.loads(AESGCM(key).decrypt(raw[:NONCE], raw[NONCE:], bound))
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise Invalid(
            "bad-cursor", "_cursor is not one that this server gave for this search; start again without it"
        ) from error
    return Cursor(tuple(position), backwards)
