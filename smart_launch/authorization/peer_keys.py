"""Key sets that others publish, fetched at most once in five minutes for each address.

A key id that the kept set does not know asks once more, but not more often than every ten seconds: otherwise
anyone could make this server call out by inventing key ids. SMART App Launch 2.2
client-confidential-asymmetric.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from smart_launch import outbound
from smart_launch.clock import SECOND, Clock, now

KEEP = 300 * SECOND
AGAIN = 10 * SECOND
SHORTEST_RSA = 2048
"""Bits. RFC 7518 §3.3"""
SECRET = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})


def import_public(jwks: dict[str, Any]) -> KeySet:
    """The signature keys of a JWK set; keys of kinds unknown here are left out. Raises Unreachable when none
    is left."""
    usable = []
    listed = jwks.get("keys")
    for jwk in listed if isinstance(listed, list) else []:
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("kty") not in ("RSA", "EC"):
            continue
        try:
            # Key operations are the publisher's note to himself; some list "sign" on the public half.
            public = {name: value for name, value in jwk.items() if name not in SECRET and name != "key_ops"}
            key = KeySet.import_key_set({"keys": [public]}).keys[0]
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if jwk["kty"] == "EC" or getattr(key.raw_value, "key_size", 0) >= SHORTEST_RSA:
            usable.append(key)
    if not usable:
        raise outbound.Unreachable("its key set holds no usable key")
    return KeySet(usable)


@dataclass
class PeerKeys:
    """The key sets fetched so far: address → (when, keys)."""

    http: httpx.AsyncClient
    clock: Clock = now
    _kept: dict[str, tuple[int, KeySet]] = field(default_factory=dict)

    async def get(self, address: str, kid: str | None) -> KeySet:
        """The set published there; asked for anew when it is old or does not know `kid`. Raises Unreachable,
        Refused."""
        at, keys = self._kept.get(address, (0, None))
        age = self.clock() - at
        known = keys is not None and (kid is None or any(key.kid == kid for key in keys.keys))
        if keys is not None and age < (KEEP if known else AGAIN):
            return keys
        fresh = import_public(await outbound.request_json(self.http, "GET", address))
        self._kept[address] = (self.clock(), fresh)
        return fresh
