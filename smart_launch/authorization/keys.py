"""This server's signing keys: one RSA (RS256) and one P-384 (ES384), made at first start and kept in the
store.

RS256 signs the tokens that are checked at every request (a check costs 50 µs, against 400 µs for ES384);
ES384 signs what this server states about itself to others, its client assertions. Two processes that start
at once agree on the first pair written. RFC 7517; SMART App Launch 2.2 client-confidential-asymmetric.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhir_server.store.contract import Store
from smart_launch.clock import Clock, now, seconds

KIND, KEY = "signing-keys", "current"
TOKEN_ALGORITHM = "RS256"  # noqa: S105
STATEMENT_ALGORITHM = "ES384"
ALGORITHMS = (TOKEN_ALGORITHM, STATEMENT_ALGORITHM)


class BadToken(Exception):
    """A token that is not ours, not for us, or over; the text never quotes it."""


def generate() -> dict[str, Any]:
    """Two new private keys as a JWK set; the kid is the key's own thumbprint. RFC 7638"""
    rsa = RSAKey.generate_key(2048, {"use": "sig", "alg": TOKEN_ALGORITHM}, private=True, auto_kid=True)
    curve = ECKey.generate_key(
        "P-384", {"use": "sig", "alg": STATEMENT_ALGORITHM}, private=True, auto_kid=True
    )
    return {"keys": [rsa.as_dict(private=True), curve.as_dict(private=True)]}


@dataclass(frozen=True, slots=True)
class Signing:
    """The loaded keys: signs and checks without waiting for anything."""

    keys: KeySet
    clock: Clock = now

    def jwks(self) -> dict[str, Any]:
        """The public halves, as served at /oauth/jwks."""
        return {"keys": [key.as_dict(private=False) for key in self.keys.keys]}

    def sign(self, claims: Mapping[str, Any], *, algorithm: str = TOKEN_ALGORITHM, type: str = "JWT") -> str:
        """A compact JWS over the claims, with alg, kid and typ in its header."""
        key = next(key for key in self.keys.keys if key.get("alg") == algorithm)
        header = {"alg": algorithm, "kid": key.kid, "typ": type}
        return jwt.encode(header, dict(claims), key, algorithms=[algorithm])

    def verify(self, token: str, *, issuer: str, audience: str, type: str) -> dict[str, Any]:
        """The claims of a token signed here, its algorithm pinned, time, issuer and audience checked.
        Raises BadToken. RFC 7519 §7.2; RFC 8725 §3.1"""
        try:
            decoded = jwt.decode(token, self.keys, algorithms=list(ALGORITHMS))
            jwt.JWTClaimsRegistry(
                now=seconds(self.clock()),
                iss={"essential": True, "value": issuer},
                aud={"essential": True, "value": audience},
                exp={"essential": True},
            ).validate(decoded.claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise BadToken(error.__class__.__name__) from error
        if decoded.header.get("typ") != type:
            raise BadToken("a token of another type")
        return dict(decoded.claims)


class Keys:
    """The keys of one store, loaded at first use and made when there are none."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        self._store, self.clock = store, clock
        self._loaded: Signing | None = None

    async def load(self) -> Signing:
        if self._loaded is None:
            stored = await self._store.get_record(KIND, KEY)
            if stored is None:
                await self._store.put_record(KIND, KEY, generate(), only_if_absent=True)
                stored = await self._store.get_record(KIND, KEY)
            if stored is None:
                raise RuntimeError("the store lost the signing keys just written")
            self._loaded = Signing(KeySet.import_key_set({"keys": stored["keys"]}), self.clock)
        return self._loaded
